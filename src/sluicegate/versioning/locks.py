"""One pipeline at a time: our lock around it, and what dead processes left in DVC's own."""

from __future__ import annotations

import fcntl
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sluicegate.errors import BudgetError, BusyError, EnvironmentFailure
from sluicegate.project import Project


@contextmanager
def pipeline_lock(
    project: Project, *, wait: float = 3600.0, until: float | None = None
) -> Iterator[int]:
    """Hold the one lock around the pipeline; a second holder says that it waits.

    Yields:
        The lock's file descriptor. A child that inherits it keeps the lock where its parent is
        killed.

    Raises:
        BudgetError: the lock was not free at `until` (seconds since 1970), which, where given, goes
            before `wait`.
        BusyError: the lock was not free within `wait` seconds.
    """
    try:
        project.state.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(project.state / "pipeline.lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise EnvironmentFailure(f"cannot write {project.state}: {error.strerror}") from error
    try:
        _wait_for(
            lambda: _locked(descriptor),
            wait,
            until,
            "another run holds the pipeline; waiting for it to end ...",
            "another run still holds the pipeline.",
        )
        yield descriptor
    finally:
        os.close(descriptor)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _wait_for(
    ready: Callable[[], bool], wait: float, until: float | None, told: str, late: str
) -> None:
    """Ask `ready` twice a second; say `told` once where it takes time, raise an error that says
    `late` in the end.

    The end is `until` (seconds since 1970; a BudgetError), or, without it, after `wait` seconds (a
    BusyError).
    """
    if ready():
        return
    print(told, file=sys.stderr, flush=True)
    end = time.monotonic() + wait
    while not ready():
        if until is not None and time.time() >= until:
            raise BudgetError(
                f"the time is up; {late}", hint="Run again with more time, or when it has ended."
            )
        if until is None and time.monotonic() > end:
            raise BusyError(late, hint="Wait for it, or stop it.")
        time.sleep(0.5)


def settle_dvc_locks(root: Path, *, wait: float = 3600.0, until: float | None = None) -> None:
    """Wait for a DVC that a person started, then drop what dead ones left in DVC's own lock file.

    DVC takes any process with the recorded number for the owner: a zombie, or a stranger that got
    the number since, would block the pipeline for ever.

    Raises:
        BudgetError: another DVC still runs at `until`, which, where given, goes before `wait`.
        BusyError: another DVC still runs after `wait` seconds.
    """
    path = root / ".dvc" / "tmp" / "rwlock"
    _wait_for(
        lambda: not any(map(_runs_dvc, _owners(path))),
        wait,
        until,
        "another DVC works in this project; waiting for it to end ...",
        "another DVC still works in this project.",
    )
    path.unlink(missing_ok=True)


def _owners(path: Path) -> set[int]:
    """Process numbers in DVC's lock file; none where it is absent or was torn by a kill."""
    try:
        held = json.loads(path.read_text("utf-8"))
        entries = [
            *held["write"].values(),
            *(entry for several in held["read"].values() for entry in several),
        ]
        return {int(entry["pid"]) for entry in entries}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return set()


def _runs_dvc(pid: int) -> bool:
    import psutil

    try:
        process = psutil.Process(pid)
        return process.status() != psutil.STATUS_ZOMBIE and any(
            "dvc" in part for part in process.cmdline()
        )
    except psutil.Error:
        return False
