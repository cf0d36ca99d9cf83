"""Profiles and drift with the real whylogs and LangKit, offline."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from sluicegate.drift import DETECTORS, drift_scores, read_profile, write_profile
from sluicegate.errors import ConfigError, DataError, IntegrityError
from sluicegate.monitoring import check_window, profile_reference

pytest.importorskip("langkit", reason="pip install 'sluicegate[langkit]'")

WORDS = ["parcel", "late", "refund", "please", "thanks", "the", "order", "arrived", "broken", "unbelievable", "my"]


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


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reference profile of 120 rows."""
    path = tmp_path_factory.mktemp("profile") / "reference.bin"
    profile_reference(traffic(120, 1), path)
    return path


def test_same_traffic_is_ok(tmp_path: Path, reference: Path) -> None:
    """A window from the same source raises no alarm."""
    report = check_window(window(tmp_path / "w.jsonl", traffic(80, 2)), reference)
    assert (report.status, report.rows) == ("OK", 80)
    assert len(report.scores) >= 20


@pytest.mark.parametrize("detector", DETECTORS)
def test_shorter_answers_alarm(tmp_path: Path, reference: Path, detector: str) -> None:
    """Answers a quarter as long raise an alarm on the response's length; `ks` blames no column of the prompt."""
    rows = window(tmp_path / "w.jsonl", traffic(80, 2, longest=10))
    report = check_window(rows, reference, detector=detector)
    moved = {score.column for score in report.scores if score.alarm}
    assert report.status == "DRIFT"
    assert "response.character_count" in moved
    assert detector != "ks" or not any(column.startswith("prompt.") for column in moved)
    assert all((score.value > score.threshold) == score.alarm for score in report.scores)


@pytest.mark.parametrize("count", [0, 5, 29])
def test_too_few_rows(tmp_path: Path, reference: Path, count: int) -> None:
    """An empty or small window is NO_DATA, which is not OK."""
    report = check_window(window(tmp_path / "w.jsonl", traffic(count, 3)), reference)
    assert (report.status, report.rows, report.scores) == ("NO_DATA", count, ())
    assert report.notes


def test_absent_window(tmp_path: Path, reference: Path) -> None:
    """No window, or a file that is not there, is NO_DATA."""
    assert check_window(None, reference).status == check_window(tmp_path / "no.jsonl", reference).status == "NO_DATA"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2: not JSON"),
        ("[]", "line 2: an object"),
        ('{"prompt": "a"}', "line 2: response"),
        ('{"prompt": null, "response": "a"}', "line 2: prompt"),
        ('{"prompt": 3, "response": "a"}', "line 2: prompt"),
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
        check_window(None, tmp_path / "none.bin")


def test_unknown_detector(tmp_path: Path, reference: Path) -> None:
    """A misspelt detector is a configuration error."""
    with pytest.raises(ConfigError, match="hellinge"):
        check_window(None, reference, detector="hellinge")


@pytest.mark.parametrize("damage", [b"", b"junk", b"flip", b"cut"])
def test_damaged_profile(tmp_path: Path, reference: Path, damage: bytes) -> None:
    """A profile whose bytes changed is never compared with, though whylogs itself would read some of them."""
    raw = reference.read_bytes()
    middle = len(raw) // 2
    changed = {b"flip": raw[:middle] + bytes([raw[middle] ^ 255]) + raw[middle + 1 :], b"cut": raw[:middle]}
    broken = tmp_path / "broken.bin"
    broken.write_bytes(changed.get(damage, damage))
    broken.with_suffix(".json").write_bytes(reference.with_suffix(".json").read_bytes())
    with pytest.raises(IntegrityError, match="bytes"):
        drift_scores(reference, broken)


def test_profile_is_reproducible_and_holds_no_text(tmp_path: Path) -> None:
    """The same rows give the same bytes, and no word of a prompt is in them."""
    rows = [{"prompt": f"my secretword number {n}", "response": "Fine!"} for n in range(40)]
    for name in ("a.bin", "b.bin"):
        write_profile(tmp_path / name, rows)
    assert (tmp_path / "a.bin").read_bytes() == (tmp_path / "b.bin").read_bytes()
    assert b"secretword" not in (tmp_path / "a.bin").read_bytes()


def test_light_metrics_are_there(reference: Path) -> None:
    """Prompts and responses both get length, readability and sentiment."""
    summary = read_profile(reference)
    for column in ("prompt", "response"):
        for metric in ("character_count", "lexicon_count", "flesch_reading_ease", "vader_sentiment"):
            assert summary[f"{column}.{metric}"]["n"] == 120
    assert json.loads(reference.with_suffix(".json").read_text())["columns"] == summary


@pytest.mark.parametrize("text", ["", "😀", "日本語", "a", "..", "\x00", "\ud800", "word " * 3000])
def test_odd_texts_are_profiled(tmp_path: Path, text: str) -> None:
    """Empty, one-character, non-Latin, unpaired and long texts do not break the profile or blank a column."""
    write_profile(tmp_path / "p.bin", [{"prompt": text, "response": "Fine, thank you."}])
    assert read_profile(tmp_path / "p.bin")["response.character_count"]["n"] == 1


@pytest.mark.parametrize("rows", [[], [{"prompt": "a"}], [{"prompt": "a", "response": None}]])
def test_rows_without_texts(tmp_path: Path, rows: list[dict[str, str]]) -> None:
    """Nothing to profile, or a missing text, is refused and leaves no file."""
    with pytest.raises(DataError):
        write_profile(tmp_path / "p.bin", rows)
    assert not list(tmp_path.iterdir())


def test_needs_no_network_and_no_nltk(tmp_path: Path) -> None:
    """Profiling opens no socket and imports neither NLTK nor a model library."""
    code = f"""
import socket, sys
def refuse(*_, **__): raise SystemExit("network")
socket.socket.connect = socket.getaddrinfo = socket.create_connection = refuse
from pathlib import Path
from sluicegate.drift import write_profile, drift_scores
path = Path({str(tmp_path)!r}) / "p.bin"
write_profile(path, [{{"prompt": "hello there", "response": "hi"}}] * 5)
drift_scores(path, path)
assert not {{"nltk", "torch", "transformers"}} & sys.modules.keys()
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, timeout=60)
