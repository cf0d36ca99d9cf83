"""Embeddings in profiles: chosen by block, merged, stored, compared; with a small encoder made by
hand.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sluicegate.drift import VECTOR_DETECTORS, Profile, compare, read_profile, write_profile
from sluicegate.drift.calibration import scores
from sluicegate.drift.embedded import ASKED
from sluicegate.errors import IntegrityError
from sluicegate.monitoring import check_profile, check_rows, profile_reference, profile_traffic
from sluicegate.records import DriftScore

SUPPORT = [
    "parcel",
    "refund",
    "late",
    "order",
    "account",
    "password",
    "delivery",
    "invoice",
    "broken",
    "phone",
]
COOKING = [
    "onion",
    "butter",
    "recipe",
    "oven",
    "flour",
    "garlic",
    "salad",
    "pepper",
    "soup",
    "bread",
]


class WordEncoder:
    """A bag of hashed words, of length 1: near where words are shared."""

    def __init__(self, identity: str = "words") -> None:
        self.identity, self.weights = identity, ""
        self.asked = 0

    def vectors(self, texts: Sequence[str]) -> np.ndarray:
        self.asked += len(texts)
        found = np.full((len(texts), 32), 1e-3, np.float32)
        for row, text in enumerate(texts):
            for word in text.lower().split():
                found[row, zlib.crc32(word.encode("utf-8", "replace")) % 32] += 1
        return found / np.linalg.norm(found, axis=1, keepdims=True)


def traffic(count: int, seed: int, cooking: float = 0.0, each: int = 1) -> list[dict[str, str]]:
    """Questions of ten words in conversations of `each`; a share of the conversations is about
    cooking.
    """
    chance = random.Random(seed)
    rows = []
    for group in range(count // each):
        words = COOKING if chance.random() < cooking else SUPPORT
        for _ in range(each):
            asked = " ".join(chance.choices(words, k=10))
            rows.append(
                {
                    "prompt": asked,
                    "response": f"About the {asked.split()[0]}",
                    "group": f"{seed}-{group}",
                }
            )
    return rows


def made(*arguments: object, **more: object) -> Profile:
    """A profile with vectors."""
    profile = profile_traffic(traffic(*arguments, **more), encoder=WordEncoder())  # type: ignore[arg-type]
    assert profile is not None
    return profile


def only_vectors(reference: Profile, window: Profile, **more: object) -> list[DriftScore]:
    """The detectors on embeddings alone."""
    vectors = {(view, name): row for name, row in VECTOR_DETECTORS.items() for view in row.reads}
    return scores(reference, window, {}, vectors=vectors, **more)  # type: ignore[arg-type]


ON_PROMPTS = [name for name, row in VECTOR_DETECTORS.items() if ASKED in row.reads]


@pytest.mark.parametrize("name", ON_PROMPTS)
def test_a_new_topic_of_the_same_length_is_found(name: str) -> None:
    """A fifth of the prompts about something else, as long as the others, moves the embedding."""
    found = compare(made(300, 1), made(200, 2, cooking=0.2))
    (score,) = (
        score for score in found if (score.column, score.statistic) == ("prompt.embedding", name)
    )
    assert score.alarm
    assert score.p <= 0.02
    assert not any(score.alarm for score in found if score.column == "prompt.lexicon_count")


@pytest.mark.parametrize("name", VECTOR_DETECTORS)
def test_more_of_it_is_further_away(name: str) -> None:
    """The distance grows with the share that changed; without a direction it is symmetric."""
    statistic = VECTOR_DETECTORS[name].statistic
    base = made(300, 1).embedded
    assert base is not None
    distances = []
    for share in (0.0, 0.3, 0.9):
        other = made(200, 2, cooking=share).embedded
        assert other is not None
        vectors = np.concatenate([base.vectors["prompt"], other.vectors["prompt"]])
        splits = np.arange(500) >= 300
        one, swapped = statistic(vectors, np.stack([splits, ~splits]), np.arange(500))
        if name not in ("unlike", "mixture"):
            assert one == pytest.approx(swapped, abs=1e-5)
        distances.append(one)
    assert VECTOR_DETECTORS[name].floor < distances[1]
    assert distances[0] < distances[1] < distances[2]


@pytest.mark.parametrize(("count", "each"), [(60, 1), (120, 6)])
def test_false_alarms_are_as_rare_as_promised(count: int, each: int) -> None:
    """Of 80 windows without drift at 10 %, the share that alarms on any embedding is 10 % within 3
    standard errors.
    """
    alarms = 0
    for seed in range(80):
        reference, window = (
            made(120, 2 * seed, cooking=0.5, each=each),
            made(count, 2 * seed + 1, cooking=0.5, each=each),
        )
        found = only_vectors(reference, window, alpha=0.1, permutations=99, seed=seed)
        alarms += any(score.p is not None and score.p <= 0.1 for score in found)
    assert alarms <= 80 * 0.1 + 3 * 2.7


def test_a_bounded_number_of_texts_is_encoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many rows, at most the bound is encoded, in whole conversations; both parts merge to
    the same.
    """
    monkeypatch.setattr("sluicegate.monitoring.embedding.MOST", 60)
    monkeypatch.setattr("sluicegate.drift.embedded.MOST", 60)
    monkeypatch.setattr("sluicegate.monitoring.rows.CHUNK", 100)
    encoder = WordEncoder()
    rows = traffic(600, 3, each=3)
    whole = profile_traffic(rows, encoder=encoder)
    assert whole is not None
    assert whole.embedded is not None
    assert 50 < len(whole.embedded.blocks) <= 60
    assert set(np.unique(whole.embedded.blocks, return_counts=True)[1]) == {3}
    assert encoder.asked <= 2 * 60 + 20
    halves = [profile_traffic(part, encoder=encoder) for part in (rows[:300], rows[300:])]
    assert halves[0] is not None
    assert halves[1] is not None
    joined = halves[0].merge(halves[1]).embedded
    assert joined is not None
    assert joined.blocks.tolist() == whole.embedded.blocks.tolist()
    assert np.array_equal(joined.vectors["prompt"], whole.embedded.vectors["prompt"])


def test_a_profile_with_vectors_is_stored(tmp_path: Path) -> None:
    """What is read back compares alike; a changed byte among the vectors is refused."""
    profile, window = made(120, 1), made(60, 2, cooking=0.3)
    path = tmp_path / "reference.parquet"
    write_profile(path, profile)
    assert compare(read_profile(path), window) == compare(profile, window)
    vectors = path.with_suffix(".vectors.npz")
    raw = vectors.read_bytes()
    vectors.write_bytes(raw[:200] + bytes([raw[200] ^ 1]) + raw[201:])
    with pytest.raises(IntegrityError, match="vectors"):
        read_profile(path)
    vectors.unlink()
    with pytest.raises(IntegrityError, match="vectors"):
        read_profile(path)


def test_vectors_of_different_encoders_are_never_compared(tmp_path: Path) -> None:
    """With another encoder, or none, the embeddings are left out, and a note says so."""
    reference = tmp_path / "reference.parquet"
    profile_reference(traffic(120, 1), reference, encoder=WordEncoder())
    for encoder in (WordEncoder("other"), None):
        report, _ = check_rows(traffic(60, 2), reference, encoder=encoder)
        assert not any("embedding" in score.column for score in report.scores)
        assert "embeddings" in report.notes[-1]
    report, _ = check_rows(traffic(60, 2), reference, encoder=WordEncoder())
    assert {
        score.statistic for score in report.scores if score.column == "prompt.embedding"
    } == set(ON_PROMPTS)


def test_merging_different_encoders_drops_the_vectors() -> None:
    """Profiles of two encoders merge without their vectors."""
    one, other = made(60, 1), made(60, 2)
    assert other.embedded is not None
    assert one.merge(replace(other, embedded=replace(other.embedded, encoder="x"))).embedded is None
    assert one.merge(other).embedded is not None


def test_texts_that_are_missing_or_odd_are_left_out() -> None:
    """Rows without a text have no vector; unpaired and empty texts have one; a window of nothing
    else is no error.
    """
    rows = [{"prompt": None, "response": "a"}, {"prompt": "\ud800", "response": ""}] * 20
    profile = profile_traffic(rows, encoder=WordEncoder())
    assert profile is not None
    assert profile.embedded is not None
    assert len(profile.embedded.blocks) == 20
    bare = profile_traffic([{"prompt": None, "response": None}] * 40, encoder=WordEncoder())
    assert bare is not None
    assert check_profile(bare, made(60, 1)).status == "NO_DATA"
