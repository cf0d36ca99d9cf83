"""Between verdict and promotion: pick up the approvals that people gave, and say what is still
missing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sluicegate import releasing
from sluicegate.errors import BusyError, NotApprovedError, TrackingError, UsageError
from sluicegate.line.run import Approvals, Run, actor

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


def approvals(run: Run, release: str, *, waited: bool = False) -> Approvals:
    """Collect approvals from MLflow, then say where a release with a PROMOTE verdict stands.

    A wait that is over is entered in the ledger, once.

    Args:
        run: the project.
        release: version or digest.
        waited: it waited in another run, and its verdict may not hold any more: that is no error
            then.

    Raises:
        NotApprovedError: the verdict does not hold, and `waited` is False.
    """
    digest = releasing.find_release(run.project, release)
    warnings = collect(run).refused
    try:
        found = releasing.standing(run.project, digest)
    except NotApprovedError as error:
        if not waited:
            raise
        text = f"{error} {error.hint}".strip()
        return Approvals(release=digest, in_force=False, text=text, warnings=warnings)
    if found.missing and found.over:
        releasing.time_out(run.project, digest, actor=actor())
    return Approvals(
        release=digest,
        in_force=True,
        text=found.text,
        missing=found.missing,
        version=found.version,
        required=found.required,
        given=found.given,
        until=found.until,
        over=found.over,
        warnings=warnings,
    )


@dataclass(frozen=True, slots=True)
class Collected:
    """What came of MLflow's approval tags, a line each: those recorded, and those that do not
    count.
    """

    recorded: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()


def collect(run: Run) -> Collected:
    """Record what people approved in MLflow; a store out of reach is only told."""
    if run.policy.approvals is None:
        return Collected()
    try:
        found = releasing.collect_approvals(run.project, tracking=run.tracking, model=run.name)
    except (BusyError, TrackingError) as error:
        return Collected(refused=(f"MLflow was not asked for approvals: {error}",))
    recorded = (f"{one.actor} approved version {one.payload['version']}" for one in found.recorded)
    return Collected(tuple(recorded), tuple(found.refused))


def settled(run: Run, release: str) -> bool:
    """Is there nothing left to wait for: every approval is there, the wait is over, or the verdict
    no longer holds?

    A release that this project does not know is not settled: another project's run may share the
    Prefect server.
    """
    try:
        found = releasing.standing(run.project, releasing.find_release(run.project, release))
    except NotApprovedError:
        return True
    except UsageError:
        return False
    return found.over or not found.missing
