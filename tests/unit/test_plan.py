"""Plans of a golden set: the rows that they name give the power that they promise, and rules that
can never pass are named with the reason.
"""

from __future__ import annotations

import math
import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from test_gates import BETTER, NOT_WORSE, evidence, noisy, policy

from sluicegate.cards.plan import curve_chart, plan_html, plan_text
from sluicegate.gates import RULES, Policy, decide
from sluicegate.gates.bounds import clusters, p_mean_at_most
from sluicegate.gates.checks import Case
from sluicegate.gates.health import TELLING, Health, findings, health
from sluicegate.gates.plans import Plan, plan
from sluicegate.gates.questions import Assumed, Setup, question
from sluicegate.records import Evidence, LedgerEntry, Repeat

SIMULATIONS = 2000
FLOOR = {"name": "floor", "kind": "at_least", "metric": "score", "threshold": 0.5}
CEILING = {"name": "ceiling", "kind": "at_most", "metric": "score", "threshold": 0.9}
FEW = {
    "name": "few lose much", "kind": "share_losing_more_than", "metric": "score",
    "worst_loss": 0.5, "threshold": 0.1,
}  # fmt: skip


def case(rules: Policy, candidate: Evidence, champion: Evidence | None = None, **more: Any) -> Case:
    """What a plan is made from, at the error rate 0.03."""
    return Case(candidate, champion, "", rules, {}, {}, {}, 0.03, 0.03, 0.03, **more)


def planned(*rules: dict[str, Any], discordance: float, sd: float, gain: float = 0.0) -> Plan:
    """A plan from 60 rows of the champion and assumed differences."""
    known = case(policy(*rules), evidence([0.5] * 60))
    return plan(known, gain=gain, assumed=Assumed(discordance, sd))


@pytest.mark.parametrize(
    ("discordance", "sd", "margin"), [(0.1, 1.0, 0.05), (0.4, 1.0, 0.1), (0.3, 0.25, 0.05)]
)
def test_the_planned_rows_give_the_power_asked_for(
    discordance: float, sd: float, margin: float
) -> None:
    """Of equal candidates judged on so many rows four in five pass, within Monte-Carlo error."""
    rows = planned({**NOT_WORSE, "margin": margin}, discordance=discordance, sd=sd).needs[0].rows
    assert rows is not None
    chance = np.random.default_rng(1)
    half = discordance / 2
    drawn = chance.multinomial(rows, [half, half, 1 - discordance], size=SIMULATIONS)
    different, times = np.unique(drawn[:, :2], axis=0, return_counts=True)
    passed = 0
    for (worse, better), count in zip(different.tolist(), times.tolist(), strict=True):
        values = [-sd] * worse + [sd] * better + [0.0] * (rows - worse - better)
        sample = clusters(values, [str(place) for place in range(rows)], -1.0, 1.0)
        passed += count * (p_mean_at_most(sample, -margin) < 0.03)
    error = 3 * math.sqrt(0.8 * 0.2 / SIMULATIONS)
    assert passed / SIMULATIONS == pytest.approx(0.8, abs=error + 0.01)


def test_no_loss_at_all_needs_what_the_binomial_says() -> None:
    """Where no row loses more, a share of 0.1 is ruled out at 0.03 by 34 rows: 0.9^34 < 0.03."""
    need = planned(FEW, discordance=0.3, sd=0.2).needs[0]
    assert need.rows is not None
    assert 34 <= need.rows <= 36


@pytest.mark.parametrize("rule", [NOT_WORSE, BETTER, FEW, FLOOR, CEILING], ids=lambda r: r["kind"])
def test_a_plan_asks_what_the_verdict_asks(rule: dict[str, Any]) -> None:
    """With the pilot's own gain a plan has the sample and the threshold that the verdict has."""
    new, old = noisy(60, 0.0, 3)
    rules = policy(rule)
    shown = decide(new, old, rules, facts={}).rules[0]
    compares = RULES[str(rule["kind"])].compares
    gain = clusters(
        [a.scores["score"] - b.scores["score"] for a, b in zip(new.rows, old.rows, strict=True)],
        [row.group for row in new.rows], -1.0, 1.0,
    ).mean  # fmt: skip
    known = case(rules, new, old if compares else None)
    asked = question(Setup(known, gain if compares else 0.0, None), rules.rules[0], "score")
    assert p_mean_at_most(asked.sample, asked.null) == pytest.approx(shown.p, rel=1e-6)


def test_an_equal_candidate_never_shows_a_gain() -> None:
    """That rule never passes, and says so; a better candidate needs rows."""
    equal = planned(BETTER, NOT_WORSE, discordance=0.3, sd=0.3)
    assert equal.needs[0].rows is None
    assert "no gain above 0" in equal.needs[0].reason
    assert equal.enough("improve") is None
    assert [one.name for one in equal.never("improve")] == ["gain"]
    better = planned(BETTER, NOT_WORSE, discordance=0.3, sd=0.3, gain=0.05)
    assert better.enough("improve") == better.needs[0].rows
    assert dict(equal.needs[0].curve)[0.05] == better.needs[0].rows


def test_each_way_has_its_own_answer() -> None:
    """An equal candidate passes on the neutral way, with the rows of its slowest rule."""
    found = planned(
        {**BETTER, "way": "improve"}, {**NOT_WORSE, "way": "neutral"}, FEW,
        {"name": "fact", "kind": "requires", "fact": "f"}, discordance=0.3, sd=0.3,
    )  # fmt: skip
    last = found.last("neutral")
    assert found.ways == ("improve", "neutral")
    assert found.enough("improve") is None
    assert last is not None
    assert last.name == "kept"
    assert found.enough("neutral") == last.rows


def test_smaller_margins_need_more_rows() -> None:
    """The curve falls, and is at the policy's own margin what the rule needs."""
    need = planned(NOT_WORSE, discordance=0.3, sd=0.3).needs[0]
    rows = [count for _, count in need.curve if count is not None]
    assert len(rows) == len(need.curve) == 6
    assert rows == sorted(rows, reverse=True)
    assert dict(need.curve)[0.1] == need.rows
    clipped = planned({**NOT_WORSE, "worst_loss": 0.5}, FEW, discordance=0.1, sd=1.0).needs[0]
    whole = planned(NOT_WORSE, discordance=0.1, sd=1.0).needs[0]
    assert (clipped.rows or 0) < (whole.rows or 0)


def test_what_the_champion_does_not_meet_never_passes() -> None:
    """A threshold above its mean, a mean below it, a metric and an operation that are not there."""
    rules = policy(
        {**FLOOR, "threshold": 0.6}, {**FLOOR, "name": "m", "threshold": 0.6, "compare": "mean"},
        {**FLOOR, "name": "x", "metric": "x"},
        {**CEILING, "name": "slow", "metric": "latency_p95", "threshold": 0.5},
        {"name": "every", "kind": "every_case", "metric": "score", "threshold": 1.0},
        {**FLOOR, "name": "j", "metric": "judge:tone"},
        {**FLOOR, "name": "met", "threshold": 0.4, "compare": "mean"},
    )  # fmt: skip
    needs = plan(case(rules, evidence([0.5] * 40))).needs
    assert [one.rows for one in needs] == [None] * 6 + [0]
    reasons = ["mean is 0.5", "mean is 0.5", "not measured", "it is 1", "0 critical", "tone"]
    for need, said in zip(needs, reasons, strict=False):
        assert said in need.reason


def test_rows_of_a_slice_are_rows_of_the_whole() -> None:
    """A slice of a quarter of the rows needs four times as many in all."""
    values = [0.4 + 0.2 * random.Random(place).random() for place in range(80)]
    whole = evidence(values)
    rows = tuple(
        replace(row, slices={"size": "small" if place % 4 == 0 else "large"})
        for place, row in enumerate(whole.rows)
    )
    sliced = plan(
        case(policy({**NOT_WORSE, "slice": "size"}), replace(whole, rows=rows)),
        assumed=Assumed(0.3, 0.3),
    ).needs[0]
    alone = planned(NOT_WORSE, discordance=0.3, sd=0.3).needs[0]
    assert sliced.rows == 4 * (alone.rows or 0)


def test_repeats_save_rows_where_the_model_is_noisy() -> None:
    """A pilot with two answers to each row says what one, and what more would need."""
    chance = random.Random(5)

    def asked_twice(side: Evidence) -> Evidence:
        found = []
        for row in side.rows:
            each = [chance.choice([0.2, 0.8]) for _ in range(2)]
            repeats = tuple(Repeat("text", {"score": one}) for one in each)
            found.append(replace(row, scores={"score": sum(each) / 2}, repeats=repeats))
        return replace(side, rows=tuple(found), summaries={})

    new, old = (asked_twice(side) for side in noisy(60, 0.0, 7))
    need = plan(case(policy(NOT_WORSE), new, old)).needs[0]
    rows = [count or 0 for _, count in need.repeats]
    assert dict(need.repeats)[2] == need.rows
    assert rows == sorted(rows, reverse=True)
    assert rows[0] > 1.5 * rows[1]


def entry(number: int, **decisions: str) -> LedgerEntry:
    """A verdict of the ledger on evidence of this number."""
    rules = [{"name": name, "decision": said} for name, said in decisions.items()]
    payload = {
        "evidence": f"e{number}", "champion_evidence": "c", "policy": "p", "golden": "g",
        "decision": "HOLD", "rules": rules,
    }  # fmt: skip
    return LedgerEntry(number, "", "ana", "verdict", "r", 0, payload, "", "")


def test_rules_that_tell_nothing_apart_are_named() -> None:
    """Never passed, never failed and always warned, after ten verdicts; a repeated one counts once."""
    rules = policy(NOT_WORSE, BETTER, {**FLOOR, "severity": "warn"}, FEW)
    made = [
        entry(number, kept="PROMOTE", gain="HOLD", floor="REJECT",
              **{"few lose much": "HOLD" if number else "PROMOTE"})
        for number in range(TELLING)
    ]  # fmt: skip
    said = findings([*made, made[0]], rules)
    assert [line.rpartition(": ")[2] for line in said] == ["floor", "kept", "gain"]
    assert [line.split()[2] for line in said] == ["always", "never", "never"]
    assert health([*made, made[0]], rules)[0].verdicts == TELLING
    assert findings(made[1:], rules) == []


def test_the_text_and_the_page_say_it_all() -> None:
    """Every rule has a line on both, each curve a picture, and a finding its place."""
    found = planned(BETTER, {**NOT_WORSE, "way": "neutral"}, discordance=0.3, sd=0.3)
    told = [Health("gain", "block", 12, 0, 12, 0)]
    text, page = (write(found, "an <evaluation>", told) for write in (plan_text, plan_html))
    for need in found.needs:
        assert need.name in text
        assert need.name in page
        assert str(curve_chart(need)) in page
    assert "gain: never passed in 12 verdicts" in text
    assert "gain: never passed in 12 verdicts" in page
    assert "&lt;evaluation&gt;" in page
    assert "neutral: never passes, for gain" in text
    assert curve_chart(replace(found.needs[0], curve=())) == ""
