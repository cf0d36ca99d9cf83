"""What a sample could have shown, and how many examples would show it."""

from __future__ import annotations

import math
from dataclasses import replace
from statistics import NormalDist

from sluicegate.gates.bounds import Clusters, p_mean_at_most

_MOST = 4096.0
_CLOSE = 1.01


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
    with chance `power`; half of the sample where it would have done itself.

    None as for `enough`.
    """
    times = enough(sample, null, truth, alpha, power, least=1.0)
    if times is None:
        return None
    return math.ceil(sample.rows * (times - 1.0 if times > 1.0 else 0.5))


def enough(
    sample: Clusters,
    null: float,
    truth: float,
    alpha: float,
    power: float,
    *,
    least: float = 0.0,
    certain: bool = False,
) -> float | None:
    """How many times as many groups like these do, so that a release whose true mean is `truth`
    passes with chance `power`.

    The sample's deviations, widened to the upper 95 % confidence limit of their spread (a pilot's
    spread is itself an estimate: R. Browne, Statistics in Medicine 14, 1995), are re-centred on
    `truth` and replicated until the bound clears `null`.

    Args:
        sample: the pilot.
        null: what the mean has to exceed.
        truth: what it is.
        alpha: error rate of the evaluation.
        power: chance of a pass, 0.5 to 1.
        least: no smaller answer is looked for; two groups in any case.
        certain: the spread is known, and not widened.

    Returns:
        The factor, at most 1 % above the smallest that does. None when `truth` does not exceed
        `null`, the sample is a single group, or 4,096 times the sample would not do.
    """
    if truth <= null or len(sample.means) < 2:
        return None

    def passes(times: float) -> bool:
        return _passes(sample, times, null, truth, alpha, power, certain=certain)

    least = max(least, 2.0 / len(sample.means))
    low, high = 1.0, 1.0
    if passes(1.0):
        while low > least and passes(low / 2):
            low /= 2
        low, high = max(low / 2, least), low
        if low == least and (low == high or passes(low)):
            return low
    else:
        while not passes(high):
            low, high = high, high * 2
            if high > _MOST:
                return None
    while high / low > _CLOSE:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if passes(middle) else (middle, high)
    return high


def _passes(
    sample: Clusters,
    times: float,
    null: float,
    truth: float,
    alpha: float,
    power: float,
    *,
    certain: bool,
) -> bool:
    """Would `times` as much data of this shape, in the unlucky case that `power` allows, clear
    `null`?
    """
    widening = 1.0
    if not certain:
        from scipy.stats import chi2

        freedom = len(sample.means) - 1
        widening = math.sqrt(freedom / float(chi2.ppf(0.05, freedom)))
    unlucky = NormalDist().inv_cdf(power) * widening * sample.standard_error / math.sqrt(times)
    means = widening * (sample.means - sample.mean) + (truth - unlucky)
    return p_mean_at_most(replace(sample, means=means, multiplicity=times), null) < alpha
