"""Measures of agreement equal published worked examples, and their intervals mean what they say."""

from __future__ import annotations

import random

import numpy as np
import pytest
from scipy import stats

from sluicegate.judges.agreement import (
    accuracy,
    bootstrap,
    kendall,
    krippendorff_alpha,
    mean_interval,
    partial_spearman,
    spearman,
    weighted_kappa,
)

NAN = float("nan")
FOUR_OBSERVERS = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, NAN, NAN, NAN],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NAN, 3],
    [NAN, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NAN],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NAN],
]
MAMMOGRAMS = [[21, 12, 0, 0], [4, 17, 1, 0], [3, 9, 15, 2], [0, 0, 0, 1]]
ANXIETY = (
    [3, 3, 3, 4, 5, 5, 2, 3, 5, 2, 2, 6, 1, 5, 2, 2, 1, 2, 4, 3],
    [3, 6, 4, 6, 2, 4, 2, 4, 3, 3, 2, 3, 3, 3, 2, 2, 1, 3, 3, 4],
)


@pytest.mark.parametrize(
    ("metric", "alpha"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)]
)
def test_krippendorffs_own_example(metric: str, alpha: float) -> None:
    """Four observers, twelve units, missing data: K. Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011)."""
    assert krippendorff_alpha(FOUR_OBSERVERS, metric) == pytest.approx(alpha, abs=5e-4)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("weights", "kappa"), [("none", 0.4728), ("linear", 0.5684), ("quadratic", 0.6714)]
)
def test_two_radiologists(weights: str, kappa: float) -> None:
    """85 mammograms read by two radiologists: the example of `kap` in the Stata base reference manual."""
    cells = [
        (i, j)
        for i, row in enumerate(MAMMOGRAMS)
        for j, count in enumerate(row)
        for _ in range(count)
    ]
    first, second = zip(*cells, strict=True)
    assert weighted_kappa(first, second, weights) == pytest.approx(kappa, abs=5e-5)  # type: ignore[arg-type]


def test_anxiety_ratings() -> None:
    """Squared weights on the anxiety data of R's package irr: `kappa2(anxiety[, 1:2], "squared")` is 0.297."""
    assert weighted_kappa(*ANXIETY, "quadratic") == pytest.approx(0.297, abs=5e-4)


@pytest.mark.parametrize("weights", ["none", "linear", "quadratic"])
def test_kappa_equals_scikit_learn(weights: str) -> None:
    """Weighted kappa equals scikit-learn's on random ratings, with and without the unused levels."""
    from sklearn.metrics import cohen_kappa_score

    chance = np.random.default_rng(7)
    for _ in range(20):
        first, second = chance.integers(0, 5, 40), chance.integers(1, 4, 40)
        kind = None if weights == "none" else weights
        for levels in (None, range(5)):
            expected = cohen_kappa_score(first, second, labels=levels, weights=kind)
            found = weighted_kappa(first, second, weights, levels)  # type: ignore[arg-type]
            assert found == pytest.approx(expected, abs=1e-9)


def test_quadratic_kappa_is_not_changed_by_unused_levels_at_the_ends() -> None:
    """Naming the whole scale gives what the used levels give, while a level between them counts as distance."""
    first, second = [1, 2, 3, 1, 2], [1, 2, 3, 3, 2]
    assert weighted_kappa(first, second, levels=range(6)) == pytest.approx(
        weighted_kappa(first, second)
    )
    with pytest.raises(ValueError, match="not one of the levels"):
        weighted_kappa(first, second, levels=(1, 2))


def test_rank_correlations() -> None:
    """IQ and hours of television: Spearman's -29/165, as worked out in textbooks; tau-b as SciPy has it."""
    iq = [86, 97, 99, 100, 101, 103, 106, 110, 112, 113]
    hours = [2, 20, 28, 27, 50, 29, 7, 17, 6, 12]
    assert spearman(iq, hours) == pytest.approx(-29 / 165)
    chance = np.random.default_rng(1)
    a, b = chance.integers(0, 5, 80), chance.integers(0, 5, 80)
    assert spearman(a, b) == pytest.approx(stats.spearmanr(a, b).statistic)
    assert kendall(a, b) == pytest.approx(stats.kendalltau(a, b).statistic)


def test_partial_correlation() -> None:
    """On ranks it is the textbook formula of the three pairwise correlations."""
    chance = np.random.default_rng(2)
    given = chance.normal(size=200)
    a, b = given + chance.normal(size=200), given + chance.normal(size=200)
    ab, ag, bg = spearman(a, b), spearman(a, given), spearman(b, given)
    wanted = (ab - ag * bg) / np.sqrt((1 - ag**2) * (1 - bg**2))
    assert partial_spearman(a, b, given) == pytest.approx(wanted)


def test_who_always_says_the_same_shows_nothing() -> None:
    """A side without variation gets 0.0 in every chance-corrected measure, never NaN and never 1."""
    same, other = [3.0] * 8, [1.0, 2, 3, 4, 1, 2, 3, 4]
    for measure in (spearman, kendall, weighted_kappa):
        assert measure(same, other) == 0.0
        assert measure(same, same) == 0.0
    assert krippendorff_alpha([same, same]) == 0.0
    assert partial_spearman(other, other, other) == 0.0


def test_lists_of_different_lengths_are_refused() -> None:
    """Two raters of different rows are a mistake, not a number."""
    with pytest.raises(ValueError, match="same length"):
        accuracy([1, 2], [1])
    with pytest.raises(ValueError, match="rows"):
        bootstrap(accuracy, ([1.0], [1.0]), [])


def test_the_bootstrap_draws_groups_and_repeats_itself() -> None:
    """The same seed gives the same interval; rows copied within their groups make it no narrower."""
    chance = random.Random(3)
    human = [float(chance.random() < 0.5) for _ in range(60)]
    judge = [value if chance.random() < 0.8 else 1 - value for value in human]
    groups = [f"g{place}" for place in range(60)]
    one = bootstrap(accuracy, (judge, human), groups, seed=5)
    assert one == bootstrap(accuracy, (judge, human), groups, seed=5)
    four = bootstrap(accuracy, (judge * 4, human * 4), groups * 4, seed=5)
    assert (four.low, four.high) == pytest.approx((one.low, one.high))
    assert (four.rows, four.groups) == (240, 60)


def test_intervals_of_a_mean_hold_what_they_promise() -> None:
    """The true mean lies outside a 95 % interval in at most 5 % of samples, also for halves and near the end."""
    chance = np.random.default_rng(4)
    for values, weights in (((0.0, 1.0), (0.1, 0.9)), ((0.0, 0.5, 1.0), (0.2, 0.3, 0.5))):
        truth = float(np.dot(values, weights))
        drawn = chance.choice(values, size=(1000, 50), p=weights)
        groups = [str(place) for place in range(50)]
        found = [mean_interval(sample, groups) for sample in drawn]
        missed = sum(not one.low <= truth <= one.high for one in found)
        assert missed <= 50
    with pytest.raises(ValueError, match="between 0 and 1"):
        mean_interval([1.2], ["a"])
