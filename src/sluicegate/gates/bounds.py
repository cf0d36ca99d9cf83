"""Confidence bounds for a mean that hold at small n: no normality, no variance estimate, ties and skew allowed.

Gaffke's test of a one-sided hypothesis on the mean of a variable with a known worst value (N. Gaffke, "Three test
statistics for a nonparametric one-sided hypothesis on the mean of a nonnegative variable", Mathematical Methods of
Statistics 14, 2005). The sample is joined by one unseen observation at the worst value; all get random weights,
uniform on the simplex; p is the probability that the weighted mean does not exceed the null value. For 0/1 data it *is*
Clopper-Pearson; for large n it is as narrow as the t interval; for rare large losses, where t and the bootstrap fail
because the sample holds none of them, it stays honest. Its validity is proved for two-point distributions, for all
others a conjecture without a known counter-example: `benchmarks/gate_calibration.py` measures it.

The probability needs no simulation. Uniform simplex weights are exponentials over their sum, so p = P(sum E_i a_i <= 0)
with a_i = x_i - c, found from the characteristic function prod 1/(1 - i t a_i) by Imhof's inversion (Biometrika 48,
1961) with the trapezoidal rule in log t, which converges exponentially: the same bytes on every run.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_STEP = 0.05
_HALVINGS = 60


@dataclass(frozen=True, slots=True)
class Clusters:
    """Independent groups of observations, each by its mean: every group counts once, however many rows it has.

    Weighting by rows instead would make the largest group the worst that may be unseen: on a golden set of 61 groups,
    three of them with two rows, that alone turned p = 0.0025 into 0.035 (docs/adr/0004).

    Attributes:
        means: one number a group.
        rows: how many observations there are in all.
        worst, best: smallest and largest possible single value.
        multiplicity: how often each group counts; 1 in data, other values in planning.
    """

    means: NDArray[np.float64]
    rows: int
    worst: float
    best: float
    multiplicity: float = 1.0

    @property
    def mean(self) -> float:
        return float(self.means.mean())

    @property
    def standard_error(self) -> float:
        """Standard error of the mean over groups; 0.0 for a single group."""
        groups = len(self.means)
        return float(self.means.std(ddof=1) / np.sqrt(groups)) if groups > 1 else 0.0

    def mirrored(self) -> Clusters:
        """The same observations with the sign turned, for upper bounds."""
        return Clusters(-self.means, self.rows, -self.best, -self.worst, self.multiplicity)


def clusters(values: Sequence[float], groups: Sequence[str], worst: float, best: float) -> Clusters:
    """Average observations by group, in a fixed order, so that row order changes no byte.

    Example:
        >>> clusters([1.0, 0.0, 1.0], ["a", "a", "b"], 0.0, 1.0).means.tolist()
        [0.5, 1.0]
    """
    members: dict[str, list[float]] = {}
    for value, group in zip(values, groups, strict=True):
        members.setdefault(group, []).append(value)
    means = sorted(math.fsum(found) / len(found) for found in members.values())
    return Clusters(np.array(means), len(values), worst, best)


def p_mean_at_most(sample: Clusters, null: float) -> float:
    """One-sided p value of "the mean is `null` or less"; small when the sample shows that it is more.

    Example:
        >>> round(p_mean_at_most(clusters([1.0] * 10, list("abcdefghij"), 0.0, 1.0), 0.8), 6)
        0.107374
    """
    if null < sample.worst:
        return 0.0
    unseen = sample.worst - null
    distinct, counts = np.unique(sample.means - null, return_counts=True)
    scale = max(float(np.abs(distinct).max()), abs(unseen))
    if scale == 0.0 or float(distinct[-1]) <= 0.0:
        return 1.0
    values = np.append(distinct, unseen) / scale
    weights = np.append(counts * sample.multiplicity, 1.0)
    return _probability_not_positive(values, weights)


def lower_bound(sample: Clusters, alpha: float) -> float:
    """The largest value that the mean exceeds with confidence 1 - alpha; the worst value when nothing is shown."""
    low, high = sample.worst, float(sample.means.max())
    if high <= low:
        return low
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        if p_mean_at_most(sample, middle) < alpha:
            low = middle
        else:
            high = middle
    return low


def upper_bound(sample: Clusters, alpha: float) -> float:
    """The smallest value that the mean stays below with confidence 1 - alpha."""
    return -lower_bound(sample.mirrored(), alpha)


def _probability_not_positive(values: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    """P(sum_i values_i Gamma(weights_i) <= 0), Imhof's integral by the trapezoidal rule in log t."""
    total = float(weights @ np.abs(values))
    squares = values * values
    start = np.log(1e-3 / total)
    stop = start
    while stop < 40.0 and 0.5 * float(weights @ np.log1p(np.exp(2.0 * stop) * squares)) < 23.0:
        stop += 0.25
    t = np.exp(np.arange(start, stop + _STEP, _STEP))
    phase = weights @ np.arctan(values[:, None] * t)
    decay = np.exp(-0.5 * (weights @ np.log1p(squares[:, None] * (t * t))))
    body = float((np.sin(phase) * decay).sum())
    tail = float(weights @ values) * float(t[0]) / np.expm1(_STEP)
    return float(min(1.0, max(0.0, 0.5 - _STEP * (body + tail) / np.pi)))
