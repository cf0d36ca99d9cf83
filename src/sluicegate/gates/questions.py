"""What a rule asks, for plans: a sample of which the mean has to exceed something.

The sample is that of a candidate which is as good as planned for: the champion's answers, or the
pilot's differences from them, moved to the planned gain.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from sluicegate.gates.bounds import Clusters, clusters
from sluicegate.gates.checks import ROUNDING, Case, amount
from sluicegate.gates.policy import Rule
from sluicegate.gates.repeats import noise
from sluicegate.gates.rules import RULES
from sluicegate.records import Evidence

_ASSUMED = 1000
"""Rows that stand for an assumed distribution."""


@dataclass(frozen=True, slots=True)
class Assumed:
    """How the answers of a candidate are taken to differ from the champion's, without a pilot.

    Attributes:
        discordance: share of the rows whose scores differ, 0 to 1.
        sd: standard deviation of the difference in those rows, in the metric's unit: as many are
            better by so much as are worse; 1 for scores of 0 and 1.
    """

    discordance: float
    sd: float


@dataclass(frozen=True, slots=True)
class Setup:
    """The case that is planned from, the true gain, and what is assumed in place of a pilot."""

    case: Case
    gain: float
    assumed: Assumed | None

    @property
    def incumbent(self) -> Evidence:
        """Whose answers an equal candidate gives."""
        return self.case.champion or self.case.candidate


@dataclass(frozen=True, slots=True)
class Question:
    """What has to be shown.

    Attributes:
        sample: its mean is the true one that is planned for; more is better.
        null: what the mean has to exceed.
        certain: the spread is assumed, not estimated.
    """

    sample: Clusters
    null: float
    certain: bool = False


def question(setup: Setup, rule: Rule, metric: str, repeats: int = 0) -> Question:
    """What `rule` asks of `metric`, where a candidate is as good as planned for.

    Args:
        setup: the case.
        rule: one on scores; not its own `metrics` and `slice` are looked at, but `metric` and the
            case's rows.
        metric: scored on every row.
        repeats: answers to each row; as many as there are where 0.
    """
    case, kind = setup.case, RULES[rule.kind]
    own = rule.model_copy(update={"metric": metric})
    bounds, up = case.bounds(own), 1.0 if case.direction(own) == "higher" else -1.0
    span = bounds[1] - bounds[0]
    rows = setup.incumbent.rows
    groups = [row.group for row in rows]
    if not kind.compares:
        moved = [row.scores[metric] + up * setup.gain for row in rows]
        values = [min(max(value, bounds[0]), bounds[1]) for value in moved]
        raw = clusters(values, groups, *bounds)
        sample = raw if kind.sign > 0 else raw.mirrored()
        return Question(sample, kind.sign * amount(rule.threshold))
    margin = -amount(rule.margin) if kind.allows_loss else amount(rule.margin)
    if kind.against == "baseline":
        beside = case.baselines[rule.baseline].rows
        gains = [
            up * (row.scores[metric] - other.scores[metric]) + setup.gain
            for row, other in zip(rows, beside, strict=True)
        ]
        sample = clusters([min(gain, span) for gain in gains], groups, -span, span)
        return Question(sample, margin)
    gains, groups, count = _differences(setup, own, up, repeats)
    worst = min(span, rule.worst_loss or span)
    if kind.limits_losses:
        lost = [float(gain < -worst - ROUNDING) for gain in gains]
        sample = replace(clusters(lost, groups, 0.0, 1.0), rows=count).mirrored()
        return Question(sample, -amount(rule.threshold), setup.assumed is not None)
    clipped = [min(max(-worst, gain), span) for gain in gains]
    sample = replace(clusters(clipped, groups, -worst, span), rows=count)
    return Question(sample, margin, setup.assumed is not None)


def _differences(
    setup: Setup, rule: Rule, up: float, repeats: int
) -> tuple[list[float], list[str], int]:
    """Improvements on the champion, centred on the gain; their groups; rows that they stand for."""
    rows = setup.incumbent.rows
    if setup.assumed is not None:
        side = max(1, round(_ASSUMED * setup.assumed.discordance / 2))
        sizes = [setup.assumed.sd] * side + [-setup.assumed.sd] * side
        sizes += [0.0] * (_ASSUMED - 2 * side)
        names = [f"{place}" for place in range(_ASSUMED)]
        per_group = len(rows) / len({row.group for row in rows})
        return [size + setup.gain for size in sizes], names, round(_ASSUMED * per_group)
    groups = [row.group for row in rows]
    raw = [
        up * (new.scores[rule.metric] - old.scores[rule.metric])
        for new, old in zip(setup.case.candidate.rows, rows, strict=True)
    ]
    middle = clusters(raw, groups, -1.0, 1.0).mean
    scale = _narrower(setup, rule, repeats)
    return [scale * (value - middle) + setup.gain for value in raw], groups, len(rows)


def _narrower(setup: Setup, rule: Rule, repeats: int) -> float:
    """What another number of repeats makes of the spread, as a factor."""
    if not repeats:
        return 1.0
    case = setup.case
    found = noise(case.candidate, case.champion, rule.metric, case.bounds(rule))
    if found is None:
        return 1.0
    spreads = [found.between**2 + found.within**2 / count for count in (repeats, found.repeats)]
    return math.sqrt(spreads[0] / spreads[1]) if spreads[1] > 0 else 1.0
