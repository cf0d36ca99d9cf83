"""Profiles: exact summaries, samples of whole blocks, merging, files."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from sluicegate.drift import Moments, Profile, merge, profile_rows, read_profile, write_profile
from sluicegate.errors import DataError, IntegrityError
from sluicegate.hashing import read_json


def rows(count: int, start: int = 0) -> list[dict[str, str]]:
    """Rows of 1 to 60 words, three of each conversation."""
    chance = random.Random(start)
    words = ["order", "late", "unbelievable", "secretword"]
    return [
        {
            "prompt": " ".join(chance.choices(words, k=chance.randrange(1, 60))),
            "response": f"Call 555-123-4567, number {n}." if n % 4 == 0 else "Thank you!",
            "group": f"c{(start + n) // 3}",
        }
        for n in range(count)
    ]


def same(one: Profile, other: Profile) -> None:
    """Two profiles keep the same rows and counts, and the same moments but for the last digits."""
    assert (one.rows, one.cut, one.categories) == (other.rows, other.cut, other.categories)
    assert one.blocks.tolist() == other.blocks.tolist()
    for name in one.numbers:
        assert np.array_equal(
            np.sort(one.numbers[name]), np.sort(other.numbers[name]), equal_nan=True
        )
        left, right = one.moments[name], other.moments[name]
        assert (left.n, left.nulls, left.low, left.high) == (
            right.n,
            right.nulls,
            right.low,
            right.high,
        )
        assert (left.mean, left.squares) == pytest.approx((right.mean, right.squares))


def test_moments_are_exact() -> None:
    """Count, nulls, mean, variance and range are those of the values, nulls left out."""
    values = np.array([3.0, np.nan, 1.0, 8.0])
    moments = Moments.of(values)
    assert (moments.n, moments.nulls, moments.mean, moments.low, moments.high) == (
        3,
        1,
        4.0,
        1.0,
        8.0,
    )
    assert moments.squares / 2 == pytest.approx(np.nanvar(values, ddof=1))
    assert Moments.of(np.array([np.nan])).merge(moments) == Moments(
        3, 2, 4.0, moments.squares, 1.0, 8.0
    )


def test_a_day_is_its_hours_merged() -> None:
    """24 hourly profiles merged, in either order, are the profile of the day."""
    every = rows(1440)
    hours = [profile_rows(every[start : start + 60]) for start in range(0, 1440, 60)]
    same(merge(hours), profile_rows(every))
    same(merge(reversed(hours)), profile_rows(every))


def test_the_sample_is_bounded_and_of_whole_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many rows, the sample stays within its bound, keeps conversations whole, and merges
    to the same rows.
    """
    monkeypatch.setattr("sluicegate.drift.profile.LIMIT", 100)
    every = rows(1200)
    whole = profile_rows(every)
    assert 90 < len(whole.blocks) <= 100
    assert set(np.unique(whole.blocks, return_counts=True)[1]) == {3}
    same(merge(profile_rows(every[start : start + 300]) for start in range(0, 1200, 300)), whole)
    assert whole.moments["prompt.lexicon_count"].n == 1200


def test_a_block_larger_than_the_bound_is_kept_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """One long conversation is not cut in two."""
    monkeypatch.setattr("sluicegate.drift.profile.LIMIT", 10)
    profile = profile_rows([dict(row, group="one") for row in rows(30)])
    assert len(profile.blocks) == 30


def test_rows_without_a_group_are_blocks_of_their_own() -> None:
    """Equal rows without a group are still separate blocks."""
    profile = profile_rows([{"prompt": "a", "response": "b"}] * 5)
    assert len(set(profile.blocks.tolist())) == 5


def test_a_stored_profile_comes_back(tmp_path: Path) -> None:
    """What is written is what is read, nulls included; the JSON beside it has the digest and the
    quantiles.
    """
    profile = profile_rows([*rows(50), {"prompt": None, "response": "x", "group": "z"}])
    write_profile(tmp_path / "p.parquet", profile)
    found = read_profile(tmp_path / "p.parquet")
    assert found.moments == profile.moments
    assert found.categories == profile.categories
    assert (found.rows, found.cut, found.blocks.tolist()) == (
        51,
        profile.cut,
        profile.blocks.tolist(),
    )
    for name, values in profile.numbers.items():
        np.testing.assert_array_equal(found.numbers[name], values)
    for name, labels in profile.labels.items():
        assert found.labels[name].tolist() == labels.tolist()
    beside = read_json(tmp_path / "p.json")
    assert beside["columns"]["prompt.lexicon_count"]["nulls"] == 1
    assert beside["columns"]["prompt.lexicon_count"]["median"] > 1


def test_files_are_reproducible_and_hold_no_text(tmp_path: Path) -> None:
    """The same rows give the same bytes, and neither a word nor a conversation's name is in them."""
    for name in ("a", "b"):
        write_profile(tmp_path / f"{name}.parquet", profile_rows(rows(60)))
    raw = (tmp_path / "a.parquet").read_bytes()
    assert raw == (tmp_path / "b.parquet").read_bytes()
    assert b"secretword" not in raw
    assert b"c12" not in raw


@pytest.mark.parametrize("damage", ["empty", "junk", "flip", "cut", "other", "gone"])
def test_a_damaged_file_is_never_used(tmp_path: Path, damage: str) -> None:
    """A profile whose bytes changed, or that is no profile though its digest fits, is refused."""
    path = tmp_path / "p.parquet"
    write_profile(path, profile_rows(rows(30)))
    raw = path.read_bytes()
    middle = len(raw) // 2
    changed = {
        "empty": b"", "junk": b"junk", "cut": raw[:middle],
        "flip": raw[:middle] + bytes([raw[middle] ^ 255]) + raw[middle + 1 :],
    }  # fmt: skip
    if damage == "gone":
        path.unlink()
    elif damage == "other":
        from sluicegate.hashing import digest_bytes, write_json

        path.write_bytes(b"PAR1 not really")
        write_json(path.with_suffix(".json"), {"digest": digest_bytes(b"PAR1 not really")})
    else:
        path.write_bytes(changed[damage])
    with pytest.raises(IntegrityError):
        read_profile(path)


def test_nothing_to_merge_or_profile() -> None:
    """No rows, no profiles, and profiles of different columns are refused."""
    with pytest.raises(DataError):
        profile_rows([])
    with pytest.raises(DataError):
        merge([])
    profile = profile_rows(rows(5))
    other = Profile(5, {}, {}, {}, {}, profile.blocks)
    with pytest.raises(DataError, match="lexicon_count"):
        merge([profile, other])


@pytest.mark.parametrize(
    "text", ["", "😀", "日本語", "a", "..", "\x00", "\ud800", "word " * 30000, "x" * 300000]
)
def test_odd_texts_are_profiled(tmp_path: Path, text: str) -> None:
    """Empty, one-character, non-Latin, unpaired and long texts do not break a profile or blank a
    column.
    """
    write_profile(
        tmp_path / "p.parquet",
        profile_rows([{"prompt": text, "response": "Fine, thank you.", "group": text}]),
    )
    found = read_profile(tmp_path / "p.parquet")
    empty = {name for name, moments in found.moments.items() if moments.n != 1}
    assert empty == {"prompt.tokens", "response.tokens", "response.latency"}


def test_a_profile_of_an_older_version_says_what_to_do(tmp_path: Path) -> None:
    """A file that lacks today's columns is refused, with the command that makes it again."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from sluicegate.hashing import digest_bytes, write_json

    path = tmp_path / "reference.parquet"
    about = {b"sluicegate": b'{"format": 1, "rows": 1, "cut": 1, "moments": {}, "categories": {}}'}
    pq.write_table(
        pa.table({"block": pa.array([1], pa.uint64())}).replace_schema_metadata(about), path
    )
    write_json(path.with_suffix(".json"), {"digest": digest_bytes(path.read_bytes())})
    with pytest.raises(IntegrityError, match="another version") as caught:
        read_profile(path)
    assert "sluice stage profile" in caught.value.hint


@pytest.mark.parametrize("value", ["fast", float("nan"), float("inf"), [1]])
def test_an_operation_that_is_no_number_is_refused(value: object) -> None:
    """Latency and tokens are numbers or absent."""
    with pytest.raises(DataError, match="latency"):
        profile_rows([{"prompt": "a", "response": "b", "latency": value}])


def test_operations_are_compared_where_both_sides_have_them() -> None:
    """Latencies twice as long alarm; a window without any is compared in everything else."""
    from sluicegate.monitoring import check_profile

    chance = random.Random(1)
    quick = [dict(row, latency=chance.uniform(0.5, 1.0)) for row in rows(120)]
    slow = [dict(row, latency=chance.uniform(1.0, 2.0)) for row in rows(120, start=600)]
    report = check_profile(profile_rows(slow), profile_rows(quick))
    assert "response.latency" in {score.column for score in report.scores if score.alarm}
    without = check_profile(profile_rows(rows(120, start=600)), profile_rows(quick))
    assert "response.latency" not in {score.column for score in without.scores}
    assert "response.latency" in without.notes[-1]
