"""A window of traffic against the reference: what alarms, what does not, and what is no data at
all.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from sluicegate.drift import DETECTORS, merge, profile_rows, read_profile, write_profile
from sluicegate.errors import ConfigError, DataError, IntegrityError
from sluicegate.hashing import write_json
from sluicegate.monitoring import check_profile, check_rows, profile_reference, read_window
from sluicegate.records import DriftReport

WORDS = [
    "parcel",
    "late",
    "refund",
    "please",
    "thanks",
    "the",
    "order",
    "arrived",
    "broken",
    "unbelievable",
    "my",
]


def traffic(count: int, seed: int, longest: int = 40) -> list[dict[str, str]]:
    """Rows of random sentences."""
    chance = random.Random(seed)

    def text(most: int) -> str:
        return " ".join(chance.choices(WORDS, k=chance.randrange(4, most))).capitalize() + "."

    return [{"prompt": text(60), "response": text(longest)} for _ in range(count)]


def window(path: Path, rows: list[dict[str, str]]) -> Path:
    """Write rows as JSONL."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def check_window(path: Path, reference: Path, detector: str = "ks") -> DriftReport:
    """The report on the rows of a file."""
    return check_rows(read_window(path), reference, detector=detector)[0]


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reference profile of 120 rows."""
    path = tmp_path_factory.mktemp("profile") / "reference.parquet"
    profile_reference(traffic(120, 1), path)
    return path


def test_same_traffic_is_ok(tmp_path: Path, reference: Path) -> None:
    """A window from the same source raises no alarm, and its report can be written."""
    report = check_window(window(tmp_path / "w.jsonl", traffic(80, 2)), reference)
    assert (report.status, report.rows) == ("OK", 80)
    assert len(report.scores) >= 20
    write_json(tmp_path / "report.json", report)


@pytest.mark.parametrize("detector", DETECTORS)
def test_shorter_answers_alarm(tmp_path: Path, reference: Path, detector: str) -> None:
    """Answers a quarter as long raise an alarm on the response's length, with its direction, and
    blame no prompt.
    """
    rows = window(tmp_path / "w.jsonl", traffic(80, 2, longest=10))
    report = check_window(rows, reference, detector=detector)
    moved = {score.column: score for score in report.scores if score.alarm}
    assert report.status == "DRIFT"
    length = moved["response.character_count"]
    assert length.before > length.after
    assert length.change < -0.5
    assert length.p <= 0.02
    assert not any(column.startswith("prompt.") for column in moved)
    assert all((score.value > score.threshold) == score.alarm for score in report.scores)
    assert "response." in report.notes[1]


def test_a_window_of_repeats_of_one_conversation_is_not_many_rows(tmp_path: Path) -> None:
    """Sixty rows of four conversations alarm as sixty independent rows, and stay quiet when their
    group is known.
    """
    rows = [dict(row, group=f"r{n}") for n, row in enumerate(traffic(200, 1))]
    few = [dict(row, group=f"w{n}") for n, row in enumerate(traffic(4, 7)) for _ in range(15)]
    profile_reference(rows, tmp_path / "r.parquet")
    blind = window(
        tmp_path / "blind.jsonl", [{key: row[key] for key in ("prompt", "response")} for row in few]
    )
    assert check_window(blind, tmp_path / "r.parquet").status == "DRIFT"
    assert check_window(window(tmp_path / "w.jsonl", few), tmp_path / "r.parquet").status == "OK"


@pytest.mark.parametrize("count", [0, 5, 29])
def test_too_few_rows(tmp_path: Path, reference: Path, count: int) -> None:
    """An empty or small window is NO_DATA, which is not OK."""
    report = check_window(window(tmp_path / "w.jsonl", traffic(count, 3)), reference)
    assert (report.status, report.rows, report.scores) == ("NO_DATA", count, ())
    assert report.notes


def test_constant_window(tmp_path: Path, reference: Path) -> None:
    """A window that repeats one row is a stuck source, not an absence of drift: NO_DATA."""
    report = check_window(window(tmp_path / "w.jsonl", traffic(1, 3) * 100), reference)
    assert (report.status, report.rows) == ("NO_DATA", 100)
    assert "alike" in report.notes[0]


def test_window_of_nulls(reference: Path) -> None:
    """A window in which every response is missing is NO_DATA, and names the column."""
    rows = [{"prompt": row["prompt"], "response": None} for row in traffic(50, 3)]
    report = check_profile(profile_rows(rows), read_profile(reference))
    assert report.status == "NO_DATA"
    assert "response." in report.notes[0]


def test_a_day_merged_from_its_hours_gives_the_same_report(reference: Path) -> None:
    """Hourly profiles merge into one whose report equals that of the day read at once."""
    rows = [dict(row, group=f"{n}") for n, row in enumerate(traffic(480, 5, longest=25))]
    hours = merge(profile_rows(rows[start : start + 20]) for start in range(0, 480, 20))
    known = read_profile(reference)
    one, other = check_profile(hours, known), check_profile(profile_rows(rows), known)
    assert one.status == "DRIFT"
    assert [(s.column, s.value, s.threshold) for s in one.scores] == [
        (s.column, s.value, s.threshold) for s in other.scores
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2: not JSON"),
        ("[]", "line 2: an object"),
        ('{"prompt": "a"}', "line 2: response"),
        ('{"prompt": null, "response": "a"}', "line 2: prompt"),
        ('{"prompt": 3, "response": "a"}', "line 2: prompt"),
        ('{"prompt": "a", "response": "b", "group": []}', "line 2: group"),
        ("[" * 100000, "line 2: not JSON"),
    ],
)
def test_malformed_window(tmp_path: Path, reference: Path, line: str, message: str) -> None:
    """A bad line is named by file, line and field."""
    path = tmp_path / "w.jsonl"
    path.write_text(json.dumps({"prompt": "a", "response": "b"}) + "\n" + line + "\n")
    with pytest.raises(DataError, match=message):
        check_window(path, reference)


def test_window_that_is_a_folder_or_binary(tmp_path: Path, reference: Path) -> None:
    """A folder and bytes that are not UTF-8 are data errors."""
    (tmp_path / "w.jsonl").write_bytes(b'{"prompt": "\xff", "response": ""}')
    for path in (tmp_path, tmp_path / "w.jsonl"):
        with pytest.raises(DataError):
            check_window(path, reference)


def test_missing_reference(tmp_path: Path) -> None:
    """Without a reference profile nothing can be said: an error, even when there is no window."""
    with pytest.raises(IntegrityError, match="missing"):
        check_rows([], tmp_path / "none.parquet")


def test_unknown_detector(tmp_path: Path, reference: Path) -> None:
    """A misspelt detector is a configuration error."""
    with pytest.raises(ConfigError, match="hellinge"):
        check_rows([], reference, detector="hellinge")


@pytest.mark.parametrize("rows", [[], [{"prompt": "a"}], [{"prompt": "a", "response": None}]])
def test_reference_rows_without_texts(tmp_path: Path, rows: list[dict[str, str]]) -> None:
    """Nothing to profile, or a missing text, is refused and leaves no file."""
    with pytest.raises(DataError):
        profile_reference(rows, tmp_path / "p.parquet")
    assert not list(tmp_path.iterdir())


def test_a_reference_that_never_varies(tmp_path: Path) -> None:
    """Against a reference of one repeated row, the same row is no drift and other rows are."""
    same = traffic(1, 1) * 60
    write_profile(tmp_path / "r.parquet", profile_rows(same))
    assert check_window(window(tmp_path / "w.jsonl", same), tmp_path / "r.parquet").status == "OK"
    assert (
        check_window(window(tmp_path / "o.jsonl", traffic(60, 2)), tmp_path / "r.parquet").status
        == "DRIFT"
    )
