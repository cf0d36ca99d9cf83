"""The door to LangKit and whylogs: profiles written, read and merged with the real packages,
offline.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sluicegate.drift.langkit_door import installed, merge_whylogs, read_whylogs, write_whylogs
from sluicegate.errors import DataError, IntegrityError

pytest.importorskip("langkit", reason="pip install 'sluicegate[langkit]'")


def rows(count: int) -> list[dict[str, str]]:
    return [
        {"prompt": f"my secretword number {n} is here", "response": "Fine, thank you!" * (n % 5)}
        for n in range(count)
    ]


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whylogs profile of 40 rows."""
    path = tmp_path_factory.mktemp("whylogs") / "p.bin"
    write_whylogs(path, rows(40))
    return path


@pytest.mark.parametrize("damage", [b"", b"junk", b"flip", b"cut"])
def test_damaged_profile(tmp_path: Path, stored: Path, damage: bytes) -> None:
    """A profile whose bytes changed is never read, though whylogs itself would read some of them."""
    raw = stored.read_bytes()
    middle = len(raw) // 2
    changed = {
        b"flip": raw[:middle] + bytes([raw[middle] ^ 255]) + raw[middle + 1 :],
        b"cut": raw[:middle],
    }
    broken = tmp_path / "broken.bin"
    broken.write_bytes(changed.get(damage, damage))
    broken.with_suffix(".json").write_bytes(stored.with_suffix(".json").read_bytes())
    with pytest.raises(IntegrityError, match="bytes"):
        read_whylogs(broken)


def test_profile_is_reproducible_and_holds_no_text(tmp_path: Path, stored: Path) -> None:
    """The same rows give the same bytes, and no word of a prompt is in them."""
    write_whylogs(tmp_path / "b.bin", rows(40))
    assert stored.read_bytes() == (tmp_path / "b.bin").read_bytes()
    assert b"secretword" not in stored.read_bytes()


def test_light_metrics_are_there(stored: Path) -> None:
    """Prompts and responses both get length, readability and sentiment."""
    summary = read_whylogs(stored)
    for column in ("prompt", "response"):
        for metric in (
            "character_count",
            "lexicon_count",
            "flesch_reading_ease",
            "vader_sentiment",
        ):
            assert summary[f"{column}.{metric}"]["n"] == 40
    assert json.loads(stored.with_suffix(".json").read_text())["columns"] == summary


def test_merged_profiles(tmp_path: Path, stored: Path) -> None:
    """Two profiles merged count the rows of both, keep the extremes and the mean, and can be read
    and merged again.
    """
    write_whylogs(tmp_path / "b.bin", rows(10))
    merge_whylogs([stored, tmp_path / "b.bin"], tmp_path / "m.bin")
    one, two, both = (
        read_whylogs(path)["response.character_count"]
        for path in (stored, tmp_path / "b.bin", tmp_path / "m.bin")
    )
    assert both["n"] == 50
    assert both["max"] == max(one["max"], two["max"])
    assert both["mean"] == pytest.approx((40 * one["mean"] + 10 * two["mean"]) / 50)
    assert json.loads((tmp_path / "m.json").read_text())["rows"] == 50
    with pytest.raises(DataError):
        merge_whylogs([], tmp_path / "n.bin")


@pytest.mark.parametrize("text", ["", "😀", "日本語", "a", "..", "\x00", "\ud800", "word " * 3000])
def test_odd_texts_are_profiled(tmp_path: Path, text: str) -> None:
    """Empty, one-character, non-Latin, unpaired and long texts do not break the profile or blank a
    column.
    """
    write_whylogs(tmp_path / "p.bin", [{"prompt": text, "response": "Fine, thank you."}])
    assert read_whylogs(tmp_path / "p.bin")["response.character_count"]["n"] == 1


@pytest.mark.parametrize("given", [[], [{"prompt": "a"}], [{"prompt": "a", "response": None}]])
def test_rows_without_texts(tmp_path: Path, given: list[dict[str, str]]) -> None:
    """Nothing to profile, or a missing text, is refused and leaves no file."""
    with pytest.raises(DataError):
        write_whylogs(tmp_path / "p.bin", given)
    assert not list(tmp_path.iterdir())


def test_needs_no_network_and_no_nltk(tmp_path: Path) -> None:
    """Profiling opens no socket and imports neither NLTK nor a model library."""
    code = f"""
import socket, sys
def refuse(*_, **__): raise SystemExit("network")
socket.socket.connect = socket.getaddrinfo = socket.create_connection = refuse
from pathlib import Path
from sluicegate.drift.langkit_door import write_whylogs, read_whylogs
path = Path({str(tmp_path)!r}) / "p.bin"
write_whylogs(path, [{{"prompt": "hello there", "response": "hi"}}] * 5)
read_whylogs(path)
assert not {{"nltk", "torch", "transformers"}} & sys.modules.keys()
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, timeout=60)


def test_monitoring_works_without_them(tmp_path: Path) -> None:
    """Where LangKit, whylogs, textstat, syllapy and VADER cannot be imported, profiles and reports
    are made all the same.

    The door says so, and how to install them.
    """
    assert installed()
    code = f"""
import sys, importlib.util
hidden = {{"langkit", "whylogs", "textstat", "syllapy", "vaderSentiment", "nltk"}}
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in hidden: raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Refuse())
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name in hidden else found(name, *rest)
from pathlib import Path
from sluicegate.drift.langkit_door import installed, read_whylogs
from sluicegate.errors import MissingExtraError
from sluicegate.monitoring import check_profile, profile_reference
from sluicegate.drift import profile_rows, read_profile
path = Path({str(tmp_path)!r}) / "r.parquet"
rows = [{{"prompt": "hello there " * n, "response": "hi, that is great! " * (n % 7)}} for n in range(1, 60)]
profile_reference(rows, path)
assert check_profile(profile_rows(rows), read_profile(path)).status == "OK"
assert not installed()
try:
    read_whylogs(path)
except MissingExtraError as error:
    assert "sluicegate[langkit]" in error.hint
else:
    raise SystemExit("no error")
"""
    assert importlib.util.find_spec("langkit")
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], check=True, timeout=60, env={**os.environ}
    )
