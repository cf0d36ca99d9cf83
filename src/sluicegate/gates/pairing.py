"""Evidence in, numbers that may be trusted out: complete, finite, paired example by example; else
an error.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

from sluicegate.errors import EvidenceError
from sluicegate.gates.bounds import Clusters, clusters
from sluicegate.records import Evidence, ScoredExample

_LARGEST = 1e12
_AGAIN = "Run `sluice stage evaluate` again."


def checked(evidence: Evidence, who: str) -> Evidence:
    """Return `evidence` with rows sorted by id, so that nothing downstream depends on their order.

    Raises:
        EvidenceError: no rows, an id twice, an empty id or group, a metric that some rows lack, a
            number that is not finite or is absurdly large (over 1e12), or a summary that is not the
            mean of its groups.
    """
    if not evidence.rows:
        raise EvidenceError(f"{who}: the evaluation is empty.", hint=_AGAIN)
    rows = tuple(sorted(evidence.rows, key=lambda row: row.id))
    if any(first.id == second.id for first, second in itertools.pairwise(rows)):
        raise EvidenceError(f"{who}: an example was evaluated twice.", hint=_AGAIN)
    names = set(rows[0].scores)
    for row in rows:
        if not row.id or not row.group:
            raise EvidenceError(f"{who}: an example has no id or no group.")
        if set(row.scores) != names:
            raise EvidenceError(
                f"{who}: example {row.id!r} lacks a score that others have, or has one that they "
                "lack.",
                hint=_AGAIN,
            )
        for name, value in row.scores.items():
            _finite(value, f"{who}: example {row.id!r}: {name}")
        _repeated(row, len(rows[0].repeats), who)
    for name, value in evidence.operations.items():
        _finite(value, f"{who}: {name}")
    for name, summary in evidence.summaries.items():
        scores = [row.scores[name] for row in rows] if name in names else [math.nan]
        mean = clusters(scores, [row.group for row in rows][: len(scores)], 0.0, 1.0).mean
        if summary.n != len(rows) or not math.isclose(
            summary.mean, mean, rel_tol=1e-9, abs_tol=1e-9
        ):
            raise EvidenceError(
                f"{who}: the summary of {name} does not match its rows.", hint=_AGAIN
            )
    return replace(evidence, rows=rows)


def _repeated(row: ScoredExample, times: int, who: str) -> None:
    """Refuse a row whose scores are not the means of those of its answers."""
    same = len(row.repeats) == times and all(
        one.scores.keys() == row.scores.keys() for one in row.repeats
    )
    for name, value in row.scores.items() if same else ():
        mean = math.fsum(row.each(name)) / len(row.each(name))
        same = same and math.isclose(mean, value, rel_tol=1e-9, abs_tol=1e-9)
    if not same:
        raise EvidenceError(
            f"{who}: example {row.id!r}: its scores are not the means of its repeats.", hint=_AGAIN
        )


def unpaired(candidate: Evidence, champion: Evidence) -> str:
    """Why the two cannot be compared although each is sound; empty when they can.

    Raises:
        EvidenceError: the golden digest is the same, but ids, groups or slices are not.
    """
    if candidate.golden != champion.golden:
        return "the champion was judged on another golden set; evaluate it on this one"
    if candidate.metrics != champion.metrics:
        return "the champion was scored by other metrics or another version of them; score it again"
    if [_question(row) for row in candidate.rows] != [_question(row) for row in champion.rows]:
        raise EvidenceError(
            "candidate and champion answered different examples of the same golden set.",
            hint=_AGAIN,
        )
    return ""


def _question(row: ScoredExample) -> tuple[str, str, dict[str, str]]:
    """What is the same for whoever answers."""
    return row.id, row.group, dict(row.slices)


def sample_of(evidence: Evidence, metric: str, bounds: tuple[float, float]) -> Clusters:
    """Scores of one release by group.

    Raises:
        EvidenceError: a score lies outside `bounds`.
    """
    values = [row.scores[metric] for row in evidence.rows]
    _inside(values, metric, bounds)
    return clusters(values, [row.group for row in evidence.rows], *bounds)


def improvements(
    candidate: Evidence,
    champion: Evidence,
    metric: str,
    bounds: tuple[float, float],
    direction: str,
    worst_loss: float | None = None,
) -> Clusters:
    """Candidate against champion, example by example, by group; positive is better, in the metric's
    unit. With `worst_loss` no example counts as losing more.

    Raises:
        EvidenceError: a score lies outside `bounds`.
    """
    for evidence in (candidate, champion):
        _inside([row.scores[metric] for row in evidence.rows], metric, bounds)
    sign = 1.0 if direction == "higher" else -1.0
    span = bounds[1] - bounds[0]
    worst = min(span, worst_loss or span)
    values = [
        max(-worst, sign * (new.scores[metric] - old.scores[metric]))
        for new, old in zip(candidate.rows, champion.rows, strict=True)
    ]
    return clusters(values, [row.group for row in candidate.rows], -worst, span)


def effective_size(sample: Clusters, values_variance: float) -> float:
    """How many independent rows carry as much as these clustered ones (n over the design effect),
    at most n.

    `values_variance` is the plain variance of the rows. With no variation the number of groups is
    the answer.
    """
    size = float(sample.rows)
    spread = sample.standard_error**2
    if spread <= 0.0 or values_variance <= 0.0:
        return float(len(sample.means))
    return min(size, max(1.0, values_variance / spread))


def _finite(value: object, where: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise EvidenceError(f"{where} is not a number.", hint=_AGAIN)
    if not math.isfinite(value) or abs(value) > _LARGEST:
        raise EvidenceError(f"{where} is {value}.", hint=_AGAIN)


def _inside(values: list[float], metric: str, bounds: tuple[float, float]) -> None:
    low, high = bounds
    if min(values) < low - 1e-9 or max(values) > high + 1e-9:
        raise EvidenceError(
            f"{metric}: a score lies outside its range {low:g} to {high:g}.",
            hint="Give the rule the right `range: [smallest, largest]`, or correct the metric.",
        )
