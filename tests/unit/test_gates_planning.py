"""Plans: the rows that a HOLD asks for are those after which an equal release passes, no fewer and
not many more.
"""

from __future__ import annotations

import math
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
from scipy.stats import chi2

from sluicegate.errors import ConfigError
from sluicegate.gates import load_policy
from sluicegate.gates.bounds import Clusters, clusters, lower_bound, p_mean_at_most
from sluicegate.gates.planning import detectable, more_examples

VALUES = [math.sin(number * 1.7) * 0.2 for number in range(30)]


def sample(times: int = 1) -> Clusters:
    return clusters(VALUES * times, [f"g{number}" for number in range(30 * times)], -1.0, 1.0)


def unlucky(found: Clusters, times: float, truth: float, power: float) -> Clusters:
    """`times` as many groups like those of the pilot, whose mean comes out as low as `power`
    allows; written out anew.
    """
    groups = len(found.means)
    wide = math.sqrt((groups - 1) / chi2.ppf(0.05, groups - 1))
    error = wide * float(np.std(found.means, ddof=1)) / math.sqrt(groups * times)
    low = truth - NormalDist().inv_cdf(power) * error
    spread = wide * (found.means - float(np.mean(found.means)))
    return Clusters(low + spread, found.rows, -1.0, 1.0, times)


@pytest.mark.parametrize(
    ("margin", "alpha", "power"), [(0.05, 0.03, 0.8), (0.03, 0.05, 0.9), (0.02, 0.01, 0.6)]
)
def test_the_recommended_rows_are_enough_and_not_many_too_many(
    margin: float, alpha: float, power: float
) -> None:
    """With the rows recommended the unlucky case passes; with 2 % fewer it does not."""
    found = sample()
    more = more_examples(found, -margin, 0.0, alpha, power)
    assert more is not None
    times = (30 + more) / 30
    assert p_mean_at_most(unlucky(found, times, 0.0, power), -margin) < alpha
    assert p_mean_at_most(unlucky(found, times * 0.98, 0.0, power), -margin) >= alpha


def test_rows_of_a_cluster_are_recommended_with_it() -> None:
    """Three rows a group: as many groups more are needed, so three times as many rows."""
    singles = more_examples(sample(), -0.03, 0.0, 0.05, 0.8)
    rows = [value for value in VALUES for _ in range(3)]
    triples = more_examples(
        clusters(rows, [f"g{n // 3}" for n in range(90)], -1.0, 1.0), -0.03, 0.0, 0.05, 0.8
    )
    assert singles is not None
    assert triples is not None
    assert abs(triples - 3 * singles) <= 3


def test_a_little_more_is_asked_for_where_the_sample_would_do() -> None:
    """A sample that held by bad luck only is asked for half as much again."""
    assert more_examples(sample(40), -0.05, 0.0, 0.05, 0.8) == 600


def test_no_number_of_rows_shows_what_is_not_so() -> None:
    """Where the truth does not exceed the margin, and where one group says nothing of spread, there
    is no plan.
    """
    assert more_examples(sample(), 0.05, 0.05, 0.05, 0.8) is None
    assert more_examples(sample(), 0.05, 0.04, 0.05, 0.8) is None
    assert more_examples(clusters([0.1], ["g"], -1.0, 1.0), 0.0, 0.1, 0.05, 0.8) is None
    assert more_examples(sample(), -1e-5, 0.0, 0.05, 0.8) is None


def test_what_is_detectable_is_bound_plus_power() -> None:
    """Twice the standard error of the sampling counts: once for the bound, once for the power."""
    found = sample()
    low = lower_bound(found, 0.05)
    gap = found.mean - low
    assert detectable(found, low, 0.8) == pytest.approx(
        gap + 0.8416212 * found.standard_error, rel=1e-6
    )
    assert detectable(found, low, 0.5) == pytest.approx(gap)


@pytest.mark.parametrize(
    "settings",
    [
        "alpha: 0.00009",
        "alpha: 0.21",
        "alpha: 0",
        "power: 0.49",
        "power: 0.995",
        "power: 0",
        "minimum_examples: 1",
    ],
)
def test_settings_outside_their_range_are_refused(tmp_path: Path, settings: str) -> None:
    """An error rate or a power that promises nothing, or too much, is an error of the policy."""
    path = tmp_path / "gates.yaml"
    path.write_text(f"{settings}\nrules: [{{name: a, kind: requires, fact: f}}]\n")
    with pytest.raises(ConfigError, match=r"gates\.yaml"):
        load_policy(path)


@pytest.mark.parametrize(
    "settings",
    [{"alpha": 0.0001}, {"alpha": 0.2}, {"power": 0.5}, {"power": 0.99}, {"minimum_examples": 2}],
)
def test_settings_at_the_end_of_their_range_are_taken(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    """The ends of each range belong to it."""
    path = tmp_path / "gates.yaml"
    name, value = next(iter(settings.items()))
    path.write_text(f"{name}: {value}\nrules: [{{name: a, kind: requires, fact: f}}]\n")
    assert getattr(load_policy(path), name) == value
