"""What `verify` finds: promotions that nobody approved, and a ledger that was rewritten."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sluicegate.errors import IntegrityError
from sluicegate.ledger import Ledger
from sluicegate.project import Project
from sluicegate.records import Decision
from sluicegate.releasing import (
    Anchor,
    anchor_in_git,
    approve,
    git_anchors,
    mlflow_anchors,
    promote,
    reconcile,
    verify,
)
from sluicegate.tracking import Tracking

sys.path.insert(0, str(Path(__file__).parents[1]))
from reviewed_project import decided, entered, judged_in_mlflow, reviewed, with_candidate


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return reviewed(tmp_path)


@pytest.fixture
def candidate(project: Project) -> str:
    return with_candidate(project)


@pytest.fixture
def tracking(project: Project) -> Tracking:
    return Tracking(project.mlflow_url, project.mlflow_artifacts)


@pytest.mark.parametrize(
    ("claims", "required", "reason"),
    [
        ([], 0, "without the approvals"),
        ([], 1, "without the approvals"),
        ([{"person": "ana", "role": "reviewer", "entry": 99}], 1, "does not count"),
        ([{"person": "ben", "role": "reviewer", "entry": 5}], 1, "does not count"),
        ([{"person": "ana", "role": "lead", "entry": 5}], 1, "does not count"),
        ([{}], 1, "does not count"),
        ([{"person": "ana", "role": "reviewer", "entry": 5}], 2, "without the approvals"),
        ([{"person": "ana", "role": "reviewer", "entry": 5}] * 2, 2, "without the approvals"),
        ([{"person": "ana", "role": "reviewer", "entry": 5}], 1, ""),
    ],
)
def test_verify_checks_the_approvals_of_past_promotions(
    project: Project, candidate: str, claims: list[dict[str, object]], required: int, reason: str
) -> None:
    """A move written past the guard is found when the approvals that it names were not given or do
    not suffice.
    """
    entry = approve(project, candidate, person="ana")
    assert entry.sequence == 5
    payload = {"verdict": entry.payload["verdict"], "approvals": claims, "required": required}
    Ledger(project.ledger_url).move_champion(candidate, 2, 1, "promote", "eve", payload)
    if reason:
        with pytest.raises(IntegrityError, match=reason):
            verify(project)
    else:
        verify(project)


@pytest.mark.parametrize("person", ["maker", "ana"])
def test_verify_finds_approvals_that_never_counted(
    project: Project, candidate: str, person: str
) -> None:
    """An approval by the maker, or of an earlier verdict, does not carry a promotion, however it
    got in.
    """
    ledger = Ledger(project.ledger_url)
    digest = ledger.entries("verdict")[-1].payload["verdict"]
    given = ledger.append("approval", candidate, person, {"verdict": digest, "role": "reviewer"})
    if person == "ana":
        decided(project, candidate, Decision.HOLD)
        decided(project, candidate)
    claims = [{"person": person, "role": "reviewer", "entry": given.sequence}]
    ledger.move_champion(
        candidate, 2, 1, "promote", "eve", {"verdict": digest, "approvals": claims, "required": 1}
    )
    with pytest.raises(IntegrityError, match="does not count"):
        verify(project)


def test_verify_finds_an_approval_that_came_too_late(project: Project, candidate: str) -> None:
    """A promotion that names the entry of an approval given after it was not approved when it was
    made.
    """
    ledger = Ledger(project.ledger_url)
    digest = ledger.entries("verdict")[-1].payload["verdict"]
    claims = [{"person": "ana", "role": "reviewer", "entry": 6}]
    moved = ledger.move_champion(
        candidate, 2, 1, "promote", "eve", {"verdict": digest, "approvals": claims, "required": 1}
    )
    late = ledger.append("approval", candidate, "ana", {"verdict": digest, "role": "reviewer"})
    assert (moved.sequence, late.sequence) == (5, 6)
    with pytest.raises(IntegrityError, match="does not count"):
        verify(project)


@pytest.mark.parametrize("digest", ["0" * 64, "f" * 64])
def test_a_tag_with_another_head_is_never_taken_for_this_one(
    project: Project, candidate: str, digest: str
) -> None:
    """A tag of this sequence with another hash, be it smaller or larger, says that the ledger was
    rewritten.
    """
    author = ["-c", "user.name=t", "-c", "user.email=t@example.invalid"]
    tag = ["tag", "-a", "sluice/ledger/4", "-m", f"Head of the ledger 4:{digest}"]
    for command in (
        ["init", "-q"],
        [*author, "commit", "-q", "--allow-empty", "-m", "one"],
        [*author, *tag],
    ):
        subprocess.run(["git", *command], cwd=project.root, check=True)
    with pytest.raises(IntegrityError, match="rewritten"):
        anchor_in_git(project)


def rewritten(project: Project) -> None:
    """Replace the ledger by one with another past, sound in itself, and what this machine knew of
    it.
    """
    for file in (*project.state.glob("ledger.db*"), project.ledger_witness):
        file.unlink()
    zero = entered(project, 1, "eve")
    Ledger(project.ledger_url).move_champion(zero, 1, 0, "bootstrap", "eve", {"reason": ""})
    Ledger(project.ledger_url).verify()


def test_a_rewritten_ledger_is_found_by_a_git_tag(project: Project, candidate: str) -> None:
    """The head in a git tag stays part of an honest ledger as it grows, and is missing from any
    other.
    """
    author = ["-c", "user.name=t", "-c", "user.email=t@example.invalid"]
    for command in (["init", "-q"], ["add", "registry"], [*author, "commit", "-q", "-m", "one"]):
        subprocess.run(["git", *command], cwd=project.root, check=True)
    assert git_anchors(project) == []
    assert anchor_in_git(project) == "sluice/ledger/4"
    assert anchor_in_git(project) == "sluice/ledger/4"
    approve(project, candidate, person="ana")
    assert anchor_in_git(project) == "sluice/ledger/5"
    anchors = git_anchors(project)
    assert [anchor.sequence for anchor in anchors] == [4, 5]
    promote(project, candidate, actor="maker")
    assert verify(project, anchors=anchors).anchors == 3, "and this machine's own"
    rewritten(project)
    with pytest.raises(IntegrityError, match="git tag sluice/ledger/4"):
        verify(project, anchors=git_anchors(project))
    entered(project, 2)
    with pytest.raises(IntegrityError, match="rewritten"):
        anchor_in_git(project)


def test_a_git_tag_that_holds_no_head_is_an_error(project: Project, candidate: str) -> None:
    """A tag of that name with other words vouches for nothing, and is not passed over."""
    author = ["-c", "user.name=t", "-c", "user.email=t@example.invalid"]
    for command in (
        ["init", "-q"],
        ["commit", "-q", "--allow-empty", "-m", "one"],
        ["tag", "sluice/ledger/4"],
    ):
        subprocess.run(["git", *author, *command], cwd=project.root, check=True)
    with pytest.raises(IntegrityError, match="does not contain the head"):
        git_anchors(project)


def test_a_rewritten_ledger_is_found_by_mlflow(project: Project, tracking: Tracking) -> None:
    """The heads that `reconcile` left on the champion's and former champions' versions are all
    compared.
    """
    second = judged_in_mlflow(project, tracking)
    reconcile(project, tracking=tracking, model="m")
    approve(project, second, person="ana")
    promote(project, second, actor="maker", tracking=tracking, model="m")
    anchors = mlflow_anchors(tracking, "m")
    assert len(anchors) == 2
    assert verify(project, anchors=anchors).anchors == 3, "and this machine's own"
    rewritten(project)
    with pytest.raises(IntegrityError, match="MLflow version"):
        verify(project, anchors=anchors)


def test_an_old_copy_of_the_ledger_is_found(project: Project, candidate: str) -> None:
    """A ledger put back from before the anchor lacks the anchored entry."""
    with pytest.raises(IntegrityError, match="entry 9"):
        verify(project, anchors=[Anchor("git tag sluice/ledger/9", 9, "a" * 64)])
