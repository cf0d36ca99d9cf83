"""One release line at a time: its steps hand each other files under build/, which a second one would replace."""

from __future__ import annotations

import fcntl
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from sluicegate.errors import BudgetError, BusyError, EnvironmentFailure
from sluicegate.project import Project


@contextmanager
def line_lock(
    project: Project, *, wait: float = 6 * 3600.0, until: float | None = None
) -> Iterator[None]:
    """Hold this project's line from `reproduce` to `report`; whoever comes second says that it waits.

    Args:
        project: whose line.
        wait: seconds to wait for another release, gate or retraining to end.
        until: of a run with a time budget: when that is spent (seconds since 1970); goes before `wait`.

    Raises:
        BudgetError: it did not end before `until`.
        BusyError: it did not end within `wait` seconds.
    """
    left = wait if until is None else max(0.0, until - time.time())
    told = "another release, gate or retraining is running; waiting ..."
    late = "another release, gate or retraining is still running."
    with held(project, "line", wait=left, told=told) as got:
        if not got and until is not None:
            raise BudgetError(
                f"the time is up; {late}", hint="Run again with more time, or when it has ended."
            )
        if not got:
            raise BusyError(late, hint="Wait for it, or stop it.")
        yield


@contextmanager
def held(project: Project, name: str, *, wait: float = 0.0, told: str = "") -> Iterator[bool]:
    """Hold the lock `name` of a project; yields whether it was got within `wait` seconds.

    The system frees it with the process, however that ends; processes started meanwhile do not inherit it.

    Raises:
        EnvironmentFailure: the state folder cannot be written.
    """
    try:
        project.state.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(project.state / f"{name}.lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise EnvironmentFailure(
            f"cannot write {project.state}: {error.strerror}", hint="Fix permissions."
        ) from error
    try:
        yield _lock(descriptor, wait, told)
    finally:
        os.close(descriptor)


def _lock(descriptor: int, wait: float, told: str) -> bool:
    until = time.monotonic() + wait
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until:
                return False
        else:
            return True
        if told:
            print(told, file=sys.stderr, flush=True)
            told = ""
        time.sleep(0.2)
