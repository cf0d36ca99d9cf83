"""What lm-eval tasks gave, and a base model against a tuned one, example by example."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from sluicegate.errors import EvidenceError
from sluicegate.evaluation.scoring import summarise
from sluicegate.gates.bounds import lower_bound, upper_bound
from sluicegate.gates.pairing import improvements, unpaired
from sluicegate.records import Evidence, Summary

ALPHA = 0.05
RANGES = {"bits_per_byte": (0.0, 16.0)}
"""Metrics whose values are not in [0, 1]; values beyond are cut.

What is no mean of examples (perplexity) is left out.
"""


@dataclass(frozen=True, slots=True)
class BenchmarkRun:
    """One model on several tasks.

    Attributes:
        evidence: task to Evidence, with a row for each example.
        directions: task to metric to `higher` or `lower`, whichever is better.
        left_out: task to metrics that have no value for each example.
    """

    evidence: Mapping[str, Evidence]
    directions: Mapping[str, Mapping[str, str]]
    left_out: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Base and tuned model on one metric of one task, example by example.

    `difference` is tuned minus base, turned so that positive is better, with its 95 % interval;
    `decision` holds at 95 % for all comparisons of a table together. `better` and `worse` count
    examples.
    """

    task: str
    metric: str
    direction: str
    base: Summary
    tuned: Summary
    difference: Summary
    better: int
    worse: int
    decision: Literal["better", "worse", "no difference shown"]


def compare_runs(base: BenchmarkRun, tuned: BenchmarkRun) -> list[Comparison]:
    """Each metric of each task, base against tuned, in the order of their names.

    Raises:
        EvidenceError: the two were not asked the same examples in the same way.
    """
    if base.directions != tuned.directions:
        raise EvidenceError(
            "the base and the tuned model were measured on different tasks or metrics."
        )
    pairs = [
        (task, metric)
        for task in sorted(base.directions)
        for metric in sorted(base.directions[task])
    ]
    return [_compared(base, tuned, task, metric, ALPHA / len(pairs)) for task, metric in pairs]


def _compared(
    base: BenchmarkRun, tuned: BenchmarkRun, task: str, metric: str, alpha: float
) -> Comparison:
    old, new, direction = base.evidence[task], tuned.evidence[task], base.directions[task][metric]
    if reason := unpaired(new, old):
        raise EvidenceError(
            f"{task}: the base and the tuned model were not asked the same: {reason}."
        )
    low, high = RANGES.get(metric.partition(",")[0], (0.0, 1.0))
    sample = improvements(new, old, metric, (low, high), direction)
    sign = 1.0 if direction == "higher" else -1.0
    changes = [
        sign * (a.scores[metric] - b.scores[metric])
        for a, b in zip(new.rows, old.rows, strict=True)
    ]
    decision: Literal["better", "worse", "no difference shown"] = "no difference shown"
    if upper_bound(sample, alpha / 2) < 0.0:
        decision = "worse"
    elif lower_bound(sample, alpha / 2) > 0.0:
        decision = "better"
    return Comparison(
        task,
        metric,
        direction,
        old.summaries[metric],
        new.summaries[metric],
        summarise(changes, [row.group for row in new.rows], (low - high, high - low)),
        sum(change > 0 for change in changes),
        sum(change < 0 for change in changes),
        decision,
    )
