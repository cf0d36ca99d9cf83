"""How far two sets of ratings agree, and how sure that is.

Ranks and correlations by SciPy. Weighted kappa (J. Cohen, Psychological Bulletin 70, 1968) and
Krippendorff's alpha (K. Krippendorff, "Computing Krippendorff's Alpha-Reliability", 2011) are ours
for speed and licence (docs/adr/0007). Where a measure has no value, because one side does not vary,
it is 0.0: who always says the same has shown nothing.

Intervals are two-sided, 95 % unless told, and count groups (a conversation, a document), not rows:
rows of one group are not independent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Floats = NDArray[np.float64]
Statistic = Callable[..., float]
RESAMPLES = 1000
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Interval:
    """A measure with its confidence interval; `rows` it rests on, in `groups` independent groups."""

    value: float
    low: float
    high: float
    rows: int
    groups: int


def accuracy(first: ArrayLike, second: ArrayLike) -> float:
    """Mean of 1 - |first - second| for ratings in [0, 1]: the share that agree, where all are 0/1.

    A half (a tie, or an answer that changed with the order) counts half. 0 to 1, higher is better.

    Example:
        >>> accuracy([1, 0, 0.5, 1], [1, 1, 1, 1])
        0.625
    """
    a, b = _pair(first, second)
    return float(np.mean(1.0 - np.abs(a - b)))


def spearman(first: ArrayLike, second: ArrayLike) -> float:
    """Spearman's rank correlation, ties at their mean rank; -1 to 1, 0.0 where a side is constant.

    Example:
        >>> spearman([1, 2, 3, 4], [10, 20, 40, 30]), spearman([1, 1, 1], [1, 2, 3])
        (0.8, 0.0)
    """
    a, b = _pair(first, second)
    return _correlation(_ranks(a), _ranks(b))


def kendall(first: ArrayLike, second: ArrayLike) -> float:
    """Kendall's tau-b, corrected for ties; -1 to 1, 0.0 where one side is constant.

    Example:
        >>> round(kendall([12, 2, 1, 12, 2], [1, 4, 7, 1, 0]), 4)
        -0.4714
    """
    a, b = _pair(first, second)
    if np.ptp(a) == 0.0 or np.ptp(b) == 0.0:
        return 0.0
    return float(stats.kendalltau(a, b, variant="b").statistic)


def partial_spearman(first: ArrayLike, second: ArrayLike, given: ArrayLike) -> float:
    """Rank correlation of `first` and `second` without what `given` explains of each; -1 to 1.

    0.0 where nothing of one of them is left.

    Example:
        >>> human, length = [1, 2, 3, 4, 5, 6], [3, 1, 2, 6, 4, 5]
        >>> partial_spearman(human, length, human), round(partial_spearman(length, length, human), 6)
        (0.0, 1.0)
    """
    a, b = _pair(first, second)
    control = _ranks(np.asarray(given, float))
    return _correlation(_residual(_ranks(a), control), _residual(_ranks(b), control))


def weighted_kappa(
    first: ArrayLike,
    second: ArrayLike,
    weights: Literal["none", "linear", "quadratic"] = "quadratic",
    levels: Sequence[float] | None = None,
) -> float:
    """Agreement above chance on ordered levels, weighted by how many levels apart; at most 1.

    Args:
        first, second: ratings; each is one of `levels`.
        weights: `none` (Cohen's kappa), `linear` or `quadratic` in the number of levels between two
            ratings.
        levels: every level of the scale in order; those that occur where absent, as most packages
            do.

    Raises:
        ValueError: a rating is not one of the levels.

    Example:
        >>> weighted_kappa([1, 2, 3, 1], [1, 2, 3, 3], "linear")
        0.5
    """
    a, b = _pair(first, second)
    scale = np.unique(np.concatenate([a, b])) if levels is None else np.array(sorted(levels), float)
    rows, columns = (_places(side, scale) for side in (a, b))
    table = np.zeros((len(scale), len(scale)))
    np.add.at(table, (rows, columns), 1.0)
    table /= len(a)
    apart = np.abs(np.subtract.outer(np.arange(len(scale)), np.arange(len(scale)))).astype(float)
    cost = {"none": (apart > 0).astype(float), "linear": apart, "quadratic": apart**2}[weights]
    expected = float((np.outer(table.sum(1), table.sum(0)) * cost).sum())
    return 1.0 - float((table * cost).sum()) / expected if expected > 0.0 else 0.0


def krippendorff_alpha(
    ratings: ArrayLike, metric: Literal["nominal", "ordinal", "interval"] = "interval"
) -> float:
    """Krippendorff's alpha of any number of raters; at most 1, 0 is chance or nothing varies.

    Args:
        ratings: one line a rater, one column a unit; NaN where the rater did not rate it.
        metric: what a difference is: `nominal` (differs or not), `ordinal` (ranks between),
            `interval` (squared).

    Example:
        >>> round(krippendorff_alpha([[1, 2, 3, 3], [1, 2, 3, 4]], "nominal"), 4)
        0.6957
    """
    table = np.atleast_2d(np.asarray(ratings, float)).T
    table = table[(~np.isnan(table)).sum(axis=1) > 1]
    if not len(table):
        return 0.0
    known = ~np.isnan(table)
    values, places = np.unique(table[known], return_inverse=True)
    counts = np.zeros((len(table), len(values)))
    np.add.at(counts, (np.nonzero(known)[0], places), 1.0)
    share = counts / (known.sum(axis=1, keepdims=True) - 1.0)
    together = counts.T @ share - np.diag(share.sum(axis=0))
    totals = together.sum(axis=0)
    apart = _apart(values, totals, metric)
    expected = float(totals @ apart @ totals) / (float(totals.sum()) - 1.0)
    return 1.0 - float((together * apart).sum()) / expected if expected > 0.0 else 0.0


def bootstrap(
    statistic: Statistic,
    columns: Sequence[ArrayLike],
    groups: Sequence[str],
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
) -> Interval:
    """`statistic(*columns)` with the percentile interval of a bootstrap that draws whole groups.

    The same input and seed give the same interval, whatever the order of the groups' names in the
    file.

    Raises:
        ValueError: no rows, or columns of different lengths.

    Example:
        >>> found = bootstrap(accuracy, ([1, 0, 1, 1], [1, 1, 1, 1]), ["a", "b", "c", "d"])
        >>> found.value, found.low < found.value < found.high, found.groups
        (0.75, True, 4)
    """
    arrays = [np.asarray(column, float) for column in columns]
    if not len(groups) or any(len(array) != len(groups) for array in arrays):
        raise ValueError(f"{[len(array) for array in arrays]} values for {len(groups)} rows")
    names, members = np.unique(np.asarray(groups), return_inverse=True)
    order = np.argsort(members, kind="stable")
    places = np.split(order, np.cumsum(np.bincount(members))[:-1])
    single = order if len(names) == len(groups) else None
    chance = np.random.default_rng(seed)
    found = np.empty(resamples)
    for number in range(resamples):
        chosen = chance.integers(0, len(names), len(names))
        drawn = (
            single[chosen]
            if single is not None
            else np.concatenate([places[one] for one in chosen])
        )
        found[number] = statistic(*(array[drawn] for array in arrays))
    low, high = np.quantile(found, [0.5 - confidence / 2, 0.5 + confidence / 2])
    return Interval(float(statistic(*arrays)), float(low), float(high), len(groups), len(names))


def mean_interval(
    values: ArrayLike, groups: Sequence[str], *, confidence: float = CONFIDENCE
) -> Interval:
    """Mean of values in [0, 1], each group once, with Clopper and Pearson's interval (1934).

    For 0/1 values in groups of one it is exact; for values between, its continuation to a number of
    successes that is no integer is conservative. Ten of ten do not make certainty.

    Raises:
        ValueError: no values, or one outside [0, 1].

    Example:
        >>> found = mean_interval([1.0] * 10, list("abcdefghij"))
        >>> found.value, round(found.low, 4), found.high
        (1.0, 0.6915, 1.0)
    """
    array = np.asarray(values, float)
    if not len(array) or not bool(np.all((array >= 0.0) & (array <= 1.0))):
        raise ValueError("values between 0 and 1 are needed")
    _, members, sizes = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
    means = np.bincount(members, weights=array) / sizes
    count, hits = len(means), float(means.sum())
    tail = (1.0 - confidence) / 2
    low = float(stats.beta.ppf(tail, hits, count - hits + 1)) if hits > 1e-12 else 0.0
    high = float(stats.beta.ppf(1 - tail, hits + 1, count - hits)) if hits < count - 1e-12 else 1.0
    return Interval(hits / count, low, high, len(array), count)


def _pair(first: ArrayLike, second: ArrayLike) -> tuple[Floats, Floats]:
    a, b = np.asarray(first, float), np.asarray(second, float)
    if a.shape != b.shape or a.ndim != 1 or not len(a):
        raise ValueError(f"two lists of the same length are needed, not {a.shape} and {b.shape}")
    return a, b


def _ranks(values: Floats) -> Floats:
    return np.asarray(stats.rankdata(values), np.float64)


def _correlation(first: Floats, second: Floats) -> float:
    a, b = first - first.mean(), second - second.mean()
    size = float(np.sqrt((a @ a) * (b @ b)))
    return float(np.clip((a @ b) / size, -1.0, 1.0)) if size > 1e-9 * len(a) else 0.0


def _residual(values: Floats, control: Floats) -> Floats:
    centred, axis = values - values.mean(), control - control.mean()
    spread = float(axis @ axis)
    return (
        np.asarray(centred - axis * (float(centred @ axis) / spread), np.float64)
        if spread > 0.0
        else centred
    )


def _places(values: Floats, scale: Floats) -> NDArray[np.intp]:
    found: NDArray[np.intp] = np.abs(np.subtract.outer(values, scale)).argmin(axis=1)
    if float(np.abs(scale[found] - values).max()) > 1e-9:
        raise ValueError(f"a rating is not one of the levels {scale.tolist()}")
    return found


def _apart(values: Floats, totals: Floats, metric: str) -> Floats:
    """Squared difference of each pair of values under the metric."""
    if metric == "nominal":
        return 1.0 - np.eye(len(values))
    if metric == "interval":
        return np.asarray(np.subtract.outer(values, values) ** 2, np.float64)
    # ranks between c and k: sum of n_g from c to k, less half of both ends
    middle = np.cumsum(totals) - totals / 2
    return np.asarray(np.subtract.outer(middle, middle) ** 2, np.float64)
