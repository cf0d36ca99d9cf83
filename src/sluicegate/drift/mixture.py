"""A part of the window that is of another kind, found by what a classifier learns of it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sluicegate.drift.classifier import held_out
from sluicegate.drift.tables import Array

USUAL = (0.8, 0.9, 0.95, 0.98)
"""Shares of the reference's rows below which a row is usual; the most telling one counts."""


def mixture(
    vectors: NDArray[np.float32], splits: NDArray[np.bool_], blocks: NDArray[np.intp]
) -> Array:
    """Compare how many of the window's rows a classifier takes for the window's without doubt.

    0 (no more than of the reference) upward; says nothing of direction.

    The scores are those of `classifier`, which averages over all rows; here only the top counts:
    the share of the window's rows above a quantile of the reference's, less what is expected, in
    standard deviations of a row. So a tenth of another kind is seen where nine tenths are as
    before. Source: Donoho and Jin 2004 (higher criticism).

    Returns:
        One value per split; 0 where a side is empty.

    Example:
        >>> vectors = np.eye(3, dtype=np.float32)[[0] * 60 + [1] * 10 + [0] * 30]
        >>> mixture(vectors, (np.arange(100) >= 60)[None], np.arange(100)).round(2).tolist()
        [1.64]
    """
    found = np.zeros(len(splits))
    scores = held_out(vectors, splits, blocks)
    for number, window in enumerate(splits):
        if window.all() or not window.any():
            continue
        known = np.sort(scores[~window, number])
        edges = known[[min(int(usual * len(known)), len(known) - 1) for usual in USUAL]]
        above = (scores[window, number][:, None] > edges + 1e-9).mean(axis=0)
        found[number] = max(
            (share - (1 - usual)) / np.sqrt(usual * (1 - usual))
            for share, usual in zip(above, USUAL, strict=True)
        )
    return np.maximum(found, 0.0)
