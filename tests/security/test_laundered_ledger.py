"""A ledger that was deleted, set back or swapped is not healed over by the next command."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sluicegate.errors import (
    EvidenceError,
    IntegrityError,
    NotApprovedError,
    ReleaseError,
    UsageError,
)
from sluicegate.ledger import Ledger, open_ledger
from sluicegate.project import Project
from sluicegate.records import Decision
from sluicegate.releasing import (
    anchor_in_git,
    approve,
    begin_anew,
    bootstrap,
    history,
    judge,
    promote,
    reconcile,
    register,
    rollback,
    time_out,
    verify,
)
from sluicegate.tracking import Tracking

sys.path.insert(0, str(Path(__file__).parents[1]))
from reviewed_project import (
    RULES,
    ask,
    at_the_keyboard,
    decided,
    entered,
    judged_in_mlflow,
    reviewed,
    stored,
    with_candidate,
)

WRITERS: dict[str, Callable[[Project, str], object]] = {
    "bootstrap": lambda project, candidate: bootstrap(project, candidate, actor="eve"),
    "approve": lambda project, candidate: approve(project, candidate, person="ana"),
    "promote": lambda project, candidate: promote(project, candidate, actor="eve"),
    "rollback": lambda project, candidate: rollback(project, actor="eve"),
    "time out": lambda project, candidate: time_out(project, candidate, actor="eve"),
    "write": lambda project, candidate: open_ledger(project).append("note", candidate, "eve", {}),
}


def forget(project: Project) -> None:
    for file in project.state.glob("ledger.db*"):
        file.unlink()


def set_back(project: Project) -> None:
    forget(project)
    shutil.copy(project.root / "backup.db", project.state / "ledger.db")


def swap(project: Project) -> None:
    """Another project's ledger, longer than ours."""
    other = reviewed(project.root / "other")
    for number in (3, 4, 5, 6):
        entered(other, number)
    with_candidate(other)
    forget(project)
    shutil.copy(other.state / "ledger.db", project.state / "ledger.db")


ATTACKS = {"deleted": forget, "set back": set_back, "swapped": swap}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A champion, a candidate with a PROMOTE verdict and an approval, and a backup from before
    both.
    """
    project = reviewed(tmp_path)
    (tmp_path / "other").mkdir()
    bootstrap(project, entered(project, 1), actor="maker")
    whole_copy(project)
    candidate = entered(project, 2)
    decided(project, candidate)
    approve(project, candidate, person="ana")
    return project


def whole_copy(project: Project) -> None:
    import sqlite3

    with sqlite3.connect(project.state / "ledger.db") as old:
        old.execute(f"VACUUM INTO '{project.root / 'backup.db'}'")


@pytest.mark.parametrize("attack", ATTACKS)
def test_no_command_writes_on_another_ledger(project: Project, attack: str) -> None:
    """Every writer stops, in every order, and nothing that it tried changes what `verify` says."""
    candidate = Ledger(project.ledger_url).entries("verdict")[-1].release
    ATTACKS[attack](project)
    before = Ledger(project.ledger_url).head()
    for name, writer in WRITERS.items():
        with pytest.raises((IntegrityError, ReleaseError)) as caught:
            writer(project, candidate)
        assert isinstance(caught.value, IntegrityError) or name == "time out"
        assert Ledger(project.ledger_url).head() == before
        with pytest.raises(IntegrityError, match="this machine"):
            verify(project)


@pytest.mark.parametrize("attack", ATTACKS)
def test_mlflow_remembers_where_this_machine_does_not(tmp_path: Path, attack: str) -> None:
    """Without the record in the store, MLflow's anchors stop register, judge, promote and
    reconcile; none is overwritten.
    """
    (tmp_path / "other").mkdir()
    project = reviewed(tmp_path)
    (project.registry / "gates.yaml").write_text(RULES)
    tracking = Tracking(project.mlflow_url, project.mlflow_artifacts)
    candidate = judged_in_mlflow(project, tracking)
    whole_copy(project)
    promote(project, candidate, actor="ann", tracking=tracking, model="m")
    heads = tracking.tags_of("m")
    ATTACKS[attack](project)
    project.ledger_witness.unlink()
    told = {"tracking": tracking, "model": "m"}
    new = stored(project, 9)
    for action in (
        lambda: register(project, new, run_id="r", actor="eve", **told),
        lambda: promote(project, candidate, actor="eve", **told),
        lambda: rollback(project, actor="eve", **told),
        lambda: reconcile(project, **told),
        lambda: verify(project, **told),
        lambda: approve(project, candidate, person="ana", **told),
    ):
        with pytest.raises(IntegrityError, match="MLflow version"):
            action()
    assert tracking.tags_of("m") == heads


def test_a_git_tag_remembers_where_all_else_is_gone(project: Project) -> None:
    """The whole of .sluice deleted: a pushed tag still stops a new beginning."""
    author = ["-c", "user.name=t", "-c", "user.email=t@example.invalid"]
    for command in (["init", "-q"], [*author, "commit", "-q", "--allow-empty", "-m", "one"]):
        subprocess.run(["git", *command], cwd=project.root, check=True)
    anchor_in_git(project)
    shutil.rmtree(project.state)
    release = entered(project, 1)
    with pytest.raises(IntegrityError, match="git tag sluice/ledger/5"):
        bootstrap(project, release, actor="eve")


def test_a_person_begins_anew_on_the_record(project: Project) -> None:
    """It takes a reason, names what is given up, cannot be done where nothing is lost, and stays
    visible.
    """
    with pytest.raises(ReleaseError, match="nothing to begin anew"):
        begin_anew(project, actor="ann", reason="because")
    head = Ledger(project.ledger_url).head()
    forget(project)
    with pytest.raises(UsageError):
        begin_anew(project, actor="ann", reason="  ")
    entry = begin_anew(project, actor="ann", reason="the disk was lost")
    (lost,) = entry.payload["lost"]
    assert (lost["sequence"], lost["hash"]) == head
    bootstrap(project, entered(project, 1), actor="ann")
    found = verify(project)
    assert found.entries == 3
    assert "ann went on without entry" in found.anew[0]
    assert "the disk was lost" in found.anew[0]
    assert "the disk was lost" in history(project)[0].reason
    forget(project)
    with pytest.raises(IntegrityError):
        bootstrap(project, entered(project, 1), actor="ann")


def test_an_older_copy_may_be_gone_on_with(project: Project) -> None:
    """A restored backup keeps its entries; the later head is given up by name."""
    set_back(project)
    kept = Ledger(project.ledger_url).entries()
    entry = begin_anew(project, actor="ann", reason="restored from Monday's backup")
    assert entry.sequence == len(kept) + 1
    entered(project, 2)
    assert verify(project).entries == len(kept) + 2


def test_a_verdict_without_its_evidence_is_not_recorded(project: Project) -> None:
    """Neither without the candidate's nor without the champion's evaluation in the store; damage
    is found.
    """
    candidate = entered(project, 3)
    verdict = decided(project, candidate)
    folder = project.store / "evidence"
    assert oct(next(folder.iterdir()).stat().st_mode)[-3:] == "600"
    kept = {file: file.read_bytes() for file in folder.iterdir()}
    assert len(kept) == 2
    for file, content in kept.items():
        file.unlink()
        with pytest.raises(EvidenceError):
            judge(project, verdict, actor="eve")
        file.write_bytes(content[:-9])
        with pytest.raises(IntegrityError):
            judge(project, verdict, actor="eve")
        with pytest.raises(IntegrityError):
            verify(project)
        file.write_bytes(content)
    judge(project, verdict, actor="gate")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"judged_epoch": 7}, "a champion that has been replaced"),
        ({"policy": "0" * 64}, "policy"),
        ({"decision": "HOLD"}, "HOLD"),
    ],
)
def test_verify_asks_what_the_guard_asks(
    project: Project, changes: dict[str, object], reason: str
) -> None:
    """A promotion written past the guard on a verdict of another reign or policy is found."""
    ask(project)
    ledger = open_ledger(project)
    promoted = ledger.entries("verdict")[-1].release
    promote(project, promoted, actor="ann")
    verify(project)
    candidate = entered(project, 3)
    decided(project, candidate)
    honest = ledger.entries("verdict")[-1].payload
    ledger.append("verdict", candidate, "eve", {**honest, **changes})
    approval = ledger.append(
        "approval", candidate, "ana", {"verdict": honest["verdict"], "role": "reviewer"}
    )
    payload = {
        "verdict": honest["verdict"],
        "policy": honest["policy"],
        "from": promoted,
        "required": 1,
        "approvals": [{"person": "ana", "role": "reviewer", "entry": approval.sequence}],
    }
    ledger.move_champion(candidate, 3, 2, "promote", "eve", payload)
    with pytest.raises(IntegrityError, match=reason):
        verify(project)


def test_verify_finds_a_promotion_after_a_rollback_that_nobody_asked_for(project: Project) -> None:
    """`--again` is recorded; a forged move without it is not allowed."""
    ledger = open_ledger(project)
    one = ledger.entries("verdict")[-1].release
    promote(project, one, actor="ann")
    rollback(project, actor="ann")
    decided(project, one)
    approve(project, one, person="ana")
    with pytest.raises(NotApprovedError, match="rolled back"):
        promote(project, one, actor="ann")
    promote(project, one, actor="ann", again=True)
    assert ledger.entries("promote")[-1].payload["again"] is True
    verify(project)
    last = ledger.entries("promote")[-1]
    rollback(project, actor="ann")
    decided(project, one)
    approval = approve(project, one, person="ana")
    claim = [{"person": "ana", "role": "reviewer", "entry": approval.sequence}]
    champion = ledger.champion()
    assert champion is not None
    payload = {**last.payload, "again": False, "from": champion.release, "approvals": claim}
    ledger.move_champion(one, 2, champion.epoch, "promote", "eve", payload)
    with pytest.raises(IntegrityError, match="rolled back"):
        verify(project)


@pytest.mark.parametrize(
    "login", ["maker@laptop", "MAKER@laptop", "maker", "maker@server", "Maker <x>", "zoe@x.org"]
)
def test_nobody_approves_what_their_account_made(tmp_path: Path, login: str) -> None:
    """Whatever name is typed: the account, SLUICE_ACTOR and git's identity of whoever enters it
    are looked at.
    """
    project = reviewed(tmp_path)
    bootstrap(project, entered(project, 1), actor="maker")
    candidate = entered(project, 2, authors=("Zoe Z", "zoe@x.org"))
    decided(project, candidate)
    refused = login != "Maker <x>"
    with at_the_keyboard("ci@runner", login):
        if refused:
            with pytest.raises(NotApprovedError, match="the name that is typed"):
                approve(project, candidate, person="ana")
        else:
            approve(project, candidate, person="ana")


def test_a_shared_account_name_on_two_machines_is_not_one_person(tmp_path: Path) -> None:
    """`root` made it in one container; `root` of another may enter an approval, `root` of the same
    may not.
    """
    project = reviewed(tmp_path)
    bootstrap(project, entered(project, 1), actor="maker")
    candidate = entered(project, 2, actor="root@one")
    decided(project, candidate)
    with at_the_keyboard("root@one"), pytest.raises(NotApprovedError):
        approve(project, candidate, person="ana")
    with at_the_keyboard("root@two"):
        assert approve(project, candidate, person="ana").payload["logins"] == ["root@two"]


def test_an_approval_that_a_maker_slipped_in_does_not_count(project: Project) -> None:
    """Written past `approve`, with the maker's login in it: the guard and `verify` pass it over."""
    candidate = entered(project, 3)
    decided(project, candidate, Decision.PROMOTE)
    ledger = open_ledger(project)
    digest = ledger.entries("verdict", candidate)[-1].payload["verdict"]
    payload = {"verdict": digest, "role": "reviewer", "logins": ["maker@laptop"]}
    ledger.append("approval", candidate, "ana", payload)
    with pytest.raises(NotApprovedError, match="still needs"):
        promote(project, candidate, actor="eve")
