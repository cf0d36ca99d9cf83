"""Distances on one scale: there and back, rising, and about normal where nothing moved."""

from __future__ import annotations

import numpy as np
import pytest

from sluicegate.drift import DETECTORS, VECTOR_DETECTORS
from sluicegate.drift.evidence import Null, Scale
from sluicegate.drift.tables import binned

EVERY = {**DETECTORS, **VECTOR_DETECTORS}


@pytest.mark.parametrize("name", EVERY)
def test_a_distance_becomes_a_deviate_and_back(name: str) -> None:
    """Deviates rise with distances, and turned back they are the distances again."""
    random = np.random.default_rng(1)
    distances = np.sort(np.abs(random.normal(0.1, 0.05, 200)))
    scale, deviates = Scale.of(EVERY[name].null, distances, 1500, 200, 10)
    assert (np.diff(deviates) >= 0).all()
    for place in (50, 120, 199):
        if 0.05 < deviates[place] < 30:
            assert scale.distance(float(deviates[place])) == pytest.approx(
                distances[place], rel=1e-6
            )


@pytest.mark.parametrize("name", [name for name in DETECTORS if name != "length_trend"])
def test_without_drift_deviates_are_about_normal(name: str) -> None:
    """Of independent rows without drift at most about 5 % are above 1.96, before anything is scaled
    by permutation.
    """
    random = np.random.default_rng(2)
    detector = DETECTORS[name]
    left, right = [], []
    for _ in range(400):
        codes, values = binned(random.normal(size=500), detector.bins)
        left.append(np.bincount(codes[:300], minlength=len(values)))
        right.append(np.bincount(codes[300:], minlength=len(values)))
    distances = detector.statistic(np.array(left, float), np.array(right, float), values)
    scale = Scale(detector.null, _rows(detector.null, distances), detector.bins - 1)
    assert 0.01 <= float((scale.deviates(distances) > 1.96).mean()) <= 0.09


def _rows(null: Null, distances: np.ndarray) -> float:
    if null.kind == "normal":
        return float(np.sqrt(np.mean(distances ** (2 * null.power))))
    return 500.0 if null.total else 300 * 200 / 500


def test_a_rare_label_found_twice_is_no_sensation() -> None:
    """Both of two rare rows in a window of an eighth is one chance in seventy: a deviate of two to
    three, not of six.
    """
    window = np.array([[198.0, 2.0], [199.0, 1.0], [200.0, 0.0]])
    distances = DETECTORS["hellinger"].statistic(
        np.array([[1700.0, 2.0]]) - window, window, np.zeros(2)
    )
    scale = Scale(DETECTORS["hellinger"].null, 1500 * 200 / 1700, 1)
    assert 2 < scale.deviates(distances)[0] < 3
