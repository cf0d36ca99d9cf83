"""The report on the evidence itself: spread of scores, worst slices, which judges counted."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from sluicegate.cards.charts import ticks
from sluicegate.cards.judge_report import calibration_plot
from sluicegate.cards.svg import box, path, svg, text
from sluicegate.records import MOST_UNUSABLE, Evidence, JudgeUse, Summary

BINS = 24
FEWEST = 10
"""A slice with fewer examples is not called the worst one where another has more."""
STANDING = {
    "ok": "calibrated against people",
    "comparative": "calibrated against people, for comparisons",
    "uncalibrated": "not calibrated against people",
    "stale": "its calibration has expired",
    "failed": "it failed its calibration",
    "other_digest": "calibrated with another model, prompt or settings",
}


@dataclass(frozen=True, slots=True)
class SliceRow:
    """One metric on the examples where `column` is `value`.

    `gain` above 0 means that the candidate did better.

    Without a champion `gain` is how good the candidate's mean is, from the metric's own direction.
    """

    column: str
    value: str
    metric: str
    candidate: Summary
    champion: Summary | None
    difference: Summary | None
    gain: float

    @property
    def name(self) -> str:
        """As in a rule's result."""
        return f"{self.column}={self.value}"


@dataclass(frozen=True, slots=True)
class JudgeShown:
    """One judge of this evaluation.

    Attributes:
        candidate, champion: how many rows of each it scored.
        standing: see `judges.calibration.standing`.
        rules: names of the rules that rest on it.
        record: its calibration, as recorded under its digest; None where there is none.
    """

    name: str
    candidate: JudgeUse
    champion: JudgeUse | None
    standing: str
    rules: tuple[str, ...] = ()
    record: Mapping[str, Any] | None = None

    @property
    def counts(self) -> bool:
        """Whether the gate believes it."""
        return not self.problem

    @property
    def problem(self) -> str:
        """Why it does not count; empty where it does."""
        for use, whose in ((self.candidate, "candidate"), (self.champion, "champion")):
            if use is not None and use.failed > MOST_UNUSABLE * (use.scored + use.failed):
                why = f" ({use.reasons[0]})" if use.reasons else ""
                return (
                    f"failed on {use.failed} of {use.scored + use.failed} answers of the "
                    f"{whose}{why}"
                )
        counted = self.standing in ("ok", "comparative")
        return "" if counted else STANDING.get(self.standing, self.standing)

    @property
    def notes(self) -> tuple[str, ...]:
        """What else is known of it: what it is calibrated for, and what it said of itself."""
        if self.problem:
            return ()
        use = ("for comparisons only",) if self.standing == "comparative" else ()
        failed = (
            f"{one.failed} answers of the {whose} without a usable verdict count at their worst "
            "for the candidate"
            for one, whose in ((self.candidate, "candidate"), (self.champion, "champion"))
            if one is not None and one.failed
        )
        return (*use, *failed, *self.candidate.reasons)

    @property
    def plot(self) -> Markup:
        """People's scores over its own; empty without a calibration."""
        return calibration_plot(self.record["points"]) if self.record else Markup("")


def distribution(candidate: Sequence[float], champion: Sequence[float]) -> Markup:
    """How scores spread: bars for the candidate, a line for the champion, shares of all rows.

    Example:
        >>> "<rect" in distribution([0.1, 0.2, 0.9], []), distribution([], [])
        (True, Markup(''))
    """
    values = [value for value in (*candidate, *champion) if math.isfinite(value)]
    if not values:
        return Markup("")
    low, high = min(values), max(values)
    if high - low < 1e-12:
        low, high = min(low, 0.0), max(high, 1.0)
    shares = [_shares(side, low, high) for side in (candidate, champion)]
    most = max(max(side, default=0.0) for side in shares) or 1.0
    left, right, bottom, top = 14, 346, 74, 6
    width = (right - left) / BINS

    def y(share: float) -> float:
        return round(bottom - (bottom - top) * share / most, 1)

    parts = []
    for place, share in enumerate(shares[0]):
        if share:
            start, wide = f"{left + place * width + 0.5:.1f}", f"{width - 1:.1f}"
            parts.append(box("bin", start, y(share), wide, f"{bottom - y(share):.1f}"))
    if shares[1]:
        steps = [f"M{left} {bottom}"]
        steps += [
            f"V{y(share)}H{left + (place + 1) * width:.1f}" for place, share in enumerate(shares[1])
        ]
        parts.append(path("outline", f"{''.join(steps)}V{bottom}"))
    parts.append(path("grid", f"M{left} {bottom}H{right}"))
    for tick in ticks(low, high, 4):
        across = left + (right - left) * (tick - low) / (high - low)
        parts.append(text(round(across, 1), bottom + 16, f"{tick:g}", "middle"))
    return svg(360, 96, "How the scores spread", parts, "chart spread")


def spreads(candidate: Evidence, champion: Evidence | None) -> dict[str, Markup]:
    """The distribution of every metric of the candidate."""
    return {
        metric: distribution(
            [row.scores[metric] for row in candidate.rows],
            [row.scores[metric] for row in champion.rows]
            if champion and metric in champion.summaries
            else [],
        )
        for metric in candidate.summaries
    }


def worst_slices(rows: Sequence[SliceRow]) -> list[SliceRow]:
    """The worst slice of each metric, among those of 10 examples or more where there are any."""
    found = []
    for metric in dict.fromkeys(row.metric for row in rows):
        own = [row for row in rows if row.metric == metric]
        large = [row for row in own if row.candidate.n >= FEWEST] or own
        found.append(min(large, key=lambda row: (row.gain, row.name)))
    return found


def _shares(values: Sequence[float], low: float, high: float) -> list[float]:
    finite = [value for value in values if math.isfinite(value)]
    counts = [0] * BINS if finite else []
    for value in finite:
        counts[min(BINS - 1, int((value - low) / (high - low) * BINS))] += 1
    return [count / len(finite) for count in counts]
