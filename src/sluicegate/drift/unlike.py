"""Rows unlike all that was seen: the share of a window that is far from every reference row."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sluicegate.drift.tables import Array

NEIGHBOUR = 3
"""A row is as strange as its third nearest row of the reference is far: one odd row there excuses
nothing."""
USUAL = 0.98
"""Share of the reference's rows that are not far, by definition."""
_NEAREST = 96  # neighbours looked through for those of the reference


def unlike(
    vectors: NDArray[np.float32], splits: NDArray[np.bool_], blocks: NDArray[np.intp]
) -> Array:
    """Compare how many of the window's rows are far from all of the reference's.

    0 (no more than of the reference itself) to 0.98; upward only, so it has a direction: rows that
    are missing from a window are not seen.

    A row's distance is that to its third nearest row of the reference, of other blocks; far is what
    is further than 98 % of the reference's rows are from one another. So rows of a new kind count
    however few and however different from each other they are, while a shift of what is common does
    not. Source: Loftsgaarden and Quesenberry 1965 (the distance); Bates et al. 2023 (calibration by
    held-out rows).

    Returns:
        One value per split: the share of such rows beyond 2 %; 0 where a side is empty.

    Example:
        >>> vectors = np.eye(3, dtype=np.float32)[[0] * 50 + [1] * 6 + [2] * 4 + [0] * 40]
        >>> unlike(vectors, (np.arange(100) >= 56)[None], np.arange(100)).round(2).tolist()
        [0.07]
    """
    found = np.zeros(len(splits))
    if len(vectors) < 2:
        return found
    places, distances = nearest(vectors, blocks)
    for number, window in enumerate(splits):
        if window.all() or not window.any():
            continue
        strange = strangeness(places, distances, window)
        found[number] = (strange[window] > edge(strange[~window])).mean() - (1 - USUAL)
    return np.maximum(found, 0.0)


def nearest(
    vectors: NDArray[np.float32], blocks: NDArray[np.intp]
) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """The nearest rows of other blocks of each row, in order, and how far they are (1 - cosine)."""
    distances = 1 - vectors @ vectors.T
    distances[blocks[:, None] == blocks] = 3.0  # further than any
    count = min(_NEAREST, len(vectors) - 1)
    places = np.argpartition(distances, count, axis=1)[:, :count]
    own = np.take_along_axis(distances, places, axis=1)
    order = np.argsort(own, axis=1, kind="stable")
    return np.take_along_axis(places, order, axis=1), np.take_along_axis(own, order, axis=1)


def strangeness(
    places: NDArray[np.intp], distances: NDArray[np.float32], window: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Each row's distance to its third nearest row outside the window."""
    known = np.cumsum(~window[places], axis=1, dtype=np.int16)
    enough = known >= np.minimum(NEIGHBOUR, known[:, -1:])
    return np.take_along_axis(distances, enough.argmax(axis=1)[:, None], axis=1)[:, 0]


def edge(strange: NDArray[np.float32]) -> float:
    """What 98 % of the reference's rows stay below."""
    place = min(int(USUAL * len(strange)), len(strange) - 1)
    return float(np.partition(strange, place)[place])
