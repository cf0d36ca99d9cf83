"""People's votes as a rule: what they have to say, about which rows, and what counts."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from test_gates import evidence, policy

from sluicegate.gates import Policy, decide
from sluicegate.gates.reviews import Review, Reviews, answer, in_order, pairs_of
from sluicegate.records import Decision, Evidence, Verdict

PEOPLE = {"name": "people", "kind": "human_review", "margin": 0.2}


def sides(differing: int, rows: int = 60, groups: int | None = None) -> tuple[Evidence, Evidence]:
    """Two releases whose answers differ in the first rows."""
    names = [f"g{place % (groups or rows)}" for place in range(rows)]
    champion = evidence([0.5] * rows, "d" * 64, names)
    changed = tuple(
        replace(row, output=f"other {place}") if place < differing else row
        for place, row in enumerate(champion.rows)
    )
    return replace(champion, release="c" * 64, rows=changed), champion


def votes(candidate: Evidence, champion: Evidence, said: Sequence[float]) -> Reviews:
    """One person's votes on the differing pairs, in their order; fewer leave the rest open."""
    pairs = [pair for pair in pairs_of(candidate, champion) if pair.differs]
    some = zip(pairs, said, strict=False)
    return in_order((pair.digest, Review("ana", vote)) for pair, vote in some)


def judged(found: tuple[Evidence, Evidence], reviews: Reviews, **more: Any) -> Verdict:
    return decide(*found, policy({**PEOPLE, **more}), facts={}, reviews=reviews)


def test_every_differing_pair_has_to_be_reviewed() -> None:
    """HOLD says how many are left; equal rows are never asked about and count 0."""
    found = sides(12)
    verdict = judged(found, votes(*found, [1.0] * 9))
    assert verdict.decision is Decision.HOLD
    assert "3 of 12 pairs that differ are still to be reviewed" in verdict.rules[0].reason
    verdict = judged(found, votes(*found, [0.0] * 12))
    assert verdict.decision is Decision.PROMOTE
    assert verdict.rules[0].n == 60
    assert "12 pairs reviewed by ana, 48 equal ones count 0" in verdict.rules[0].reason


def test_votes_are_shares_of_rows() -> None:
    """The difference is the share of rows that get better minus the share that get worse."""
    found = sides(12)
    verdict = judged(found, votes(*found, [1.0] * 9 + [-1.0] * 3))
    assert verdict.rules[0].difference == pytest.approx(6 / 60)


def test_a_worse_candidate_is_rejected() -> None:
    """Worse in most rows by people's votes: shown to fail."""
    found = sides(50)
    verdict = judged(found, votes(*found, [-1.0] * 45 + [1.0] * 5))
    assert verdict.decision is Decision.REJECT


def test_one_unsafe_answer_rejects_where_the_policy_says_so() -> None:
    """Whoever marked it, and although everybody finds the candidate better, and pairs are open."""
    found = sides(12)
    pair = next(pair for pair in pairs_of(*found) if pair.differs)
    marked = in_order([(pair.digest, Review("ben", 1.0, unsafe=True))])
    verdict = judged(found, marked, no_unsafe=True)
    assert verdict.decision is Decision.REJECT
    assert pair.id in verdict.rules[0].reason
    assert judged(found, marked).decision is Decision.HOLD


def test_several_reviewers_are_averaged_and_a_later_one_is_no_second_try() -> None:
    """The first `reviewers` people of each pair count, with the first thing that each said."""
    found = sides(12)
    digests = [pair.digest for pair in pairs_of(*found) if pair.differs]
    said = [(one, Review("ana", -1.0)) for one in digests]
    said += [(one, Review("ana", 1.0)) for one in digests]
    alone = judged(found, in_order(said))
    assert alone.rules[0].difference == pytest.approx(-12 / 60)
    later = in_order([*said, *((one, Review("ben", 1.0)) for one in digests)])
    assert judged(found, later).rules[0].difference == alone.rules[0].difference
    both = judged(found, later, reviewers=2)
    assert both.rules[0].difference == pytest.approx(0.0)
    waiting = judged(found, in_order(said), reviewers=2)
    assert "12 of 12 pairs" in waiting.rules[0].reason
    assert "2 people" in waiting.rules[0].reason


def test_a_part_of_the_pairs_is_a_sample_that_nobody_chose() -> None:
    """`pairs` takes whole groups in an order of the digests, with their equal rows."""
    found = sides(60, 120, groups=40)
    chosen = pairs_of(*found, most=20)
    assert sum(pair.differs for pair in chosen) in range(15, 21)
    groups = {pair.group for pair in chosen}
    assert sorted(pair.id for pair in chosen) == sorted(
        row.id for row in found[0].rows if row.group in groups
    )
    turned = replace(found[0], rows=found[0].rows[::-1])
    assert {pair.id for pair in pairs_of(turned, found[1], most=20)} == {one.id for one in chosen}
    other = replace(found[0], release="a" * 64)
    assert {pair.id for pair in pairs_of(other, found[1], most=20)} != {one.id for one in chosen}


def test_a_sample_estimates_the_whole() -> None:
    """Over many candidates a sample has as many equal rows as the whole: none is left out."""
    chance, shares = random.Random(1), []
    for number in range(300):
        candidate, champion = sides(40, 100)
        candidate = replace(candidate, release=f"{number:064d}")
        taken = pairs_of(candidate, champion, chance.choice([10, 20]))
        shares.append(sum(pair.differs for pair in taken) / len(taken))
    assert sum(shares) / 300 == pytest.approx(0.4, abs=0.02)


def test_reviews_stay_with_the_answers() -> None:
    """Evaluated again with the same answers they count; another answer has to be read again."""
    candidate, champion = sides(12)
    reviews = votes(candidate, champion, [0.0] * 12)
    again = replace(candidate, metrics="others"), replace(champion, metrics="others")
    assert judged(again, reviews).decision is Decision.PROMOTE
    rows = (replace(candidate.rows[0], output="new"), *candidate.rows[1:])
    assert judged((replace(candidate, rows=rows), champion), reviews).decision is Decision.HOLD


def test_tool_calls_are_part_of_the_answer() -> None:
    """Two texts that are equal differ where the calls do."""
    row = evidence([0.5]).rows[0]
    called = replace(row, fields={"tool_calls": '[{"name":"refund"}]'})
    assert answer(called) != answer(row)
    assert "refund" in answer(called)


def test_the_fields_leave_no_trace_in_other_policies() -> None:
    """Digests of policies without the rule are as before."""
    rule = {"name": "r", "kind": "requires", "fact": "f"}
    content = Policy.model_validate({"rules": [rule]}).content["rules"][0]
    assert not {"pairs", "reviewers", "no_unsafe"} & content.keys()
