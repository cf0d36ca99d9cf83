"""Rules in every slice, and rules on any of several metrics: an average hides no loss, a choice is
corrected for.
"""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from test_gates import evidence, noisy, policy

from sluicegate.cards import verdict_markdown, verdict_text
from sluicegate.errors import ConfigError, EvidenceError
from sluicegate.gates import decide, load_policy
from sluicegate.hashing import canonical_json
from sluicegate.records import Decision, Evidence, Lineage, Release, RuleResult, Verdict

KEPT = {
    "name": "kept",
    "kind": "not_worse_than_champion",
    "metric": "score",
    "margin": 0.15,
    "slice": "industry",
}
FLOOR = {
    "name": "floor",
    "kind": "at_least",
    "metric": "score",
    "threshold": 0.2,
    "slice": "industry",
}
ANY = {"name": "any", "kind": "any_better_than_champion", "metrics": ["a", "b", "c"]}


def sliced(side: Evidence, *names: str) -> Evidence:
    """`side` with its rows dealt out to the named industries in turn."""
    rows = tuple(
        replace(
            row, slices={"industry": names[place % len(names)]} if names[place % len(names)] else {}
        )
        for place, row in enumerate(side.rows)
    )
    return replace(side, rows=rows)


def judged(
    pair: tuple[Evidence, Evidence | None], *rules: dict[str, Any], **settings: Any
) -> Verdict:
    return decide(*pair, policy(*rules, **settings), facts={})


def with_loss(n: int, industry: str, loss: float) -> tuple[Evidence, Evidence]:
    """Equal to the champion on average, but `loss` worse in one of three industries and better in
    the others.
    """
    names = ("airline", "bank", "gym")
    chance = random.Random(4)
    old = [chance.uniform(0.4, 0.6) for _ in range(n)]
    new = [
        value + chance.gauss(0, 0.02) + (-loss if names[place % 3] == industry else loss / 2)
        for place, value in enumerate(old)
    ]
    return sliced(evidence(new), *names), sliced(evidence(old, "d" * 64), *names)


def test_a_loss_in_one_slice_is_not_hidden_by_the_others() -> None:
    """A candidate that is equal on average and worse in one industry passes without `slice` and is
    rejected with it.
    """
    pair = with_loss(180, "bank", 0.3)
    whole = {name: value for name, value in KEPT.items() if name != "slice"}
    assert judged(pair, whole).decision is Decision.PROMOTE
    verdict = judged(pair, KEPT)
    found = verdict.rules[0]
    assert verdict.decision is Decision.REJECT
    assert (found.slice, found.n) == ("industry=bank", 60)
    assert found.difference == pytest.approx(-0.3, abs=0.02)
    assert found.reason.startswith("worst of 3 slices, industry=bank: ")


def test_all_slices_have_to_pass_and_the_worst_is_named() -> None:
    """Where every slice passes so does the rule, with the numbers of the slice that was nearest to
    failing.
    """
    verdict = judged(with_loss(180, "gym", 0.02), KEPT, FLOOR)
    assert verdict.decision is Decision.PROMOTE
    assert verdict.rules[0].slice == "industry=gym"
    assert verdict.rules[1].n == 60


def test_a_slice_that_shows_nothing_holds_and_says_how_many_it_lacks() -> None:
    """One undecided slice is enough for HOLD; what is missing is the sum over the undecided slices."""
    names = ("a", "b")
    rule = {**KEPT, "margin": 0.05}
    new, old = (sliced(side, *names) for side in noisy(60, 0.0, 3, 0.3))
    verdict = judged((new, old), rule)
    alone = [
        judged((_only(new, name), _only(old, name)), rule).rules[0].more_examples for name in names
    ]
    assert verdict.decision is Decision.HOLD
    assert None not in alone
    assert verdict.rules[0].more_examples == sum(count or 0 for count in alone)


def _only(side: Evidence, name: str) -> Evidence:
    return replace(
        side, rows=tuple(row for row in side.rows if row.slices["industry"] == name), summaries={}
    )


def test_small_slices_are_counted_and_not_judged() -> None:
    """Slices below the minimum are named in the reason; where none is large enough the rule holds."""
    pair = with_loss(180, "gym", 0.02)
    names = ("big",) * 30 + ("tiny",)
    uneven = tuple(sliced(side, *names) for side in pair)
    found = judged(uneven, KEPT).rules[0]
    assert found.decision is Decision.PROMOTE
    assert found.reason.endswith("; 1 smaller than 10 (5 examples) not judged")
    held = judged(uneven, {**KEPT, "minimum_slice": 200}).rules[0]
    assert (held.decision, held.reason) == (
        Decision.HOLD,
        "none of 2 values of industry has 200 examples",
    )
    judged_too = judged(uneven, {**KEPT, "minimum_slice": 5}).rules[0]
    assert judged_too.slice == "industry=tiny"


@pytest.mark.parametrize("rule", [KEPT, FLOOR, {**FLOOR, "kind": "at_most", "threshold": 0.9}])
def test_examples_without_their_slice_hold(rule: dict[str, Any]) -> None:
    """Where any example does not say its slice, or the champion cannot be compared, nothing passes."""
    pair = with_loss(120, "gym", 0.0)
    assert judged(pair, rule).decision is Decision.PROMOTE
    for names in (("airline", ""), ("",)):
        part = tuple(sliced(side, *names) for side in pair)
        found = judged(part, rule).rules[0]
        assert found.decision is Decision.HOLD
        assert "do not say their industry" in found.reason
    assert judged(pair, {**rule, "slice": "colour"}).decision is Decision.HOLD
    if rule is KEPT:
        assert judged((pair[0], None), rule).decision is Decision.HOLD
        assert judged((pair[0], replace(pair[1], golden="x")), rule).decision is Decision.HOLD


def test_an_operation_has_no_slices() -> None:
    """A latency or cost is of the whole run: asked for by slice it holds."""
    rule = {**FLOOR, "kind": "at_most", "metric": "latency_p95", "threshold": 5.0}
    assert judged(with_loss(120, "gym", 0.0), rule).decision is Decision.HOLD


def test_slices_that_differ_between_the_sides_are_an_error() -> None:
    """The same example in another slice was another example: an error, and never a verdict."""
    new, old = with_loss(120, "gym", 0.0)
    with pytest.raises(EvidenceError, match="different examples"):
        judged((sliced(new, "a", "b"), old), KEPT)


def test_what_counts_against_is_corrected_for_the_number_of_slices() -> None:
    """A loss that would reject a slice on its own (p = 0.019) is not enough where it is the worst
    of three.
    """
    names = ("a", "b", "c")
    losses = [0.6 if place % 3 == 0 else 0.0 for place in range(36)]
    pair = (
        sliced(evidence([0.8 - loss for loss in losses]), *names),
        sliced(evidence([0.8] * 36, "d" * 64), *names),
    )
    alone = judged(
        (_only(pair[0], "a"), _only(pair[1], "a")), KEPT, submissions=1, minimum_examples=2
    ).rules[0]
    found = judged(pair, KEPT, submissions=1, minimum_examples=2).rules[0]
    assert (alone.decision, found.decision) == (Decision.REJECT, Decision.HOLD)
    assert (alone.slice, found.slice) == ("industry=a", "industry=a")


def test_slices_are_shown() -> None:
    """Terminal and Markdown name the slice beside the rule."""
    verdict = judged(with_loss(180, "bank", 0.3), KEPT)
    lineage = Lineage("1", "2", {}, "3", "4", False)
    assert "kept [industry=bank]" in verdict_text(verdict)
    assert r"kept \[industry=bank\]" in verdict_markdown(
        verdict, Release("1", None, "2", "3"), lineage
    )


def several(
    n: int, gains: dict[str, float], seed: int = 1, spread: float = 0.1
) -> tuple[Evidence, Evidence]:
    """Two sides with one score per name in `gains`, the candidate's higher by that much."""
    chance = random.Random(seed)
    new, old = [], []
    for row in evidence([0.5] * n).rows:
        before = {name: chance.uniform(0.3, 0.6) for name in gains}
        after = {
            name: min(1.0, max(0.0, before[name] + gains[name] + chance.gauss(0, spread)))
            for name in gains
        }
        new.append(replace(row, scores=after))
        old.append(replace(row, scores=before))
    sides = evidence([0.5] * n), evidence([0.5] * n, "d" * 64)
    return tuple(  # type: ignore[return-value]
        replace(side, rows=tuple(rows), summaries={})
        for side, rows in zip(sides, (new, old), strict=True)
    )


def _any(pair: tuple[Evidence, Evidence], **changes: Any) -> RuleResult:
    return judged(pair, {**ANY, **changes}, submissions=1).rules[0]


def test_one_gain_is_enough_and_is_named() -> None:
    """A gain on one of three metrics passes; the result has its numbers, Holm's p and all metrics
    that passed.
    """
    found = _any(several(100, {"a": 0.0, "b": 0.2, "c": 0.1}))
    assert (found.decision, found.metric) == (Decision.PROMOTE, "b")
    assert found.reason.endswith("is shown on b, c")
    assert found.low is not None
    assert found.low > 0
    single = judged(several(100, {"a": 0.0, "b": 0.2, "c": 0.1}), {
        "name": "b", "kind": "better_than_champion", "metric": "b",
    }, submissions=1).rules[0]  # fmt: skip
    assert single.p is not None
    assert found.p == pytest.approx(3 * single.p, rel=1e-6)


def test_the_choice_is_paid_for() -> None:
    """A gain that one metric alone would show is not enough where it is the best of three."""
    pair = several(60, {"a": 0.06, "b": 0.0, "c": -0.02}, seed=6)
    alone = judged(
        pair, {"name": "a", "kind": "better_than_champion", "metric": "a"}, submissions=1
    ).rules[0]
    found = _any(pair)
    assert alone.p is not None
    assert 0.05 / 3 < alone.p < 0.05
    assert (alone.decision, found.decision, found.metric) == (Decision.PROMOTE, Decision.HOLD, "a")
    assert found.more_examples is not None
    assert found.low is not None
    assert found.low < 0


def test_no_gain_on_any_metric_is_rejected() -> None:
    """REJECT needs the gain to be ruled out on every metric; one undecided metric makes it HOLD."""
    assert _any(several(200, {"a": -0.3, "b": -0.3, "c": -0.3})).decision is Decision.REJECT
    assert _any(several(200, {"a": -0.3, "b": 0.0, "c": -0.3})).decision is Decision.HOLD


def test_several_metrics_without_a_champion_or_a_score_hold() -> None:
    """One metric that was not measured, or no champion, and nothing passes however good the others
    are.
    """
    pair = several(100, {"a": 0.3, "b": 0.3, "c": 0.3})
    assert _any(pair, metrics=["a", "b", "missing"]).decision is Decision.HOLD
    assert judged((pair[0], None), ANY).decision is Decision.HOLD


@pytest.mark.parametrize(
    "rule", [KEPT, FLOOR, {**FLOOR, "kind": "at_most"}, {**ANY, "metrics": ["score", "other"]}]
)
def test_the_order_of_rows_changes_no_byte(rule: dict[str, Any]) -> None:
    """Slices and several metrics give the same verdict, byte for byte, whatever the order of the
    rows.
    """
    pair = []
    for side in with_loss(90, "bank", 0.1):
        rows = tuple(
            replace(row, scores={**row.scores, "other": 1 - row.scores["score"]})
            for row in side.rows
        )
        pair.append(replace(side, rows=rows, summaries={}))
    chance = random.Random(8)
    shuffled = [replace(side, rows=tuple(chance.sample(side.rows, 90))) for side in pair]
    first, second = (judged((sides[0], sides[1]), rule) for sides in (pair, shuffled))
    assert canonical_json(first) == canonical_json(second)


@pytest.mark.parametrize(
    "rule",
    [
        "{name: a, kind: any_better_than_champion}",
        "{name: a, kind: any_better_than_champion, metrics: []}",
        "{name: a, kind: any_better_than_champion, metrics: [a, a]}",
        "{name: a, kind: any_better_than_champion, metrics: [a, '']}",
        "{name: a, kind: any_better_than_champion, metrics: [a], metric: b}",
        "{name: a, kind: better_than_champion, metric: m, slice: industry}",
        "{name: a, kind: at_least, metric: m, threshold: 1, minimum_slice: 10}",
        "{name: a, kind: at_least, metric: m, threshold: 1, slice: industry, minimum_slice: 1}",
        "{name: a, kind: requires, fact: f, slice: industry}",
    ],
)
def test_wrong_rules_are_refused(tmp_path: Path, rule: str) -> None:
    """A rule without its metrics, or with a slice where there is none, names its fault and is not
    used.
    """
    path = tmp_path / "gates.yaml"
    path.write_text(f"rules: [{rule}]\n")
    with pytest.raises(ConfigError, match=r"gates\.yaml"):
        load_policy(path)
