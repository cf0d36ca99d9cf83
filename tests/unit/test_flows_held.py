"""A run in which answers are missing, or whose budget is spent, ends as Held in Prefect."""

from __future__ import annotations

import importlib.util
import logging
import sys
from pathlib import Path
from typing import Any

import pytest

from sluicegate.errors import BudgetError, IncompleteError, TrackingError, UnfinishedError
from sluicegate.line import sequence
from sluicegate.line.learn.cooldown import last_retraining
from sluicegate.project import Project
from sluicegate.scaffold import HOSTED, Endpoint, init

ROOT = Path(__file__).parents[2]


def flow(name: str) -> Any:
    """The module of a flow as the project ships it."""
    spec = importlib.util.spec_from_file_location(f"flow_{name}", ROOT / "flows" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.get_run_logger = lambda: logging.getLogger(name)  # there is no run that it belongs to
    return module


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "path", list(sys.path))
    init(tmp_path / "p", HOSTED, Endpoint("http://127.0.0.1:9/v1", "fake"))
    return tmp_path / "p"


def ends(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def stopped(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(sequence, "release", stopped)
    monkeypatch.setattr(sequence, "learn", lambda *_, **__: None)


@pytest.mark.parametrize(
    "error",
    [
        IncompleteError("2 of 9 prompts got no answer", hint="run again"),
        BudgetError("the token budget is spent", hint="give more"),
    ],
)
def test_missing_answers_are_held(
    root: Path, monkeypatch: pytest.MonkeyPatch, error: UnfinishedError
) -> None:
    """Both flows end completed, with the reason as the message; the retraining's record has it."""
    ends(monkeypatch, error)
    state = flow("release").release.fn(str(root))
    again = flow("retrain").retrain.fn(str(root))
    assert (state.type.value, state.name, state.message) == ("COMPLETED", "Held", str(error))
    assert (again.type.value, again.name, again.message) == ("COMPLETED", "Held", str(error))
    assert last_retraining(Project(root))["outcome"] == "Held"


def test_the_command_says_what_is_held(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 4 with the reason and what to do, and no outcome in the file that is asked for."""
    module, out = flow("release"), root / "out.json"
    outcome = {"outcome": "Held", "unfinished": "2 of 9 got no answer", "hint": "run again"}
    monkeypatch.setattr(module, "release", lambda **_: outcome)
    monkeypatch.setattr(sys, "argv", ["release.py", "--root", str(root), "--result", str(out)])
    assert module.main() == 4
    assert capsys.readouterr().err == "HOLD: 2 of 9 got no answer\n  what to do: run again\n"
    assert not out.exists()


def test_another_failure_is_none(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What broke is still told as broken."""
    ends(monkeypatch, TrackingError("no MLflow"))
    with pytest.raises(TrackingError):
        flow("release").release.fn(str(root))
