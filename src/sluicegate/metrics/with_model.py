"""Metrics named with what they need: `bertscore:models/encoder`, `perplexity:models/base`,
`json_schema:schemas/ticket.json`, `accuracy:category`.

Relative folders and files begin where the command runs. The digest of such a metric covers every
file of the model, or the schema. `WITH_MODEL` is the table: a name before the colon to what makes
the metric of what comes after it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial, wraps
from pathlib import Path
from typing import Any

from sluicegate.hashing import digest_file, digest_value
from sluicegate.metrics import likelihood
from sluicegate.metrics.base import Metric, ScoreMany, alone
from sluicegate.metrics.bertscore import bertscore_many
from sluicegate.metrics.embedding_cosine import embedding_cosine_many
from sluicegate.metrics.encoder import encoder_digest
from sluicegate.metrics.json_answers import json_schema_of
from sluicegate.metrics.labels import OF_FIELD
from sluicegate.metrics.likelihood import open_likelihood
from sluicegate.metrics.moverscore import moverscore_many, moverscore_sentence_many
from sluicegate.metrics.perplexity import (
    HIGHEST_BITS,
    HIGHEST_PERPLEXITY,
    Likelihood,
    bits_per_byte,
    perplexities,
)

_PACKAGES = "torch transformers"


def _encoded(
    name: str,
    unit: str,
    lowest: float,
    many: ScoreMany,
    package: str = "sentence-transformers",
    of_set: bool = False,
) -> Metric:
    return Metric(
        name, "higher", unit, (lowest, 1.0), alone(many), package=f"{_PACKAGES} {package}",
        many=many, depends_on_set=of_set, identity=encoder_digest, instead="chrf, rouge1_unicode",
    )  # fmt: skip


_MOVER = "sentence-transformers POT"
ENCODED: dict[str, Metric] = {
    one.name: one
    for one in (
        _encoded("embedding_cosine", "cosine", -1.0, embedding_cosine_many),
        _encoded("bertscore", "token F1", 0.0, bertscore_many),
        _encoded("moverscore", "1 - distance", -1.0, moverscore_many, _MOVER, True),
        _encoded(
            "moverscore_sentence", "1 - distance", -1.0, moverscore_sentence_many, _MOVER, True
        ),
    )
}  # fmt: skip


def with_encoder(metric: Metric, folder: str) -> Metric:
    """The same metric over the encoder in `folder`.

    Example:
        >>> with_encoder(ENCODED["bertscore"], "models/encoder").name
        'bertscore:models/encoder'
    """
    original: Any = metric.many
    many: Any = wraps(original)(partial(original, encoder=folder))
    return replace(
        metric,
        name=f"{metric.name}:{folder}",
        score=alone(many),
        many=many,
        identity=partial(encoder_digest, folder),
    )


def perplexity_of(folder: str) -> Metric:
    """Perplexity of outputs under the model in `folder`, which is opened when it first scores."""
    made = _likelihood_metric(
        folder, "perplexity", "per token", (1.0, HIGHEST_PERPLEXITY), perplexities
    )
    return replace(made, whole=partial(_perplexity_of_set, folder))


def bits_per_byte_of(folder: str) -> Metric:
    """Bits per byte of outputs under the model in `folder`, which is opened when it first scores."""
    return _likelihood_metric(folder, "bits_per_byte", "bits", (0.0, HIGHEST_BITS), bits_per_byte)


WITH_MODEL: dict[str, Callable[[str], Metric]] = {
    **{name: partial(with_encoder, metric) for name, metric in ENCODED.items()},
    **OF_FIELD,
    "json_schema": json_schema_of,
    "perplexity": perplexity_of,
    "bits_per_byte": bits_per_byte_of,
}


def _likelihood_metric(
    folder: str,
    name: str,
    unit: str,
    bounds: tuple[float, float],
    compute: Callable[[Likelihood, Sequence[str]], list[float]],
) -> Metric:
    @wraps(compute)
    def many(
        sources: Sequence[str], outputs: Sequence[str], references: Sequence[Sequence[str]]
    ) -> list[float]:
        return compute(open_likelihood(folder), outputs)

    return Metric(
        f"{name}:{folder}", "lower", unit, bounds, alone(many), needs_reference=False,
        package=_PACKAGES, many=many, identity=partial(_likelihood_digest, folder),
    )  # fmt: skip


def _likelihood_digest(folder: str) -> str:
    return digest_value([encoder_digest(folder), digest_file(Path(likelihood.__file__))])


def _perplexity_of_set(
    folder: str,
    scores: Sequence[float],
    outputs: Sequence[str],
    references: Sequence[Sequence[str]],
) -> float:
    """Every token counted once, without a second pass through the model; blank outputs have none.

    Perplexities that were cut to 1e9 in a row count as that.
    """
    texts = [output if output.strip() else "" for output in outputs]
    counts = open_likelihood(folder).token_counts(texts)
    tokens = sum(counts)
    if not tokens:
        return HIGHEST_PERPLEXITY
    nats = (count * math.log(value) for value, count in zip(scores, counts, strict=True))
    return math.exp(math.fsum(nats) / tokens)
