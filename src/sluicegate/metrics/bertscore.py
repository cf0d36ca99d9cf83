"""BERTScore F1, equal to the package `bert-score` without IDF weights and rescaling.

Source: T. Zhang et al., "BERTScore: evaluating text generation with BERT", ICLR 2020. Each token is
matched with the most similar one of the other text; the encoder's own marks may be matched but do
not count.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sluicegate.metrics.encoder import Encoder, Tokens, open_encoder


def bertscore_many(
    sources: Sequence[str],
    outputs: Sequence[str],
    references: Sequence[Sequence[str]],
    encoder: str = "",
) -> list[float | None]:
    """BERTScore F1 in [0, 1], higher is better; the best reference counts. `encoder` is a folder.

    Unrelated texts still score about 0.3 to 0.5: compare with another score, not with 0. Texts are
    cut at the encoder's longest input (512 tokens for the packaged one). 0 when the output or every
    reference is blank; None when the encoder knows no word of the output or of any reference. Each
    distinct text is encoded once.

    Raises:
        MissingExtraError: the packaged encoder is not installed.
        ModelError: the encoder cannot be loaded.

    Example:
        >>> bertscore_many([""], ["the parcel is late"], [["the parcel is late", "it came"]])
        [1.0]
    """
    pairs = [
        (output, reference)
        for output, row in zip(outputs, references, strict=True)
        for reference in row
    ]
    scores = iter(precision_recall_f1(pairs, encoder) if pairs else ())
    best = [max((next(scores)[2] for _ in row), default=0.0) for row in references]
    opened = open_encoder(encoder) if pairs else None
    return [
        None if opened is not None and opened.blind(output, row) else value
        for value, output, row in zip(best, outputs, references, strict=True)
    ]


def default_layer(encoder: Encoder) -> int:
    """Five sixths of the encoder's depth (5 of 6, 10 of 12), as in bert-score's table."""
    return max(1, round(encoder.layers * 5 / 6))


def precision_recall_f1(
    pairs: Sequence[tuple[str, str]], encoder: str = "", layer: int = 0
) -> list[tuple[float, float, float]]:
    """BERTScore precision, recall and F1 of each (output, reference); layer 0: `default_layer`.

    (0, 0, 0) where either is blank.

    Example:
        >>> precision_recall_f1([("", "late")])
        [(0.0, 0.0, 0.0)]
    """
    texts = list(dict.fromkeys(text for pair in pairs for text in pair if text.strip()))
    if not texts:
        return [(0.0, 0.0, 0.0)] * len(pairs)
    opened = open_encoder(encoder)
    tokens = dict(
        zip(texts, map(_unit, opened.tokens(texts, layer or default_layer(opened))), strict=True)
    )
    return [
        _match(tokens[output], tokens[reference])
        if output in tokens and reference in tokens
        else (0.0, 0.0, 0.0)
        for output, reference in pairs
    ]


def _unit(tokens: Tokens) -> Tokens:
    lengths = np.linalg.norm(tokens.vectors, axis=1, keepdims=True)
    return Tokens(tokens.ids, tokens.vectors / np.maximum(lengths, 1e-12), tokens.special)


def _match(output: Tokens, reference: Tokens) -> tuple[float, float, float]:
    if output.special.all() or reference.special.all():
        return 0.0, 0.0, 0.0
    similar = output.vectors @ reference.vectors.T
    precision = float(similar.max(axis=1)[~output.special].mean())
    recall = float(similar.max(axis=0)[~reference.special].mean())
    f1 = 2 * precision * recall / (precision + recall) if precision > 0 and recall > 0 else 0.0
    return precision, recall, min(f1, 1.0)
