"""Columns as count tables: what every detector compares.

A column of both sides together is cut into bins at its quantiles (or by its labels); a detector
then sees two tables of counts, one row for each way to split the rows. Bins of the pooled values
keep a permutation test exact: they do not change when rows change sides.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def binned(values: Array, bins: int) -> tuple[NDArray[np.intp], Array]:
    """The bin of each value and each bin's mean; at most `bins` of about equal size, ties together.

    A NaN gets the number one beyond the last bin. Without any number there are no bins.

    Example:
        >>> codes, means = binned(np.array([1.0, 2.0, 2.0, 9.0, np.nan]), 3)
        >>> codes.tolist(), means.tolist()
        ([0, 1, 1, 2, 3], [1.0, 2.0, 9.0])
    """
    known = ~np.isnan(values)
    found = values[known]
    distinct = np.unique(found)
    if len(distinct) > bins:
        edges = np.unique(
            np.quantile(found, np.linspace(0, 1, bins + 1)[1:-1], method="inverted_cdf")
        )
        inside = np.searchsorted(edges, found, side="left")
        filled, inside = np.unique(inside, return_inverse=True)
        count = len(filled)
    else:
        inside, count = np.searchsorted(distinct, found), len(distinct)
    codes = np.full(len(values), count, np.intp)
    codes[known] = inside
    sizes = np.bincount(inside, minlength=count)
    means = np.bincount(inside, weights=found, minlength=count) / np.maximum(sizes, 1)
    return codes, means


def labelled(values: NDArray[np.object_]) -> tuple[NDArray[np.intp], Array]:
    """The number of each label; None gets the number one beyond the last.

    The means are the numbers themselves.
    """
    names = sorted({value for value in values.tolist() if value is not None})
    place = {name: number for number, name in enumerate(names)} | {None: len(names)}
    return np.array([place[value] for value in values.tolist()], np.intp), np.arange(
        len(names), dtype=np.float64
    )


def shares(counts: Array) -> Array:
    """Each row divided by its sum; a row of zeros stays so."""
    total = counts.sum(axis=-1, keepdims=True)
    parts: Array = counts / np.where(total > 0, total, 1)
    return parts
