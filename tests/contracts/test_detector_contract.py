"""What every row of DETECTORS and VECTOR_DETECTORS promises."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import pytest

from sluicegate.drift import DETECTORS, VECTOR_DETECTORS, Profile, compare
from sluicegate.monitoring import profile_traffic
from sluicegate.monitoring.checking import check_profile

MIDDLE = np.array([[5.0, 20.0, 50.0, 20.0, 5.0]])
LATER = np.array([[1.0, 5.0, 20.0, 50.0, 24.0]])
EMPTY = np.zeros((1, 5))
VALUES = np.arange(1.0, 6.0)
WORDS = [
    "order",
    "refund",
    "late",
    "parcel",
    "account",
    "invoice",
    "password",
    "address",
    "delivery",
    "change",
]

everyone = pytest.mark.parametrize("name", DETECTORS)
every_vector = pytest.mark.parametrize("name", VECTOR_DETECTORS)


class Counting:
    """An encoder whose vectors are counts of letters, of length 1."""

    identity, weights = "letters", ""

    def vectors(self, texts: Sequence[str]) -> np.ndarray:
        counts = np.array([[text.count(c) + 1 for c in "abcdefgh"] for text in texts], np.float32)
        return np.asarray(counts / np.linalg.norm(counts, axis=1, keepdims=True), np.float32)


def traffic(count: int, seed: int, *, words: int = 10) -> Profile:
    """A profile of `count` short questions and answers."""
    chance = random.Random(seed)
    rows = [
        {
            "prompt": " ".join(chance.choices(WORDS, k=chance.randint(words // 2, words))),
            "response": " ".join(chance.choices(WORDS, k=6)),
            "group": f"{seed}-{place}",
        }
        for place in range(count)
    ]
    profile = profile_traffic(rows, encoder=Counting())
    assert profile is not None
    return profile


def constant(text: str, count: int = 60, group: str = "g") -> Profile:
    """A profile of rows that are all the same."""
    rows = [
        {"prompt": text, "response": text, "group": f"{group}{place}"} for place in range(count)
    ]
    profile = profile_traffic(rows, encoder=Counting())
    assert profile is not None
    return profile


@everyone
def test_equal_shares_are_no_distance(name: str) -> None:
    """The same shares on both sides are no distance, however many rows."""
    found = DETECTORS[name].statistic(MIDDLE, MIDDLE * 40, VALUES)[0]
    assert found == pytest.approx(0, abs=2e-3)


@everyone
def test_a_shift_is_found_and_grows(name: str) -> None:
    """A shift is above the detector's floor, and half of it is less."""
    half = (MIDDLE + LATER) / 2
    whole, part = (DETECTORS[name].statistic(MIDDLE, counts, VALUES)[0] for counts in (LATER, half))
    assert whole > part > 0
    assert whole > DETECTORS[name].floor


@everyone
def test_sides_are_exchangeable(name: str) -> None:
    """Reference and window swapped give the same distance."""
    statistic = DETECTORS[name].statistic
    assert statistic(MIDDLE, LATER, VALUES) == pytest.approx(statistic(LATER, MIDDLE, VALUES))


@everyone
def test_rows_do_not_mix(name: str) -> None:
    """Many splits at once give what each gives alone."""
    reference, window = np.vstack([MIDDLE, LATER, MIDDLE]), np.vstack([LATER, LATER, MIDDLE])
    together = DETECTORS[name].statistic(reference, window, VALUES)
    alone = [
        DETECTORS[name].statistic(reference[i : i + 1], window[i : i + 1], VALUES)[0]
        for i in range(3)
    ]
    assert together.tolist() == pytest.approx(alone)


@everyone
@pytest.mark.parametrize(("left", "right"), [(EMPTY, MIDDLE), (MIDDLE, EMPTY), (EMPTY, EMPTY)])
def test_empty_sides_are_finite(name: str, left: np.ndarray, right: np.ndarray) -> None:
    """A side without rows gives a number, never NaN."""
    assert np.isfinite(DETECTORS[name].statistic(left, right, VALUES)).all()


@everyone
def test_no_bins(name: str) -> None:
    """A column without a single value is no distance."""
    none = np.zeros((3, 0))
    assert DETECTORS[name].statistic(none, none, np.zeros(0)).tolist() == [0, 0, 0]


@everyone
def test_each_says_what_it_compares(name: str) -> None:
    """The documentation names what is compared, the range, the direction and the source or purpose."""
    text = DETECTORS[name].statistic.__doc__ or ""
    assert text.startswith("Compare")
    assert "direction" in text
    assert ">>>" in text


@everyone
def test_an_effect_below_the_floor_is_possible(name: str) -> None:
    """The row's numbers make sense: bins to compare, a floor above 0, columns that exist."""
    row = DETECTORS[name]
    assert row.bins >= 2
    assert row.floor > 0
    kinds = {column.partition(".")[2] for column in traffic(10, 1).moments}
    near = {"relevance_to_prompt", "jailbreak_similarity", "refusal_similarity", "toxicity"}
    assert {*row.always, *row.instead} <= kinds | near
    assert any(kind.endswith(row.reads) for kind in kinds)


@everyone
def test_the_same_traffic_does_not_alarm(name: str) -> None:
    """Identical samples are at distance 0 (almost) in each column and never an alarm."""
    profile = traffic(150, 1)
    found = compare(profile, profile, detector=name)
    assert found
    assert not [score for score in found if score.alarm]
    assert all(np.isfinite([score.value, score.threshold, score.p]).all() for score in found)


@everyone
def test_constant_columns_are_finite(name: str) -> None:
    """A reference that never varies has no change in standard deviations, and every number is
    finite.
    """
    for reference, window in (
        (constant("one two three"), traffic(80, 2)),
        (traffic(80, 2), constant("one two three")),
        (constant("one two three"), constant("four five six seven", group="h")),
        (constant("aa bb. cc"), constant("aa bb. cc", group="h")),
    ):
        for score in compare(reference, window, detector=name):
            assert np.isfinite([score.value, score.threshold]).all()
            assert score.change is None or abs(score.change) < 1e6, score
        report = check_profile(window, reference, detector=name)
        assert not any("e+" in note or "nan" in note for note in report.notes)


@everyone
def test_it_finds_what_it_is_for(name: str) -> None:
    """Prompts three times as long alarm under every detector, and the alarm names it or a claim."""
    found = compare(traffic(150, 1), traffic(150, 2, words=30), detector=name)
    assert any(score.alarm and score.statistic == name for score in found)


@every_vector
def test_vectors_equal_sides_are_near(name: str) -> None:
    """Two halves of one cloud are nearer than the floor; equal vectors are at distance 0."""
    statistic, random = VECTOR_DETECTORS[name].statistic, np.random.default_rng(1)
    cloud = random.normal(size=(400, 8)).astype(np.float32)
    blocks = np.arange(400)
    assert 0 <= statistic(cloud, (blocks % 2 == 0)[None], blocks)[0] < 0.2
    same = np.ones((40, 8), np.float32)
    found = statistic(same, (np.arange(40) < 20)[None], np.arange(40))
    assert found.tolist() == pytest.approx([0.0], abs=1e-6)


@every_vector
def test_vectors_edges_are_finite(name: str) -> None:
    """No row, one row, and a side without a row give a number for each split."""
    statistic = VECTOR_DETECTORS[name].statistic
    for rows in (0, 1, 2, 5):
        vectors = np.ones((rows, 8), np.float32)
        splits = np.zeros((3, rows), bool)
        found = statistic(vectors, splits, np.arange(rows))
        assert found.shape == (3,)
        assert np.isfinite(found).all()


@every_vector
def test_vectors_say_what_they_compare(name: str) -> None:
    """The documentation says what is compared, the range and the direction, and has an example."""
    text = VECTOR_DETECTORS[name].statistic.__doc__ or ""
    assert text.startswith("Compare")
    assert "direction" in text
    assert ">>>" in text
    assert VECTOR_DETECTORS[name].floor > 0
