"""Between verdict and promotion: pick up the approvals that people gave, and say what is still missing."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sluicegate import releasing
from sluicegate.errors import BusyError, NotApprovedError, TrackingError, UsageError
from sluicegate.gates import load_policy
from sluicegate.hashing import read_json
from sluicegate.line.release.steps import actor, timed
from sluicegate.line.run import open_context, open_tracking
from sluicegate.project import Project, find_project

_WAITS_FOR = "release:"


def waiting_tag(release: str) -> str:
    """The tag of a run that is suspended until `release` (a digest) is approved.

    Example:
        >>> waiting_tag("0123456789abcdef")
        'release:0123456789ab'
    """
    return _WAITS_FOR + release[:12]


def waited_for(tags: Iterable[str]) -> list[str]:
    """The releases, by the start of their digest, that a run with these tags waits for.

    Example:
        >>> waited_for(["nightly", waiting_tag("0123456789abcdef")])
        ['0123456789ab']
    """
    return [tag.removeprefix(_WAITS_FOR) for tag in tags if tag.startswith(_WAITS_FOR)]


def approvals(root: str, release: str = "") -> dict[str, Any]:
    """Collect approvals from MLflow, then say where a release with a PROMOTE verdict stands.

    A wait that is over is entered in the ledger, once.

    Args:
        root: the project's folder.
        release: version or digest of a release that was waiting; the candidate of this run by default.

    Returns:
        `release`, `version`, `required`, `missing`, `given`, `until`, `over`, `text`, `warnings`, and `in_force`: False
        where the verdict that the release waited with no longer holds.

    Raises:
        NotApprovedError: the verdict on this run's own candidate does not hold any more.
    """
    project = find_project(Path(root))
    with timed(project, "approvals"):
        own = {} if release else read_json(project.build / "line" / "register.json")
        digest = own["release"] if own else releasing.find_release(project, release)
        warnings = collect(root)["refused"]
        try:
            found = releasing.standing(project, digest)
        except NotApprovedError as error:
            if own:
                raise
            text = f"{error} {error.hint}".strip()
            return {
                "release": digest,
                "in_force": False,
                "missing": 0,
                "text": text,
                "warnings": warnings,
            }
        if found.missing and found.over:
            releasing.time_out(project, digest, actor=actor())
    return {
        "release": digest,
        "version": found.version,
        "required": found.required,
        "missing": found.missing,
        "given": list(found.given),
        "until": found.until,
        "over": found.over,
        "text": found.text,
        "warnings": warnings,
        "in_force": True,
    }


def collect(root: str) -> dict[str, Any]:
    """Record what people approved in MLflow; a store out of reach is only told.

    Returns:
        `recorded`: who approved which version; `refused`: a line for each approval that does not count.
    """
    project = find_project(Path(root))
    if not asks(project):
        return {"recorded": [], "refused": []}
    try:
        found = releasing.collect_approvals(
            project, tracking=open_tracking(project), model=open_context(project).name
        )
    except (BusyError, TrackingError) as error:
        return {"recorded": [], "refused": [f"MLflow was not asked for approvals: {error}"]}
    recorded = [
        f"{entry.actor} approved version {entry.payload['version']}" for entry in found.recorded
    ]
    return {"recorded": recorded, "refused": list(found.refused)}


def asks(project: Project) -> bool:
    """Does the policy ask for approvals?"""
    return load_policy(project.registry / "gates.yaml").approvals is not None


def settled(root: str, release: str) -> bool:
    """Is there nothing left to wait for: every approval is there, the wait is over, or the verdict no longer holds?

    A release that this project does not know is not settled: another project's run may share the Prefect server.
    """
    project = find_project(Path(root))
    try:
        found = releasing.standing(project, releasing.find_release(project, release))
    except NotApprovedError:
        return True
    except UsageError:
        return False
    return found.over or not found.missing
