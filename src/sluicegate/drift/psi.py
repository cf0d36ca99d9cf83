"""Population stability index: the symmetric relative entropy of two histograms."""

from __future__ import annotations

import numpy as np

from sluicegate.drift.tables import Array


def psi(reference: Array, window: Array, values: Array) -> Array:
    """Compare the shares of ten bins.

    0 (equal) upward, in nats; symmetric, says nothing of direction.

    Half a row is added to every bin, so that an empty one stays finite. The usual reading, 0.1 to
    look and 0.25 to act, knows nothing of sample size; here a permutation sets the threshold.
    Source: Kullback and Leibler 1951 (J-divergence); Siddiqi 2006 for its use as an index.

    Returns:
        One index per row; 0 without bins.

    Example:
        >>> psi(np.array([[50.0, 50.0]]), np.array([[80.0, 20.0]]),
        ...     np.arange(2.0)).round(3).tolist()
        [0.406]
    """
    left, right = reference + 0.5, window + 0.5
    left, right = left / left.sum(axis=-1, keepdims=True), right / right.sum(axis=-1, keepdims=True)
    index: Array = ((right - left) * np.log(right / left)).sum(axis=-1)
    return index
