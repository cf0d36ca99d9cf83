"""Rules against answers that cost nothing, the first release, and what a verdict says of both."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sluicegate.cards.wording import headline
from sluicegate.gates import Policy, absolute, decide
from sluicegate.hashing import digest_value
from sluicegate.records import Decision, Evidence, ScoredExample, Verdict

BETTER = {"name": "worth", "kind": "better_than_baseline", "metric": "m", "baseline": "lead2"}
GAIN = {"name": "gain", "kind": "better_than_champion", "metric": "m"}
FLOOR = {"name": "floor", "kind": "at_least", "metric": "m", "threshold": 0.3, "compare": "mean"}


def policy(*rules: dict[str, Any]) -> Policy:
    return Policy.model_validate({"rules": rules})


def evidence(level: float, rows: int = 100) -> Evidence:
    scored = tuple(
        ScoredExample(f"e{n:03d}", f"g{n}", "text", {"m": level}, 0.1, 9, 5) for n in range(rows)
    )
    return Evidence(f"{level}", "golden", "metrics", scored, {})


def judged(candidate: float, baseline: Evidence | None, *rules: dict[str, Any]) -> Verdict:
    beside = {} if baseline is None else {"lead2": baseline}
    return decide(evidence(candidate), evidence(0.5), policy(*rules), facts={}, baselines=beside)


@pytest.mark.parametrize(
    ("baseline", "decision"), [(0.4, Decision.PROMOTE), (0.8, Decision.REJECT)]
)
def test_the_baseline_decides(baseline: float, decision: Decision) -> None:
    """Better than the champion is not enough where two sentences of the input are better still."""
    found = judged(0.6, evidence(baseline), BETTER)
    assert found.decision is decision
    assert "against lead2" in found.rules[0].reason
    assert found.rules[0].champion_value == baseline


def test_a_loss_within_the_margin_is_no_loss() -> None:
    """`not_worse_than_baseline` allows a loss below its margin, no more."""
    rule = {**BETTER, "kind": "not_worse_than_baseline", "margin": 0.2}
    assert judged(0.5, evidence(0.55), rule).decision is Decision.PROMOTE
    assert judged(0.5, evidence(0.9), rule).decision is Decision.REJECT


@pytest.mark.parametrize(
    ("baseline", "said"),
    [
        (None, "lead2 was not evaluated"),
        (replace(evidence(0.1), golden="other"), "lead2 was judged on another golden set"),
    ],
)
def test_no_baseline_holds(baseline: Evidence | None, said: str) -> None:
    """A baseline that is missing, or of another golden set, is never a pass."""
    found = judged(0.9, baseline, BETTER)
    assert found.decision is Decision.HOLD
    assert said in found.rules[0].reason


def test_policies_without_a_baseline_keep_their_digest() -> None:
    """The new field is no part of an older policy: verdicts under it stay in force."""
    older = policy(GAIN)
    fields = (
        "name",
        "kind",
        "metric",
        "metrics",
        "threshold",
        "margin",
        "fact",
        "accept",
        "compare",
        "direction",
        "range",
        "slice",
        "minimum_slice",
        "severity",
    )
    content = older.model_dump(
        mode="json",
        include={
            "alpha": True,
            "power": True,
            "minimum_examples": True,
            "submissions": True,
            "approvals": True,
            "rules": {0: set(fields)},
        },
    )
    assert older.digest == digest_value(content)
    assert policy(BETTER).digest != policy({**BETTER, "baseline": "other"}).digest


@pytest.mark.parametrize(("level", "decision"), [(0.014, Decision.REJECT), (0.4, Decision.PROMOTE)])
def test_the_first_release_is_held_to_the_absolute_rules(level: float, decision: Decision) -> None:
    """Without a champion the rules that need none decide, and only they are in the verdict."""
    rules = policy(GAIN, FLOOR)
    assert [rule.name for rule in absolute(rules)] == ["floor"]
    found = decide(evidence(level), None, rules, facts={}, alone=True)
    assert found.decision is decision
    assert [rule.name for rule in found.rules] == ["floor"]
    nothing = decide(evidence(0.9), None, policy(GAIN), facts={}, alone=True)
    assert nothing.decision is Decision.HOLD


def test_a_metric_that_sees_nothing_is_told() -> None:
    """0.000 on both sides is said, whatever the rule makes of it."""
    rule = {"name": "kept", "kind": "not_worse_than_champion", "metric": "m", "margin": 0.1}
    found = decide(evidence(0.0), evidence(0.0), policy(rule), facts={})
    assert "Both score 0.000, the worst there is" in found.rules[0].reason
    other = decide(evidence(0.5), evidence(0.5), policy(rule), facts={})
    assert "worst" not in other.rules[0].reason
    clean = decide(evidence(0.0), evidence(0.0), policy({**rule, "direction": "lower"}), facts={})
    assert "worst" not in clean.rules[0].reason


def test_examples_are_only_promised_where_they_settle_all() -> None:
    """A number of examples speaks for all undecided rules; else the one it would not settle."""
    close = {"name": "close", "kind": "at_least", "metric": "m", "threshold": 0.45}
    wrong = {"name": "wrong", "kind": "at_least", "metric": "m", "threshold": 0.505}
    few = evidence(0.5, rows=20)
    rows = tuple(
        replace(row, scores={"m": 0.5 + 0.3 * (-1) ** n}) for n, row in enumerate(few.rows)
    )
    one = decide(replace(few, rows=rows), None, policy(close), facts={})
    assert one.decision is Decision.HOLD
    assert "more golden examples would settle it" in headline(one)
    both = decide(replace(few, rows=rows), None, policy(close, wrong), facts={})
    assert both.decision is Decision.HOLD
    assert "No number of golden examples would settle wrong:" in headline(both)
    assert "About" not in headline(both)
