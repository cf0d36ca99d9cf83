"""Topic shares: clusters of texts, and whether one of them grew or shrank."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

from sluicegate.drift.tables import Array

MOST, ROWS = 40, 25
"""At most so many topics, of about so many rows."""


def topics(
    vectors: NDArray[np.float32], splits: NDArray[np.bool_], blocks: NDArray[np.intp]
) -> Array:
    """Compare the shares of topics, of which the one that changed most counts.

    0 (equal) upward; symmetric, no direction.

    Topics are clusters (k-means) of both sides together, so that they are the same for every split.
    The distance is the largest difference of the square roots of two shares: 0.1 is 4 % instead of
    1 %, or 12 % instead of 6 %. Source: MacQueen 1967; Lloyd 1982.

    Returns:
        One value per split; 0 where a side is empty.

    Example:
        >>> vectors = np.eye(2, dtype=np.float32)[[0] * 50 + [1] * 10 + [0] * 20 + [1] * 20]
        >>> topics(vectors, (np.arange(100) >= 60)[None], np.arange(100)).round(2).tolist()
        [0.3]
    """
    if not len(vectors):
        return np.zeros(len(splits))
    labels = clusters(vectors)
    ones = np.eye(int(labels.max()) + 1)[labels]
    after = splits.astype(np.float64) @ ones
    before = ones.sum(axis=0) - after
    n, m = after.sum(axis=1), before.sum(axis=1)
    filled = (n > 0) & (m > 0)
    roots = [
        np.sqrt(counts / np.where(filled, size, 1.0)[:, None])
        for counts, size in ((after, n), (before, m))
    ]
    return np.where(filled, np.abs(roots[0] - roots[1]).max(axis=1), 0.0)


def clusters(vectors: NDArray[np.float32]) -> NDArray[np.intp]:
    """The number of each row's topic, from 0; the same vectors give the same topics."""
    from scipy.cluster.vq import kmeans2

    count = max(2, min(MOST, len(vectors) // ROWS))
    if len(np.unique(vectors, axis=0)) <= count:
        return np.unique(vectors, axis=0, return_inverse=True)[1].astype(np.intp).reshape(-1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a cluster may end empty: nobody's topic
        labels = kmeans2(vectors.astype(np.float64), count, minit="points", seed=0)[1]
    found: NDArray[np.intp] = np.unique(labels, return_inverse=True)[1]
    return found
