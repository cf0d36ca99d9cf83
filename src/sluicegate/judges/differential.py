"""Does a judge err in favour of somebody? Its error held beside people's labels.

A judge whose error is the same for both releases changes no comparison; one whose error depends on
which release answered, or on the length of the answer, does. Every estimate counts groups, not
rows, with Student's t; bounds are one-sided.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from sluicegate.judges.agreement import Floats

SURE = 0.95
POWER = 0.8


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean or a difference of means with its standard error, over `groups` independent groups."""

    value: float
    error: float
    groups: int

    @property
    def low(self) -> float:
        """What it is above, 95 % sure."""
        return self.value - self._half

    @property
    def high(self) -> float:
        """What it is below, 95 % sure."""
        return self.value + self._half

    @property
    def _half(self) -> float:
        return float(stats.t.ppf(SURE, max(self.groups - 1, 1))) * self.error


def mean(values: Floats, groups: Sequence[str]) -> Estimate | None:
    """The mean, each group once; None for fewer than two groups.

    Example:
        >>> mean(np.array([1.0, 0.0, 1.0, 0.0]), list("abcd")).value
        0.5
    """
    _, members, sizes = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
    if len(sizes) < 2:
        return None
    means = np.bincount(members, weights=values) / sizes
    error = float(means.std(ddof=1)) / math.sqrt(len(means))
    return Estimate(float(means.mean()), error, len(means))


def gap(
    values: Floats, first: NDArray[np.bool_], groups: Sequence[str], *, shares: bool = False
) -> Estimate | None:
    """Mean of the rows in `first` less that of the others; None where a side has no two rows.

    Args:
        values: one a row.
        first: which rows are on the first side.
        groups: of the rows; the standard error is robust to dependence within them.
        shares: values are in [0, 1]: a 1 and a 0 are added to either side, so that the bound holds
            for few rows too (Agresti and Caffo, The American Statistician 54, 2000).

    Example:
        >>> found = gap(np.array([1.0, 1.0, 0.0, 0.0]), np.array([1, 1, 0, 0], bool), list("abcd"))
        >>> found.value, found.error
        (1.0, 0.0)
    """
    if min(int(first.sum()), int((~first).sum())) < 2:
        return None
    names = list(groups)
    if shares:
        values = np.append(values, [1.0, 0.0, 1.0, 0.0])
        first = np.append(first, [True, True, False, False])
        names += [f"added {number} to {len(groups)}" for number in range(4)]
    means = [float(values[side].mean()) for side in (first, ~first)]
    influence = np.where(
        first, (values - means[0]) / first.sum(), -(values - means[1]) / (~first).sum()
    )
    _, members = np.unique(np.asarray(names), return_inverse=True)
    error = math.sqrt(float((np.bincount(members, weights=influence) ** 2).sum()))
    return Estimate(means[0] - means[1], error, len(set(groups)))


def more_rows(estimate: float, error: float, bound: float, rows: int) -> int | None:
    """How many more rows would show, with a chance of 80 %, that the estimate is beyond the bound.

    `error` is the standard error at `rows`. None where the estimate is at the bound: no number of
    rows shows a thing that is not so.

    Example:
        >>> more_rows(0.8, 0.1, 0.6, 60), more_rows(0.6, 0.1, 0.6, 60)
        (33, None)
    """
    apart = abs(estimate - bound)
    if apart < 1e-9:
        return None
    wanted = float(stats.norm.ppf(SURE) + stats.norm.ppf(POWER)) * error / apart
    return max(math.ceil(rows * wanted**2) - rows, 1)
