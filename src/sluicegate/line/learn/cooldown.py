"""Who may retrain now: one at a time, and once in a cool-down, however many alarms there are and
however they arrive.

The lock is the system's and ends with its process. The record `.sluice/retraining.json` outlives
it: a retraining that came to an end, good or bad, starts the cool-down; one that was killed does
not, unless it is killed again and again.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sluicegate.errors import IntegrityError, SluiceError
from sluicegate.hashing import read_json, write_json
from sluicegate.line.locks import held
from sluicegate.line.run import Run
from sluicegate.project import Project

TRIES = 3
"""A retraining that was killed may be started again; after so many tries the cool-down holds all
the same.
"""


@dataclass(slots=True)
class Claim:
    """The answer to an alarm: may it start a retraining? `refused` says why not; `outcome` is the
    retraining's to fill.
    """

    refused: str = ""
    outcome: str = ""

    @property
    def granted(self) -> bool:
        return not self.refused


@contextmanager
def claim(run: Run, cause: str = "by hand", *, force: bool = False) -> Iterator[Claim]:
    """Ask to retrain, and keep everybody else out while the block runs.

    Args:
        run: the project.
        cause: what asks, for the record.
        force: a person's wish; the cool-down (`monitor.cooldown_hours`) is passed over, a
            retraining at work is not.

    Raises:
        IntegrityError: the record is damaged.
        EnvironmentFailure: the record cannot be written.
    """
    project, cooldown = run.project, run.params.monitor.cooldown_hours * 3600
    with held(project, "retraining") as got:
        if not got:
            yield Claim("another retraining is running")
            return
        before, now = last_retraining(project), time.time()
        refused = "" if force else _refused(before, cooldown, now)
        if refused:
            yield Claim(refused)
            return
        killed = (
            bool(before) and before["ended"] is None and 0 <= now - before["started"] < cooldown
        )
        record = {"started": now, "cause": cause, "ended": None, "outcome": "", "error": ""}
        record["attempt"] = before["attempt"] + 1 if killed else 1
        write_json(_path(project), record)
        claimed = Claim()
        try:
            yield claimed
        except SluiceError as error:
            write_json(
                _path(project),
                record | {"ended": time.time(), "outcome": "Failed", "error": str(error)},
            )
            raise
        write_json(_path(project), record | {"ended": time.time(), "outcome": claimed.outcome})


def killed(run: Run) -> str:
    """What asked for a retraining that was killed and may be started again; empty where none was.

    Raises:
        IntegrityError: the record is damaged.
    """
    found, cooldown = last_retraining(run.project), run.params.monitor.cooldown_hours * 3600
    if not found or found["ended"] is not None or _refused(found, cooldown, time.time()):
        return ""
    with held(run.project, "retraining") as got:  # its own process holds it while it works
        return str(found["cause"]) if got else ""


def last_retraining(project: Project) -> dict[str, Any]:
    """`started`, `ended` (seconds since 1970; None: it runs, or was killed), `cause`, `outcome`,
    `error`, `attempt`; or {}.

    Raises:
        IntegrityError: the record is damaged.
    """
    path = _path(project)
    if not path.exists():
        return {}
    found = read_json(path)
    if not {"started", "ended", "attempt"} <= found.keys():
        raise IntegrityError(
            f"{path} is damaged.", hint="Remove it; the next alarm starts a retraining then."
        )
    return found


def _refused(before: Mapping[str, Any], cooldown: float, now: float) -> str:
    """Why not now; empty if nothing speaks against it.

    A start in the future (a clock set back) does not count.
    """
    if not before or not 0 <= now - before["started"] < cooldown:
        return ""
    if before["ended"] is None and before["attempt"] < TRIES:
        return ""
    hours = (before["started"] + cooldown - now) / 3600
    how = (
        f"ended as {before['outcome']}"
        if before["ended"] is not None
        else f"was killed {before['attempt']} times"
    )
    return f"the cool-down has {hours:.1f} hours left; the last retraining {how}"


def _path(project: Project) -> Path:
    return project.state / "retraining.json"
