"""Jensen-Shannon distance of two histograms."""

from __future__ import annotations

import numpy as np

from sluicegate.drift.tables import Array, shares


def jensen_shannon(reference: Array, window: Array, values: Array) -> Array:
    """Compare the shares of ten bins.

    0 (equal) to 1 (no bin in common); symmetric, says nothing of direction.

    The square root of the divergence in bits, a metric. Source: Lin 1991; Endres and Schindelin
    2003.

    Returns:
        One distance per row; 0 where both sides are empty.

    Example:
        >>> jensen_shannon(np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]]), np.arange(2.0)).tolist()
        [1.0]
    """
    left, right = shares(reference), shares(window)
    middle = (left + right) / 2
    divergence = (_bits(left, middle) + _bits(right, middle)) / 2
    return np.sqrt(np.maximum(divergence, 0.0))


def _bits(part: Array, middle: Array) -> Array:
    ratio = np.where(part > 0, part, 1.0) / np.where(part > 0, middle, 1.0)
    bits: Array = (part * np.log2(ratio)).sum(axis=-1)
    return bits
