"""Confidence bounds for a mean that hold at small n: no normality, no variance estimate, ties and
skew allowed.

Gaffke's test of a one-sided hypothesis on the mean of a variable with a known worst value (N.
Gaffke, "Three test statistics for a nonparametric one-sided hypothesis on the mean of a nonnegative
variable", Mathematical Methods of Statistics 14, 2005). The sample is joined by one unseen
observation at the worst value; all get random weights, uniform on the simplex; p is the probability
that the weighted mean does not exceed the null value. For 0/1 data it *is* Clopper-Pearson; for
large n it is as narrow as the t interval; for rare large losses, where t and the bootstrap fail
because the sample holds none of them, it stays honest. Its validity is proved for two-point
distributions, for all others a conjecture without a known counter-example:
`benchmarks/gate_calibration.py` measures it.

The probability needs no simulation. Uniform simplex weights are exponentials over their sum, so p =
P(sum E_i a_i <= 0) with a_i = x_i - c. Its moment generating function M(s) = prod 1/(1 - a_i s) is
inverted along a hyperbola through the saddle point of M(s)/(-s), s < 0, that begins as the path of
steepest descent (S. O. Rice, SIAM Journal on Scientific and Statistical Computing 1, 1980), where
next to nothing oscillates: the trapezoidal rule in y = sigma sinh u converges exponentially, for
two groups as for many thousands, and a p of 1e-9 has as many right digits as one of 0.1. Its step
is halved until two results agree. The same bytes on every run.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

_NORMAL = NormalDist()
_LEAST, _MOST = 1e-300, 1.0 - 1e-15
_CLOSE = 1e-12
_BLOCK = 8
_STEP = 0.2
_FINEST = 0.001
_SETTLED = 1e-9
_FARTHEST = 60.0
_NOTHING = -45.0
"""Logarithm of an ordinate that adds no digit any more."""
_POINTS = 16


@dataclass(frozen=True, slots=True)
class Clusters:
    """Independent groups of observations, each by its mean: every group counts once, however many
    rows it has.

    Weighting by rows instead would make the largest group the worst that may be unseen: on a golden
    set of 61 groups, three of them with two rows, that alone turned p = 0.0025 into 0.035
    (docs/adr/0004).

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
    """One-sided p value of "the mean is `null` or less"; small when the sample shows that it is
    more.

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
    """The largest value that the mean exceeds with confidence 1 - alpha; the worst value when
    nothing is shown.
    """
    low, high = sample.worst, float(sample.means.max())
    if high <= low or alpha <= 0.0:
        return low
    asked = _NORMAL.inv_cdf(alpha)

    def rises(place: float) -> float:  # nearly a straight line
        p = p_mean_at_most(sample, place)
        return _NORMAL.inv_cdf(min(max(p, _LEAST), _MOST)) - asked

    ends = (low, _NORMAL.inv_cdf(_LEAST) - asked), (high, _NORMAL.inv_cdf(_MOST) - asked)
    return _crossing(rises, *ends, _CLOSE * (high - low))


def upper_bound(sample: Clusters, alpha: float) -> float:
    """The smallest value that the mean stays below with confidence 1 - alpha."""
    return -lower_bound(sample.mirrored(), alpha)


def _probability_not_positive(values: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    """P(sum_i values_i Gamma(weights_i) <= 0), some value being above 0; 0.0 if none is below."""
    if float(values.min()) >= 0.0:
        return 0.0
    if float(weights @ values) < 0.0:
        return 1.0 - _small_side(-values, weights)
    return _small_side(values, weights)


def _small_side(values: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    """The same where the sum's mean is not negative, so that the probability is the smaller of the
    two sides.
    """
    saddle = _saddle(values, weights)
    ratios = values / (1.0 - values * saddle)
    second = float(weights @ ratios**2) + saddle**-2
    third = 2.0 * float(weights @ ratios**3) - 2.0 * saddle**-3
    height = float(weights @ np.log1p(-values * saddle))  # minus the logarithm of M at the saddle
    sigma, bend = (
        1.0 / math.sqrt(second),
        third / second / 6.0,
    )  # the path of steepest descent is s = iy + bend y^2
    width = 1.0 / max(4.0 * abs(bend), 1e-12 / sigma)

    def ordinates(first: float, step: float) -> float:
        total, place = 0.0, first
        while place < _FARTHEST:
            u = np.arange(place, place + _POINTS * step - step / 2, step)
            y = sigma * np.sinh(u)
            hypotenuse = np.hypot(width, y)
            s = saddle + 1j * y + math.copysign(0.5, bend) * (y * y / (hypotenuse + width))
            slope = math.copysign(0.5, bend) * y / hypotenuse
            exponents = height - _sum_of_logs(values, weights, s)
            total += float(
                (np.exp(exponents) * (saddle / s) * (1.0 - 1j * slope) * np.cosh(u)).real.sum()
            )
            if exponents[-1].real + math.log(abs(saddle / s[-1])) + float(u[-1]) < _NOTHING:
                break
            place += _POINTS * step
        return total

    step = _STEP
    total = step * (0.5 + ordinates(step, step))  # at the saddle the ordinate is 1
    while step > _FINEST:
        finer = 0.5 * (total + step * ordinates(step / 2, step))
        settled = abs(finer - total) <= _SETTLED * abs(finer)
        total, step = finer, step / 2
        if settled:
            break
    return float(min(1.0, max(0.0, math.exp(-height) / -saddle * sigma * total / math.pi)))


def _sum_of_logs(
    values: NDArray[np.float64], weights: NDArray[np.float64], s: NDArray[np.complex128]
) -> NDArray[np.complex128]:
    """weights @ log(1 - values s), up to multiples of 2 pi i where all weights are whole.

    Factors of weight 1 are multiplied, eight at a time, before the logarithm is taken: on a golden
    set of 2,500 groups that is eight times as fast.
    """
    whole = bool(np.all(weights == np.round(weights)))
    single = weights == 1.0 if whole else np.zeros(len(weights), dtype=bool)
    factors = 1.0 - values[:, None] * s
    several: NDArray[np.complex128] = weights[~single] @ np.log(factors[~single])
    ones = factors[single]
    left = len(ones) % _BLOCK
    blocks = ones[left:].reshape(-1, _BLOCK, len(s)).prod(axis=1)
    alone: NDArray[np.complex128] = np.log(np.concatenate((ones[:left], blocks))).sum(axis=0)
    total: NDArray[np.complex128] = several + alone
    return total


def _saddle(values: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    """Where M(s)/(-s) is smallest between its pole at 0 and its nearest singularity below."""
    nearest = 1.0 / float(values.min())

    def falling(place: float) -> float:
        """The derivative of the logarithm without its two poles; -1 at 0."""
        reached = values * (nearest * place)
        left = 1.0 - reached
        with np.errstate(divide="ignore", invalid="ignore"):
            shares = np.where(left > 0.0, reached / left, 0.0)
        return float(weights @ shares - 1.0) * (1.0 - place)

    return nearest * _crossing(falling, (0.0, -1.0), (1.0, 1.0), _CLOSE)


def _crossing(
    rises: Callable[[float], float],
    below: tuple[float, float],
    above: tuple[float, float],
    tolerance: float,
) -> float:
    """A place below 0 of a function that rises through it once, within `tolerance` of the crossing.

    False position by N. Anderson and A. Bjorck (BIT 13, 1973), every fourth step a bisection: ten
    evaluations where bisection alone takes forty.

    Args:
        rises: the function.
        below, above: a place and the function's value there, on either side.
    """
    (low, under), (high, over) = below, above
    side, turn = 0, 0
    while high - low > tolerance:
        turn += 1
        middle = 0.5 * (low + high)
        if turn % 4:
            middle = (low * over - high * under) / (over - under)
            middle = min(max(middle, low + tolerance / 2), high - tolerance / 2)
        value = rises(middle)
        if value < 0.0:
            over *= _less(value, under) if side < 0 else 1.0
            low, under, side = middle, value, -1
        else:
            under *= _less(value, over) if side > 0 else 1.0
            high, over, side = middle, value, 1
    return low


def _less(value: float, before: float) -> float:
    share = 1.0 - value / before
    return share if share > 0.0 else 0.5
