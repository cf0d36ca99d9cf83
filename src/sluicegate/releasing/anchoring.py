"""Heads of the ledger kept elsewhere, so that a ledger that was rewritten as a whole is found out.

`reconcile` writes the head into a tag of the champion's version in MLflow; `anchor_in_git` into an annotated git tag,
which is worth most once it is pushed to where the ledger's owner cannot delete it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sluicegate.errors import IntegrityError, ReleaseError
from sluicegate.ledger import Ledger
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
    """Tag the checked-out commit `sluice/ledger/<sequence>` with the ledger's head; the tag's name. Safe to repeat.

    Raises:
        IntegrityError: the ledger is not sound, or that tag holds another head.
        VersioningError: git is missing or refuses.
        ReleaseError: the ledger is empty.
    """
    ledger = Ledger(project.ledger_url)
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
            f"The git tag {name} holds another hash: the ledger was rewritten since."
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


def check_anchors(entries: Sequence[LedgerEntry], anchors: Iterable[Anchor]) -> None:
    """Every anchor is the hash of an entry of this ledger.

    Raises:
        IntegrityError: names the first that is not.
    """
    known = {(entry.sequence, entry.hash) for entry in entries}
    for anchor in anchors:
        if (anchor.sequence, anchor.hash) not in known:
            raise IntegrityError(
                f"The ledger's entry {anchor.sequence} is not the one that {anchor.where} vouches for: "
                "the ledger was rewritten, cut off or replaced.",
                hint="Restore it from a backup; where this checkout has a ledger of its own, name the shared one: "
                "SLUICE_LEDGER_URL.",
            )


def _anchor(where: str, text: str) -> Anchor:
    found = _HEAD.search(text)
    if found is None:
        raise IntegrityError(f"{where} holds no head of a ledger: {text[:80]!r}.")
    return Anchor(where, int(found[1]), found[2])
