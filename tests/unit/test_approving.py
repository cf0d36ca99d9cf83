"""Approvals: who may give one, which count, and what a promotion without them meets."""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from threading import Barrier

import pytest

from sluicegate.errors import NotApprovedError, ReleaseError, StaleEpochError, UsageError
from sluicegate.gates import load_policy
from sluicegate.ledger import Ledger
from sluicegate.project import Project
from sluicegate.records import Decision, LedgerEntry, Verdict
from sluicegate.releasing import (
    approve,
    bootstrap,
    history,
    judge,
    moving,
    promote,
    rollback,
    standing,
    time_out,
    verify,
)
from sluicegate.releasing.guard import is_maker, wanted

sys.path.insert(0, str(Path(__file__).parents[1]))
from kept_evidence import kept
from reviewed_project import RULES, ask, decided, entered, reviewed, with_candidate


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return reviewed(tmp_path)


@pytest.fixture
def candidate(project: Project) -> str:
    return with_candidate(project)


def approvals(project: Project) -> list[LedgerEntry]:
    return Ledger(project.ledger_url).entries("approval")


def refused(project: Project, release: str, match: str) -> None:
    """A promotion is refused with this reason, and leaves pointer and ledger as they were."""
    ledger = Ledger(project.ledger_url)
    before = (ledger.champion(), ledger.head())
    with pytest.raises(NotApprovedError, match=match):
        promote(project, release, actor="maker")
    assert (ledger.champion(), ledger.head()) == before


def test_a_promotion_waits_for_its_approval(project: Project, candidate: str) -> None:
    """Without the approval the promotion is refused and says who may give it; with it, it is
    recorded with the move.
    """
    ledger = Ledger(project.ledger_url)
    with pytest.raises(NotApprovedError, match="needs 1 approval by a reviewer") as caught:
        promote(project, candidate, actor="maker")
    assert caught.value.hint == "ana or ben: `sluice approve 2`, then `sluice promote 2`."
    entry = approve(project, candidate, person="ana", reason="read it", entered_by="ana@desk")
    assert (entry.kind, entry.actor, entry.release) == ("approval", "ana", candidate)
    verdict = ledger.entries("verdict")[-1]
    assert {key: value for key, value in entry.payload.items() if key != "logins"} == {
        "version": 2,
        "verdict": verdict.payload["verdict"],
        "verdict_entry": verdict.sequence,
        "person": "ana",
        "role": "reviewer",
        "reason": "read it",
        "via": "cli",
        "entered_by": "ana@desk",
        "rolled_back": False,
    }
    move = promote(project, candidate, actor="maker")
    assert move.entry is not None
    assert move.entry.payload["required"] == 1
    assert move.entry.payload["approvals"] == [
        {"person": "ana", "role": "reviewer", "entry": entry.sequence, "via": "cli"}
    ]
    verify(project)
    assert [event.reason for event in history(project) if event.kind == "approval"] == ["read it"]


@pytest.mark.parametrize("alone", [False, True])
def test_the_first_release_waits_for_people_as_well(project: Project, alone: bool) -> None:
    """Nothing serves: a first candidate, and release zero itself, is promoted on its verdict and
    the approvals that the policy asks for, and `verify` replays both.
    """
    zero = entered(project, 1)
    one = zero if alone else entered(project, 2)
    verdict = Verdict(
        decision=Decision.PROMOTE,
        candidate=one,
        champion=None if alone else zero,
        policy=load_policy(project.registry / "gates.yaml").digest,
        golden="a" * 64,
        evidence=kept(project),
        champion_evidence=None if alone else kept(project, "zero"),
        rules=(),
        reasons=("good",),
    )
    judge(project, verdict, actor="gate", nothing_serves=True)
    with pytest.raises(NotApprovedError, match="not as the first champion"):
        promote(project, one, actor="maker")
    again = replace(verdict, reasons=("better",))
    judge(project, again, actor="gate", nothing_serves=True, first=True)
    assert standing(project, one).missing == 1
    with pytest.raises(NotApprovedError, match="still needs 1 approval"):
        promote(project, one, actor="maker")
    assert Ledger(project.ledger_url).champion() is None
    approve(project, one, person="ana")
    move = promote(project, one, actor="maker")
    assert (move.champion.release, move.champion.epoch) == (one, 1)
    assert verify(project).releases == (1 if alone else 2)
    with pytest.raises(UsageError, match="before this one"):
        rollback(project, actor="maker")


def test_without_approvals_in_the_policy_nothing_changes(project: Project) -> None:
    """A policy that asks nobody promotes on the verdict alone, and has nothing to approve."""
    (project.registry / "gates.yaml").write_text(RULES)
    bootstrap(project, entered(project, 1), actor="maker")
    one = entered(project, 2)
    decided(project, one)
    with pytest.raises(ReleaseError, match="does not ask for approvals"):
        approve(project, one, person="ana")
    found = standing(project, one)
    assert (found.required, found.missing, found.over, found.text) == (
        0,
        0,
        False,
        "no approval is required",
    )
    assert time_out(project, one, actor="line") is None
    move = promote(project, one, actor="maker")
    assert move.entry is not None
    assert set(move.entry.payload) == {
        "reason",
        "from",
        "verdict",
        "version",
        "policy",
        "again",
    }
    verify(project)


@pytest.mark.parametrize(
    ("person", "reason"),
    [
        ("maker", "made"),
        ("cleo", "does not have the role reviewer"),
        ("dora", "names nobody called 'dora'"),
        ("Ana", "names nobody called 'Ana'"),
        ("", "names nobody"),
    ],
)
def test_who_may_not_approve(project: Project, candidate: str, person: str, reason: str) -> None:
    """The maker, somebody without the role, and a name that the policy lacks: refused, and nothing
    is recorded.
    """
    with pytest.raises(NotApprovedError, match=reason) as caught:
        approve(project, candidate, person=person)
    assert caught.value.hint.startswith("ana or ben:")
    assert approvals(project) == []
    refused(project, candidate, "1 approval")


@pytest.mark.parametrize(
    ("actor", "authors", "person", "made"),
    [
        ("ana", (), "ana", True),
        ("ANA@desk", (), "ana", True),
        ("ci@runner", ("Ana Smith", "ana@example.com"), "ana", True),
        ("ci@runner", ("Ana Smith", "ana@example.com"), "ana@example.org", True),
        ("ci@runner", ("Ana Smith", ""), "ana smith", True),
        ("ci@runner", ("Ana Smith", "smith@example.com"), "ana", False),
        ("banana@desk", (), "ana", False),
        ("@desk", (), "", False),
    ],
)
def test_who_made_a_release(
    project: Project, actor: str, authors: tuple[str, ...], person: str, made: bool
) -> None:
    """Whoever registered it or wrote its commit; capitals and what follows an @ make no difference."""
    digest = entered(project, 1, actor, authors)
    entries = Ledger(project.ledger_url).entries()
    assert is_maker(entries, digest, person) is made
    assert not is_maker(entries, "0" * 64, person)


def test_approving_twice_counts_once(project: Project) -> None:
    """One person's second approval is no second entry and no second voice; two people are two."""
    ask(project, required=2)
    bootstrap(project, entered(project, 1), actor="maker")
    one = entered(project, 2)
    decided(project, one)
    first = approve(project, one, person="ana")
    assert approve(project, one, person="ana", reason="again") == first
    refused(project, one, "1 approval by a reviewer")
    assert (
        standing(project, one).text
        == "waiting for 1 approval by a reviewer: sluice approve 2; then sluice promote 2"
    )
    approve(project, one, person="ben")
    assert approve(project, one, person="ana") == first
    assert len(approvals(project)) == 2
    assert standing(project, one).text == "approved by ana, ben"
    move = promote(project, one, actor="maker")
    assert move.entry is not None
    assert [given["person"] for given in move.entry.payload["approvals"]] == ["ana", "ben"]
    verify(project)


def test_two_people_race_to_approve(project: Project) -> None:
    """Approvals at the same moment are all recorded, once a person, and the chain stays whole."""
    ask(project, required=2)
    bootstrap(project, entered(project, 1), actor="maker")
    one = entered(project, 2)
    decided(project, one)
    start = Barrier(2)

    def give(person: str) -> LedgerEntry:
        start.wait()
        return approve(project, one, person=person)

    with ThreadPoolExecutor(2) as pool:
        given = list(pool.map(give, ["ana", "ben"]))
    assert sorted(entry.actor for entry in given) == ["ana", "ben"]
    assert len({entry.sequence for entry in approvals(project)}) == 2
    promote(project, one, actor="maker")
    verify(project)


def test_an_approval_is_of_one_verdict(project: Project, candidate: str) -> None:
    """A later verdict, the same words in a later reign, or a verdict judged again after a HOLD need
    new approvals.
    """
    approve(project, candidate, person="ana")
    decided(project, candidate, why="better still")
    refused(project, candidate, "1 approval")
    approve(project, candidate, person="ben")
    decided(project, candidate, Decision.HOLD)
    refused(project, candidate, "HOLD")
    decided(project, candidate, why="better still")
    refused(project, candidate, "1 approval")
    approve(project, candidate, person="ben")
    promote(project, candidate, actor="maker")
    rollback(project, actor="maker")
    decided(project, candidate, why="better still")
    with pytest.raises(NotApprovedError, match="1 approval"):
        promote(project, candidate, actor="maker", again=True)


@pytest.mark.parametrize("decision", [Decision.REJECT, Decision.HOLD])
def test_no_approval_makes_up_for_the_verdict(
    project: Project, candidate: str, decision: Decision
) -> None:
    """A REJECT or HOLD can neither be approved nor promoted, whatever was approved before."""
    approve(project, candidate, person="ana")
    decided(project, candidate, decision)
    with pytest.raises(NotApprovedError, match=str(decision.value)):
        approve(project, candidate, person="ben")
    refused(project, candidate, str(decision.value))


def test_an_approval_under_another_policy_does_not_count(project: Project, candidate: str) -> None:
    """When the policy changed since, the verdict is void and with it the approval."""
    approve(project, candidate, person="ana")
    ask(project, required=1, wait_hours=71)
    refused(project, candidate, "policy has changed")
    with pytest.raises(NotApprovedError, match="policy has changed"):
        approve(project, candidate, person="ben")


def test_what_serves_needs_no_approval(project: Project, candidate: str) -> None:
    """The champion cannot be approved once more, and has nothing to wait for."""
    approve(project, candidate, person="ana")
    promote(project, candidate, actor="maker")
    with pytest.raises(ReleaseError, match="already serves"):
        approve(project, candidate, person="ben")
    assert standing(project, candidate).missing == 0


@pytest.mark.parametrize(
    ("between", "error"),
    [
        (lambda project, release: decided(project, release, Decision.HOLD), NotApprovedError),
        (lambda project, release: decided(project, release, why="otherwise"), NotApprovedError),
        (lambda project, release: approve(project, release, person="ben"), None),
    ],
)
def test_the_guard_asks_inside_the_transaction(
    project: Project,
    candidate: str,
    monkeypatch: pytest.MonkeyPatch,
    between: Callable[[Project, str], object],
    error: type[Exception] | None,
) -> None:
    """What is recorded between the look at the ledger and the move counts: a new verdict voids the
    approval.
    """
    approve(project, candidate, person="ana")
    look = moving._promotion

    def late(*arguments: object) -> object:
        found = look(*arguments)  # type: ignore[arg-type]
        between(project, candidate)
        return found

    monkeypatch.setattr(moving, "_promotion", late)
    if error is None:
        move = promote(project, candidate, actor="maker")
        assert move.entry is not None
        assert [given["person"] for given in move.entry.payload["approvals"]] == ["ana"]
        verify(project)
        return
    with pytest.raises(error):
        promote(project, candidate, actor="maker")
    champion = Ledger(project.ledger_url).champion()
    assert champion is not None
    assert champion.release != candidate


def test_a_promotion_rests_on_approvals_that_it_names(
    project: Project, candidate: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An approval that lands after the look is not used unnamed: the promotion is refused, and the
    next one passes.
    """
    look = moving._promotion

    def late(*arguments: object) -> object:
        found = look(*arguments)  # type: ignore[arg-type]
        approve(project, candidate, person="ana")
        return found

    with monkeypatch.context() as patched:
        patched.setattr(moving, "_promotion", late)
        with pytest.raises(NotApprovedError):
            promote(project, candidate, actor="maker")
    promote(project, candidate, actor="maker")
    verify(project)


def test_a_new_verdict_meanwhile_stops_a_promotion_that_needs_nobody(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A promotion never names another verdict than the one that allowed it."""
    (project.registry / "gates.yaml").write_text(RULES)
    bootstrap(project, entered(project, 1), actor="maker")
    one = entered(project, 2)
    decided(project, one)
    look = moving._promotion

    def late(*arguments: object) -> object:
        found = look(*arguments)  # type: ignore[arg-type]
        decided(project, one, why="otherwise")
        return found

    monkeypatch.setattr(moving, "_promotion", late)
    with pytest.raises(StaleEpochError, match="verdict"):
        promote(project, one, actor="maker")


def test_the_wait_ends_once_and_approvals_still_count(project: Project) -> None:
    """When the time is over that is recorded once; a person may still approve and promote by hand."""
    ask(project, wait_hours=1e-9)
    bootstrap(project, entered(project, 1), actor="maker")
    one = entered(project, 2)
    decided(project, one)
    found = standing(project, one)
    assert (found.over, found.missing) == (True, 1)
    assert "1 approval by a reviewer did not come until" in found.text
    entry = time_out(project, one, actor="line")
    assert entry is not None
    assert (entry.kind, entry.payload["reason"]) == ("approval_timeout", found.text)
    assert time_out(project, one, actor="line") == entry
    refused(project, one, "1 approval")
    approve(project, one, person="ana")
    assert time_out(project, one, actor="line") is None
    assert promote(project, one, actor="maker").champion.release == one


def test_the_wait_begins_with_the_verdict(project: Project, candidate: str) -> None:
    """72 hours after the verdict was recorded, to the second, the wait is over, however often the
    line ran since.
    """
    decided(project, candidate)
    judged = datetime.fromisoformat(Ledger(project.ledger_url).entries("verdict")[-1].time)
    end = judged + timedelta(hours=72)
    assert not standing(project, candidate, now=end - timedelta(seconds=1)).over
    assert standing(project, candidate, now=end).over
    assert datetime.fromisoformat(standing(project, candidate).until) == end
    assert time_out(project, candidate, actor="line") is None
    assert len(Ledger(project.ledger_url).entries("verdict")) == 1


@pytest.mark.parametrize(
    ("count", "role", "text"),
    [(1, "reviewer", "1 approval by a reviewer"), (2, "editor", "2 approvals by an editor")],
)
def test_wording(count: int, role: str, text: str) -> None:
    """What is missing reads as a sentence."""
    assert wanted(count, role) == text
