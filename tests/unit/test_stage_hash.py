"""The hash of a stage's code: it moves with all that the stage runs, and with nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from sluicegate.line.pipeline import fingerprint
from sluicegate.line.pipeline.fingerprint import stage_hash

FILES = {
    "__init__": "",
    "stage": """
from typing import TYPE_CHECKING
from scratch.direct import run
if TYPE_CHECKING:
    from scratch.typed import Only
TABLE = {"a": "scratch.entry:Metric"}
def late():
    import scratch.lazy
    from scratch import neutral
""",
    "direct": "from scratch import indirect\ndef run(): ...\n",
    "indirect": "",
    "typed": "class Only: ...\n",
    "entry": "class Metric: ...\n",
    "lazy": "",
    "neutral": "import scratch.behind\n",
    "behind": "",
    "other": "import scratch.stage\n",
}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A small engine named scratch."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    for name, text in FILES.items():
        (folder / f"{name}.py").write_text(text, "utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(fingerprint, "PACKAGE", folder)
    monkeypatch.setattr(fingerprint, "NEUTRAL", frozenset({"scratch", "scratch.neutral"}))
    monkeypatch.setattr(fingerprint, "_ENTRY", re.compile(r"(scratch(?:\.[a-z_0-9]+)+):"))
    fingerprint._imports.cache_clear()
    yield folder
    fingerprint._imports.cache_clear()


@pytest.mark.parametrize(
    ("edited", "moves"),
    [
        ("stage", True),
        ("direct", True),
        ("indirect", True),
        ("lazy", True),
        ("entry", True),
        ("typed", False),
        ("neutral", False),
        ("behind", False),
        ("other", False),
    ],
)
def test_the_hash_moves_with_what_the_stage_runs(package: Path, edited: str, moves: bool) -> None:
    """Imports of any depth and place count, table entries too; types, neutral modules and users do
    not.
    """
    before = stage_hash("scratch.stage")
    with (package / f"{edited}.py").open("a", encoding="utf-8") as stream:
        stream.write("# edited\n")
    assert (stage_hash("scratch.stage") != before) is moves
