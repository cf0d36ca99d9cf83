"""The gate keeps its promise on an application that flips one answer in ten."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import numpy as np
from noisy_application import evidence, promoted


@pytest.mark.parametrize("repeats", [1, 3])
def test_few_of_equal_and_none_of_worse_candidates_pass(repeats: int) -> None:
    """5 % of 40 are 2, and 6 are beyond chance; a loss of 10 points passes neither rule."""
    assert promoted(0.0, repeats, 40)["better"] <= 5 / 40
    assert max(promoted(0.1, repeats, 40).values()) <= 5 / 40


def test_the_simulation_is_noisy() -> None:
    """A tenth of the answers to rows that are always right are wrong, each repeat by itself."""
    made = evidence(np.random.default_rng(1), np.ones(2000), 3, "r")
    scores = [row.each("accuracy") for row in made.rows]
    assert np.mean(scores) == pytest.approx(0.9, abs=0.015)
    assert np.mean([len(set(one)) > 1 for one in scores]) == pytest.approx(0.27, abs=0.03)
