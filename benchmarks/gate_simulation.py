"""What `gate_calibration.py` draws, and how it decides many samples at once: by the gate's rule and
by its peers.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.special import ndtr

from sluicegate.gates.bounds import Clusters, p_mean_at_most

COPIED = 0.5
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Draw = Callable[[np.random.Generator, int, float], Floats]

# The approximation below is within 5 % of the exact p value (also checked in every run); nearer to
# alpha than this factor the exact one decides.
_CLEAR = 1.15
_CHECKED_SHARE = 0.002


def binary(rng: np.random.Generator, n: int, loss: float) -> Floats:
    """Right or wrong; 5 % gains, 5 % + loss losses, the rest equal."""
    u = rng.random(n)
    return np.where(u < 0.05, 1.0, np.where(u < 0.10 + loss, -1.0, 0.0))


def five_level(rng: np.random.Generator, n: int, loss: float) -> Floats:
    """Marks 1 to 5, scaled to 0 to 1: symmetric steps, and one mark down in 4 x loss of the rows."""
    steps = rng.choice([-0.5, -0.25, 0.0, 0.25, 0.5], size=n, p=[0.05, 0.2, 0.5, 0.2, 0.05])
    return steps - 0.25 * (rng.random(n) < 4 * loss)


def skewed(rng: np.random.Generator, n: int, loss: float) -> Floats:
    """Mostly a little better, sometimes far worse: 0.1 - Beta(0.4, 3.6), skewness -1.7."""
    return 0.1 - rng.beta(0.4, 3.6, n) - loss


def ties(rng: np.random.Generator, n: int, loss: float) -> Floats:
    """Four of five answers score the same; the others differ by up to half the range."""
    return np.where(rng.random(n) < 0.8, 0.0, rng.uniform(-0.5, 0.5, n) - 5 * loss)


def rare_failure(rng: np.random.Generator, n: int, loss: float) -> Floats:
    """Equal, but for a rare total failure."""
    return np.where(rng.random(n) < loss, -1.0, 0.0)


def smooth(rng: np.random.Generator, n: int, loss: float) -> Floats:
    """Like ROUGE: bell-shaped differences with standard deviation 0.12."""
    return np.clip(rng.normal(0.0, 0.12, n), -0.9, 0.9) - loss


KINDS: dict[str, Draw] = {
    "binary": binary,
    "five levels": five_level,
    "skewed": skewed,
    "ties": ties,
    "rare failure": rare_failure,
    "smooth": smooth,
}


def draw(
    kind: str, count: int, n: int, cluster: int, loss: float, rng: np.random.Generator
) -> Floats:
    """`count` samples of differences (candidate - champion) with mean -loss: (count, groups,
    cluster size).
    """
    groups = n // cluster
    own = KINDS[kind](rng, count * n, loss).reshape(count, groups, cluster)
    if cluster == 1:
        return own
    shared = KINDS[kind](rng, count * groups, loss).reshape(count, groups, 1)
    return np.where(rng.random(own.shape) < COPIED, shared, own)


def looks(
    kind: str, count: int, times: int, n: int, cluster: int, rng: np.random.Generator
) -> Floats:
    """Equal candidates at the same `count` golden sets, `times` each: (count, times, groups,
    cluster size).

    Half of a candidate's differences are those of all the others on that set, as they share the
    champion's answers.
    """
    common = draw(kind, count, n, cluster, 0.0, rng)[:, None]
    own = draw(kind, count * times, n, cluster, 0.0, rng).reshape(count, times, *common.shape[2:])
    return np.where(rng.random(own.shape) < COPIED, common, own)


def sample(rows: Floats) -> Clusters:
    """One sample (groups, cluster size) as the gate sees it."""
    return Clusters(np.sort(rows.mean(axis=1)), rows.size, -1.0, 1.0)


class Rule:
    """Does the gate show a mean above `null`? For many samples at once, with the gate's own p value
    near alpha.

    Far from alpha a saddlepoint approximation decides (R. Lugannani and S. Rice, Advances in
    Applied Probability 12, 1980); one in 500 of those is recomputed, and a disagreement ends the
    run.
    """

    def __init__(self, rng: np.random.Generator, worst: float = -1.0) -> None:
        """`worst`: the smallest possible difference."""
        self._rng, self._worst = rng, worst
        self._known: dict[bytes, float] = {}

    def shows(self, rows: Floats, null: float, alpha: float | Floats) -> Flags:
        """Samples (count, groups, cluster size) -> flags (count); `alpha` is one rate, or one a
        sample.
        """
        means, rates = (
            np.sort(rows.mean(axis=2), axis=1),
            np.broadcast_to(np.asarray(alpha, float), len(rows)),
        )
        p = approximate(means - null, self._worst - null)
        passed = p < rates
        unclear = (p > rates / _CLEAR) & (p < rates * _CLEAR)
        for index in np.flatnonzero(unclear | (self._rng.random(len(p)) < _CHECKED_SHARE)):
            exact = self._exact(means[index], null)
            if not unclear[index] and (exact < rates[index]) != passed[index]:
                raise SystemExit(
                    f"the approximation is wrong: {p[index]} for {exact} at {rates[index]}"
                )
            passed[index] = exact < rates[index]
        return passed

    def _exact(self, means: Floats, null: float) -> float:
        key = means.tobytes() + np.float64(null).tobytes()
        if key not in self._known:
            self._known[key] = p_mean_at_most(Clusters(means, len(means), self._worst, 1.0), null)
        return self._known[key]


def approximate(terms: Floats, unseen: float) -> Floats:
    """P(sum of E_i terms_i + E unseen <= 0) for each row of `terms`, exponentials E; 1.0 where the
    mean is not above 0.
    """
    p = np.ones(len(terms))
    live = np.flatnonzero(
        terms.sum(axis=1) + unseen > 0
    )  # else the saddlepoint is on the other side: p is about half
    values = np.concatenate([terms[live], np.full((len(live), 1), unseen)], axis=1)
    if not len(live):
        return p
    low, high = 1 / values.min(axis=1), np.zeros(len(live))
    point, second = low / 2, np.ones(len(live))
    active = np.arange(len(live))
    for _ in range(60):
        part, at = values[active], point[active]
        weighted = part / (1 - at[:, None] * part)
        first, curve = weighted.sum(axis=1), np.einsum("ij,ij->i", weighted, weighted)
        second[active] = curve
        high[active] = np.where(first > 0, at, high[active])
        low[active] = np.where(first > 0, low[active], at)
        step = at - first / curve
        step = np.where(
            (step <= low[active]) | (step >= high[active]), (low[active] + high[active]) / 2, step
        )
        point[active] = step
        active = active[np.abs(step - at) > 1e-9 * np.abs(step)]
        if not len(active):
            break
    energy = np.log1p(-point[:, None] * values).sum(axis=1)
    root = -np.sqrt(np.maximum(2 * energy, 1e-12))
    density = np.exp(-root * root / 2) / math.sqrt(2 * math.pi)
    p[live] = np.where(
        root > -0.05, 0.5, ndtr(root) + density * (1 / root - 1 / (point * np.sqrt(second)))
    )
    return p


def flat(rows: Floats) -> Floats:
    """Samples without their clusters: (count, n)."""
    return rows.reshape(len(rows), -1)


def paired_t(rows: Floats, null: float, alpha: float) -> Flags:
    """The one-sided t bound of the textbook, rows taken as independent."""
    values = flat(rows)
    n = values.shape[1]
    error = values.std(axis=1, ddof=1) / math.sqrt(n)
    return values.mean(axis=1) - float(stats.t.ppf(1 - alpha, n - 1)) * error > null


def mlflow_improved(rows: Floats, alpha: float = 0.05) -> Flags:
    """The rule of MLflow's `compare_evaluations(...).assert_improved()`: a higher mean, and p <
    alpha two-sided.

    McNemar's test for pass/fail scores (exact below 25 discordant pairs, else chi-square with
    continuity correction), Wilcoxon's signed-rank test for numbers. Written here from its published
    rule: the MLflow that this project is tested with (3.17) does not have it yet.
    """
    values = flat(rows)
    higher = values.mean(axis=1) > 0
    if np.isin(values, (-1.0, 0.0, 1.0)).all():
        better, worse = (values > 0).sum(axis=1), (values < 0).sum(axis=1)
        pairs, place = np.unique(np.stack([better, worse], axis=1), axis=0, return_inverse=True)
        return higher & (
            np.array([_mcnemar(int(up), int(down)) for up, down in pairs])[place.reshape(-1)]
            < alpha
        )
    passed = np.zeros(len(values), dtype=bool)
    tested = np.flatnonzero(higher)
    if len(tested):
        passed[tested] = stats.wilcoxon(values[tested], axis=1).pvalue < alpha
    return passed


def _mcnemar(better: int, worse: int) -> float:
    discordant = better + worse
    if not discordant:
        return 1.0
    if discordant < 25:
        return float(stats.binomtest(better, discordant, 0.5).pvalue)
    return float(stats.chi2.sf((abs(better - worse) - 1) ** 2 / discordant, 1))
