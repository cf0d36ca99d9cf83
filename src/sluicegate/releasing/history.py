"""Reading the ledger: what happened, what served on a day and who let it, and whether all of it is still whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sluicegate.errors import IntegrityError, ReleaseError, UsageError
from sluicegate.ledger import MOVES, Ledger
from sluicegate.project import Project
from sluicegate.records import LedgerEntry
from sluicegate.releasing.anchoring import Anchor, check_anchors
from sluicegate.releasing.guard import is_maker
from sluicegate.releasing.storing import load_registered


@dataclass(frozen=True, slots=True)
class Event:
    """One line of history. `decision` is set on verdicts, `reason` where somebody gave one or the verdict has some."""

    sequence: int
    time: str
    actor: str
    kind: str
    release: str
    version: int | None
    epoch: int
    decision: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Soundness:
    """What `verify` looked at, all of it sound."""

    entries: int
    releases: int
    head: str
    anchors: int = 0


def history(project: Project) -> list[Event]:
    """Everything that happened, oldest first."""
    return [_event(entry) for entry in Ledger(project.ledger_url).entries()]


def served_at(project: Project, moment: datetime) -> Event | None:
    """The move that put into service what served at `moment` (UTC where it has no zone), or None before the first."""
    limit = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    moves = [entry for entry in Ledger(project.ledger_url).entries() if entry.kind in MOVES]
    before = [entry for entry in moves if datetime.fromisoformat(entry.time) <= limit]
    return _event(before[-1]) if before else None


def find_release(project: Project, name: str) -> str:
    """Digest of the registered release that `name` means: a version number, `champion`, or the start of a digest.

    Raises:
        UsageError: nothing fits, or more than one release.
        ReleaseError: `champion` is asked for and nothing serves.
    """
    ledger = Ledger(project.ledger_url)
    if name == "champion":
        champion = ledger.champion()
        if champion is None:
            raise ReleaseError("There is no champion yet.", hint="Run `sluice release`.")
        return champion.release
    entries = ledger.entries("register")
    by_version = {
        entry.release
        for entry in entries
        if str(entry.payload["version"]) == name.removeprefix("v")
    }
    by_digest = {
        entry.release for entry in entries if len(name) >= 6 and entry.release.startswith(name)
    }
    found = by_version or by_digest
    if len(found) != 1:
        many = "several releases fit" if found else "no release is called"
        raise UsageError(
            f"{many} {name!r}.",
            hint="Give a version number or 6 or more digits; see `sluice history`.",
        )
    return found.pop()


def verify(
    project: Project, *, anchor: tuple[int, str] | None = None, anchors: Sequence[Anchor] = ()
) -> Soundness:
    """Check the ledger's chain, what allowed each promotion, and the stored bytes of every registered release.

    Args:
        anchor: the ledger's head as kept elsewhere (sequence, hash).
        anchors: heads found in git and MLflow, see `git_anchors` and `mlflow_anchors`.

    Raises:
        IntegrityError, AdapterError: names the first thing that is not as it was recorded.
    """
    ledger = Ledger(project.ledger_url)
    ledger.verify(anchor=anchor)
    entries = ledger.entries()
    check_anchors(entries, anchors)
    _check_promotions(entries)
    registered = dict.fromkeys(entry.release for entry in entries if entry.kind == "register")
    for release in registered:
        load_registered(project, release, entries)
    return Soundness(
        len(entries), len(registered), ledger.head()[1], len(anchors) + (anchor is not None)
    )


def _check_promotions(entries: list[LedgerEntry]) -> None:
    """Every promotion on record follows a PROMOTE verdict on that release against the champion it replaced."""
    verdicts: dict[str, LedgerEntry] = {}
    serving: str | None = None
    for entry in entries:
        if entry.kind == "verdict":
            verdicts[entry.release] = entry
        elif entry.kind == "promote":
            found = verdicts[entry.release].payload if entry.release in verdicts else {}
            wanted = {"decision": "PROMOTE", "candidate": entry.release, "champion": serving}
            if any(found.get(name) != value for name, value in wanted.items()):
                raise IntegrityError(
                    f"Ledger entry {entry.sequence} promotes without a verdict that allows it."
                )
            _check_approvals(entry, verdicts[entry.release], entries)
        if entry.kind in MOVES:
            serving = entry.release


def _check_approvals(
    promotion: LedgerEntry, verdict: LedgerEntry, entries: list[LedgerEntry]
) -> None:
    """The approvals that a promotion names were given, for its verdict and by others than the makers, and suffice."""
    claims = promotion.payload.get("approvals", [])
    before = entries[: promotion.sequence - 1] if claims else []
    people = set()
    for claim in claims:
        person, role = claim.get("person"), claim.get("role")
        given = [
            entry
            for entry in before
            if entry.kind == "approval"
            and (entry.release, entry.sequence, entry.actor)
            == (promotion.release, claim.get("entry"), person)
            and (entry.payload.get("verdict"), entry.payload.get("role"))
            == (promotion.payload.get("verdict"), role)
            and entry.sequence > verdict.sequence
            and not is_maker(before, promotion.release, entry.actor)
        ]
        if not given:
            raise IntegrityError(
                f"Ledger entry {promotion.sequence} names an approval by {person} that does not count."
            )
        people.add(person)
    if len(people) < max(verdict.payload.get("required", 0), promotion.payload.get("required", 0)):
        raise IntegrityError(
            f"Ledger entry {promotion.sequence} promotes without the approvals that were asked for."
        )


def _event(entry: LedgerEntry) -> Event:
    payload = entry.payload
    reasons = payload.get("reasons") or []
    return Event(
        sequence=entry.sequence,
        time=entry.time,
        actor=entry.actor,
        kind=entry.kind,
        release=entry.release,
        version=payload.get("version"),
        epoch=entry.epoch,
        decision=str(payload.get("decision", "")),
        reason=str(payload.get("reason") or "; ".join(reasons)),
    )
