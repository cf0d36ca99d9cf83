"""Bounds for a mean: exact where the answer is known, honest where the usual ones are not."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from scipy import stats

from sluicegate.gates import bounds
from sluicegate.gates.bounds import Clusters, clusters, lower_bound, p_mean_at_most, upper_bound


def alone(values: list[float], worst: float = 0.0, best: float = 1.0) -> Clusters:
    return clusters(values, [str(i) for i in range(len(values))], worst, best)


@pytest.mark.parametrize(
    ("n", "hits"),
    [(1, 1), (2, 1), (5, 5), (20, 15), (60, 60), (100, 97), (500, 250), (20_000, 10_000)],
)
def test_for_yes_and_no_it_is_clopper_pearson(n: int, hits: int) -> None:
    """On 0/1 data both bounds and the p value are the exact binomial ones."""
    sample = alone([1.0] * hits + [0.0] * (n - hits))
    assert lower_bound(sample, 0.05) == pytest.approx(
        stats.beta.ppf(0.05, hits, n - hits + 1), abs=1e-8
    )
    above = stats.beta.ppf(0.95, hits + 1, n - hits) if hits < n else 1.0
    assert upper_bound(sample, 0.05) == pytest.approx(above, abs=1e-8)
    assert p_mean_at_most(sample, 0.6) == pytest.approx(
        stats.beta.cdf(0.6, hits, n - hits + 1), abs=1e-8
    )


def test_it_agrees_with_simulated_weights() -> None:
    """The integral equals a plain simulation of the random weights, for skewed values in unequal
    groups.
    """
    rng = np.random.default_rng(4)
    values, groups = (
        (rng.beta(0.5, 2, 40) - 0.2).tolist(),
        [str(i) for i in rng.integers(0, 15, 40)],
    )
    sample = clusters(values, groups, -1.0, 1.0)
    terms = np.append(sample.means + 0.02, -1.0 + 0.02)
    simulated = np.mean(rng.standard_exponential((400_000, len(terms))) @ terms <= 0)
    assert p_mean_at_most(sample, -0.02) == pytest.approx(simulated, abs=0.003)


def test_it_approaches_the_t_interval() -> None:
    """On many well-behaved values it is within 15 % of the width of the t bound's, and on the safe
    side.
    """
    values = np.random.default_rng(1).normal(0, 0.1, 4000)
    bound = lower_bound(alone(values.tolist(), -1.0), 0.05)
    half = stats.t.ppf(0.95, 3999) * values.std(ddof=1) / np.sqrt(4000)
    assert 1.0 <= (values.mean() - bound) / half < 1.15


@pytest.mark.parametrize("alpha", [0.05, 0.0035, 1e-6])
@pytest.mark.parametrize("values", [
    np.repeat([0.0, 1.0], [1, 59]), np.repeat([-1.0, 0.0, 0.02], [1, 3, 60]),
    np.linspace(-0.3, 0.4, 501), np.tanh(np.linspace(-0.2, 4.0, 3_000)) ** 9,
])  # fmt: skip
def test_the_bound_is_where_plain_bisection_ends(
    monkeypatch: pytest.MonkeyPatch, values: Any, alpha: float
) -> None:
    """To 1e-9, in at most 30 evaluations of p."""
    asked: list[float] = []

    def counted(sample: Clusters, null: float) -> float:
        asked.append(null)
        return p_mean_at_most(sample, null)

    sample = Clusters(np.sort(values), len(values), -1.0, 1.0)
    low, high = -1.0, float(values.max())
    for _ in range(50):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if p_mean_at_most(sample, middle) < alpha else (low, middle)
    monkeypatch.setattr(bounds, "p_mean_at_most", counted)
    assert lower_bound(sample, alpha) == pytest.approx(low, abs=1e-9)
    assert 0 < len(asked) <= 30


def test_p_and_bound_agree_and_p_rises_with_the_null() -> None:
    """The p value crosses alpha exactly at the bound and never falls as the null value rises."""
    sample = alone(np.random.default_rng(2).uniform(-0.3, 0.4, 25).tolist(), -1.0)
    bound = lower_bound(sample, 0.05)
    assert p_mean_at_most(sample, bound) == pytest.approx(0.05, abs=1e-6)
    grid = [p_mean_at_most(sample, null) for null in np.linspace(-1.2, 1.2, 80)]
    assert all(later >= earlier - 1e-9 for earlier, later in pairwise(grid))
    assert (grid[0], grid[-1]) == (0.0, 1.0)


def test_extremes_are_defined() -> None:
    """All worst, all best and a single value give bounds inside the range, never an error or NaN."""
    assert lower_bound(alone([0.0] * 30), 0.05) == 0.0
    assert upper_bound(alone([1.0] * 30), 0.05) == 1.0
    assert lower_bound(alone([1.0] * 30), 0.05) == pytest.approx(0.05 ** (1 / 30), abs=1e-8)
    assert lower_bound(alone([0.5]), 0.05) == pytest.approx(0.025, abs=1e-6)
    assert lower_bound(alone([0.0] * 10, -1.0), 0.05) == pytest.approx(0.05**0.1 - 1, abs=1e-8)


def test_a_rare_total_loss_at_the_margin_is_rarely_missed() -> None:
    """Where one answer in twenty is a total loss, a margin of 5 points is wrongly cleared in at
    most 5 % of samples.
    """
    rng = np.random.default_rng(9)
    for n in (20, 59, 100):
        losses = rng.binomial(n, 0.05, 2000)
        passes = [
            p_mean_at_most(alone([-1.0] * k + [0.0] * (n - k), -1.0), -0.05) < 0.05 for k in losses
        ]
        assert np.mean(passes) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 2000)


def test_order_of_rows_and_names_of_groups_do_not_matter() -> None:
    """The same clusters in another order are the same bytes."""
    values, groups = [0.1, 0.7, 0.3, 0.2, 0.9], ["a", "b", "a", "c", "b"]
    first = clusters(values, groups, 0.0, 1.0)
    second = clusters(
        values[::-1], [{"a": "z", "b": "y", "c": "x"}[g] for g in groups[::-1]], 0.0, 1.0
    )
    assert first.means.tobytes() == second.means.tobytes()
    assert lower_bound(first, 0.05) == lower_bound(second, 0.05)


def test_every_group_counts_once() -> None:
    """A group of two rows with one value weighs as much as a single row with it."""
    pairs = clusters([0.2, 0.2, 0.5, 0.1], ["a", "a", "b", "c"], -1.0, 1.0)
    singles = clusters([0.2, 0.5, 0.1], ["a", "b", "c"], -1.0, 1.0)
    assert pairs.mean == singles.mean
    assert lower_bound(pairs, 0.05) == lower_bound(singles, 0.05)
    assert pairs.rows == 4
    with pytest.raises(ValueError, match="shorter"):
        clusters([0.2, 0.5], ["a"], -1.0, 1.0)


@pytest.mark.parametrize("n", [1, 2, 10, 200, 2_000, 20_000])
@pytest.mark.parametrize("p", [0.5, 0.03, 1e-4, 1e-9])
def test_equal_scores_have_a_closed_form(n: int, p: float) -> None:
    """All at the best value: p is the null to the power of the number of groups, to nine digits,
    for any number of them.
    """
    assert p_mean_at_most(alone([1.0] * n), p ** (1 / n)) == pytest.approx(p, rel=1e-7)


def test_p_grows_with_the_null() -> None:
    """The more is claimed, the less it is shown: no step of the null makes p smaller, over all of
    its range.
    """
    chance = np.random.default_rng(1)
    for n in (2, 7, 60, 3_000):
        sample = alone(list(chance.random(n) ** 3))
        found = [p_mean_at_most(sample, 0.02 * step) for step in range(1, 50)]
        assert all(low <= high + 1e-12 for low, high in pairwise(found))


def exact(values: list[Fraction]) -> float:
    """P(sum of standard exponentials times `values` <= 0) by partial fractions, in rational
    numbers; values distinct.
    """
    terms = (
        math.prod(
            (1 / (1 - other / value) for other in values if other != value), start=Fraction(1)
        )
        for value in values
        if value < 0
    )
    return float(sum(terms, Fraction(0)))


@pytest.mark.parametrize(
    ("sample", "worst"),
    [
        ([-90, -3, 1, 2, 4, 50], -100),
        ([-5, 2, 7, 11, 13, 17, 19, 23, 29, 31], -100),
        ([10, 20, 30, 35], 0),
        ([-99, -98, -97, 60, 61, 90, 95], -100),
        ([*range(-40, 60, 3)], -100),
        ([99], 0),
    ],
)
def test_distinct_scores_have_an_exact_answer(sample: list[int], worst: int) -> None:
    """For any null the p value is the rational number that partial fractions give, to ten digits."""
    hundredths = alone([value / 100 for value in sample], worst / 100)
    for null in range(worst * 2 + 1, 199, 14):
        wanted = exact([Fraction(value, 100) - Fraction(null, 200) for value in [*sample, worst]])
        outside = null / 2 < worst or null / 2 >= max(sample)
        found = p_mean_at_most(hundredths, null / 200)
        assert found == (
            float(null / 2 > worst) if outside else pytest.approx(wanted, rel=1e-10, abs=1e-15)
        ), null


def test_at_the_ends_of_its_range_p_is_one_or_zero() -> None:
    """A mean of at least the best score seen is never ruled out; one below the worst possible
    always is.
    """
    for values in ([0.2, 0.7], [0.0, 0.7], [0.7]):
        sample = alone(values)
        assert p_mean_at_most(sample, 0.7) == 1.0
        assert p_mean_at_most(sample, 0.71) == 1.0
        assert p_mean_at_most(sample, 0.0) == 0.0
        assert p_mean_at_most(sample, -1e-9) == 0.0
    assert p_mean_at_most(alone([0.0, 0.0]), 0.0) == 1.0
    assert p_mean_at_most(alone([0.0, 0.0]), -1e-9) == 0.0


class Counted:
    """NumPy, with a count of the points at which the integrand is asked for."""

    points = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)

    def sinh(self, points: np.ndarray) -> np.ndarray:
        self.points += len(points)
        return np.sinh(points)


@pytest.mark.parametrize("n", [2, 20, 300, 3_000])
def test_the_integral_settles_after_a_few_hundred_points(
    n: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The path through the saddle makes it converge at once, for few groups or many, skewed or not,
    p near 0 or near 1.
    """
    chance, counted = np.random.default_rng(5), Counted()
    monkeypatch.setattr(bounds, "np", counted)
    for values in (chance.random(n) ** 3, chance.random(n), np.where(np.arange(n) < 1, 0.0, 1.0)):
        sample = alone(values.tolist())
        for errors in (-6, -3, -1.6, -0.5, 0, 1, 3):
            counted.points = 0
            p_mean_at_most(
                sample, min(0.999, max(0.001, sample.mean + errors * sample.standard_error))
            )
            assert counted.points <= 500


@pytest.mark.parametrize(
    ("n", "hits"), [(1, 1), (20, 19), (100, 50), (500, 250), (500, 499), (500, 500)]
)
def test_the_step_is_halved_until_ten_digits_stand(n: int, hits: int) -> None:
    """On 0/1 data p has ten right digits wherever the null lies, for a p of 1e-200 as for one of
    0.5.
    """
    sample = alone([1.0] * hits + [0.0] * (n - hits))
    for null in (0.05, 0.2, 0.5, 0.8, 0.9, 0.97, 0.99):
        wanted = float(stats.beta.cdf(null, hits, n - hits + 1))
        assert wanted < 1e-200 or p_mean_at_most(sample, null) == pytest.approx(wanted, rel=1e-10)
