"""Maximum mean discrepancy: how far apart two clouds of vectors are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sluicegate.drift.tables import Array


def mmd(vectors: NDArray[np.float32], splits: NDArray[np.bool_], blocks: NDArray[np.intp]) -> Array:
    """Compare whole distributions of embeddings.

    0 (equal) to 1.41 (nothing in common); symmetric, no direction.

    The root of the unbiased estimate, negative ones as 0, under a Gaussian kernel as wide as the
    median distance of two rows. Sees a topic that appears, disappears or changes its weight.
    Source: Gretton et al. 2012, equation 3.

    Returns:
        One distance per split; 0 where a side has fewer than two rows.

    Example:
        >>> vectors = np.repeat(np.eye(2, dtype=np.float32), 20, axis=0)
        >>> apart, mixed = np.arange(40) < 20, np.arange(40) % 2 == 0
        >>> mmd(vectors, np.stack([apart, mixed]), np.arange(40)).round(2).tolist()
        [1.12, 0.0]
    """
    squares = np.square(vectors).sum(axis=1)
    distances = np.maximum(squares[:, None] + squares - 2 * vectors @ vectors.T, 0)
    off = distances[np.triu_indices(len(vectors), 1)]
    width = float(np.median(off[off > 1e-6])) if (off > 1e-6).any() else 1.0
    kernel = np.exp(-distances / width, dtype=np.float32)
    np.fill_diagonal(kernel, 0)
    right = splits.astype(np.float32)
    reached = right @ kernel
    both = (reached * right).sum(axis=1, dtype=np.float64)
    cross = reached.sum(axis=1, dtype=np.float64) - both
    left = float(kernel.sum(dtype=np.float64)) - both - 2 * cross
    n = splits.sum(axis=1).astype(np.float64)
    m = splits.shape[1] - n
    enough = (n > 1) & (m > 1)
    n, m = np.where(enough, n, 2.0), np.where(enough, m, 2.0)
    squared = both / (n * (n - 1)) + left / (m * (m - 1)) - 2 * cross / (n * m)
    return np.where(enough, np.sqrt(np.maximum(squared, 0.0)), 0.0)
