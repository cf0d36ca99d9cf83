"""MoverScore: how far the words of the output travel to become those of the reference.

Source: W. Zhao et al., "MoverScore: text generation evaluating with contextualized embeddings and
earth mover distance", EMNLP 2019, and M. Kusner et al., "From word embeddings to document
distances", ICML 2015; as in the authors' package `moverscore` 1.0.3 (last layer, word pieces after
the first and ASCII punctuation left out, weights by rarity in the set), but: an output of which
nothing is left scores worst, such a reference gives no score; a text of words that are in every
text is weighted evenly; the encoder's own marks never count. Transport by POT.
"""

from __future__ import annotations

import math
import string
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from sluicegate.metrics.base import optional
from sluicegate.metrics.encoder import Encoder, Tokens, open_encoder

WHOLE = 0  # the n-gram that is the whole text
Weighted = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]
_PUNCTUATION = frozenset(string.punctuation)
Rarity = Callable[[int], float]


def moverscore_many(
    sources: Sequence[str],
    outputs: Sequence[str],
    references: Sequence[Sequence[str]],
    encoder: str = "",
) -> list[float | None]:
    """1 minus the Word Mover's Distance of unigrams: [-1, 1], higher is better; best reference.

    Words are weighted by their rarity among all outputs and among all references, so the score of a
    row depends on the set; alone every word weighs the same. -1 when the output is blank or nothing
    is left of it but punctuation; None when nothing is left of any reference, or when the encoder
    knows no word of the output or of any reference.

    Raises:
        MissingExtraError: POT or the packaged encoder is not installed.

    Example:
        >>> texts = [""], ["the parcel is late"], [["the parcel is late"]]
        >>> round(moverscore_many(*texts)[0], 6)
        1.0
    """
    return ngram_scores(outputs, references, 1, encoder)


def moverscore_sentence_many(
    sources: Sequence[str],
    outputs: Sequence[str],
    references: Sequence[Sequence[str]],
    encoder: str = "",
) -> list[float | None]:
    """As `moverscore_many`, but 1 minus the distance of the two texts' weighted mean vectors."""
    return ngram_scores(outputs, references, WHOLE, encoder)


def ngram_scores(
    outputs: Sequence[str], references: Sequence[Sequence[str]], size: int, encoder: str = ""
) -> list[float | None]:
    """1 minus the Word Mover's Distance of n-grams of `size` words (`WHOLE`: the text), by row.

    Raises:
        MissingExtraError: POT or the packaged encoder is not installed.
    """
    mine = [text for text in outputs if text.strip()]
    theirs = [text for row in references for text in row if text.strip()]
    if not mine or not theirs:
        return [-1.0] * len(outputs)
    opened = open_encoder(encoder)
    sides = [_side(opened, texts, size) for texts in (mine, theirs)]
    emd2 = optional("ot", "POT").emd2
    return [
        _best(opened, sides, output, row, emd2)
        for output, row in zip(outputs, references, strict=True)
    ]


def _best(
    encoder: Encoder,
    sides: Sequence[dict[str, Weighted]],
    output: str,
    references: Sequence[str],
    emd2: Any,
) -> float | None:
    real = [text for text in references if text.strip()]
    if real and (not any(text in sides[1] for text in real) or encoder.blind(output, real)):
        return None
    return max(
        (_similarity(sides[0].get(output), sides[1].get(text), emd2) for text in real), default=-1.0
    )


def _side(encoder: Encoder, texts: Sequence[str], size: int) -> dict[str, Weighted]:
    tokens = encoder.tokens(texts, encoder.layers)
    rarity = _rarity(tokens)
    return {
        text: grams
        for text, one in dict(zip(texts, tokens, strict=True)).items()
        if (grams := _grams(encoder, one, rarity, size))
    }


def _rarity(tokens: Sequence[Tokens]) -> Rarity:
    """Inverse document frequency of a token: log((texts + 1) / (texts with it + 1))."""
    counts = Counter(one for text in tokens for one in set(text.ids))
    return lambda token: math.log((len(tokens) + 1) / (counts[token] + 1))


def _grams(encoder: Encoder, tokens: Tokens, rarity: Rarity, size: int) -> Weighted | None:
    """Unit vectors and weights of the n-grams of a text; None when nothing is left of it."""
    words = encoder.tokenizer.convert_ids_to_tokens(list(tokens.ids))
    kept = [
        place for place, word in enumerate(words) if "##" not in word and word not in _PUNCTUATION
    ]
    real = ~tokens.special[kept]
    if not real.any():
        return None
    weights = np.array([rarity(tokens.ids[place]) for place in kept]) * real
    if not weights.any():
        weights = real.astype(float)
    vectors = tokens.vectors[kept].astype(np.float64)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-30)
    width = min(size or len(kept), len(kept))
    if width > 1:
        count = len(kept) - width + 1
        vectors = np.stack(
            [
                weights[start : start + width] @ vectors[start : start + width]
                for start in range(count)
            ]
        )
        weights = np.array([weights[start : start + width].sum() for start in range(count)])
        vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-30)
    some = weights > 0
    return vectors[some], weights[some] / weights[some].sum()


def _similarity(output: Weighted | None, reference: Weighted | None, emd2: Any) -> float:
    if output is None or reference is None:
        return -1.0
    squared = 2 - 2 * (output[0] @ reference[0].T)
    distances = np.sqrt(np.maximum(squared, 0.0))
    if 1 in distances.shape:
        return float(1 - output[1] @ distances @ reference[1])
    return float(
        1 - emd2(output[1], reference[1], np.ascontiguousarray(distances), numItermax=10_000_000)
    )
