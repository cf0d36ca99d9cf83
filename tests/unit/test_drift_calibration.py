"""Thresholds: the promised rate of false alarms, for the whole family, with and without
conversations.
"""

from __future__ import annotations

import numpy as np
import pytest

from sluicegate.drift import DETECTORS, Moments, Profile, compare
from sluicegate.drift.calibration import scores
from sluicegate.errors import DataError

FAMILY = {(f"c{n}", "ks"): DETECTORS["ks"] for n in range(8)} | {
    ("label", "chi_square"): DETECTORS["chi_square"]
}


def profile(
    random: np.random.Generator, blocks: int, each: int = 1, shift: float = 0.0, common: float = 0.0
) -> Profile:
    """Eight correlated normal columns and a rare label; `common` is the share of variance within a
    block in common.
    """
    rows = blocks * each
    shared = np.repeat(random.normal(size=(blocks, 8)), each, axis=0)
    own = random.normal(size=(rows, 8)) * 0.6 + random.normal(size=(rows, 1)) * 0.8
    data = np.sqrt(common) * shared + np.sqrt(1 - common) * own
    data[:, 0] += shift
    numbers = {f"c{n}": data[:, n] for n in range(8)}
    labels = {"label": np.where(random.random(rows) < 0.03, "phone number", "").astype(np.object_)}
    moments = {name: Moments.of(values) for name, values in numbers.items()}
    names = np.repeat(np.sort(random.integers(0, 2**63, blocks, dtype=np.uint64)), each)
    return Profile(rows, moments, {"label": {}}, numbers, labels, names)


@pytest.mark.parametrize(("blocks", "each", "common"), [(50, 1, 0.0), (200, 1, 0.0), (25, 8, 0.6)])
def test_false_alarms_are_as_rare_as_promised(blocks: int, each: int, common: float) -> None:
    """Of 150 windows without drift at 10 %, the share that alarms for any column is 10 %, within 3
    standard errors.

    The last case has blocks of eight rows that resemble one another.
    """
    random = np.random.default_rng(blocks)
    alarms = 0
    for seed in range(150):
        reference = profile(random, 60, each, common=common)
        window = profile(random, blocks, each, common=common)
        found = scores(reference, window, FAMILY, alpha=0.1, permutations=99, seed=seed)
        alarms += any(score.p is not None and score.p <= 0.1 for score in found)
    assert 150 * 0.1 - 3 * 3.7 <= alarms <= 150 * 0.1 + 3 * 3.7


def test_a_shift_is_found_in_its_column_only() -> None:
    """A shift of one standard deviation in one column alarms there, with sign and size, and nowhere
    else.
    """
    random = np.random.default_rng(3)
    found = scores(profile(random, 400), profile(random, 100, shift=1.0), FAMILY)
    assert [score.column for score in found if score.alarm] == ["c0"]
    (moved,) = (score for score in found if score.alarm)
    assert moved.change == pytest.approx(1.0, abs=0.35)
    assert moved.p <= 0.02


def test_a_tiny_shift_in_a_large_window_stays_quiet() -> None:
    """A shift of 0.02 standard deviations is below the floor, whatever the number of rows."""
    random = np.random.default_rng(4)
    reference, window = profile(random, 20_000), profile(random, 20_000, shift=0.02)
    assert not any(score.alarm for score in scores(reference, window, FAMILY, permutations=99))


def test_an_alarm_is_a_value_above_its_threshold() -> None:
    """Threshold, alarm and adjusted chance agree in every row, and the threshold is never below the
    floor.
    """
    random = np.random.default_rng(5)
    for shift in (0.0, 0.3, 0.6, 2.0):
        for score in scores(
            profile(random, 200), profile(random, 80, shift=shift), FAMILY, permutations=199
        ):
            floor = FAMILY[score.column, score.statistic].floor
            assert score.threshold >= floor
            assert score.alarm == (score.value > score.threshold)
            assert score.alarm == (score.p <= 0.02 and score.value > floor)


def test_same_input_same_report() -> None:
    """The same profiles give the same scores."""
    random = np.random.default_rng(6)
    reference, window = profile(random, 100), profile(random, 60)
    assert scores(reference, window, FAMILY) == scores(reference, window, FAMILY)


def test_a_window_of_longer_conversations_counts_no_more_rows() -> None:
    """Where the reference has one row a conversation, a window's conversation of eight counts as
    one.
    """
    random = np.random.default_rng(7)
    alarms = sum(
        any(
            s.p <= 0.1
            for s in scores(
                profile(random, 150),
                profile(random, 12, 8, common=0.9),
                FAMILY,
                alpha=0.1,
                permutations=99,
            )
        )
        for _ in range(60)
    )
    assert alarms <= 60 * 0.1 + 3 * 2.4


def test_a_column_that_is_gone_is_an_error() -> None:
    """A window without a column of the reference, or with nulls only, would leave it unwatched."""
    random = np.random.default_rng(8)
    reference, window = profile(random, 60), profile(random, 60)
    blank = np.full(60, np.nan)
    empty = Profile(
        60, dict(window.moments) | {"c3": Moments.of(blank)}, {},
        dict(window.numbers) | {"c3": blank}, window.labels,
        window.blocks,
    )  # fmt: skip
    with pytest.raises(DataError, match="c3"):
        compare(reference, empty)
    with pytest.raises(DataError, match="label"):
        compare(reference, Profile(60, window.moments, {}, window.numbers, {}, window.blocks))


def test_ties_never_alarm() -> None:
    """Columns of few distinct values reach the threshold exactly in many windows; only what is
    above it alarms.
    """
    random = np.random.default_rng(9)

    def coarse(rows: int) -> Profile:
        numbers = {f"c{n}": random.integers(0, 3, rows).astype(float) for n in range(8)}
        labels = {"label": np.full(rows, "", np.object_)}
        moments = {name: Moments.of(values) for name, values in numbers.items()}
        return Profile(
            rows, moments, {"label": {}}, numbers, labels, np.arange(rows, dtype=np.uint64)
        )

    for seed in range(200):
        for score in scores(coarse(40), coarse(40), FAMILY, alpha=0.1, permutations=99, seed=seed):
            assert score.alarm == (
                score.p <= 0.1 and score.value > FAMILY[score.column, score.statistic].floor
            )
