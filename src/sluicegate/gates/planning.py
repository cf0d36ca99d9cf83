"""What a sample could have shown, and how many examples more would show it."""

from __future__ import annotations

import math
from dataclasses import replace
from statistics import NormalDist

from sluicegate.gates.bounds import Clusters, p_mean_at_most

_MOST = 4096.0


def detectable(sample: Clusters, low: float, power: float) -> float:
    """Smallest true difference that this sample shows to be above zero with probability `power`.

    The distance from the mean to its lower bound `low`, plus the quantile of the sampling error
    that the power asks for.
    """
    return sample.mean - low + NormalDist().inv_cdf(power) * sample.standard_error


def more_examples(
    sample: Clusters, null: float, truth: float, alpha: float, power: float
) -> int | None:
    """Rows to add, in new groups like these, so that a release whose true mean is `truth` passes
    with chance `power`.

    The sample's deviations, widened to the upper 95 % confidence limit of their spread (a pilot's
    spread is itself an estimate: R. Browne, Statistics in Medicine 14, 1995), are re-centred on
    `truth` and replicated until the bound clears `null`. None when `truth` does not exceed `null`,
    or when 4,096 times the sample would not do.
    """
    if truth <= null or len(sample.means) < 2:
        return None
    size = float(sample.rows)
    if _passes(sample, 1.0, null, truth, alpha, power):
        return math.ceil(size / 2)
    low, high = 1.0, 2.0
    while not _passes(sample, high, null, truth, alpha, power):
        low, high = high, high * 2
        if high > _MOST:
            return None
    while high / low > 1.01:
        middle = math.sqrt(low * high)
        low, high = (
            (low, middle) if _passes(sample, middle, null, truth, alpha, power) else (middle, high)
        )
    return math.ceil(size * (high - 1.0))


def _passes(
    sample: Clusters, times: float, null: float, truth: float, alpha: float, power: float
) -> bool:
    """Would `times` as much data of this shape, in the unlucky case that `power` allows, clear
    `null`?
    """
    from scipy.stats import chi2

    freedom = len(sample.means) - 1
    widening = math.sqrt(freedom / float(chi2.ppf(0.05, freedom)))
    unlucky = NormalDist().inv_cdf(power) * widening * sample.standard_error / math.sqrt(times)
    means = widening * (sample.means - sample.mean) + (truth - unlucky)
    return p_mean_at_most(replace(sample, means=means, multiplicity=times), null) < alpha
