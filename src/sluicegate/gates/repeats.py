"""What repeats of an evaluation say: how much of the noise is the model's own, and what would buy
certainty.

With r answers to each of n rows, a mean over the rows varies by (B + W / r) / n: B is the variance
between the rows, W that within them, from answer to answer to the same question (a one-way random
effects model; S. Searle, G. Casella, C. McCulloch, "Variance components", 1992, chapter 3). One
more repeat takes from W only; n / r new rows, which cost as many answers, take from both. New rows
are therefore never worse for the same number of answers: repeats are for where rows are dear.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from sluicegate.records import Evidence, ScoredExample


@dataclass(frozen=True, slots=True)
class Noise:
    """The noise of one metric.

    Attributes:
        metric: its name.
        repeats: answers to each row.
        within, between: standard deviations, in the metric's unit.
        flipped: ids of the rows whose answers scored on both sides of the middle of the range.
        error: standard error of the mean over the rows, each its own group.
        with_repeat: the same with one more repeat of every row.
        with_rows: the same with so many more rows as cost as many answers.
        without_noise: the same with endless repeats of these rows.
        compared: whether it is the difference from the champion that varies so.
    """

    metric: str
    repeats: int
    within: float
    between: float
    flipped: tuple[str, ...]
    error: float
    with_repeat: float
    with_rows: float
    without_noise: float
    compared: bool = False

    @property
    def advice(self) -> str:
        """What more answers would buy, in a sentence."""
        if self.error <= 0:
            return "no noise seen: nothing to buy"
        repeat, rows, most = (
            100 * (1 - value / self.error)
            for value in (self.with_repeat, self.with_rows, self.without_noise)
        )
        return (
            f"one more repeat narrows the interval by {repeat:.0f} %, as many answers to new rows "
            f"by {rows:.0f} %; no number of repeats by more than {most:.0f} %"
        )


def noise(
    candidate: Evidence,
    champion: Evidence | None,
    metric: str,
    bounds: tuple[float, float] = (0.0, 1.0),
) -> Noise | None:
    """How much `metric` varies within and between rows; None where rows were not repeated.

    Args:
        candidate: says which rows flip.
        champion: where it has as many repeats, the difference from it is looked at.
        metric: scored on every row.
        bounds: its smallest and largest score.
    """
    rows = candidate.rows
    if not rows or metric not in rows[0].scores or len(rows[0].repeats) < 2 or len(rows) < 2:
        return None
    middle = (bounds[0] + bounds[1]) / 2
    flipped = tuple(
        row.id for row in rows if min(row.each(metric)) < middle <= max(row.each(metric))
    )
    others = champion.rows if champion and _pairs(candidate, champion, metric) else None
    repeats, count = len(rows[0].repeats), len(rows)
    within = _within(rows, metric) + (_within(others, metric) if others else 0.0)
    means = [row.scores[metric] for row in rows]
    if others:
        means = [mean - other.scores[metric] for mean, other in zip(means, others, strict=True)]
    total = _variance(means)
    between = max(total - within / repeats, 0.0)

    def error(answers: float, more: float) -> float:
        return math.sqrt((between + within / answers) / more)

    return Noise(
        metric,
        repeats,
        math.sqrt(within),
        math.sqrt(between),
        flipped,
        error(repeats, count),
        error(repeats + 1, count),
        error(repeats, count * (repeats + 1) / repeats),
        error(math.inf, count),
        compared=others is not None,
    )


def _pairs(candidate: Evidence, champion: Evidence, metric: str) -> bool:
    """Whether the two can be compared row by row, with equally many repeats."""
    return candidate.release != champion.release and [
        (row.id, len(row.repeats)) for row in candidate.rows
    ] == [(row.id, len(row.repeats)) for row in champion.rows if metric in row.scores]


def _within(rows: Sequence[ScoredExample], metric: str) -> float:
    return math.fsum(_variance(row.each(metric)) for row in rows) / len(rows)


def _variance(values: Sequence[float]) -> float:
    mean = math.fsum(values) / len(values)
    return math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)
