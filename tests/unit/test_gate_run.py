"""The gate beside other runs in the same project: it waits for its turn, no longer than its budget
allows.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from sluicegate.budget import Budget
from sluicegate.errors import UsageError
from sluicegate.line.gate import run as gate_run
from sluicegate.line.gate.run import run_gate
from sluicegate.line.locks import held, line_lock
from sluicegate.line.run import open_run
from sluicegate.project import Project
from sluicegate.records import Decision, Verdict
from sluicegate.scaffold import init


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with prices and a changed tune setting."""
    for name in ("SLUICE_LEDGER_URL", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "project"
    init(folder)
    text = (folder / "params.yaml").read_text("utf-8")
    text = text.replace("rank: 16", "rank: 8").replace(
        "release:\n", "release:\n  price: {input: 1.0, output: 2.0}\n", 1
    )
    (folder / "params.yaml").write_text(text, "utf-8")
    return folder


def test_waits_no_longer_than_the_budget(root: Path) -> None:
    """Beside a release that does not end, a gate with a time budget holds, and writes no file of
    that release.
    """
    started = time.monotonic()
    with line_lock(Project(root)):
        run = run_gate(open_run(root), base="main", budget=Budget(seconds=0.5), quiet=True)
    assert run.decision is Decision.HOLD
    assert "another release, gate or retraining is still running" in run.text
    assert "nothing yet" in run.text
    assert time.monotonic() - started < 30
    assert not (root / "build" / "line").exists()


def test_no_other_run_beside_the_gate(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While its steps are at work the gate holds the line, and lets go of it afterwards."""

    def steps(*_: object, **__: object) -> None:
        with held(Project(root), "line") as got:
            assert not got
        raise ZeroDivisionError

    monkeypatch.setattr(gate_run, "_judge", steps)
    with pytest.raises(ZeroDivisionError):
        run_gate(open_run(root), quiet=True)
    with held(Project(root), "line") as got:
        assert got


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["seconds", "cost"])
def test_a_budget_is_a_number(root: Path, name: str, value: float) -> None:
    """A budget that could stop nothing is refused before anything is run."""
    with pytest.raises(UsageError, match="not a finite number"):
        run_gate(open_run(root), budget=Budget(**{name: value}))


@pytest.mark.parametrize(
    ("ci", "ledger", "told"),
    [("true", "", True), ("true", "postgresql://db/ledger", False), ("", "", False)],
)
def test_a_verdict_of_ci_says_what_it_does_not_count(
    monkeypatch: pytest.MonkeyPatch, ci: str, ledger: str, told: bool
) -> None:
    """Without a ledger that all runs share, the error budget is each run's own."""
    monkeypatch.setenv("CI", ci)
    monkeypatch.setenv("SLUICE_LEDGER_URL", ledger)
    verdict = Verdict(Decision.HOLD, "a", "b", "p", "g", "e", "f", ())
    notes = gate_run._alone(verdict)
    assert [("not counted" in note) for note in notes] == [True] * told
    assert gate_run._alone(None) == []
