"""Cosine of output and reference under a sentence encoder, as by `sentence-transformers`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sluicegate.metrics.encoder import open_encoder


def embedding_cosine_many(
    sources: Sequence[str],
    outputs: Sequence[str],
    references: Sequence[Sequence[str]],
    encoder: str = "",
) -> list[float | None]:
    """Cosine in [-1, 1], higher is better; the best reference counts. `encoder` is a folder.

    Only the first tokens count, as many as the encoder takes (256 for the packaged one). -1 when
    the output or every reference is blank; None when the encoder knows no word of the output or of
    any reference. Each distinct text is encoded once. Source: N. Reimers and I. Gurevych,
    "Sentence-BERT", EMNLP 2019.

    Raises:
        MissingExtraError: the packaged encoder is not installed.
        ModelError: the encoder cannot be loaded.

    Example:
        >>> texts = [""], ["the parcel is late"], [["the delivery has not arrived yet"]]
        >>> round(embedding_cosine_many(*texts)[0], 2)
        0.52
    """
    rows = [
        [reference for reference in row if reference.strip() and output.strip()]
        for output, row in zip(outputs, references, strict=True)
    ]
    if not any(rows):
        return [-1.0] * len(rows)
    opened = open_encoder(encoder)
    texts = list(dict.fromkeys([*outputs, *(reference for row in rows for reference in row)]))
    vectors = dict(zip(texts, opened.sentences(texts), strict=True))
    best = [
        max((_cosine(vectors[output], vectors[reference]) for reference in row), default=-1.0)
        for output, row in zip(outputs, rows, strict=True)
    ]
    return [
        None if opened.blind(output, row) else value
        for value, output, row in zip(best, outputs, rows, strict=True)
    ]


def _cosine(left: np.ndarray, right: np.ndarray) -> float:
    return float(np.clip(left @ right, -1.0, 1.0))
