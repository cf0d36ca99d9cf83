"""Metrics that are named with the folder of a model: `bertscore:models/encoder`, `perplexity:models/base`.

Relative folders begin where the command runs. The digest of such a metric covers every file of the model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial, wraps
from pathlib import Path
from typing import Any

from sluicegate.hashing import digest_file, digest_value
from sluicegate.metrics import likelihood
from sluicegate.metrics.base import Metric
from sluicegate.metrics.bertscore import bertscore, bertscore_many
from sluicegate.metrics.embedding_cosine import embedding_cosine, embedding_cosine_many
from sluicegate.metrics.encoder import encoder_digest
from sluicegate.metrics.likelihood import open_likelihood
from sluicegate.metrics.moverscore import (
    moverscore,
    moverscore_many,
    moverscore_sentence,
    moverscore_sentence_many,
)
from sluicegate.metrics.perplexity import (
    HIGHEST_BITS,
    HIGHEST_PERPLEXITY,
    Likelihood,
    bits_per_byte,
    perplexities,
)

_PACKAGES = "torch transformers"

ENCODED: dict[str, Metric] = {
    "embedding_cosine": Metric(
        "embedding_cosine", "higher", "cosine", (-1.0, 1.0), embedding_cosine, package=_PACKAGES,
        many=embedding_cosine_many, identity=encoder_digest,
    ),
    "bertscore": Metric(
        "bertscore", "higher", "token F1", (0.0, 1.0), bertscore, package=_PACKAGES,
        many=bertscore_many, identity=encoder_digest,
    ),
    "moverscore": Metric(
        "moverscore", "higher", "1 - distance", (-1.0, 1.0), moverscore, package=f"{_PACKAGES} POT",
        many=moverscore_many, identity=encoder_digest,
    ),
    "moverscore_sentence": Metric(
        "moverscore_sentence", "higher", "1 - distance", (-1.0, 1.0), moverscore_sentence, package=f"{_PACKAGES} POT",
        many=moverscore_sentence_many, identity=encoder_digest,
    ),
}  # fmt: skip


def with_encoder(metric: Metric, folder: str) -> Metric:
    """The same metric over the encoder in `folder`.

    Example:
        >>> with_encoder(ENCODED["bertscore"], "models/encoder").name
        'bertscore:models/encoder'
    """
    many: Any = metric.many

    @wraps(metric.score)
    def score(source: str, output: str, references: Sequence[str]) -> float:
        return float(many([source], [output], [references], folder)[0])

    return replace(
        metric,
        name=f"{metric.name}:{folder}",
        score=score,
        many=wraps(many)(partial(many, encoder=folder)),
        identity=partial(encoder_digest, folder),
    )


def perplexity_metric(
    model: Likelihood, name: str = "perplexity", identity: Callable[[], str] | None = None
) -> Metric:
    """Perplexity of outputs under a model that is passed in; see `perplexity.perplexities`."""
    return _likelihood_metric(
        lambda: model, name, "per token", (1.0, HIGHEST_PERPLEXITY), perplexities, identity
    )


def bits_per_byte_metric(
    model: Likelihood, name: str = "bits_per_byte", identity: Callable[[], str] | None = None
) -> Metric:
    """Bits per byte of outputs under a model that is passed in; see `perplexity.bits_per_byte`."""
    return _likelihood_metric(
        lambda: model, name, "bits", (0.0, HIGHEST_BITS), bits_per_byte, identity
    )


def _likelihood_metric(
    model: Callable[[], Likelihood],
    name: str,
    unit: str,
    bounds: tuple[float, float],
    compute: Callable[[Likelihood, Sequence[str]], list[float]],
    identity: Callable[[], str] | None,
) -> Metric:
    @wraps(compute)
    def score(source: str, output: str, references: Sequence[str]) -> float:
        return compute(model(), [output])[0]

    @wraps(compute)
    def many(
        sources: Sequence[str], outputs: Sequence[str], references: Sequence[Sequence[str]]
    ) -> list[float]:
        return compute(model(), outputs)

    return Metric(
        name,
        "lower",
        unit,
        bounds,
        score,
        needs_reference=False,
        package=_PACKAGES,
        many=many,
        identity=identity,
    )


def _likelihood_digest(folder: str) -> str:
    return digest_value([encoder_digest(folder), digest_file(Path(likelihood.__file__))])


def metric_with_model(name: str, folder: str) -> Metric | None:
    """The metric `name` over the model in `folder`, which is opened when it first scores; None when it takes none.

    Example:
        >>> metric_with_model("rouge1", "models/base") is None
        True
    """
    if name in ENCODED:
        return with_encoder(ENCODED[name], folder)
    full, opened, identity = (
        f"{name}:{folder}",
        partial(open_likelihood, folder),
        partial(_likelihood_digest, folder),
    )
    if name == "perplexity":
        bounds = (1.0, HIGHEST_PERPLEXITY)
        return _likelihood_metric(opened, full, "per token", bounds, perplexities, identity)
    if name == "bits_per_byte":
        return _likelihood_metric(
            opened, full, "bits", (0.0, HIGHEST_BITS), bits_per_byte, identity
        )
    return None
