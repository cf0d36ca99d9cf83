"""Versions that somebody deleted in MLflow, made again from the ledger and the store."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sluicegate.project import Project
from sluicegate.records import LedgerEntry
from sluicegate.releasing.storing import load_registered
from sluicegate.tracking import Tracking

VERSION_TAG = "sluice.version"
"""The ledger's number of a version that MLflow shows under another one."""


def restore_versions(
    project: Project,
    registered: Sequence[LedgerEntry],
    needed: Collection[str],
    *,
    tracking: Tracking,
    model: str,
) -> tuple[str, ...]:
    """Make those of `needed` again that MLflow no longer has; all of them where it has none at all.

    MLflow never gives a number twice while the model is there, so a version that was deleted comes
    back under a higher one; where the model itself was deleted, each gets its own number back.

    Args:
        registered: the ledger's entries of kind `register`.
        needed: digests of the releases that have to be there.

    Returns:
        A line for each version that was made again.

    Raises:
        IntegrityError, AdapterError: the store no longer has what was registered.
        TrackingError: MLflow is out of reach.
    """
    mine = [entry for entry in registered if entry.payload.get("model", model) == model]
    if mine and not tracking.tags_of(model):
        needed = {entry.release for entry in mine}
    found = []
    for entry in sorted(mine, key=lambda entry: int(entry.payload["version"])):
        if entry.release in needed and tracking.version_of(model, entry.release) is None:
            number = int(entry.payload["version"])
            made = _again(project, entry, tracking, model)
            name = "again" if made == number else f"again as version {made}"
            found.append(f"version {number} had been deleted in MLflow: it is there {name}")
    return tuple(found)


def _again(project: Project, entry: LedgerEntry, tracking: Tracking, model: str) -> int:
    stored, number = load_registered(project, entry.release, [entry]), int(entry.payload["version"])
    with tracking.start_run(model, f"version {number} restored") as run:
        return tracking.register_version(
            model,
            stored.release,
            stored.manifest,
            stored.adapter,
            run.id,
            tags={VERSION_TAG: str(number), "sluice.prompt_name": stored.prompt.name},
            description=f"Version {number} of the ledger, made again by `sluice reconcile` after "
            "it "
            "had been deleted here. What was decided about it: `sluice history`.",
            at_least=number,
        )
