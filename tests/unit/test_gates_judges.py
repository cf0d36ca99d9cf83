"""A judge's word in the gate: it counts where the judge was calibrated and answered for every row,
and nowhere else.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from test_gates import evidence, policy

from sluicegate.gates import decide
from sluicegate.records import Decision, Evidence, JudgeUse, Verdict

ROWS = 100
JUDGE = "judge:coherence"
RULES: dict[str, dict[str, Any]] = {
    "at_least": {"metric": JUDGE, "threshold": 0.5},
    "at_most": {"metric": JUDGE, "threshold": 0.95},
    "not_worse_than_champion": {"metric": JUDGE, "margin": 0.1},
    "better_than_champion": {"metric": JUDGE},
    "any_better_than_champion": {"metrics": ["score", JUDGE]},
}


def judged_evidence(level: float, release: str, use: JudgeUse | None = None) -> Evidence:
    made = evidence([level] * ROWS, release)
    rows = tuple(replace(row, scores={"score": level, JUDGE: level}) for row in made.rows)
    summaries = {**made.summaries, JUDGE: made.summaries["score"]}
    return replace(
        made,
        rows=rows,
        summaries=summaries,
        judges={"coherence": use or JudgeUse("d" * 64, ROWS, 0)},
    )


def verdict(kind: str, standing: str | None, use: JudgeUse | None = None, **fields: Any) -> Verdict:
    rules = policy({"name": "judged", "kind": kind, **RULES[kind], **fields})
    facts = {} if standing is None else {JUDGE: standing}
    champion = judged_evidence(0.6, "b" * 64)
    return decide(judged_evidence(0.9, "c" * 64, use), champion, rules, facts=facts)


@pytest.mark.parametrize("kind", RULES)
def test_a_calibrated_judge_counts(kind: str) -> None:
    """With a calibration that stands and no failed row a judge's scores decide like any metric's."""
    assert verdict(kind, "ok").decision is Decision.PROMOTE


@pytest.mark.parametrize("kind", RULES)
@pytest.mark.parametrize(
    ("standing", "said"),
    [
        (None, "is not calibrated"),
        ("uncalibrated", "is not calibrated"),
        ("stale", "expired"),
        ("failed", "failed its calibration"),
        ("other_digest", "another model, prompt or settings"),
        ("", "not ok"),
        ("OK", "not ok"),
    ],
)
def test_any_other_standing_holds(kind: str, standing: str | None, said: str) -> None:
    """Whatever the scores, a judge that is not `ok`, to the letter, makes HOLD with the reason in
    every kind of rule.
    """
    found = verdict(kind, standing)
    assert found.decision is Decision.HOLD
    assert said in found.rules[0].reason
    assert found.rules[0].value is None


@pytest.mark.parametrize("kind", RULES)
def test_a_judge_for_comparisons_has_no_levels(kind: str) -> None:
    """A judge that is calibrated for comparisons alone decides those, and holds a rule with a
    threshold of its own, with the reason.
    """
    found = verdict(kind, "comparative")
    if kind in ("at_least", "at_most"):
        assert found.decision is Decision.HOLD
        assert "calibrated for comparisons only" in found.rules[0].reason
    else:
        assert found.decision is Decision.PROMOTE


@pytest.mark.parametrize("kind", RULES)
def test_failed_rows(kind: str) -> None:
    """A tenth of the rows without a usable answer is told and no more; above that, or where a judge
    scored fewer rows than there are, the rule holds and says on how many and why.
    """
    why = ("the answer is not a JSON object",)
    few = verdict(kind, "ok", JudgeUse("d" * 64, ROWS - 10, 10, why))
    assert few.decision is Decision.PROMOTE
    assert few.rules[0].reason.endswith(
        "10 of 100 answers had no usable score of judge:coherence and count at their worst for the "
        "candidate"
    )
    found = verdict(kind, "ok", JudgeUse("d" * 64, ROWS - 11, 11, why))
    assert found.decision is Decision.HOLD
    assert (
        found.rules[0].reason
        == "judge coherence failed on 11 of 100 rows (the answer is not a JSON object)"
    )
    bare = evidence([0.9] * ROWS, "c" * 64)
    old = replace(bare, judges={"coherence": JudgeUse("d" * 64, ROWS - 1, 1, why)})
    rules = policy({"name": "judged", "kind": kind, **RULES[kind]})
    without = decide(old, judged_evidence(0.6, "b" * 64), rules, facts={JUDGE: "ok"})
    assert "failed on 1 of 100 rows" in without.rules[0].reason
    assert verdict(kind, "ok", JudgeUse("d" * 64, ROWS - 1, 0)).decision is Decision.HOLD


def test_failures_on_the_champions_side_hold_too() -> None:
    """A comparison needs the judge's word on both sides."""
    champion = judged_evidence(0.6, "b" * 64, JudgeUse("d" * 64, 0, ROWS))
    rules = policy({"name": "judged", "kind": "better_than_champion", "metric": JUDGE})
    found = decide(judged_evidence(0.9, "c" * 64), champion, rules, facts={JUDGE: "ok"})
    assert found.decision is Decision.HOLD
    assert "of the champion" in found.rules[0].reason


def test_scores_without_a_judge_hold() -> None:
    """Scores under a judge's name that no judge answers for in the evidence make HOLD."""
    orphan = replace(judged_evidence(0.9, "c" * 64), judges={})
    rules = policy({"name": "judged", "kind": "at_least", "metric": JUDGE, "threshold": 0.5})
    found = decide(orphan, None, rules, facts={JUDGE: "ok"})
    assert found.decision is Decision.HOLD
    assert "was not asked" in found.rules[0].reason


def test_a_slice_does_not_get_round_it() -> None:
    """A rule in every slice is held by its judge like any other."""
    found = verdict("at_least", "stale", slice="industry")
    assert (found.decision, "expired" in found.rules[0].reason) == (Decision.HOLD, True)


@pytest.mark.parametrize("kind", RULES)
def test_a_scorer_that_asks_a_model_holds(kind: str) -> None:
    """A metric of a project's own that the evidence names among its judges decides nothing,
    whatever the facts say.
    """
    name = "my_metrics:relevance"
    sides = [
        replace(
            side,
            rows=tuple(
                replace(row, scores={"score": row.scores["score"], name: row.scores[JUDGE]})
                for row in side.rows
            ),
            summaries={"score": side.summaries["score"], name: side.summaries[JUDGE]},
            judges=judges,
        )
        for side, judges in (
            (judged_evidence(0.9, "c" * 64), {}),
            (judged_evidence(0.6, "b" * 64), {name: JudgeUse("d" * 64, ROWS, 0)}),
        )
    ]
    fields = {
        field: name if value == JUDGE else ["score", name] if field == "metrics" else value
        for field, value in RULES[kind].items()
    }
    rules = policy({"name": "judged", "kind": kind, **fields})
    for candidate, champion in (sides, sides[::-1]):
        found = decide(candidate, champion, rules, facts={name: "ok", f"judge:{name}": "ok"})
        assert found.decision is Decision.HOLD
        assert "my_metrics:relevance asks a model and is not calibrated" in found.rules[0].reason


def test_an_operation_of_that_name_does_not_get_round_it() -> None:
    """An operation named like a judge is no way past the calibration."""
    rules = policy({"name": "judged", "kind": "at_least", "metric": JUDGE, "threshold": 0.5})
    found = decide(
        evidence([0.9] * ROWS, operations={JUDGE: 1.0}), None, rules, facts={JUDGE: "ok"}
    )
    assert found.decision is Decision.HOLD


def test_other_rules_are_not_touched() -> None:
    """A judge that does not count holds only the rules that name it; where they only warn, the rest
    decides.
    """
    rules = policy(
        {
            "name": "judged",
            "kind": "at_least",
            "metric": JUDGE,
            "threshold": 0.5,
            "severity": "warn",
        },
        {"name": "floor", "kind": "at_least", "metric": "score", "threshold": 0.5},
    )
    found = decide(judged_evidence(0.9, "c" * 64), None, rules, facts={})
    assert [rule.decision for rule in found.rules] == [Decision.HOLD, Decision.PROMOTE]
    assert found.decision is Decision.PROMOTE
    assert "not calibrated" in found.reasons[-1]
