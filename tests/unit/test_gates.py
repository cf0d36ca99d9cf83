"""The gate: what is shown passes, what is shown to be bad is rejected, everything else holds or is
an error.
"""

from __future__ import annotations

import math
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sluicegate.errors import ConfigError, EvidenceError
from sluicegate.gates import RULES, Policy, decide, load_policy
from sluicegate.hashing import canonical_json
from sluicegate.records import Decision, Evidence, ScoredExample, Summary, Verdict

NOT_WORSE = {"name": "kept", "kind": "not_worse_than_champion", "metric": "score", "margin": 0.1}
BETTER = {"name": "gain", "kind": "better_than_champion", "metric": "score"}


def policy(*rules: dict[str, Any], **settings: Any) -> Policy:
    return Policy.model_validate({"rules": rules, **settings})


def evidence(
    values: list[float], release: str = "c" * 64, groups: list[str] | None = None, **extra: Any
) -> Evidence:
    groups = groups or [f"g{i}" for i in range(len(values))]
    rows = tuple(
        ScoredExample(f"e{i:04d}", groups[i], "text", {"score": value}, 0.1, 10, 5)
        for i, value in enumerate(values)
    )
    mean = math.fsum(values) / len(values) if values else 0.0
    summaries = (
        {"score": Summary(mean, 0.0, 1.0, len(values), len(set(groups)))}
        if math.isfinite(mean)
        else {}
    )
    return Evidence(
        release, "golden", "metrics", rows, summaries, extra.pop("operations", {"latency_p95": 1.0})
    )


def noisy(n: int, shift: float, seed: int, spread: float = 0.1) -> tuple[Evidence, Evidence]:
    chance = random.Random(seed)
    old = [chance.uniform(0.3, 0.6) for _ in range(n)]
    new = [min(1.0, max(0.0, value + shift + chance.gauss(0, spread))) for value in old]
    return evidence(new), evidence(old, "d" * 64)


def judged(
    candidate: Evidence, champion: Evidence | None, *rules: dict[str, Any], **settings: Any
) -> Verdict:
    return decide(candidate, champion, policy(*rules, **settings), facts={})


def test_a_clear_gain_is_promoted_with_every_number() -> None:
    """A candidate that is plainly better passes, and the result says by how much and how sure."""
    verdict = judged(*noisy(100, 0.15, 1), NOT_WORSE, BETTER)
    assert verdict.decision is Decision.PROMOTE
    kept = verdict.rules[0]
    assert kept.low is not None
    assert kept.high is not None
    assert kept.difference is not None
    assert kept.low < kept.difference < kept.high
    assert kept.low > -0.1
    assert kept.p is not None
    assert kept.p < 0.05
    assert (kept.n, kept.margin, kept.more_examples) == (100, 0.1, None)
    assert kept.detectable is not None
    assert kept.value is not None
    assert kept.champion_value is not None
    assert kept.difference == pytest.approx(kept.value - kept.champion_value)


def test_a_clear_loss_is_rejected() -> None:
    """A candidate that loses more than the margin for sure is REJECT, and so is a promised gain
    that is ruled out.
    """
    verdict = judged(*noisy(100, -0.25, 2), NOT_WORSE, BETTER)
    assert [rule.decision for rule in verdict.rules] == [Decision.REJECT, Decision.REJECT]
    assert verdict.decision is Decision.REJECT
    assert verdict.reasons[0].startswith("kept: ")


def test_too_little_evidence_holds_and_says_how_many_more() -> None:
    """An equal candidate on few examples is HOLD with the number of examples that would decide."""
    verdict = judged(*noisy(40, 0.0, 3, 0.3), {**NOT_WORSE, "margin": 0.05})
    assert verdict.decision is Decision.HOLD
    assert verdict.rules[0].more_examples is not None
    assert verdict.rules[0].more_examples > 40


def test_an_equal_candidate_passes_at_the_recommended_size() -> None:
    """At the number of examples that HOLD recommends, an equal candidate passes in at least 80 % of
    samples.
    """
    pilot = judged(*noisy(40, 0.0, 3, 0.2), {**NOT_WORSE, "margin": 0.06}).rules[0]
    assert pilot.more_examples is not None
    size = 40 + pilot.more_examples
    passed = sum(
        judged(*noisy(size, 0.0, seed, 0.2), {**NOT_WORSE, "margin": 0.06}).decision
        is Decision.PROMOTE
        for seed in range(100, 150)
    )
    assert passed >= 38


def test_identical_answers_on_few_examples_are_not_proof() -> None:
    """With 58 ties a rare total loss is not ruled out at a margin of 5 points; with 59 it is
    (Clopper-Pearson).
    """
    ties = [1.0] * 59
    rule = {**NOT_WORSE, "margin": 0.05}
    assert (
        judged(evidence(ties[1:]), evidence(ties[1:], "d" * 64), rule, submissions=1).decision
        is Decision.HOLD
    )
    assert (
        judged(evidence(ties), evidence(ties, "d" * 64), rule, submissions=1).decision
        is Decision.PROMOTE
    )


def test_rows_of_one_group_count_as_dependent() -> None:
    """The same numbers in a fifth of the groups are weaker evidence: a wider interval and a smaller
    effective n.
    """
    chance = random.Random(5)
    shifts = [chance.gauss(0.05, 0.1) for _ in range(30)]
    old, new = [0.5] * 150, [0.5 + shifts[i // 5] for i in range(150)]
    groups = [f"g{i // 5}" for i in range(150)]
    apart = judged(evidence(new), evidence(old, "d" * 64), NOT_WORSE).rules[0]
    joined = judged(
        evidence(new, groups=groups), evidence(old, "d" * 64, groups=groups), NOT_WORSE
    ).rules[0]
    assert apart.effective_n > 140
    assert joined.effective_n == pytest.approx(30, rel=0.05)
    assert apart.low is not None
    assert joined.low is not None
    assert joined.low < apart.low


def test_lower_is_better_turns_the_comparison_round() -> None:
    """For a metric where lower is better a rise is a loss, while the difference keeps its own sign."""
    candidate, champion = noisy(100, 0.25, 6)
    verdict = decide(
        candidate, champion, policy(NOT_WORSE), facts={}, directions={"score": "lower"}
    )
    assert verdict.decision is Decision.REJECT
    assert verdict.rules[0].difference is not None
    assert verdict.rules[0].difference > 0
    assert (
        judged(champion, candidate, {**NOT_WORSE, "direction": "lower"}).decision
        is Decision.PROMOTE
    )


def test_the_verdict_does_not_depend_on_row_order() -> None:
    """Shuffled rows on either side give the same bytes."""
    candidate, champion = noisy(80, 0.05, 7)
    chance = random.Random(1)
    shuffled = [
        replace(side, rows=tuple(chance.sample(side.rows, 80))) for side in (candidate, champion)
    ]
    rules = (
        NOT_WORSE,
        BETTER,
        {"name": "floor", "kind": "at_least", "metric": "score", "threshold": 0.3},
    )
    assert canonical_json(judged(candidate, champion, *rules)) == canonical_json(
        judged(*shuffled, *rules)
    )


@pytest.mark.parametrize(
    ("rule", "decision"),
    [
        ({"kind": "at_least", "metric": "score", "threshold": 0.3}, Decision.PROMOTE),
        ({"kind": "at_least", "metric": "score", "threshold": 0.7}, Decision.REJECT),
        ({"kind": "at_least", "metric": "score", "threshold": 0.49}, Decision.HOLD),
        (
            {"kind": "at_least", "metric": "score", "threshold": 0.49, "compare": "mean"},
            Decision.PROMOTE,
        ),
        ({"kind": "at_most", "metric": "score", "threshold": 0.7}, Decision.PROMOTE),
        (
            {"kind": "at_most", "metric": "score", "threshold": 0.49, "compare": "mean"},
            Decision.REJECT,
        ),
        ({"kind": "at_most", "metric": "latency_p95", "threshold": 1.0}, Decision.PROMOTE),
        ({"kind": "at_most", "metric": "latency_p95", "threshold": 0.9}, Decision.REJECT),
        ({"kind": "at_least", "metric": "no_such", "threshold": 0.1}, Decision.HOLD),
    ],
)
def test_absolute_rules(rule: dict[str, Any], decision: Decision) -> None:
    """A score's bound (or mean, if asked), or an operation's value, against a number; what was not
    measured holds.
    """
    values = [0.5 + (0.1 if i % 2 else -0.1) for i in range(60)]
    assert judged(evidence(values), None, {"name": "r", **rule}).decision is decision


@pytest.mark.parametrize(
    ("facts", "decision"),
    [
        ({"drift": "OK"}, Decision.PROMOTE),
        ({"drift": "no_data"}, Decision.PROMOTE),
        ({"drift": "DRIFT"}, Decision.HOLD),
        ({"drift": ""}, Decision.HOLD),
        ({}, Decision.HOLD),
    ],
)
def test_required_facts(facts: dict[str, str], decision: Decision) -> None:
    """A fact with an accepted value passes; another value, and none at all, hold."""
    rules = policy({"name": "d", "kind": "requires", "fact": "drift", "accept": ["ok", "NO_DATA"]})
    assert decide(evidence([0.5] * 30), None, rules, facts=facts).decision is decision


def test_warnings_never_decide() -> None:
    """A failing rule of severity warn is reported and changes nothing."""
    failing = {
        "name": "fast",
        "kind": "at_most",
        "metric": "latency_p95",
        "threshold": 0.1,
        "severity": "warn",
    }
    verdict = judged(*noisy(100, 0.15, 1), BETTER, failing)
    assert verdict.decision is Decision.PROMOTE
    assert verdict.rules[1].decision is Decision.REJECT
    assert any(reason.startswith("warning: fast") for reason in verdict.reasons)


def test_without_a_comparable_champion_comparisons_hold() -> None:
    """No champion, another golden set, other metrics, or a metric that the champion lacks: never a
    pass.
    """
    candidate, champion = noisy(100, 0.3, 1)
    other = tuple(replace(row, scores={"other": 1.0}) for row in champion.rows)
    changes: list[dict[str, Any]] = [
        {"golden": "x"},
        {"metrics": "x"},
        {"rows": other, "summaries": {}},
    ]
    for side in (None, *(replace(champion, **change) for change in changes)):
        assert judged(candidate, side, NOT_WORSE).decision is Decision.HOLD


def test_below_the_minimum_nothing_is_concluded() -> None:
    """With fewer examples than the policy asks for even a perfect or a terrible result holds."""
    for shift in (0.3, -0.3):
        verdict = judged(*noisy(49, shift, 1, 0.01), NOT_WORSE, minimum_examples=50)
        assert verdict.decision is Decision.HOLD
        assert (verdict.rules[0].more_examples or 0) >= 1


def _rows(change: Any) -> Any:
    return lambda side: replace(side, rows=change(side.rows))


def _score(value: Any) -> Any:
    return _rows(lambda rows: (replace(rows[0], scores={"score": value}), *rows[1:]))


BROKEN = {
    "empty": _rows(lambda rows: ()),
    "duplicate": _rows(lambda rows: (*rows, rows[0])),
    "missing row": _rows(lambda rows: rows[1:]),
    "foreign id": _rows(lambda rows: (replace(rows[0], id="zzz"), *rows[1:])),
    "foreign group": _rows(lambda rows: (replace(rows[0], group="zzz"), *rows[1:])),
    "no group": _rows(lambda rows: (replace(rows[0], group=""), *rows[1:])),
    "missing score": _rows(lambda rows: (replace(rows[0], scores={}), *rows[1:])),
    "extra score": _rows(
        lambda rows: (replace(rows[0], scores={"score": 1.0, "x": 1.0}), *rows[1:])
    ),
    "nan": _score(float("nan")),
    "infinite": _score(float("inf")),
    "huge": _score(1e308),
    "text": _score("1.0"),
    "truth": _score(True),
    "none": _score(None),
    "out of range": _score(1.5),
    "edited score": _score(0.999),
    "nan operation": lambda side: replace(side, operations={"latency_p95": float("nan")}),
    "summary count": lambda side: replace(
        side, summaries={"score": replace(side.summaries["score"], n=3)}
    ),
    "summary mean": lambda side: replace(
        side, summaries={"score": replace(side.summaries["score"], mean=0.9)}
    ),
    "summary of nothing": lambda side: replace(side, summaries={"other": side.summaries["score"]}),
}


@pytest.mark.parametrize("name", sorted(BROKEN))
@pytest.mark.parametrize("which", [0, 1])
def test_broken_evidence_is_an_error(name: str, which: int) -> None:
    """Whatever is wrong with either evaluation, it is an error and never a verdict."""
    sides = list(noisy(100, 0.3, 1))
    sides[which] = BROKEN[name](sides[which])
    with pytest.raises(EvidenceError):
        judged(sides[0], sides[1], NOT_WORSE)


def test_a_range_of_its_own_is_used_and_checked() -> None:
    """Scores from 1 to 5 need the range that the rule or the metric gives; then they compare as
    usual.
    """
    new, old = evidence([5.0, 4.0] * 50), evidence([2.0, 3.0] * 50, "d" * 64)
    with pytest.raises(EvidenceError, match="range"):
        judged(new, old, BETTER)
    assert judged(new, old, {**BETTER, "range": (1, 5)}).decision is Decision.PROMOTE
    assert (
        decide(new, old, policy(BETTER), facts={}, ranges={"score": (1, 5)}).decision
        is Decision.PROMOTE
    )


POLICIES = {
    "unknown kind": "rules: [{name: a, kind: nonsense}]",
    "no margin": "rules: [{name: a, kind: not_worse_than_champion, metric: m}]",
    "zero margin": "rules: [{name: a, kind: not_worse_than_champion, metric: m, margin: 0}]",
    "negative margin": "rules: [{name: a, kind: better_than_champion, metric: m, margin: -1}]",
    "foreign field": "rules: [{name: a, kind: at_least, metric: m, threshold: 1, margin: 1}]",
    "unknown field": "rules: [{name: a, kind: at_least, metric: m, threshold: 1, tresh: 1}]",
    "nan": "rules: [{name: a, kind: at_least, metric: m, threshold: .nan}]",
    "no rules": "rules: []",
    "only warnings": "rules: [{name: a, kind: at_least, metric: m, threshold: 1, severity: warn}]",
    "same name": "rules: [{name: a, kind: requires, fact: f}, {name: a, kind: requires, fact: g}]",
    "empty fact": "rules: [{name: a, kind: requires, fact: ''}]",
    "range turned round": "rules: [{name: a, kind: at_least, metric: m, threshold: 1, range: [1, "
    "0]}]",
    "alpha": "alpha: 0.9\nrules: [{name: a, kind: requires, fact: f}]",
    "not yaml": "rules: [",
    "empty file": "",
}


@pytest.mark.parametrize("name", sorted(POLICIES))
def test_wrong_policies_are_refused(tmp_path: Path, name: str) -> None:
    """A policy that is malformed, incomplete, or could let everything pass names its fault and is
    not used.
    """
    path = tmp_path / "gates.yaml"
    path.write_text(POLICIES[name])
    with pytest.raises(ConfigError, match=r"gates\.yaml"):
        load_policy(path)


def test_the_shipped_policy_loads_and_its_digest_ignores_comments(tmp_path: Path) -> None:
    """registry/gates.yaml is valid, and only a change of meaning changes its digest."""
    shipped = Path(__file__).parents[2] / "registry" / "gates.yaml"
    first = load_policy(shipped)
    copy = tmp_path / "gates.yaml"
    copy.write_text("# another comment\n" + shipped.read_text())
    assert load_policy(copy).digest == first.digest
    copy.write_text(shipped.read_text().replace("margin: 0.05", "margin: 0.06"))
    assert load_policy(copy).digest != first.digest
    assert {rule.kind for rule in first.rules} <= set(RULES)


@pytest.mark.parametrize(
    ("kind", "threshold", "values", "decision", "said"),
    [
        ("at_least", 0.5, [0.9] * 100, Decision.PROMOTE, "at least 0.5 is shown"),
        ("at_least", 0.5, [0.1] * 100, Decision.REJECT, "at least 0.5 is shown to fail"),
        ("at_most", 0.5, [0.1] * 100, Decision.PROMOTE, "at most 0.5 is shown"),
        ("at_most", 0.5, [0.9] * 100, Decision.REJECT, "at most 0.5 is shown to fail"),
        ("at_least", 0.5, [0.0, 1.0] * 30, Decision.HOLD, "at least 0.5 is not shown"),
    ],
)
def test_a_threshold_says_which_way_it_goes(
    kind: str, threshold: float, values: list[float], decision: Decision, said: str
) -> None:
    """The reason of a threshold names its direction, its number and what was found."""
    rule = {"name": "t", "kind": kind, "metric": "score", "threshold": threshold}
    found = judged(evidence(values), None, rule).rules[0]
    assert found.decision is decision
    assert found.reason.endswith(said)
    operation = judged(evidence(values), None, {**rule, "metric": "latency_p95"}).rules[0]
    assert operation.reason == f"1, {said.rpartition(' is ')[0]} is required"


def test_rows_of_one_group_carry_less_than_independent_ones() -> None:
    """Equal scores within each of 20 groups of 5: the effective number of rows is about the number
    of groups.
    """
    chance = random.Random(4)
    means = [chance.uniform(0.2, 0.8) for _ in range(20)]
    groups = [f"g{i // 5}" for i in range(100)]
    clustered = evidence([means[i // 5] for i in range(100)], groups=groups)
    rule = {"name": "t", "kind": "at_least", "metric": "score", "threshold": 0.1}
    assert 18 < judged(clustered, None, rule).rules[0].effective_n < 21
    independent = evidence([chance.uniform(0.2, 0.8) for _ in range(100)])
    assert judged(independent, None, rule).rules[0].effective_n == pytest.approx(100, abs=1)


def test_a_warning_that_passes_is_no_reason() -> None:
    """What made a PROMOTE are the blocking rules; a rule that only warns is told where it did not
    pass.
    """
    passes = {
        "name": "seen",
        "kind": "at_least",
        "metric": "score",
        "threshold": 0.5,
        "severity": "warn",
    }
    fails = {**passes, "name": "missed", "threshold": 0.99}
    blocks = {**passes, "name": "asked", "severity": "block"}
    verdict = judged(evidence([0.9] * 100), None, passes, fails, blocks)
    assert verdict.decision is Decision.PROMOTE
    assert [reason.split(":")[0] for reason in verdict.reasons] == ["asked", "warning"]
