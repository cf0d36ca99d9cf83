"""Per-example metrics: a table, one file per family; each score is a pure function of three texts.

A metric scores one answer: `score(source, output, references) -> float`, where `source` is the text that the model
was given, `output` its answer and `references` the right answers. Scores are finite and inside the metric's
`range`; a blank output scores 0 (the worst), never NaN. To add one, write a file and a row in `METRICS`; a
project's own metric is named `module:attribute` and is a `Metric` or a function with the same signature.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import math
from collections.abc import Sequence
from pathlib import Path

from sluicegate.errors import ConfigError, EvidenceError
from sluicegate.hashing import digest_file, digest_value
from sluicegate.metrics.base import Metric, Score
from sluicegate.metrics.chrf import chrf
from sluicegate.metrics.copied_facts import copied_facts, copied_names, copied_numbers
from sluicegate.metrics.length_ratio import length_ratio
from sluicegate.metrics.rouge import rouge1, rouge2, rouge_l

__all__ = ["METRICS", "Metric", "Score", "directions", "find_metric", "metrics_digest", "score_one"]

METRICS: dict[str, Metric] = {
    "rouge1": Metric("rouge1", "higher", "unigram F1", (0.0, 1.0), rouge1),
    "rouge2": Metric("rouge2", "higher", "bigram F1", (0.0, 1.0), rouge2),
    "rougeL": Metric("rougeL", "higher", "longest-common-subsequence F1", (0.0, 1.0), rouge_l),
    "chrf": Metric("chrf", "higher", "character n-gram F2", (0.0, 1.0), chrf, package="sacrebleu"),
    "length_ratio": Metric("length_ratio", "higher", "shorter / longer, in words", (0.0, 1.0), length_ratio),
    "copied_facts": Metric(
        "copied_facts", "higher", "share of numbers and names", (0.0, 1.0), copied_facts, needs_reference=False
    ),
    "copied_numbers": Metric(
        "copied_numbers", "higher", "share of numbers", (0.0, 1.0), copied_numbers, needs_reference=False
    ),
    "copied_names": Metric("copied_names", "higher", "share of names", (0.0, 1.0), copied_names, needs_reference=False),
}


def find_metric(name: str) -> Metric:
    """Return the row of `METRICS` called `name`, or import `module:attribute`.

    A plain function found by `module:attribute` becomes a higher-is-better metric in [0, 1] that needs references.

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
        known = ", ".join(METRICS)
        raise ConfigError(f"metric {name!r} is unknown.", hint=f"Built in: {known}; or name module:function.")
    try:
        found = getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"metric {name!r} cannot be imported: {error}") from error
    if isinstance(found, Metric):
        return found
    if not callable(found):
        raise ConfigError(f"metric {name!r} is neither a Metric nor a function.")
    return Metric(name, "higher", "", (0.0, 1.0), found)


def directions(names: Sequence[str]) -> dict[str, str]:
    """Map each metric name to "higher" or "lower", whichever is better.

    Example:
        >>> directions(["rouge2"])
        {'rouge2': 'higher'}
    """
    return {name: find_metric(name).direction for name in names}


def metrics_digest(names: Sequence[str]) -> str:
    """SHA-256 of what the scores depend on: declarations, bytes of the source files, versions of packages.

    The order of `names` does not matter. Evidence under two different digests must not be compared.

    Raises:
        ConfigError: a metric is unknown, or is defined where no source file can be hashed.
    """
    return digest_value({name: _fingerprint(name, find_metric(name)) for name in names})


def score_one(metric: Metric, source: str, output: str, references: Sequence[str]) -> float:
    """Score one answer and check the result.

    Raises:
        EvidenceError: the metric needs a reference and there is none, or the score is not a finite number in range.

    Example:
        >>> score_one(METRICS["rouge1"], "", "the refund", ["the refund arrived"])
        0.8
    """
    if metric.needs_reference and not any(reference.strip() for reference in references):
        raise EvidenceError(f"{metric.name} needs a reference and there is none.")
    if not output.strip():
        return metric.worst
    value = float(metric.score(source, output, references))
    low, high = metric.range
    if not math.isfinite(value) or not low - 1e-9 <= value <= high + 1e-9:
        raise EvidenceError(f"{metric.name} returned {value}, outside [{low}, {high}].")
    return min(max(value, low), high)


def _fingerprint(name: str, metric: Metric) -> dict[str, object]:
    module = importlib.util.find_spec(metric.score.__module__)
    if module is None or not module.origin or not Path(module.origin).is_file():
        raise ConfigError(f"metric {name!r}: {metric.score.__module__} has no source file to identify it by.")
    return {
        "direction": metric.direction,
        "range": list(metric.range),
        "needs_reference": metric.needs_reference,
        "function": f"{metric.score.__module__}:{metric.score.__qualname__}",
        "source": digest_file(Path(module.origin)),
        "package": f"{metric.package} {importlib.metadata.version(metric.package)}" if metric.package else "",
    }
