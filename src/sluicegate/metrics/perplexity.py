"""How surprising a text is to a language model: perplexity per token and bits per byte.

Perplexities compare only under one tokenizer; bits per byte compare under any. The model is passed
in as a `Likelihood`; `likelihood.open_likelihood` makes one from a folder.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

from sluicegate.errors import EvidenceError

HIGHEST_PERPLEXITY, HIGHEST_BITS = 1e9, 1e3


class Likelihood(Protocol):
    """A language model that can say how likely texts are."""

    def log_likelihoods(self, texts: Sequence[str], /) -> Sequence[tuple[float, int]]:
        """For each text the sum of its tokens' log-probabilities (nats), and how many tokens."""
        ...


def perplexities(model: Likelihood, texts: Sequence[str]) -> list[float]:
    """exp of the mean negative log-likelihood of a token: [1, 1e9], lower is better; blank 1e9.

    Values beyond are cut to 1e9. Texts may be outputs or references.

    Raises:
        EvidenceError: the model returns something that is no log-likelihood.
    """
    return [
        min(math.exp(min(nats / tokens, 30.0)), HIGHEST_PERPLEXITY)
        if tokens
        else HIGHEST_PERPLEXITY
        for nats, tokens in _surprise(model, texts)
    ]


def bits_per_byte(model: Likelihood, texts: Sequence[str]) -> list[float]:
    """Negative log-likelihood in bits per UTF-8 byte: [0, 1000], lower is better; 1000 when blank.

    Source: L. Gao et al., "The Pile", 2020, section 3.1.

    Raises:
        EvidenceError: the model returns something that is no log-likelihood.
    """
    return [
        min(nats / math.log(2) / len(text.encode("utf-8", "replace")), HIGHEST_BITS)
        if tokens
        else HIGHEST_BITS
        for text, (nats, tokens) in zip(texts, _surprise(model, texts), strict=True)
    ]


def corpus_perplexity(model: Likelihood, texts: Sequence[str]) -> float:
    """Perplexity of a set, every token counted once, as papers report it. Lower is better.

    Raises:
        EvidenceError: no text has a token to predict.
    """
    found = _surprise(model, texts)
    tokens = sum(count for _, count in found)
    if not tokens:
        raise EvidenceError("perplexity is undefined for zero texts.")
    return min(
        math.exp(min(math.fsum(nats for nats, _ in found) / tokens, 30.0)), HIGHEST_PERPLEXITY
    )


def _surprise(model: Likelihood, texts: Sequence[str]) -> list[tuple[float, int]]:
    """Nats and tokens of each text; (0, 0) for a blank one."""
    real = [text for text in texts if text.strip()]
    found = list(model.log_likelihoods(real)) if real else []
    if len(found) != len(real) or not all(
        math.isfinite(value) and value <= 0 for value, _ in found
    ):
        raise EvidenceError("the language model returned something that is not a log-likelihood.")
    values = iter(found)
    surprise = ((-value, tokens) for value, tokens in values)
    return [next(surprise) if text.strip() else (0.0, 0) for text in texts]
