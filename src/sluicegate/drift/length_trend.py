"""Are texts getting longer or shorter?"""

from __future__ import annotations

import numpy as np

from sluicegate.drift.tables import Array, shares


def length_trend(reference: Array, window: Array, values: Array) -> Array:
    """Compare mean lengths.

    The absolute logarithm of their ratio: 0 (equal) upward; 0.26 is 30 % longer or shorter.

    More sensitive to a change of scale than `ks`; the direction is in the report's `before` and
    `after`. Made for the commonest drift of an assistant: prompts that keep growing.

    Returns:
        One value per row; 0 where a side is empty.

    Example:
        >>> length_trend(np.array([[1.0, 1.0]]), np.array([[0.0, 2.0]]), np.array([9.0,
        ...     19.0])).round(3).tolist()
        [0.288]
    """
    left, right = shares(reference) @ values, shares(window) @ values
    ratio: Array = np.abs(np.log1p(right) - np.log1p(left))
    return np.where((reference.sum(axis=-1) > 0) & (window.sum(axis=-1) > 0), ratio, 0.0)
