"""Every detector of the table: what holds for all of them, and their values against other
implementations.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import chi2_contingency, ks_2samp

from sluicegate.drift.chi_square import chi_square
from sluicegate.drift.jensen_shannon import jensen_shannon
from sluicegate.drift.ks import ks
from sluicegate.drift.length_trend import length_trend
from sluicegate.drift.tables import binned, labelled

MIDDLE = np.array([[5.0, 20.0, 50.0, 20.0, 5.0]])
LATER = np.array([[1.0, 5.0, 20.0, 50.0, 24.0]])
EMPTY = np.zeros((1, 5))
VALUES = np.arange(1.0, 6.0)


def test_ks_is_scipys() -> None:
    """On distinct values the distance is SciPy's, to the width of a bin."""
    random = np.random.default_rng(1)
    left, right = random.normal(size=150), random.normal(0.4, 1, size=100)
    codes, values = binned(np.concatenate([left, right]), 256)
    counts = [
        np.bincount(part, minlength=len(values))[None].astype(float)
        for part in (codes[:150], codes[150:])
    ]
    assert ks(*counts, values)[0] == pytest.approx(ks_2samp(left, right).statistic)


def test_jensen_shannon_is_scipys() -> None:
    """The distance is SciPy's in base 2."""
    assert jensen_shannon(MIDDLE, LATER, VALUES)[0] == pytest.approx(
        jensenshannon(MIDDLE[0], LATER[0], base=2)
    )


def test_chi_square_is_scipys() -> None:
    """V is the root of SciPy's uncorrected chi-square over the rows."""
    chi = chi2_contingency(np.vstack([MIDDLE, LATER]), correction=False).statistic
    assert chi_square(MIDDLE, LATER, VALUES)[0] == pytest.approx(np.sqrt(chi / 200))


def test_length_trend_sees_a_growth_by_a_third() -> None:
    """Lengths 30 % longer throughout are 0.26, the logarithm of 1.3."""
    lengths = np.array([100.0, 130.0, 400.0, 520.0])
    short, long = np.array([[3.0, 0.0, 2.0, 0.0]]), np.array([[0.0, 3.0, 0.0, 2.0]])
    assert length_trend(short, long, lengths)[0] == pytest.approx(np.log(1.3), abs=0.002)


def test_bins_keep_equal_values_together() -> None:
    """A value that fills many bins' worth of rows stays in one bin, and every row lands in a bin of
    its neighbours.
    """
    values = np.concatenate([np.zeros(500), np.arange(500.0), [np.nan]])
    codes, means = binned(values, 10)
    assert len(set(codes[:501].tolist())) == 1
    assert codes[-1] == len(means) <= 10
    assert (np.diff(codes[500:-1]) >= 0).all()
    assert (np.diff(means) > 0).all()


def test_labels_are_numbered_alike_on_both_sides() -> None:
    """Equal labels share a number; a null gets the one beyond the last."""
    codes, means = labelled(np.array(["", "SSN", None, "SSN"], np.object_))
    assert (codes.tolist(), len(means)) == ([0, 1, 2, 1], 2)
