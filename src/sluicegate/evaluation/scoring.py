"""Generations become Evidence: one finite score per example and metric, and means with cluster-aware intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from sluicegate.errors import EvidenceError
from sluicegate.metrics import Metric, find_metric, metrics_digest, score_one
from sluicegate.records import Evidence, Example, Generation, ScoredExample, Summary


def evaluate(
    release_digest: str,
    golden: Sequence[Example],
    golden_digest: str,
    outputs: Sequence[Generation],
    metrics: Sequence[str],
) -> Evidence:
    """Score `outputs[i]` as the answer to `golden[i]`. Rows come out sorted by id, so the order given does not matter.

    Raises:
        EvidenceError: nothing to score, unequal lengths, a repeated id or metric, a missing reference, a number that
            is not finite. Never a partial result.
        ConfigError: a metric is unknown.
    """
    if not golden:
        raise EvidenceError("the golden set is empty: there is nothing to judge by.")
    if len(outputs) != len(golden):
        raise EvidenceError(f"{len(outputs)} answers to {len(golden)} golden examples.")
    if len({example.id for example in golden}) != len(golden):
        raise EvidenceError("an example id occurs twice in the golden set.")
    if not metrics or len(set(metrics)) != len(metrics):
        raise EvidenceError("the list of metrics is empty or names one twice.")
    table = {name: find_metric(name) for name in metrics}
    rows = [_scored(example, output, table) for example, output in zip(golden, outputs, strict=True)]
    rows.sort(key=lambda row: row.id)
    groups = [row.group for row in rows]
    return Evidence(
        release=release_digest,
        golden=golden_digest,
        metrics=metrics_digest(metrics),
        rows=tuple(rows),
        summaries={
            name: summarise([row.scores[name] for row in rows], groups, metric.range) for name, metric in table.items()
        },
        operations=operations(outputs),
    )


def source_text(inputs: Mapping[str, str]) -> str:
    """What a metric sees as the source: the values of all inputs, in the order of their names, a line apart.

    Example:
        >>> source_text({"b": "second", "a": "first"})
        'first\\nsecond'
    """
    return "\n".join(inputs[name] for name in sorted(inputs))


def summarise(values: Sequence[float], groups: Sequence[str], bounds: tuple[float, float]) -> Summary:
    """Mean of `values` with its 95 % interval, rows of one group counted as dependent.

    Cluster-robust standard error of the mean (residuals summed within a group, factor G / (G - 1)) and Student's t
    with G - 1 degrees of freedom; with one row a group this is the ordinary t interval. Clipped to `bounds`, which is
    also the interval when there is only one group (nothing is known then). Source: C. Cameron and D. Miller, "A
    practitioner's guide to cluster-robust inference", J. Human Resources 50 (2015), section II.

    Raises:
        EvidenceError: no value, or one that is not finite.

    Example:
        >>> summary = summarise([0.2, 0.4, 0.6], ["a", "b", "c"], (0.0, 1.0))
        >>> round(summary.mean, 3), round(summary.low, 3), round(summary.high, 3), summary.groups
        (0.4, 0.0, 0.897, 3)
    """
    if not values or len(values) != len(groups) or not all(math.isfinite(value) for value in values):
        raise EvidenceError("a mean needs at least one value, one group each, all of them finite.")
    size = len(values)
    mean = math.fsum(values) / size
    residuals: dict[str, list[float]] = {}
    for value, group in zip(values, groups, strict=True):
        residuals.setdefault(group, []).append(value - mean)
    clusters = len(residuals)
    if clusters < 2:
        return Summary(mean, bounds[0], bounds[1], size, clusters)
    from scipy.special import stdtrit

    spread = math.fsum(math.fsum(part) ** 2 for part in residuals.values())
    error = math.sqrt(clusters / (clusters - 1) * spread) / size
    half = float(stdtrit(clusters - 1, 0.975)) * error
    return Summary(mean, max(mean - half, bounds[0]), min(mean + half, bounds[1]), size, clusters)


def operations(outputs: Sequence[Generation]) -> dict[str, float]:
    """What the answers cost: seconds (p50, p95 by linear interpolation), tokens, the shares cut short and empty.

    `tokens_per_second` is all new tokens over all seconds. Everything is 0 for an empty sequence.

    Raises:
        EvidenceError: a time is negative or not finite.
    """
    seconds = sorted(output.seconds for output in outputs)
    if any(not math.isfinite(value) or value < 0 for value in seconds):
        raise EvidenceError("a generation time is negative or not finite.")
    total, count = math.fsum(seconds), max(len(outputs), 1)
    new_tokens = sum(output.completion_tokens for output in outputs)
    return {
        "latency_p50": _quantile(seconds, 0.50),
        "latency_p95": _quantile(seconds, 0.95),
        "tokens_per_second": new_tokens / total if total > 0 else 0.0,
        "output_tokens_mean": new_tokens / count,
        "prompt_tokens_mean": sum(output.prompt_tokens for output in outputs) / count,
        "words_mean": sum(len(output.text.split()) for output in outputs) / count,
        "cut_share": sum(not output.finished for output in outputs) / count,
        "empty_share": sum(not output.text.strip() for output in outputs) / count,
    }


def _quantile(ordered: Sequence[float], share: float) -> float:
    if not ordered:
        return 0.0
    position = share * (len(ordered) - 1)
    below = int(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)


def _scored(example: Example, output: Generation, table: Mapping[str, Metric]) -> ScoredExample:
    source = source_text(example.inputs)
    scores = {}
    for name, metric in table.items():
        try:
            scores[name] = score_one(metric, source, output.text, example.reference)
        except EvidenceError as error:
            raise EvidenceError(f"example {example.id}: {error}", hint=error.hint) from error
    return ScoredExample(
        id=example.id,
        group=example.group,
        output=output.text,
        scores=scores,
        seconds=output.seconds,
        prompt_tokens=output.prompt_tokens,
        completion_tokens=output.completion_tokens,
        finished=output.finished,
    )
