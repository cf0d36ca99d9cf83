"""Every move of the past asked of the guard again, as it stood then."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sluicegate.errors import EvidenceError, IntegrityError, ReleaseError
from sluicegate.gates.policy import Approvals
from sluicegate.ledger import MOVES
from sluicegate.project import Project
from sluicegate.records import Champion, LedgerEntry
from sluicegate.releasing.guard import (
    consents,
    may_bootstrap,
    may_promote,
    may_roll_back,
    verdict_in_force,
)
from sluicegate.releasing.people import is_maker
from sluicegate.releasing.storing import check_evidence, stored_policy


def check_moves(project: Project, entries: Sequence[LedgerEntry]) -> None:
    """Each bootstrap, promotion and rollback was allowed by what the ledger held before it.

    Version 0.1.0 wrote neither the policy nor `again` with a promotion; once one entry has them,
    all
    later ones must.

    Raises:
        IntegrityError: names the first that was not.
    """
    champion: Champion | None = None
    current = False
    for entry in entries:
        if entry.kind not in MOVES:
            continue
        before = [
            each
            for each in entries[: entry.sequence - 1]
            if each.release == entry.release or each.kind in MOVES
        ]
        try:
            if entry.kind == "bootstrap":
                may_bootstrap(before, champion, release=entry.release)
            elif entry.kind == "rollback":
                may_roll_back(before, champion, release=entry.release)
            else:
                current = current or "policy" in entry.payload
                _check_promotion(project, entry, before, champion, current)
        except ReleaseError as error:
            raise IntegrityError(
                f"Ledger entry {entry.sequence} ({entry.kind}) was not allowed: {error}"
            ) from error
        came_from = entry.payload.get("from", champion.release if champion else None)
        if came_from != (champion.release if champion else None):
            raise IntegrityError(
                f"Ledger entry {entry.sequence} replaces a release that did not serve."
            )
        champion = Champion(entry.release, entry.epoch, entry.payload["version"])


def check_verdicts(project: Project, entries: Sequence[LedgerEntry]) -> int:
    """What is stored of each verdict's evidence is whole, and present where a promotion rests on
    it.

    Returns:
        The number of verdicts whose evidence is here. Version 0.1.0 kept none.

    Raises:
        IntegrityError: names what is missing or damaged.
    """
    relied = {
        (entry.release, entry.payload.get("verdict"))
        for entry in entries
        if entry.kind == "promote"
    }
    whole, current = 0, False
    for entry in entries:
        if entry.kind != "verdict":
            continue
        current = current or "kept" in entry.payload
        needed = current and (entry.release, entry.payload["verdict"]) in relied
        try:
            for digest in filter(
                None, (entry.payload["evidence"], entry.payload["champion_evidence"])
            ):
                check_evidence(project, digest)
            whole += 1
        except EvidenceError as error:
            if needed:
                raise IntegrityError(
                    f"Ledger entry {entry.sequence}: {error}", hint=error.hint
                ) from error
    return whole


def _check_promotion(
    project: Project,
    entry: LedgerEntry,
    before: Sequence[LedgerEntry],
    champion: Champion | None,
    current: bool,
) -> None:
    found, release = entry.payload, entry.release
    verdicts = [each for each in before if each.kind == "verdict"]
    if not verdicts:
        raise ReleaseError("there is no verdict on this release before it.")
    policy, content = _policy(project, entry, verdicts, current)
    verdict = verdict_in_force(before, champion, release=release, policy=policy)
    if found.get("verdict") != verdict.payload["verdict"]:
        raise ReleaseError("it does not rest on the latest verdict.")
    approvals = Approvals(**content["approvals"]) if content.get("approvals") else None
    _check_approvals(entry, verdict, before, approvals)
    again = bool(found.get("again")) or not current
    may_promote(before, champion, release=release, policy=policy, approvals=approvals, again=again)


def _policy(
    project: Project, entry: LedgerEntry, verdicts: Sequence[LedgerEntry], current: bool
) -> tuple[str, dict[str, Any]]:
    """The digest and the content of the policy of a promotion; version 0.1.0 kept the verdict's
    digest only.
    """
    if current:
        if "policy" not in entry.payload:
            raise ReleaseError("it names no policy.")
        digest = str(entry.payload["policy"])
        return digest, stored_policy(project, digest)
    return str(verdicts[-1].payload["policy"]), {}


def _check_approvals(
    promotion: LedgerEntry,
    verdict: LedgerEntry,
    before: Sequence[LedgerEntry],
    approvals: Approvals | None,
) -> None:
    """The approvals that a promotion names were given, for its verdict and by others than the
    makers, and suffice.
    """
    people = set()
    counting = (
        {each.sequence for each in consents(before, verdict, approvals)} if approvals else None
    )
    for claim in promotion.payload.get("approvals", []):
        person, role = claim.get("person"), claim.get("role")
        given = [
            each
            for each in before
            if each.kind == "approval"
            and (each.sequence, each.actor) == (claim.get("entry"), person)
            and (each.payload.get("verdict"), each.payload.get("role"))
            == (promotion.payload.get("verdict"), role)
            and each.sequence > verdict.sequence
            and not is_maker(before, promotion.release, each.actor)
            and (counting is None or each.sequence in counting)
        ]
        if not given:
            raise ReleaseError(f"the approval by {person} that it names does not count.")
        people.add(person)
    asked = (verdict.payload, promotion.payload)
    required = [int(each.get("required", 0)) for each in asked]
    if len(people) < max(*required, approvals.required if approvals else 0):
        raise ReleaseError("it came without the approvals that were asked for.")
