"""Chi-square of a table of counts, as Cramér's V."""

from __future__ import annotations

import numpy as np

from sluicegate.drift.tables import Array


def chi_square(reference: Array, window: Array, values: Array) -> Array:
    """Compare how often each label (or bin) occurs.

    Cramér's V: 0 (same shares) to 1 (no label in common).

    V = sqrt(chi2 / rows): Pearson's statistic freed of the number of rows, so that it reads as an
    effect (0.1 small, 0.3 medium). Says nothing of direction. Source: Pearson 1900; Cramér 1946.

    Returns:
        One V per row; 0 where a side is empty.

    Example:
        >>> chi_square(np.array([[90.0, 10.0]]), np.array([[70.0, 30.0]]),
        ...     np.arange(2.0)).round(3).tolist()
        [0.25]
    """
    left, right = reference.sum(axis=-1, keepdims=True), window.sum(axis=-1, keepdims=True)
    both, total = reference + window, left + right
    safe = np.where(both > 0, both, 1.0) / np.where(total > 0, total, 1.0)
    chi = np.zeros(len(reference))
    for counts, size in ((reference, left), (window, right)):
        expected = safe * np.where(size > 0, size, 1.0)
        chi = chi + (np.square(counts - safe * size) / expected * (both > 0)).sum(axis=-1)
    filled = (left > 0) & (right > 0)
    return np.where(filled[:, 0], np.sqrt(chi / np.where(total > 0, total, 1.0)[:, 0]), 0.0)
