"""The gate's promises, simulated: a short form of benchmarks/gate_calibration.py over a handful of
cells.
"""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import gate_calibration as calibration
import gate_simulation as simulation

from sluicegate.gates.bounds import p_mean_at_most

SIMULATIONS = 1000
SLACK = 3 * math.sqrt(0.05 * 0.95 / SIMULATIONS)
CELLS = [
    ("binary", 100, 1),
    ("rare failure", 50, 1),
    ("skewed", 50, 1),
    ("five levels", 100, 5),
    ("smooth", 200, 1),
]


@pytest.fixture(scope="module")
def cells() -> list[calibration.Cell]:
    return [calibration.simulate((*cell, SIMULATIONS)) for cell in CELLS]


def test_wrong_promotions_and_rejections_are_as_rare_as_promised(
    cells: list[calibration.Cell],
) -> None:
    """At the margin, equal under `better`, any of 20 equal ones, and equal but rejected: each at
    most 5.5 %.
    """
    for cell in cells:
        for rate in (cell.false_promotion, cell.equal_rejected, cell.one[0], cell.twenty[0]):
            assert rate <= 0.055 + SLACK, cell
    assert calibration.broken(cells, 0.05) == []


def test_the_check_would_catch_the_naive_gate(cells: list[calibration.Cell]) -> None:
    """The same check refuses the gate that compares two means, and one that spends 5 % at each of
    20 looks.
    """
    naive = [replace(cell, false_promotion=cell.naive) for cell in cells]
    assert len(calibration.broken(naive, 0.05)) >= 2
    many = [replace(cell, twenty=(cell.twenty[1], *cell.twenty[1:])) for cell in cells]
    assert calibration.broken(many, 0.05)
    assert all(cell.twenty[2] > 0.9 for cell in cells if cell.kind != "rare failure")


def test_power_is_not_given_away(cells: list[calibration.Cell]) -> None:
    """The promises are not kept by never promoting: equal candidates pass, and some wrong ones do
    too.
    """
    rates = {cell.kind: cell for cell in cells}
    assert rates["binary"].false_promotion > 0.015
    assert rates["smooth"].equal_passes > 0.95
    assert rates["binary"].twenty[0] > 0.005


def test_the_approximation_of_the_benchmark_is_within_five_per_cent() -> None:
    """Where the benchmark does not use the gate's own p value, what it uses is close to it."""
    rng = np.random.default_rng(3)
    for kind in simulation.KINDS:
        for cluster in (1, 5):
            rows = simulation.draw(kind, 60, 100, cluster, 0.05, rng)
            quick = simulation.approximate(rows.mean(axis=2) + 0.05, -0.95)
            exact = np.array([p_mean_at_most(simulation.sample(one), -0.05) for one in rows])
            shown = (exact > 1e-6) & (exact < 0.2)
            assert quick[shown] == pytest.approx(exact[shown], rel=0.06)
            assert np.all(quick[exact > 0.3] > 0.2)


def test_the_shortcut_and_the_gate_agree() -> None:
    """The benchmark's decisions are those of `decide` on the same numbers."""
    assert calibration.check_against_decide(seed=5) == 24


def test_the_peer_rule_is_the_textbook_one() -> None:
    """McNemar's exact test below 25 discordant pairs and Wilcoxon's test above two levels, both for
    gains only.
    """
    gains = np.array([1.0] * 9 + [-1.0] + [0.0] * 40).reshape(1, 50, 1)
    assert simulation.mlflow_improved(gains).tolist() == [True]
    assert simulation.mlflow_improved(-gains).tolist() == [False]
    few = np.array([1.0] * 5 + [0.0] * 45).reshape(1, 50, 1)
    assert simulation.mlflow_improved(few).tolist() == [False]
    steady = np.linspace(0.01, 0.2, 30).reshape(1, 30, 1)
    assert simulation.mlflow_improved(steady).tolist() == [True]
    assert simulation.mlflow_improved(-steady).tolist() == [False]
