"""Cosine of the vectors of output and reference under a sentence encoder, equal to `sentence-transformers`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sluicegate.metrics.encoder import open_encoder


def embedding_cosine(
    source: str, output: str, references: Sequence[str], encoder: str = ""
) -> float:
    """Cosine in [-1, 1], higher is better; the best reference counts. `encoder` is a folder; see `encoder`.

    Only the first tokens count, as many as the encoder takes (256 for the packaged one). -1 when the output or every
    reference is blank. Source: N. Reimers and I. Gurevych, "Sentence-BERT", EMNLP 2019.

    Raises:
        MissingExtraError: the packaged encoder is not installed.
        ModelError: the encoder cannot be loaded.

    Example:
        >>> round(embedding_cosine("", "the parcel is late", ["the delivery has not arrived yet"]), 2)
        0.52
    """
    return embedding_cosine_many([source], [output], [references], encoder)[0]


def embedding_cosine_many(
    sources: Sequence[str],
    outputs: Sequence[str],
    references: Sequence[Sequence[str]],
    encoder: str = "",
) -> list[float]:
    """`embedding_cosine` of a whole set, each distinct text encoded once; no row gives an empty list.

    Example:
        >>> embedding_cosine_many([], [], [])
        []
    """
    rows = [
        [reference for reference in row if reference.strip() and output.strip()]
        for output, row in zip(outputs, references, strict=True)
    ]
    texts = (
        list(dict.fromkeys([*outputs, *(reference for row in rows for reference in row)]))
        if any(rows)
        else []
    )
    place = {text: index for index, text in enumerate(texts)}
    vectors = open_encoder(encoder).sentences(texts) if texts else np.zeros((0, 0), np.float32)
    return [
        max(
            (_cosine(vectors[place[output]], vectors[place[reference]]) for reference in row),
            default=-1.0,
        )
        for output, row in zip(outputs, rows, strict=True)
    ]


def _cosine(left: np.ndarray, right: np.ndarray) -> float:
    return float(np.clip(left @ right, -1.0, 1.0))
