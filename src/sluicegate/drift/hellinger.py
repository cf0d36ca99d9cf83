"""Hellinger distance of two histograms."""

from __future__ import annotations

import numpy as np

from sluicegate.drift.tables import Array, shares


def hellinger(reference: Array, window: Array, values: Array) -> Array:
    """Compare the shares of ten bins.

    0 (equal) to 1 (no bin in common); symmetric, says nothing of direction.

    The square root of one minus the overlap, sum of sqrt(p q). Source: Hellinger 1909.

    Returns:
        One distance per row; 1 where one side only is empty, 0 where both are.

    Example:
        >>> hellinger(np.array([[1.0, 1.0, 0.0]]), np.array([[0.0, 1.0, 1.0]]),
        ...     np.arange(3.0)).round(3).tolist()
        [0.707]
    """
    left, right = shares(reference), shares(window)
    distance: Array = np.sqrt(np.square(np.sqrt(left) - np.sqrt(right)).sum(axis=-1) / 2)
    return distance
