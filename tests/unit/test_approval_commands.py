"""The commands and steps around approvals, on a project of the template with its own ledger and
MLflow store.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from sluicegate.cli import sluice
from sluicegate.errors import IntegrityError, NotApprovedError
from sluicegate.ledger import Ledger
from sluicegate.line import sequence
from sluicegate.line.release.approve import approvals, settled
from sluicegate.line.release.promote import promote
from sluicegate.line.run import (
    Decided,
    Registered,
    Reported,
    Reproduced,
    TrafficChecked,
    open_run,
)
from sluicegate.project import Project
from sluicegate.records import Decision
from sluicegate.scaffold import init
from sluicegate.tracking import Tracking

sys.path.insert(0, str(Path(__file__).parents[1]))
from reviewed_project import ask, decided, judged_in_mlflow


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of the template, in which version 2 has a PROMOTE verdict and waits for one
    approval.
    """
    root = tmp_path_factory.mktemp("commands") / "template"
    init(root)
    text = (root / "params.yaml").read_text()
    (root / "params.yaml").write_text(text.replace("name: support-summaries", "name: m"))
    made = Project(root)
    ask(made)
    with pytest.MonkeyPatch.context() as patched:
        patched.delenv("MLFLOW_TRACKING_URI", raising=False)
        judged_in_mlflow(made, Tracking(made.mlflow_url, made.mlflow_artifacts))
    return root


@pytest.fixture
def project(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A copy of it, as the working folder."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("SLUICE_ACTOR", raising=False)
    root = tmp_path / "project"
    shutil.copytree(template, root)
    monkeypatch.chdir(root)
    return Project(root)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(sluice, list(arguments))


def serving(project: Project) -> int:
    champion = Ledger(project.ledger_url).champion()
    assert champion is not None
    return champion.version


def test_approve_then_promote(project: Project) -> None:
    """`promote` says who is missing; `approve` records and says what is next; then `promote` moves
    the champion.
    """
    refused = run("promote", "2").exception
    assert isinstance(refused, NotApprovedError)
    assert refused.hint == "ana or ben: `sluice approve 2`, then `sluice promote 2`."
    done = run("approve", "2", "--as", "ana", "--reason", "reads well")
    assert done.output.splitlines()[1:] == ["next:     sluice promote 2"]
    assert run("promote", "2").exception is None
    assert serving(project) == 2
    assert "reads well" in run("history").output


def test_who_approves_by_default(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without --as it is SLUICE_ACTOR, and the login is kept beside the name."""
    monkeypatch.setenv("SLUICE_ACTOR", "ben")
    told = json.loads(run("approve", "2", "--json").output)
    assert (told["approval"]["actor"], told["approval"]["payload"]["entered_by"]) == ("ben", "ben")
    assert (told["missing"], told["resumed"]) == (0, [])
    monkeypatch.delenv("SLUICE_ACTOR")
    stranger = run("approve", "2").exception
    assert isinstance(stranger, NotApprovedError)
    assert "--as NAME" in stranger.hint


def test_promote_takes_approvals_given_in_mlflow(project: Project) -> None:
    """A tag on the version is enough for `sluice promote`, without any server."""
    Tracking(project.mlflow_url, project.mlflow_artifacts).set_tags(
        "m", 2, {"sluice.approve.ana": "fine"}
    )
    assert run("promote", "2").exception is None
    assert serving(project) == 2


def steps(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """The steps before and after the approvals say what the fixture has recorded."""
    release = Ledger(project.ledger_url).entries("verdict")[-1].release
    known = {"release": release, "version": 2, "champion": "", "champion_version": 1}
    decided = Decided(
        **known, unchanged=False, decision=Decision.PROMOTE, text="PROMOTE", markdown="PROMOTE"
    )
    for name, found in (
        ("reproduce", Reproduced((), "m")),
        ("register", Registered(**known, unchanged=False)),
        ("check_drift", TrafficChecked("OK", 0)),
        ("decide", decided),
        ("report", Reported()),
    ):
        monkeypatch.setattr(sequence, name, lambda *_, found=found, **__: found)


def test_the_line_waits(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """`sluice release --no-server` ends with 4 and the lines to type while an approval is missing,
    and goes on with it.
    """
    steps(project, monkeypatch)
    waits = CliRunner().invoke(sluice, ["release", "--no-server"], standalone_mode=False)
    assert waits.return_value == 4
    assert (
        "next:     waiting for 1 approval by a reviewer: sluice approve 2; then sluice promote 2"
        in waits.output
    )
    assert serving(project) == 1
    run("approve", "2", "--as", "ana")
    goes_on = CliRunner().invoke(sluice, ["release", "--no-server"], standalone_mode=False)
    assert goes_on.return_value == 0
    assert "version 2 serves now" in goes_on.output


def test_the_wait_is_over(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the time the line is held, which is recorded once; MLflow out of reach does not hide
    it.
    """
    steps(project, monkeypatch)
    ask(project, wait_hours=1e-9)
    decided(project, Ledger(project.ledger_url).entries("verdict")[-1].release)
    (project.root / "blocker").write_text("a file where a folder is needed")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{project.root / 'blocker' / 'mlflow.db'}")
    for _ in range(2):
        found = sequence.release(open_run(project)).approvals
        assert found is not None
        assert (found.missing, found.over) == (1, True)
        assert "MLflow was not asked" in found.warnings[0]
    assert [
        entry.payload["version"] for entry in Ledger(project.ledger_url).entries("approval_timeout")
    ] == [2]
    assert serving(project) == 1


def test_what_a_waiting_run_is_told(project: Project) -> None:
    """There is something to wait for until the approvals are there, the time is over, or the
    verdict is void.
    """
    release = Ledger(project.ledger_url).entries("verdict")[-1].release

    def over(which: str = release) -> bool:
        return settled(open_run(project), which)

    assert not over(release[:12])
    assert not over("0" * 12)
    assert approvals(open_run(project), release[:12], waited=True).in_force
    decided(project, release, Decision.HOLD)
    assert over()
    told = approvals(open_run(project), release, waited=True)
    assert (told.in_force, told.missing) == (False, 0)
    assert "HOLD" in told.text
    with pytest.raises(NotApprovedError):
        approvals(open_run(project), release)
    decided(project, release)
    assert not over()
    run("approve", "2", "--as", "ana")
    assert over()
    assert promote(open_run(project), release).moved
    assert over()
    ask(project, wait_hours=1e-9)
    assert over()


def test_heads_of_the_ledger_kept_elsewhere(project: Project) -> None:
    """`reconcile --git-tag` leaves two and the store has one; `verify` compares all, offline all
    but MLflow's.
    """
    done = run("reconcile", "--git-tag")
    assert "git push origin sluice/ledger/4" in done.output
    assert (
        json.loads(run("reconcile", "--git-tag", "--json").output)["git_tag"] == "sluice/ledger/4"
    )
    assert json.loads(run("verify", "--json").output)["anchors"] == 3
    assert "earlier heads compared: 2" in run("verify", "--offline").output
    for file in project.state.glob("ledger.db*"):
        file.unlink()
    assert isinstance(run("verify", "--offline").exception, IntegrityError)
    project.ledger_witness.unlink()
    assert isinstance(run("verify", "--offline").exception, IntegrityError)
    subprocess.run(
        ["git", "tag", "-d", "sluice/ledger/4"], cwd=project.root, check=True, capture_output=True
    )
    assert run("verify", "--offline").exception is None
    assert isinstance(run("verify").exception, IntegrityError)
