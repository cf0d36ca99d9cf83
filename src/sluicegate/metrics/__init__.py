"""Per-example metrics: a table, one file per family; each score is a pure function of three texts.

A metric scores one answer: `score(source, output, references)`, where `source` is the text that the
model was given, `output` its answer and `references` the right answers. Scores are finite and
inside the metric's `range`, or None where the metric sees nothing in the texts; a blank output
scores the worst end of the range. To add one, write a file and a row in `table.METRICS`; a
project's own metric is named `module:attribute` and is a `Metric` or a function with the same
signature.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import math
from collections.abc import Sequence
from pathlib import Path

from sluicegate.errors import ConfigError, EvidenceError, MissingExtraError, did_you_mean
from sluicegate.hashing import digest_file, digest_value
from sluicegate.metrics.base import Metric, Score, ScoreMany
from sluicegate.metrics.scorers import scorer_kind, scorer_metric
from sluicegate.metrics.table import METRICS
from sluicegate.metrics.with_model import WITH_MODEL
from sluicegate.own_code import own_code

__all__ = [
    "METRICS",
    "Metric",
    "Score",
    "ScoreMany",
    "directions",
    "find_metric",
    "metrics_digest",
    "score_many",
    "score_one",
]


def find_metric(name: str) -> Metric:
    """Return the row of `METRICS` called `name`, or import `module:attribute`.

    `bertscore:FOLDER`, `embedding_cosine:FOLDER`, `moverscore:FOLDER` and
    `moverscore_sentence:FOLDER` take the encoder in a folder, `perplexity:FOLDER` and
    `bits_per_byte:FOLDER` the language model in one.

    A plain function found by `module:attribute` becomes a higher-is-better metric in [0, 1] that
    needs references; a TruLens Metric or an MLflow Scorer found there becomes one too (see
    `scorers`).

    Raises:
        ConfigError: no such row, or the module or attribute cannot be found.

    Example:
        >>> find_metric("rouge1").direction
        'higher'
    """
    if name in METRICS:
        return METRICS[name]
    module_name, _, attribute = name.partition(":")
    if not attribute:
        raise ConfigError(
            f"metric {name!r} is unknown{did_you_mean(name, METRICS)}.",
            hint=f"Built in: {', '.join(METRICS)}; or name module:function.",
        )
    if module_name in WITH_MODEL:
        return WITH_MODEL[module_name](attribute)
    found = own_code(name, "metric")
    if isinstance(found, Metric):
        return found
    if scorer_kind(found):
        return scorer_metric(found, name)
    if not callable(found):
        raise ConfigError(
            f"metric {name!r} is neither a Metric nor a function.",
            hint="Name a function score(source, output, references).",
        )
    return Metric(name, "higher", "", (0.0, 1.0), found)


def directions(names: Sequence[str]) -> dict[str, str]:
    """Map each metric name to "higher" or "lower", whichever is better.

    Example:
        >>> directions(["rouge2"])
        {'rouge2': 'higher'}
    """
    return {name: find_metric(name).direction for name in names}


def metrics_digest(names: Sequence[str]) -> str:
    """SHA-256 of what the scores depend on: declarations, source files, versions of packages.

    The order of `names` does not matter. Evidence under two different digests must not be compared.

    Raises:
        ConfigError: a metric is unknown, or is defined where no source file can be hashed.
        MissingExtraError: a package that a metric needs is not installed.
    """
    return digest_value({name: _fingerprint(name, find_metric(name)) for name in names})


def score_one(metric: Metric, source: str, output: str, references: Sequence[str]) -> float | None:
    """Score one answer and check the result; None where the metric sees nothing in the texts.

    Raises:
        EvidenceError: the metric needs a reference and there is none, or the score is not a finite
            number in range.
        MissingExtraError: the metric needs a package that is not installed.

    Example:
        >>> score_one(METRICS["rouge1"], "", "the refund", ["the refund arrived"])
        0.8
    """
    _check_reference(metric, references)
    if not output.strip():
        return metric.worst
    return _checked(metric, metric.score(source, output, references))


def score_many(
    metric: Metric,
    sources: Sequence[str],
    outputs: Sequence[str],
    references: Sequence[Sequence[str]],
    names: Sequence[str] = (),
) -> list[float | None]:
    """Score a whole set and check every result: one score per row, in the order given.

    A metric with `many` sees all rows at once, blank outputs left out. They score the worst end of
    the range. None stands for a row in which the metric sees nothing.

    Raises:
        EvidenceError: as `score_one`, the message beginning with the row's name or else its number,
            or lengths differ.
        MissingExtraError: the metric needs a package that is not installed.

    Example:
        >>> score_many(METRICS["rouge1"], ["", ""], ["the refund", ""], [["a refund"], ["x"]])
        [0.5, 0.0]
    """
    if not len(sources) == len(outputs) == len(references):
        raise EvidenceError(
            f"{len(sources)} sources, {len(outputs)} outputs, {len(references)} rows of references."
        )
    where = [f"{names[row] if names else f'row {row}'}: " for row in range(len(outputs))]
    for row, wanted in enumerate(references):
        _check_reference(metric, wanted, where[row])
    rows = [row for row, output in enumerate(outputs) if output.strip()]
    values: Sequence[float | None]
    if metric.many and rows:
        picked = [references[row] for row in rows]
        values = metric.many([sources[row] for row in rows], [outputs[row] for row in rows], picked)
    else:
        values = [metric.score(sources[row], outputs[row], references[row]) for row in rows]
    if len(values) != len(rows):
        raise EvidenceError(f"{metric.name} returned {len(values)} scores for {len(rows)} rows.")
    scores: list[float | None] = [metric.worst] * len(outputs)
    for row, value in zip(rows, values, strict=True):
        scores[row] = _checked(metric, value, where[row])
    return scores


def _check_reference(metric: Metric, references: Sequence[str], where: str = "") -> None:
    if metric.needs_reference and not any(reference.strip() for reference in references):
        raise EvidenceError(
            f"{where}{metric.name} needs a reference, but there is none.",
            hint="Give the row a reference, or name metrics that need none.",
        )


def _checked(metric: Metric, value: float | None, where: str = "") -> float | None:
    if value is None:
        return None
    low, high = metric.range
    value = float(value)
    if not math.isfinite(value) or not low - 1e-9 <= value <= high + 1e-9:
        raise EvidenceError(
            f"{where}{metric.name} returned {value}, outside [{low}, {high}].",
            hint="Correct the metric, or declare its range in a Metric.",
        )
    return min(max(value, low), high)


def _fingerprint(name: str, metric: Metric) -> dict[str, object]:
    module = importlib.util.find_spec(metric.score.__module__)
    if module is None or not module.origin or not Path(module.origin).is_file():
        raise ConfigError(
            f"metric {name!r}: {metric.score.__module__} has no source file to identify it by.",
            hint="Put it into a Python file.",
        )
    packages = ", ".join(f"{package} {_version(package)}" for package in metric.package.split())
    found: dict[str, object] = {
        "direction": metric.direction,
        "range": list(metric.range),
        "needs_reference": metric.needs_reference,
        "function": f"{metric.score.__module__}:{metric.score.__qualname__}",
        "source": digest_file(Path(module.origin)),
        "package": packages,
    }
    if metric.reads != "text":
        found["reads"] = metric.reads
    if metric.identity:
        found["identity"] = metric.identity()
    return found


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError as error:
        raise MissingExtraError(package, "metrics") from error
