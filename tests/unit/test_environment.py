"""Environment variables: one that is blank is one that is not set."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

import sluicegate
from sluicegate.environment import read_variable, set_default
from sluicegate.project import Project, model_cache

ROOM = Path(sluicegate.__file__).parent
READS = re.compile(r"os\.environ(?:\.get|\.setdefault|\[)|getenv\(")
HOME = {
    "SLUICE_LEDGER_URL": lambda project: project.ledger_url,
    "SLUICE_TRAFFIC_URL": lambda project: project.traffic_url,
    "MLFLOW_TRACKING_URI": lambda project: project.mlflow_url,
    "SLUICE_CACHE": lambda _: str(model_cache()),
    "XDG_CACHE_HOME": lambda _: str(model_cache()),
}


@pytest.mark.parametrize("name", HOME)
@pytest.mark.parametrize("blank", ["", " \n"])
def test_blank_is_unset(name: str, blank: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret that a fork does not have arrives as an empty text: the project's own places are
    used.
    """
    for other in HOME:
        monkeypatch.delenv(other, raising=False)
    unset = HOME[name](Project(Path("/p")))
    monkeypatch.setenv(name, blank)
    assert HOME[name](Project(Path("/p"))) == unset
    monkeypatch.setenv(name, "/elsewhere")
    assert HOME[name](Project(Path("/p"))).startswith("/elsewhere")


def test_what_is_set_is_not_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    """A default goes into a blank variable only; the text of one that is set is given as it is."""
    monkeypatch.setenv("SLUICE_TEST_A", "")
    monkeypatch.setenv("SLUICE_TEST_B", " b ")
    for name in ("SLUICE_TEST_A", "SLUICE_TEST_B"):
        set_default(name, "default")
    assert [read_variable("SLUICE_TEST_A"), read_variable("SLUICE_TEST_B")] == ["default", " b "]
    assert os.environ["SLUICE_TEST_A"] == "default"


def test_variables_are_read_in_one_place() -> None:
    """No other module reads a variable by itself, where an empty one would count as set."""
    files = [path for path in ROOM.rglob("*.py") if "template" not in path.parts]
    found = [
        f"{path.relative_to(ROOM)}: {match[0]}"
        for path in files
        for match in READS.finditer(path.read_text("utf-8"))
    ]
    assert len(files) > 100
    assert [text for text in found if not text.startswith("environment.py")] == [], found
