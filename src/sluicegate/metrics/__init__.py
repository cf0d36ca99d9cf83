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

from sluicegate.errors import ConfigError, EvidenceError, MissingExtraError
from sluicegate.hashing import digest_file, digest_value
from sluicegate.metrics.base import Metric, Score, ScoreMany
from sluicegate.metrics.bleu import bleu
from sluicegate.metrics.chrf import chrf
from sluicegate.metrics.copied_facts import copied_facts, copied_names, copied_numbers
from sluicegate.metrics.language import same_language
from sluicegate.metrics.length_ratio import length_ratio
from sluicegate.metrics.meteor import meteor
from sluicegate.metrics.pass_at_k_metric import CODE
from sluicegate.metrics.pii import pii_found, pii_identity
from sluicegate.metrics.profanity import profanity
from sluicegate.metrics.readability import readability
from sluicegate.metrics.refusal import refusal
from sluicegate.metrics.repetition import repetition
from sluicegate.metrics.rouge import rouge1, rouge2, rouge_l, rouge_lsum
from sluicegate.metrics.scorers import scorer_kind, scorer_metric
from sluicegate.metrics.sentiment import sentiment
from sluicegate.metrics.squad import exact_match, token_f1
from sluicegate.metrics.text_length import (
    LONGEST,
    length_characters,
    length_sentences,
    length_words,
)
from sluicegate.metrics.with_model import ENCODED, metric_with_model

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


def _describing(
    name: str, unit: str, bounds: tuple[float, float], score: Score, package: str = ""
) -> Metric:
    return Metric(
        name, "higher", unit, bounds, score, needs_reference=False, package=package, describes=True
    )


METRICS: dict[str, Metric] = {
    "rouge1": Metric("rouge1", "higher", "unigram F1", (0.0, 1.0), rouge1),
    "rouge2": Metric("rouge2", "higher", "bigram F1", (0.0, 1.0), rouge2),
    "rougeL": Metric("rougeL", "higher", "longest-common-subsequence F1", (0.0, 1.0), rouge_l),
    "rougeLsum": Metric("rougeLsum", "higher", "line-wise LCS F1", (0.0, 1.0), rouge_lsum),
    "exact_match": Metric("exact_match", "higher", "share", (0.0, 1.0), exact_match),
    "token_f1": Metric("token_f1", "higher", "word F1", (0.0, 1.0), token_f1),
    "bleu": Metric("bleu", "higher", "n-gram precision", (0.0, 1.0), bleu, package="sacrebleu"),
    "chrf": Metric("chrf", "higher", "character n-gram F2", (0.0, 1.0), chrf),
    "meteor": Metric("meteor", "higher", "aligned words", (0.0, 1.0), meteor, package="nltk"),
    **ENCODED,
    "length_ratio": Metric(
        "length_ratio", "higher", "shorter / longer, in words", (0.0, 1.0), length_ratio
    ),
    "copied_facts": Metric(
        "copied_facts",
        "higher",
        "share of numbers and names",
        (0.0, 1.0),
        copied_facts,
        needs_reference=False,
    ),
    "copied_numbers": Metric(
        "copied_numbers",
        "higher",
        "share of numbers",
        (0.0, 1.0),
        copied_numbers,
        needs_reference=False,
    ),
    "copied_names": Metric(
        "copied_names", "higher", "share of names", (0.0, 1.0), copied_names, needs_reference=False
    ),
    "repetition": Metric(
        "repetition", "lower", "share of 4-grams", (0.0, 1.0), repetition, needs_reference=False
    ),
    "refusal": Metric("refusal", "lower", "0 or 1", (0.0, 1.0), refusal, needs_reference=False),
    "profanity": Metric(
        "profanity", "lower", "0 or 1", (0.0, 1.0), profanity, needs_reference=False
    ),
    "pii_found": Metric(
        "pii_found",
        "lower",
        "0 or 1",
        (0.0, 1.0),
        pii_found,
        needs_reference=False,
        package="detect-secrets phonenumbers python-stdnum",
        identity=pii_identity,
    ),
    "same_language": Metric(
        "same_language",
        "higher",
        "0 or 1",
        (0.0, 1.0),
        same_language,
        needs_reference=False,
        package="py3langid",
    ),
    "readability": _describing(
        "readability", "Flesch reading ease", (0.0, 100.0), readability, "syllapy"
    ),
    "sentiment": _describing(
        "sentiment", "VADER compound", (-1.0, 1.0), sentiment, "vaderSentiment"
    ),
    "length_words": _describing("length_words", "words", (0.0, LONGEST), length_words),
    "length_characters": _describing(
        "length_characters", "code points", (0.0, LONGEST), length_characters
    ),
    "length_sentences": _describing(
        "length_sentences", "sentences", (0.0, LONGEST), length_sentences
    ),
}


def find_metric(name: str) -> Metric:
    """Return the row of `METRICS` called `name`, or import `module:attribute`.

    `bertscore:FOLDER`, `embedding_cosine:FOLDER`, `moverscore:FOLDER` and `moverscore_sentence:FOLDER` take the encoder in
    a folder, `perplexity:FOLDER` and `bits_per_byte:FOLDER` the language model in one.

    A plain function found by `module:attribute` becomes a higher-is-better metric in [0, 1] that needs references; a
    TruLens Metric or an MLflow Scorer found there becomes one too (see `scorers`).

    Raises:
        ConfigError: no such row, or the module or attribute cannot be found.

    Example:
        >>> find_metric("rouge1").direction
        'higher'
    """
    if name in METRICS or name in CODE:
        return METRICS[name] if name in METRICS else CODE[name]
    module_name, _, attribute = name.partition(":")
    if not attribute:
        known = ", ".join([*METRICS, *CODE])
        raise ConfigError(
            f"metric {name!r} is unknown.", hint=f"Built in: {known}; or name module:function."
        )
    if built := metric_with_model(module_name, attribute):
        return built
    try:
        found = getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"metric {name!r} cannot be imported: {error}") from error
    if isinstance(found, Metric):
        return found
    if scorer_kind(found):
        return scorer_metric(found, name)
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
        MissingExtraError: a package that a metric needs is not installed.
    """
    return digest_value({name: _fingerprint(name, find_metric(name)) for name in names})


def score_one(metric: Metric, source: str, output: str, references: Sequence[str]) -> float:
    """Score one answer and check the result.

    Raises:
        EvidenceError: the metric needs a reference and there is none, or the score is not a finite number in range.
        MissingExtraError: the metric needs a package that is not installed.

    Example:
        >>> score_one(METRICS["rouge1"], "", "the refund", ["the refund arrived"])
        0.8
    """
    _check_reference(metric, references)
    return (
        _checked(metric, metric.score(source, output, references))
        if output.strip()
        else metric.worst
    )


def score_many(
    metric: Metric,
    sources: Sequence[str],
    outputs: Sequence[str],
    references: Sequence[Sequence[str]],
    names: Sequence[str] = (),
) -> list[float]:
    """Score a whole set and check every result: one number per row, in the order given; no row gives an empty list.

    A metric with `many` sees all rows at once, blank outputs left out. They score the worst end of the range.

    Raises:
        EvidenceError: as `score_one`, the message beginning with the row's name or else its number, or lengths differ.
        MissingExtraError: the metric needs a package that is not installed.

    Example:
        >>> score_many(METRICS["rouge1"], ["", ""], ["the refund", ""], [["the refund arrived"], ["x"]])
        [0.8, 0.0]
    """
    if not len(sources) == len(outputs) == len(references):
        raise EvidenceError(
            f"{len(sources)} sources, {len(outputs)} outputs, {len(references)} rows of references."
        )
    where = [f"{names[row] if names else f'row {row}'}: " for row in range(len(outputs))]
    for row, wanted in enumerate(references):
        _check_reference(metric, wanted, where[row])
    rows = [row for row, output in enumerate(outputs) if output.strip()]
    values: Sequence[float]
    if metric.many and rows:
        picked = [references[row] for row in rows]
        values = metric.many([sources[row] for row in rows], [outputs[row] for row in rows], picked)
    else:
        values = [metric.score(sources[row], outputs[row], references[row]) for row in rows]
    if len(values) != len(rows):
        raise EvidenceError(f"{metric.name} returned {len(values)} scores for {len(rows)} rows.")
    scores = [metric.worst] * len(outputs)
    for row, value in zip(rows, values, strict=True):
        scores[row] = _checked(metric, value, where[row])
    return scores


def _check_reference(metric: Metric, references: Sequence[str], where: str = "") -> None:
    if metric.needs_reference and not any(reference.strip() for reference in references):
        raise EvidenceError(f"{where}{metric.name} needs a reference and there is none.")


def _checked(metric: Metric, value: float, where: str = "") -> float:
    low, high = metric.range
    value = float(value)
    if not math.isfinite(value) or not low - 1e-9 <= value <= high + 1e-9:
        raise EvidenceError(f"{where}{metric.name} returned {value}, outside [{low}, {high}].")
    return min(max(value, low), high)


def _fingerprint(name: str, metric: Metric) -> dict[str, object]:
    module = importlib.util.find_spec(metric.score.__module__)
    if module is None or not module.origin or not Path(module.origin).is_file():
        raise ConfigError(
            f"metric {name!r}: {metric.score.__module__} has no source file to identify it by."
        )
    found: dict[str, object] = {
        "direction": metric.direction,
        "range": list(metric.range),
        "needs_reference": metric.needs_reference,
        "function": f"{metric.score.__module__}:{metric.score.__qualname__}",
        "source": digest_file(Path(module.origin)),
        "package": ", ".join(
            f"{package} {_version(package)}" for package in metric.package.split()
        ),
    }
    if metric.identity:
        found["identity"] = metric.identity()
    return found


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError as error:
        raise MissingExtraError(package, "metrics") from error
