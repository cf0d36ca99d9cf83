"""The edges of the policy's fields, and what evidence is refused for: each error names its own reason."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError
from test_gates import BETTER, NOT_WORSE, evidence, noisy, policy

from sluicegate.errors import ConfigError, EvidenceError
from sluicegate.gates import Policy, allowance, decide
from sluicegate.gates.bounds import clusters
from sluicegate.gates.pairing import checked, effective_size, improvements, sample_of, unpaired
from sluicegate.gates.planning import more_examples
from sluicegate.gates.rules import check_rule
from sluicegate.records import Decision, Evidence, JudgeUse

FACT = {"name": "seen", "kind": "requires", "fact": "f"}
APPROVALS = {"required": 1, "role": "r", "people": {"ana": ("r",)}}


def made(**changes: Any) -> Policy:
    """A policy of one rule; a setting whose name begins with `rule_` or `approvals_` goes there."""
    rule, approvals, rest = dict(FACT), dict(APPROVALS), {}
    for name, value in changes.items():
        place, _, field = name.partition("_")
        {"rule": rule, "approvals": approvals}.get(place, rest)[
            field if place in ("rule", "approvals") else name
        ] = value
    return Policy.model_validate({"rules": [rule], "approvals": approvals, **rest})


@pytest.mark.parametrize(
    "changes",
    [
        {"rule_name": ""},
        {"rule_name": "n" * 101},
        {"rule_margin": -1e-9},
        {"rule_minimum_slice": 1},
        {"rule_range": (1.0, 1.0)},
        {"rule_metrics": ("a", "a")},
        {"rule_metrics": ("a", "")},
        {"rule_severity": "warn"},
        {"submissions": 0},
        {"submissions": 1001},
        {"approvals_required": 0},
        {"approvals_required": 2},
        {"approvals_role": ""},
        {"approvals_role": "other"},
        {"approvals_wait_hours": 0},
        {"rules": ()},
        {"rules": (FACT, FACT)},
    ],
)
def test_one_step_past_the_edge_is_refused(changes: dict[str, Any]) -> None:
    """A name too short or long, a number out of range, a thing named twice: never a policy."""
    with pytest.raises(ValidationError):
        made(**changes)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"rule_name": "n"},
        {"rule_name": "n" * 100},
        {"rule_margin": 0.0},
        {"rule_minimum_slice": 2},
        {"rule_range": (1.0, 1.1)},
        {"rule_metrics": tuple(f"metric {number}" for number in range(300))},
        {"rules": tuple({**FACT, "name": f"rule {number}"} for number in range(300))},
        {"rules": (FACT, {**FACT, "name": "told", "severity": "warn"})},
        {"submissions": 1},
        {"submissions": 1000},
        {"approvals_wait_hours": 1e-9},
        {
            "approvals_required": 2,
            "approvals_people": {"ana": ("r",), "ben": ("s", "r"), "cleo": ("s",)},
        },
    ],
)
def test_the_edge_itself_is_allowed(changes: dict[str, Any]) -> None:
    """The smallest and the largest that is meant, and hundreds of rules or metrics, make a policy."""
    assert isinstance(made(**changes), Policy)


def test_what_is_left_out_has_the_documented_value() -> None:
    """The defaults are those of the documentation; a digest depends on them."""
    plain = Policy.model_validate({"rules": [FACT]})
    assert (plain.alpha, plain.power, plain.minimum_examples, plain.submissions) == (
        0.05,
        0.8,
        20,
        20,
    )
    assert plain.approvals is None
    assert made().approvals is not None
    assert made().approvals.wait_hours == 72.0


LAST: dict[str, tuple[Callable[[Evidence], Any], str]] = {
    "lost score": (lambda side: {"scores": {}}, "'e0019' lacks a score"),
    "another score": (
        lambda side: {"scores": {"score": side.rows[-1].scores["score"], "x": 1.0}},
        "'e0019' lacks",
    ),
    "no id": (lambda side: {"id": ""}, "no id or no group"),
    "no group": (lambda side: {"group": ""}, "no id or no group"),
    "same id": (lambda side: {"id": "e0000"}, "evaluated twice"),
    "too large": (lambda side: {"scores": {"score": -1.1e12}}, "score is -1100000000000"),
    "a truth": (lambda side: {"scores": {"score": True}}, "score is not a number"),
    "another mean": (lambda side: {"scores": {"score": 0.5 + 1e-6}}, "summary of score"),
}


@pytest.mark.parametrize("name", sorted(LAST))
def test_the_last_row_is_looked_at_like_the_first(name: str) -> None:
    """Damage anywhere in the rows is found, and the error says what it is."""
    change, said = LAST[name]
    side = evidence([0.5] * 20)
    assert checked(side, "it").rows == side.rows
    with pytest.raises(EvidenceError, match=f"^it: .*{said}"):
        checked(replace(side, rows=(*side.rows[:-1], replace(side.rows[-1], **change(side)))), "it")


@pytest.mark.parametrize("counted", [19, 21])
def test_a_summary_counts_the_rows(counted: int) -> None:
    """One row more or less than there are is another evaluation's summary."""
    side = evidence([0.5] * 20)
    with pytest.raises(EvidenceError, match="summary of score"):
        checked(
            replace(side, summaries={"score": replace(side.summaries["score"], n=counted)}), "it"
        )


@pytest.mark.parametrize(
    ("scored", "failed", "said"), [(8, 0, "12 of 20"), (17, 3, "3 of 20"), (20, 1, "1 of 20")]
)
def test_a_judge_that_failed_says_on_how_many_rows(scored: int, failed: int, said: str) -> None:
    """Rows that are counted as failed, else those that lack a score; the first reason is told."""
    side = replace(
        evidence([0.5] * 20),
        judges={"tone": JudgeUse("a" * 64, scored, failed, ("timed out", "other"))},
    )
    rule = {"name": "j", "kind": "at_least", "metric": "judge:tone", "threshold": 0.1}
    found = decide(side, None, policy(rule), facts={"judge:tone": "ok"}).rules[0]
    assert (found.decision, found.reason) == (
        Decision.HOLD,
        f"judge tone failed on {said} rows (timed out)",
    )


def test_whole_numbers_and_large_ones_are_numbers() -> None:
    """A score of 1, and one of 1e12, count as they are where the rule's range allows them."""
    checked(evidence([1, 0, 1e12]), "it")
    sample = sample_of(evidence([0.0, 1.0]), "score", (0.0, 1.0))
    assert (sample.worst, sample.best, sample.rows, sample.mean) == (0.0, 1.0, 2, 0.5)
    for outside in (-1e-8, 1 + 1e-8):
        with pytest.raises(EvidenceError, match="outside its range 0 to 1"):
            sample_of(evidence([0.5, outside]), "score", (0.0, 1.0))
        for pair in (([0.5, outside], [0.5, 0.5]), ([0.5, 0.5], [0.5, outside])):
            with pytest.raises(EvidenceError, match="outside its range 0 to 1"):
                improvements(*(evidence(values) for values in pair), "score", (0.0, 1.0), "higher")
    found = improvements(evidence([3.0, 5.0]), evidence([1.0, 4.5]), "score", (1.0, 5.0), "lower")
    assert (found.means.tolist(), found.worst, found.best) == ([-2.0, -0.5], -4.0, 4.0)


def test_only_the_same_questions_are_compared() -> None:
    """Another golden set or other metrics hold, each with its reason; other ids, groups or slices are an error."""
    one, two = noisy(30, 0.0, 1)
    assert unpaired(one, two) == ""
    # As read from two files: equal, but not the same object.
    assert (
        unpaired(
            one, replace(two, golden="".join(list(two.golden)), metrics="".join(list(two.metrics)))
        )
        == ""
    )
    for golden in ("a", "z"):
        assert "another golden set" in unpaired(one, replace(two, golden=golden))
    for metrics in ("a", "z"):
        assert "other metrics" in unpaired(one, replace(two, metrics=metrics))
    for change in (
        {"id": "e0"},
        {"id": "z"},
        {"group": "a"},
        {"group": "z"},
        {"slices": {"industry": "x"}},
    ):
        other = replace(two, rows=(replace(two.rows[0], **change), *two.rows[1:]))
        for pair in ((one, other), (other, one)):
            with pytest.raises(EvidenceError, match="different examples"):
                unpaired(*pair)


def test_the_effective_size_lies_between_one_and_the_rows() -> None:
    """Without variation it is the number of groups, however many rows they have."""
    same = clusters([0.5] * 6, list("aabbcc"), 0.0, 1.0)
    assert effective_size(same, 0.0) == 3.0
    apart = clusters([0.0, 1.0, 0.0, 1.0], list("abcd"), 0.0, 1.0)
    assert effective_size(apart, 1e9) == 4.0
    assert effective_size(apart, 1e-9) == 1.0
    assert effective_size(apart, 1 / 6) == pytest.approx(2.0)


def test_a_choice_of_metrics_plans_only_where_it_holds() -> None:
    """One metric that passes is enough and asks for no more rows; where none does, the least that would do is asked."""
    chance = random.Random(6)

    def side(release: str, clear: float, faint: float) -> Evidence:
        rows = []
        for row in evidence([0.5] * 60, release).rows:
            noise = [chance.gauss(0, 0.1) for _ in range(2)] if release == "c" * 64 else [0.0, 0.0]
            rows.append(
                replace(row, scores={"a": 0.4 + clear + noise[0], "b": 0.4 + faint + noise[1]})
            )
        return replace(evidence([0.5]), release=release, rows=tuple(rows), summaries={})

    rule = {"name": "any", "kind": "any_better_than_champion", "metrics": ["a", "b"]}
    old = side("d" * 64, 0.0, 0.0)
    passed = decide(side("c" * 64, 0.2, 0.02), old, policy(rule), facts={}).rules[0]
    assert (passed.decision, passed.more_examples) == (Decision.PROMOTE, None)
    assert "shown on a" in passed.reason
    new, rules = side("c" * 64, 0.02, 0.03), policy(rule)
    held = decide(new, old, rules, facts={}).rules[0]
    pairs = [improvements(new, old, metric, (0.0, 1.0), "higher") for metric in ("a", "b")]
    share = allowance((False,), rules) / 2  # of the next look, for each of two metrics
    plans = [more_examples(pair, 0.0, pair.mean, share, rules.power) for pair in pairs]
    assert held.decision is Decision.HOLD
    assert held.more_examples == min(plan for plan in plans if plan is not None)
    flat = decide(side("d" * 64, -0.001, -0.001), old, policy(rule), facts={}).rules[0]
    assert (flat.decision, flat.more_examples) == (Decision.HOLD, None)


def test_a_used_up_golden_set_says_so_and_nothing_else() -> None:
    """After its last look every rule holds for that reason, without a plan, and the verdict asks for fresh examples."""
    verdict = decide(
        *noisy(100, 0.15, 1), policy(NOT_WORSE, submissions=3), facts={}, earlier=[False] * 3
    )
    assert verdict.decision is Decision.HOLD
    assert (verdict.alpha, verdict.look, verdict.looks) == (0.0, 4, 3)
    assert verdict.reasons == (
        "this golden set gave 3 verdicts, and the policy allows 3: one more would say nothing sure; "
        "put fresh examples in its place",
    )
    assert (verdict.rules[0].reason, verdict.rules[0].more_examples) == (
        "the golden set's share of error is used up",
        None,
    )


def test_just_enough_examples_are_judged() -> None:
    """At the minimum the rules speak; one below it they hold, and ask for at least that one."""
    rule = {"name": "t", "kind": "at_least", "metric": "score", "threshold": 0.5}
    assert (
        decide(evidence([0.9] * 30), None, policy(rule, minimum_examples=30), facts={}).decision
        is Decision.PROMOTE
    )
    below = decide(evidence([0.9] * 29), None, policy(rule, minimum_examples=30), facts={}).rules[0]
    assert (below.decision, below.more_examples) == (Decision.HOLD, 1)
    assert below.reason == "29 examples, 30 are needed before anything is concluded"


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ({"kind": "nonsense"}, "kind 'nonsense' is unknown"),
        ({"kind": "at_least", "metric": "m"}, "threshold is missing"),
        ({"kind": "at_least", "metric": "m", "threshold": None}, "threshold is missing"),
        ({"kind": "at_most", "metric": "", "threshold": 1}, "metric is missing"),
        ({"kind": "any_better_than_champion", "metrics": ()}, "metrics is missing"),
        ({"kind": "requires", "fact": "f", "metric": "m", "margin": 1}, "requires takes no margin"),
        (
            {"kind": "better_than_champion", "metric": "m", "slice": "s"},
            "better_than_champion takes no slice",
        ),
        ({"kind": "not_worse_than_champion", "metric": "m", "margin": 0}, "margin must be above 0"),
        (
            {"kind": "at_least", "metric": "m", "threshold": 1, "minimum_slice": 5},
            "minimum_slice needs slice",
        ),
    ],
)
def test_a_rule_that_cannot_be_meant_names_its_fault(rule: dict[str, Any], said: str) -> None:
    """File, rule and field are named; the same holds for a policy that no file was read for."""
    found = policy({"name": "mine", **rule})
    with pytest.raises(ConfigError, match=f"^here: rule 'mine': .*{said}"):
        check_rule(found.rules[0], "here")
    with pytest.raises(ConfigError, match=f"^policy: rule 'mine': .*{said}"):
        decide(evidence([0.5] * 30), None, found, facts={})


@pytest.mark.parametrize(
    "rule",
    [
        {"kind": "at_least", "metric": "m", "threshold": 0.0, "slice": "s", "minimum_slice": 5},
        {
            "kind": "not_worse_than_champion",
            "metric": "m",
            "margin": 1e-9,
            "direction": "lower",
            "range": (0, 5),
        },
        {"kind": "better_than_champion", "metric": "m", "margin": 0.0},
        {"kind": "requires", "fact": "f", "accept": ["ok"], "severity": "warn"},
    ],
)
def test_a_rule_may_have_what_its_kind_takes(rule: dict[str, Any]) -> None:
    """A threshold or margin of nought is a number like others; name, kind and severity go with every kind."""
    check_rule(policy({"name": "mine", **rule}, {**FACT, "name": "also"}).rules[0], "here")


@pytest.mark.parametrize("kind", ["at_least", "at_most"])
def test_a_mean_that_is_the_threshold_meets_it(kind: str) -> None:
    """`compare: mean` takes equality for enough, one step further on either side decides."""
    side = evidence([0.25, 0.75] * 15)
    rule = {"name": "t", "kind": kind, "metric": "score", "threshold": 0.5, "compare": "mean"}
    sign = 1 if kind == "at_least" else -1
    found = [
        decide(side, None, policy({**rule, "threshold": 0.5 + sign * step}), facts={})
        for step in (0, -0.01, 0.01)
    ]
    assert [verdict.decision for verdict in found] == [
        Decision.PROMOTE,
        Decision.PROMOTE,
        Decision.REJECT,
    ]
    assert found[0].rules[0].reason.endswith(f"], {kind.replace('_', ' ')} 0.5 is required")
    assert found[0].rules[0].reason.startswith("mean 0.5 [")


@pytest.mark.parametrize(
    ("shift", "rule", "said"),
    [
        (0.15, NOT_WORSE, "a loss below 0.1 is shown"),
        (-0.25, NOT_WORSE, "a loss below 0.1 is ruled out"),
        (-0.08, NOT_WORSE, "neither a loss below 0.1 nor the opposite is shown"),
        (0.15, {**BETTER, "margin": 0.05}, "a gain above 0.05 is shown"),
        (-0.1, BETTER, "a gain above 0 is ruled out"),
        (0.0, BETTER, "neither a gain above 0 nor the opposite is shown"),
    ],
)
def test_a_comparison_says_what_is_shown(shift: float, rule: dict[str, Any], said: str) -> None:
    """The reason gives the difference and its bounds with their signs, and what follows for the margin."""
    found = decide(*noisy(100, shift, 1), policy(rule), facts={}).rules[0]
    assert found.difference is not None
    interval = f"{found.difference:+.4g} [{found.low:+.4g}, {found.high:+.4g}]"
    assert found.reason == f"{interval} against the champion: {said}"
    assert found.margin == (0.1 if rule is NOT_WORSE else rule.get("margin", 0.0))
    assert (found.more_examples is not None) == (found.decision is Decision.HOLD)
    assert found.p == float(f"{found.p:.10g}")


@pytest.mark.parametrize(("kind", "good", "bad"), [("at_least", 2.5, 1.5), ("at_most", 1.5, 2.5)])
def test_an_operation_is_compared_as_it_is(kind: str, good: float, bad: float) -> None:
    """On the right side of the threshold, or on it, an operation's value passes; on the wrong side it is rejected."""
    rule = {"name": "o", "kind": kind, "metric": "tokens", "threshold": 2.0}
    for value, decision in (
        (good, Decision.PROMOTE),
        (2.0, Decision.PROMOTE),
        (bad, Decision.REJECT),
    ):
        side = evidence([0.5] * 30, operations={"tokens": value})
        found = decide(side, None, policy(rule), facts={}).rules[0]
        assert (found.decision, found.value, found.margin, found.n) == (decision, value, 2.0, 30)
