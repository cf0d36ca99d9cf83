"""Reading the ledger: what happened, what served on a day and who let it, and whether all of it is
still whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sluicegate.errors import ReleaseError, UsageError
from sluicegate.ledger import MOVES, NEW, Ledger, open_ledger
from sluicegate.project import Project
from sluicegate.records import LedgerEntry
from sluicegate.releasing.anchoring import Anchor, check_anchors, known_anchors
from sluicegate.releasing.replaying import check_moves, check_verdicts
from sluicegate.releasing.storing import load_registered
from sluicegate.tracking import Tracking


@dataclass(frozen=True, slots=True)
class Event:
    """One line of history. `decision` is set on verdicts, `reason` where somebody gave one or the
    verdict has some.
    """

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
    """What `verify` looked at, all of it sound.

    Attributes:
        evidence: how many verdicts have their evidence in the store.
        anew: a line for each time that a person went on without heads that were known elsewhere.
        unasked: places with heads of the ledger that could not be asked.
    """

    entries: int
    releases: int
    head: str
    anchors: int = 0
    evidence: int = 0
    anew: tuple[str, ...] = ()
    unasked: tuple[str, ...] = ()


def history(project: Project) -> list[Event]:
    """Everything that happened, oldest first."""
    return [_event(entry) for entry in Ledger(project.ledger_url).entries()]


def served_at(project: Project, moment: datetime) -> Event | None:
    """The move that put into service what served at `moment` (UTC where it has no zone); None
    before the first.
    """
    found = served_between(project, moment, moment)
    return found[-1] if found else None


def served_between(project: Project, start: datetime, end: datetime) -> list[Event]:
    """The moves that put into service what served from `start` to `end` (UTC where they have no
    zone), in order.
    """
    first, last = (
        (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
        for moment in (start, end)
    )
    moves = [entry for entry in Ledger(project.ledger_url).entries() if entry.kind in MOVES]
    times = [datetime.fromisoformat(entry.time) for entry in moves]
    before = [entry for entry, time in zip(moves, times, strict=True) if time <= first]
    within = [entry for entry, time in zip(moves, times, strict=True) if first < time <= last]
    return [_event(entry) for entry in (*before[-1:], *within)]


def find_release(project: Project, name: str) -> str:
    """Digest of the registered release that `name` means: a version number, `champion`, or the
    start of a digest.

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
    project: Project,
    *,
    anchor: tuple[int, str] | None = None,
    anchors: Sequence[Anchor] = (),
    tracking: Tracking | None = None,
    model: str = "",
) -> Soundness:
    """Check the ledger's chain, every move by the guard that allowed it, and the stored bytes.

    Args:
        anchor: the ledger's head as kept elsewhere (sequence, hash).
        anchors: more heads; those of git, of this machine and, with `tracking` and `model`, of
            MLflow
            are compared in any case.

    Raises:
        IntegrityError, AdapterError: names the first thing that is not as it was recorded.
    """
    ledger, known = open_ledger(project), known_anchors(project, tracking, model)
    ledger.verify(anchor=anchor)
    entries = ledger.entries()
    heads = dict.fromkeys((*known.anchors, *anchors))
    check_anchors(ledger, heads)
    check_moves(project, entries)
    evidence = check_verdicts(project, entries)
    registered = dict.fromkeys(entry.release for entry in entries if entry.kind == "register")
    for release in registered:
        load_registered(project, release, entries)
    return Soundness(
        entries=len(entries),
        releases=len(registered),
        head=ledger.head()[1],
        anchors=len(heads) + (anchor is not None),
        evidence=evidence,
        anew=tuple(_anew(entry) for entry in entries if entry.kind == NEW),
        unasked=known.unasked,
    )


def _anew(entry: LedgerEntry) -> str:
    lost = ", ".join(
        f"entry {each['sequence']} ({each['where']})" for each in entry.payload["lost"]
    )
    return (
        f"entry {entry.sequence}: {entry.actor} went on without {lost} on {entry.time[:16]} UTC: "
        f"{entry.payload['reason']}"
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
        reason=_by_tag(entry) + str(payload.get("reason") or "; ".join(reasons)),
    )


def _by_tag(entry: LedgerEntry) -> str:
    """How an approval came, where nobody can know from whom."""
    by_tag = entry.kind == "approval" and entry.payload.get("via") == "mlflow"
    return "(by a tag in MLflow, unchecked who set it) " if by_tag else ""
