"""Did a column's mean move?"""

from __future__ import annotations

import numpy as np

from sluicegate.drift.tables import Array, shares


def mean_shift(reference: Array, window: Array, values: Array) -> Array:
    """Compare means: their difference in standard deviations of both sides together.

    0 (equal) upward.

    Of a small shift of the whole column it sees more than `ks`: 0.3 standard deviations in 200 rows
    are 4 standard errors here. The direction is in the report's `change`. Cohen 1988 (d).

    Returns:
        One value per row; 0 where a side is empty or nothing varies.

    Example:
        >>> mean_shift(np.array([[2.0, 2.0]]), np.array([[0.0, 4.0]]), np.array([0.0,
        ...     1.0])).round(3).tolist()
        [1.155]
    """
    pooled = shares(reference + window)
    middle = pooled @ values
    spread = np.sqrt(np.maximum(pooled @ np.square(values) - np.square(middle), 0.0))
    apart = np.abs(shares(window) @ values - shares(reference) @ values)
    filled = (reference.sum(axis=-1) > 0) & (window.sum(axis=-1) > 0) & (spread > 1e-12)
    found: Array = np.where(filled, apart / np.where(spread > 1e-12, spread, 1.0), 0.0)
    return found
