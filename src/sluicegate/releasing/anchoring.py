"""Heads of the ledger kept elsewhere, so that a ledger that was rewritten as a whole is found out.

`reconcile` writes the head into a tag of the champion's version in MLflow; `anchor_in_git` into an
annotated git tag, which is worth most once it is pushed to where the ledger's owner cannot delete
it; every write leaves it in the store (`ledger.witness`). Whoever writes asks all of them first:
see `ledger_to_write`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from sluicegate.errors import (
    BusyError,
    IntegrityError,
    ReleaseError,
    TrackingError,
    UsageError,
    VersioningError,
)
from sluicegate.ledger import LOST_HINT, NEW, Ledger, open_ledger, witness
from sluicegate.project import Project
from sluicegate.records import LedgerEntry
from sluicegate.tracking import Tracking
from sluicegate.versioning.tags import annotated_tags, write_tag

GIT_PREFIX = "sluice/ledger/"
HEAD_TAG = "sluice.ledger_head"
_HEAD = re.compile(r"\b(\d+):([0-9a-f]{64})\b")


@dataclass(frozen=True, slots=True)
class Anchor:
    """Sequence and hash that the ledger's last entry had once, and where that was written down."""

    where: str
    sequence: int
    hash: str


def anchor_in_git(project: Project) -> str:
    """Tag the checked-out commit `sluice/ledger/<sequence>` with the ledger's head; the tag's
    name. Safe to repeat.

    Raises:
        IntegrityError: the ledger is not sound, or that tag holds another head.
        VersioningError: git is missing or refuses.
        ReleaseError: the ledger is empty.
    """
    ledger = ledger_to_write(project)
    ledger.verify()
    sequence, digest = ledger.head()
    if not sequence:
        raise ReleaseError("The ledger is empty.", hint="`sluice release` makes the first entries.")
    name = f"{GIT_PREFIX}{sequence}"
    known = {anchor.where: anchor for anchor in git_anchors(project)}.get(f"git tag {name}")
    if known is None:
        write_tag(project.root, name, f"Head of the ledger {sequence}:{digest}")
    elif known.hash != digest:
        raise IntegrityError(
            f"The git tag {name} has another hash: the ledger has been rewritten since."
        )
    return name


def git_anchors(project: Project) -> list[Anchor]:
    """What the git tags say.

    Raises:
        IntegrityError: a tag of that name holds no head.
        VersioningError: git is missing, or the project is not in a repository.
    """
    tags = annotated_tags(project.root, f"{GIT_PREFIX}*")
    return [_anchor(f"git tag {name}", text) for name, text in tags.items()]


def mlflow_anchors(tracking: Tracking, model: str) -> list[Anchor]:
    """What the versions in MLflow say: the champion's, and each former champion's at its time.

    Raises:
        IntegrityError: a tag holds no head.
        TrackingError: MLflow is out of reach.
    """
    found = tracking.tags_of(model).items()
    return [
        _anchor(f"MLflow version {number}", tags[HEAD_TAG])
        for number, tags in found
        if HEAD_TAG in tags
    ]


@dataclass(frozen=True, slots=True)
class Known:
    """Every head that is known outside the ledger, and which places could not be asked, and why."""

    anchors: tuple[Anchor, ...]
    unasked: tuple[str, ...] = ()


def known_anchors(project: Project, tracking: Tracking | None = None, model: str = "") -> Known:
    """What git tags, MLflow (where `tracking` is given) and this machine's own record say.

    Raises:
        IntegrityError: one of them holds something else than a head.
    """
    found: list[Anchor] = []
    unasked: list[str] = []
    seen = witness.read(project.ledger_witness)
    if seen:
        found.append(Anchor("this machine's record", *seen))
    try:
        found += git_anchors(project)
    except VersioningError as error:
        unasked.append(f"git tags were not compared: {error}")
    if tracking is not None:
        try:
            found += mlflow_anchors(tracking, model)
        except (BusyError, TrackingError) as error:
            unasked.append(f"MLflow was not compared: {error}")
    return Known(tuple(found), tuple(unasked))


def ledger_to_write(project: Project, tracking: Tracking | None = None, model: str = "") -> Ledger:
    """The project's ledger, once every head that is known elsewhere was found in it.

    A place that cannot be asked, such as an MLflow server that is down, stops nothing.

    Raises:
        IntegrityError: the ledger was deleted, set back or replaced.
    """
    ledger = open_ledger(project)
    check_anchors(ledger, known_anchors(project, tracking, model).anchors)
    head, seen = ledger.head(), witness.read(project.ledger_witness)
    if head[0] > (seen[0] if seen else 0):  # a write was cut off between its commit and this file
        witness.keep(project.ledger_witness, head)
    return ledger


def check_anchors(ledger: Ledger, anchors: Iterable[Anchor]) -> None:
    """Every anchor is the hash of an entry of this ledger, or was given up by a person.

    Raises:
        IntegrityError: names the first that is not.
    """
    for anchor in _lost(ledger, anchors):
        raise IntegrityError(
            f"The ledger's entry {anchor.sequence} is not the one that {anchor.where} vouches for: "
            "the ledger was deleted, rewritten, cut off or replaced.",
            hint=LOST_HINT,
        )


def begin_anew(
    project: Project,
    *,
    actor: str,
    reason: str,
    tracking: Tracking | None = None,
    model: str = "",
) -> LedgerEntry:
    """Go on with the ledger that is there though a later or another one is known; on the record.

    The entry names every head that is given up, who gave it up and why; `verify` and `history` show
    it for good. Where the ledger is gone, it is the first entry of a new one.

    Raises:
        UsageError: no reason is given.
        ReleaseError: nothing is lost: the ledger has every head that is known.
    """
    if not reason.strip():
        raise UsageError("Beginning anew needs a reason.", hint="--reason 'the disk was lost'")
    ledger = open_ledger(project)
    lost = _lost(ledger, known_anchors(project, tracking, model).anchors)
    if not lost:
        raise ReleaseError(
            "No other ledger is known here: there is nothing to begin anew.",
            hint="Nothing has to be done: the ledger here is complete.",
        )
    payload = {"reason": reason, "lost": [asdict(anchor) for anchor in lost]}
    return ledger.append(NEW, "", actor, payload)


def _lost(ledger: Ledger, anchors: Iterable[Anchor]) -> list[Anchor]:
    known = list(anchors)
    strangers = set(ledger.strangers((anchor.sequence, anchor.hash) for anchor in known))
    return [anchor for anchor in known if (anchor.sequence, anchor.hash) in strangers]


def _anchor(where: str, text: str) -> Anchor:
    found = _HEAD.search(text)
    if found is None:
        raise IntegrityError(f"{where} does not contain the head of a ledger: {text[:80]!r}.")
    return Anchor(where, int(found[1]), found[2])
