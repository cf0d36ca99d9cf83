"""People's consent: given on the command line or by a tag in MLflow, recorded only where it may
count.

A name is what somebody wrote: neither the command line nor MLflow without accounts knows who sits
at
the keyboard. The ledger keeps, beside the name, by which way an approval came and, for the command
line, under which names the one who entered it acts (`people.logins`): a maker's forbid it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sluicegate.errors import NotApprovedError, ReleaseError
from sluicegate.gates import load_policy
from sluicegate.gates.policy import Approvals, Policy
from sluicegate.ledger import Ledger
from sluicegate.project import Project
from sluicegate.records import LedgerEntry
from sluicegate.releasing.anchoring import ledger_to_write
from sluicegate.releasing.guard import (
    consents,
    may_approve,
    registered_version,
    rolled_back,
    verdict_in_force,
    wanted,
)
from sluicegate.releasing.people import logins
from sluicegate.tracking import Tracking
from sluicegate.tracking.registry import RELEASE_TAG

APPROVE_TAG = "sluice.approve."  # and the person's name; its value is the reason
APPROVED_TAG = "sluice.approved"
REFUSED_TAG = "sluice.approve_refused"
VERDICT_TAG = "sluice.verdict_entry"
NO = {"", "0", "false", "n", "never", "no", "reject", "rejected"}
_LONGEST_WAIT = timedelta(days=3650)


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a release with a PROMOTE verdict stands.

    Attributes:
        until: when the wait for people ends (ISO, UTC; '' for none).
        out: it served before and was rolled back.
    """

    release: str
    version: int
    required: int = 0
    role: str = ""
    given: tuple[str, ...] = ()
    until: str = ""
    over: bool = False
    out: bool = False

    @property
    def next(self) -> str:
        """The command that makes it the champion."""
        return f"sluice promote {self.version}{' --again' if self.out else ''}"

    @property
    def missing(self) -> int:
        """How many approvals are still needed; 0 when the release may be promoted."""
        return max(0, self.required - len(self.given))

    @property
    def text(self) -> str:
        """One line for a person."""
        note = "; it was rolled back after it had served" if self.out else ""
        if not self.missing:
            given = f"approved by {', '.join(self.given)}"
            return (given if self.given else "no approval is required") + note
        what = wanted(self.missing, self.role)
        if self.over:
            return f"{what} did not come until {self.until[:16]} UTC{note}"
        return f"waiting for {what}: sluice approve {self.version}; then {self.next}{note}"


@dataclass(frozen=True, slots=True)
class Collection:
    """What `collect_approvals` found: approvals now in the ledger, and a line for each tag that
    was refused.
    """

    recorded: tuple[LedgerEntry, ...] = ()
    refused: tuple[str, ...] = ()


def approve(
    project: Project,
    release: str,
    *,
    person: str,
    reason: str = "",
    via: str = "cli",
    entered_by: str = "",
    shown: int | None = None,
    tracking: Tracking | None = None,
    model: str = "",
) -> LedgerEntry:
    """Record that `person` approves the verdict in force on `release`; a second time changes
    nothing.

    Args:
        person: a name in the policy's `approvals.people`.
        via: `cli` or `mlflow`.
        entered_by: the login that ran the command, where there was one.
        shown: ledger sequence of the verdict that the person saw; the one in force when None.
        tracking: when given, with `model`, the ledger is compared with what MLflow knows of it.

    Raises:
        NotApprovedError: no PROMOTE verdict is in force, it is not the one shown, or this person,
            or
            the account that enters it, may not approve it.
        ReleaseError: the policy asks for no approval, or the release is not registered or serves
            already.
        IntegrityError: another ledger is known than the one that is there.
    """
    ledger = ledger_to_write(project, tracking, model)
    policy = load_policy(project.registry / "gates.yaml")
    approvals = _asked(policy)
    entries, champion = ledger.entries(release=release), ledger.champion()
    version = registered_version(entries, release)
    if champion is not None and champion.release == release:
        raise ReleaseError(f"Version {version} already serves.")
    verdict = verdict_in_force(entries, champion, release=release, policy=policy.digest)
    if shown is not None and shown != verdict.sequence:
        raise NotApprovedError(
            f"Version {version} has been judged again since.", hint="Read the new verdict first."
        )
    names = logins(project.root) if via == "cli" else ()
    may_approve(entries, release=release, approvals=approvals, person=person, logins=names)
    for entry in consents(entries, verdict, approvals):
        if entry.actor == person:
            return entry
    payload = {
        **_approved(verdict, person, approvals.role),
        "reason": reason,
        "via": via,
        "entered_by": entered_by,
        "logins": list(names),
        "rolled_back": rolled_back(ledger.entries(), release),
    }
    return ledger.append(
        "approval", release, person, payload, unless_same=("verdict_entry", "person")
    )


def _asked(policy: Policy) -> Approvals:
    if policy.approvals is None:
        raise ReleaseError(
            "The policy does not ask for approvals.",
            hint="`sluice promote` goes ahead, or add `approvals` to gates.yaml.",
        )
    return policy.approvals


def _approved(verdict: LedgerEntry, person: str, role: str) -> dict[str, Any]:
    return {
        "version": verdict.payload["version"],
        "verdict": verdict.payload["verdict"],
        "verdict_entry": verdict.sequence,
        "person": person,
        "role": role,
    }


def standing(project: Project, release: str, *, now: datetime | None = None) -> Standing:
    """Whether `release`, which has a PROMOTE verdict in force, still waits for people; `now`
    defaults to the clock.

    Raises:
        NotApprovedError: no PROMOTE verdict is in force.
        ReleaseError: the release is not registered.
    """
    ledger, policy = Ledger(project.ledger_url), load_policy(project.registry / "gates.yaml")
    entries, champion = ledger.entries(release=release), ledger.champion()
    version = registered_version(entries, release)
    if champion is not None and champion.release == release:
        return Standing(release, version)
    verdict = verdict_in_force(entries, champion, release=release, policy=policy.digest)
    approvals, out = policy.approvals, rolled_back(ledger.entries(), release)
    if approvals is None:
        return Standing(release, version, out=out)
    given = tuple(entry.actor for entry in consents(entries, verdict, approvals))
    until = datetime.fromisoformat(verdict.time) + _wait(approvals)
    over = (now or datetime.now(UTC)) >= until
    return Standing(
        release, version, approvals.required, approvals.role, given, until.isoformat(), over, out
    )


def time_out(project: Project, release: str, *, actor: str) -> LedgerEntry | None:
    """Record, once for a verdict, that its approvals did not come in time; None where they came,
    or may still come.

    The release stays as it is: an approval after this counts, for a person who then runs `sluice
        promote`.
    """
    found = standing(project, release)
    if not (found.missing and found.over):
        return None
    ledger = ledger_to_write(project)
    verdict = ledger.entries("verdict", release)[-1]
    payload = {"version": found.version, "verdict_entry": verdict.sequence, "reason": found.text}
    return ledger.append(
        "approval_timeout", release, actor, payload, unless_same=("verdict_entry",)
    )


def collect_approvals(project: Project, *, tracking: Tracking, model: str) -> Collection:
    """Record the approvals that people gave in MLflow by a tag `sluice.approve.NAME` on a version.

    Each goes through the same checks as `sluice approve`, but for the account that entered it,
    which
    is not known, and counts only for the verdict that the version's page showed. It is recorded as
    having come by a tag. The tag is taken away; `sluice.approved` says who approved,
    `sluice.approve_refused` why one was refused. MLflow without accounts cannot tell who typed a
    name:
    close it to the network where that matters.

    Raises:
        IntegrityError: another ledger is known than the one that is there.
        TrackingError: MLflow is out of reach; what was recorded before stays recorded.
    """
    if load_policy(project.registry / "gates.yaml").approvals is None:
        return Collection()
    recorded: list[LedgerEntry] = []
    refused: list[str] = []
    registered = ledger_to_write(project, tracking, model).entries("register")
    versions = {int(entry.payload["version"]): entry.release for entry in registered}
    for version, tags in sorted(tracking.tags_of(model).items()):
        asked = {key: value for key, value in tags.items() if key.startswith(APPROVE_TAG)}
        restored = tags.get(RELEASE_TAG, "")  # a version made again has another number
        release = versions.get(version, restored if restored in versions.values() else "")
        if not asked or not release:
            continue
        told: dict[str, str | None] = dict.fromkeys(asked)
        reasons = []
        for key, value in sorted(asked.items()):
            try:
                recorded.append(_from_tag(project, release, key, value, tags))
            except ReleaseError as error:
                reasons.append(f"{key.removeprefix(APPROVE_TAG)}: {error}")
        told[REFUSED_TAG] = "; ".join(reasons) or None
        people = [entry.actor for entry in recorded if entry.release == release]
        if people:
            before = [
                name
                for name in tags.get(APPROVED_TAG, "").split(", ")
                if name and name not in people
            ]
            told[APPROVED_TAG] = ", ".join([*before, *people])
        tracking.set_tags(model, version, told)
        refused += [f"version {version}, {reason}" for reason in reasons]
    return Collection(tuple(recorded), tuple(refused))


def invitation(approvals: Approvals, out: bool = False) -> str:
    """The lines in a version's description that say how to approve it in MLflow.

    Args:
        out: it served before and was rolled back, which whoever approves has to know.
    """
    able = ", ".join(
        sorted(person for person, roles in approvals.people.items() if approvals.role in roles)
    )
    warning = "> **This release was rolled back after it had served.**\n>\n" if out else ""
    return (
        f"{warning}> **To approve** (this needs {wanted(approvals.required, approvals.role)}: "
        f"{able}): "
        f"add the tag `{APPROVE_TAG}YOUR-NAME` to this version, with your reason as its value. "
        "MLflow does not check who typed it, and the ledger records that it came by a tag."
    )


def outdated(tags: Mapping[str, str], verdict: LedgerEntry) -> dict[str, None]:
    """The approval tags of a version that are about an earlier verdict than this one, each to be
    removed.
    """
    if tags.get(VERDICT_TAG) == str(verdict.sequence):
        return {}
    return {
        key: None
        for key in tags
        if key.startswith(APPROVE_TAG) or key in (APPROVED_TAG, REFUSED_TAG)
    }


def _from_tag(
    project: Project, release: str, key: str, value: str, tags: Mapping[str, str]
) -> LedgerEntry:
    if value.strip().casefold() in NO:
        raise NotApprovedError(f"the value {value!r} is not an approval; write your reason.")
    shown = tags.get(VERDICT_TAG, "")
    if not shown.isdigit():
        raise NotApprovedError("this version shows no verdict.")
    return approve(
        project,
        release,
        person=key.removeprefix(APPROVE_TAG),
        reason=value,
        via="mlflow",
        shown=int(shown),
    )


def _wait(approvals: Approvals) -> timedelta:
    return min(timedelta(hours=min(approvals.wait_hours, 1e6)), _LONGEST_WAIT)
