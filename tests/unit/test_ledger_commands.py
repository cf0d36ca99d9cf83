"""`sluice history --on` and `sluice ledger new`, as a person types them."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from sluicegate.cli import sluice
from sluicegate.errors import UsageError
from sluicegate.project import Project
from sluicegate.releasing import bootstrap, promote, rollback

sys.path.insert(0, str(Path(__file__).parents[1]))
from reviewed_project import RULES, decided, entered, reviewed

PARAMS = "release: {name: m, model: b, prompt: p}\n"
EVIL = "\x1b[2Jowned"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    made = reviewed(tmp_path)
    (made.registry / "gates.yaml").write_text(RULES)
    made.params.write_text(PARAMS)
    made.prompts.mkdir()
    (made.prompts / "p.yaml").write_text("name: p\ntemplate: hello\n")
    monkeypatch.chdir(tmp_path)
    return made


def run(*arguments: str) -> Result:
    return CliRunner().invoke(sluice, list(arguments))


def test_what_served_today(project: Project) -> None:
    """A day is the whole day: what served when it began and every move in it; `now` is this moment."""
    assert "nothing served then" in run("history", "--on", "today").output
    one, two = entered(project, 1), entered(project, 2)
    bootstrap(project, one, actor="ann")
    decided(project, two)
    promote(project, two, actor="ann", reason=EVIL)
    rollback(project, actor="ann")
    day = datetime.now(UTC).date().isoformat()
    for when in ("today", day, " TODAY "):
        lines = run("history", "--on", when).output.splitlines()
        assert [line.split()[2] for line in lines[1:]] == ["bootstrap", "promote", "rollback"]
    assert [line.split()[2] for line in run("history", "--on", "now").output.splitlines()[1:]] == [
        "rollback"
    ]
    assert "nothing served then" in run("history", "--on", "yesterday").output
    assert isinstance(run("history", "--on", "tomorrowish").exception, UsageError)


def test_stored_text_is_shown_not_obeyed(project: Project) -> None:
    """Reasons that somebody wrote reach the terminal with their control characters written out."""
    one, two = entered(project, 1), entered(project, 2, actor="ann")
    bootstrap(project, one, actor="ann")
    decided(project, two, why=EVIL)
    promote(project, two, actor="ann", reason=EVIL)
    for arguments in (["history"], ["history", "--json"], ["history", "--on", "today"]):
        output = run(*arguments).output
        assert "owned" in output
        assert "\x1b" not in output
