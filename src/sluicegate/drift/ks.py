"""Kolmogorov-Smirnov: the largest gap between the two distribution functions."""

from __future__ import annotations

import numpy as np

from sluicegate.drift.tables import Array, shares


def ks(reference: Array, window: Array, values: Array) -> Array:
    """Compare where values lie. 0 (equal) to 1 (disjoint); symmetric, says nothing of direction.

    As an effect: the largest difference in the share of rows below some value; 0.08 is what a shift
    by 0.2 standard deviations does to a normal column. Source: Kolmogorov 1933, Smirnov 1939.

    Returns:
        One distance per row; 0 where a side is empty.

    Example:
        >>> ks(np.array([[2.0, 2.0, 0.0]]), np.array([[0.0, 2.0, 2.0]]), np.arange(3.0)).tolist()
        [0.5]
    """
    if not reference.shape[-1]:
        return np.zeros(len(reference))
    apart: Array = (
        np.abs(np.cumsum(shares(reference) - shares(window), axis=-1)).max(axis=-1).clip(max=1)
    )
    return np.where((reference.sum(axis=-1) > 0) & (window.sum(axis=-1) > 0), apart, 0.0)
