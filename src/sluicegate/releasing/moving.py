"""The champion moves: promote, roll back; and the projection of where it is into MLflow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from sluicegate.errors import StaleEpochError, TrackingError, UsageError
from sluicegate.gates import load_policy
from sluicegate.gates.policy import Approvals
from sluicegate.ledger import MOVES
from sluicegate.project import Project
from sluicegate.records import Champion, LedgerEntry
from sluicegate.releasing.anchoring import HEAD_TAG, ledger_to_write
from sluicegate.releasing.guard import (
    before_champion,
    consents,
    may_promote,
    may_roll_back,
    registered_version,
    rolled_back,
)
from sluicegate.releasing.policy_in_git import refuse_uncommitted
from sluicegate.releasing.restoring import restore_versions
from sluicegate.releasing.storing import StoredRelease, keep_policy, load_registered
from sluicegate.tracking import Tracking


@dataclass(frozen=True, slots=True)
class Move:
    """Where the champion is now. `entry` is None when it was there already; `warnings` is what
    MLflow was not told.
    """

    champion: Champion
    entry: LedgerEntry | None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """MLflow's aliases as they are now, and what had to be changed to bring them there."""

    champion: int | None
    challenger: int | None
    changed: tuple[str, ...] = ()


def promote(
    project: Project,
    release: str,
    *,
    actor: str,
    reason: str = "",
    again: bool = False,
    tracking: Tracking | None = None,
    model: str = "",
) -> Move:
    """Let `release` serve, on a PROMOTE verdict for exactly this release, champion and policy.

    Where the policy asks for approvals, those of exactly this verdict are recorded with the move.

    Args:
        again: needed for a release that was rolled back since it served.
        tracking: when given, with `model`, the aliases in MLflow follow; a failure there is a
            warning.

    Raises:
        NotApprovedError: there is no such verdict, or an approval is missing; see
            `guard.may_promote`. Or the policy has changes that are not committed.
        StaleEpochError: somebody else moved the champion or judged meanwhile; nothing was changed.
        IntegrityError, AdapterError: the stored bytes are not those registered, or another ledger
            is known than the one that is there; the champion stays.
    """
    ledger = ledger_to_write(project, tracking, model)
    champion = ledger.champion()
    if champion is not None and champion.release == release:
        return Move(champion, None, _project(project, tracking, model))
    found = _project(project, tracking, model)
    seen = ledger.entries(release=release)
    load_registered(project, release, seen)
    version = registered_version(seen, release)
    policy = load_policy(project.registry / "gates.yaml")
    refuse_uncommitted(project, policy)
    payload, given = _promotion(seen, champion, policy.approvals, reason)
    keep_policy(project, policy)
    payload |= {"policy": policy.digest, "again": again and rolled_back(ledger.entries(), release)}

    def guard(entries: Sequence[LedgerEntry], now: Champion | None) -> None:
        known = [entry for entry in entries if entry.kind != "approval" or entry.sequence in given]
        verdict = may_promote(
            known,
            now,
            release=release,
            policy=policy.digest,
            approvals=policy.approvals,
            again=again,
        )
        if verdict.payload["verdict"] != payload["verdict"]:
            raise StaleEpochError(
                "Another verdict has been recorded in the meantime.",
                hint="Run `sluice promote` again.",
            )

    epoch = champion.epoch if champion else 0
    entry = ledger.move_champion(release, version, epoch, "promote", actor, payload, guard=guard)
    warnings = (*found, *(note for note in _project(project, tracking, model) if note not in found))
    return Move(Champion(release, entry.epoch, version), entry, warnings)


def _promotion(
    entries: Sequence[LedgerEntry],
    champion: Champion | None,
    approvals: Approvals | None,
    reason: str,
) -> tuple[dict[str, Any], set[int]]:
    """What a promotion records, and the sequences of the approvals that it rests on."""
    verdicts = [entry for entry in entries if entry.kind == "verdict"]
    payload: dict[str, Any] = {
        "reason": reason,
        "from": champion.release if champion else None,
        "verdict": verdicts[-1].payload["verdict"] if verdicts else None,
    }
    if approvals is None:
        return payload, set()
    given = consents(entries, verdicts[-1], approvals) if verdicts else []
    payload["required"] = approvals.required
    payload["approvals"] = [
        {
            "person": e.actor,
            "role": approvals.role,
            "entry": e.sequence,
            "via": e.payload.get("via", ""),
        }
        for e in given
    ]
    return payload, {entry.sequence for entry in given}


def rollback(
    project: Project,
    *,
    actor: str,
    to: int | None = None,
    reason: str = "",
    check: Callable[[StoredRelease], None] | None = None,
    tracking: Tracking | None = None,
    model: str = "",
) -> Move:
    """Let a former champion serve again: adapter, base, prompt and generation settings together.

    Works with MLflow, Prefect and git out of reach. The stored bytes are verified before the
    pointer moves.

    Args:
        to: version of a release that once served; the one before the champion when None.
        check: called with the verified release, e.g. to load it; what it raises stops the rollback.

    Raises:
        UsageError: nothing serves, nothing served before, or version `to` never did.
        IntegrityError, AdapterError: the stored bytes are not those registered, or another ledger
            is known than the one that is there; the champion stays.
        StaleEpochError: somebody else moved the champion meanwhile; nothing was changed.
    """
    ledger = ledger_to_write(project, tracking, model)
    champion = ledger.champion()
    if champion is None:
        raise UsageError(
            "There is no champion, so there is nothing to roll back.",
            hint="`sluice release` makes a champion.",
        )
    entries = ledger.entries()
    moves = [entry for entry in entries if entry.kind in MOVES]
    target = before_champion(moves) if to is None else _served(moves, to)
    if target.release == champion.release:
        return Move(champion, None, _project(project, tracking, model))
    stored = load_registered(project, target.release, entries)
    if check is not None:
        check(stored)
    entry = ledger.move_champion(
        target.release,
        int(target.payload["version"]),
        champion.epoch,
        "rollback",
        actor,
        {"reason": reason, "from": champion.release, "from_version": champion.version},
        guard=partial(may_roll_back, release=target.release),
    )
    now = Champion(target.release, entry.epoch, int(target.payload["version"]))
    return Move(now, entry, _project(project, tracking, model))


def reconcile(project: Project, *, tracking: Tracking, model: str) -> Reconciliation:
    """Make MLflow's aliases and status tags say what the ledger says, and tell what was otherwise.

    A version of the champion or challenger that was deleted there is made again from the store. The
    head of the ledger is anchored in a tag of the champion's version.

    Raises:
        IntegrityError: another ledger is known than the one that is there; nothing is overwritten.
        TrackingError: MLflow is out of reach.
    """
    ledger = ledger_to_write(project, tracking, model)
    champion, head, entries = ledger.champion(), ledger.head(), ledger.entries()
    if champion is None:
        return Reconciliation(None, None)
    challenger = _challenger(entries, champion)
    releases = {"champion": champion.release, "challenger": challenger}
    registered = [entry for entry in entries if entry.kind == "register"]
    needed = {release for release in releases.values() if release is not None}
    changed = list(restore_versions(project, registered, needed, tracking=tracking, model=model))
    wanted = {
        alias: tracking.version_of(model, release) if release is not None else None
        for alias, release in releases.items()
    }
    for alias, version in wanted.items():
        found = tracking.alias(model, alias)
        if found != version:
            changed.append(f"alias {alias}: {_version(found)} became {_version(version)}")
    tags = {"sluice.epoch": str(champion.epoch), HEAD_TAG: f"{head[0]}:{head[1]}"}
    serving = wanted["champion"] or champion.version
    tracking.project_champion(model, serving, wanted["challenger"], tags)
    return Reconciliation(serving, wanted["challenger"], tuple(changed))


def _challenger(entries: Sequence[LedgerEntry], champion: Champion) -> str | None:
    """The release last registered or judged in this reign, unless it was rejected or serves."""
    for entry in reversed(entries):
        if entry.kind in MOVES:
            return None
        if entry.kind in ("register", "verdict") and entry.release != champion.release:
            rejected = entry.kind == "verdict" and entry.payload["decision"] == "REJECT"
            return None if rejected else entry.release
    return None


def _served(moves: list[LedgerEntry], version: int) -> LedgerEntry:
    for entry in reversed(moves):
        if entry.payload["version"] == version:
            return entry
    known = ", ".join(
        str(number) for number in sorted({entry.payload["version"] for entry in moves})
    )
    raise UsageError(f"Version {version} never served.", hint=f"Versions that did: {known}.")


def _project(project: Project, tracking: Tracking | None, model: str) -> tuple[str, ...]:
    """Bring MLflow up to date as far as it can be reached; the ledger is the truth, so failure is
    only told.
    """
    if tracking is None:
        return ()
    try:
        reconcile(project, tracking=tracking, model=model)
    except TrackingError as error:
        return (
            f"MLflow was not brought up to date: {error}. Run `sluice reconcile` when it is back.",
        )
    return ()


def _version(number: int | None) -> str:
    return "none" if number is None else f"version {number}"
