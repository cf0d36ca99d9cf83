"""Processes that outlive the command that started them: recorded, found again, stopped whole.

Prefect's own `--background` and `stop` keep no log, stay blocked after a kill and end a stranger
whose process has the recorded number (docs/adr/0010); MLflow and the worker have neither.
"""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from sluicegate.errors import BusyError, EnvironmentFailure
from sluicegate.hashing import read_json, write_json
from sluicegate.project import Project

HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Launch:
    """How to start one server and how to ask whether it answers. `port` 0: it listens nowhere."""

    name: str
    command: tuple[str, ...]
    url: str
    health: str
    port: int = 0


def state(project: Project) -> dict[str, Any]:
    """`.sluice/servers.json`: `processes` and `ports` by server, `deployed`; empty when absent.

    Raises:
        IntegrityError: the file is there but damaged.
    """
    path = project.state / "servers.json"
    return read_json(path) if path.exists() else {}


def update(project: Project, **changes: Any) -> None:
    """Replace top-level entries of `servers.json`, atomically."""
    write_json(project.state / "servers.json", state(project) | changes)


def record(project: Project, name: str) -> dict[str, Any] | None:
    """The recorded process of a server, alive or not."""
    found = state(project).get("processes", {}).get(name)
    return dict(found) if found else None


def forget(project: Project, name: str) -> None:
    """Drop the record of a process; its port is remembered, so that links stay valid."""
    processes = state(project).get("processes", {})
    if processes.pop(name, None) is not None:
        update(project, processes=processes)


def alive(project: Project, name: str) -> psutil.Process | None:
    """The recorded process, if that very process still runs (a reused process id is not it).

    The start time proves it, or the command line where the clock was set meanwhile.
    """
    found = record(project, name)
    with suppress(psutil.Error):
        process = psutil.Process(int(found["pid"])) if found else None
        if found and process and process.status() != psutil.STATUS_ZOMBIE:
            same_start = abs(process.create_time() - float(found["started"])) < 2.0
            return process if same_start or process.cmdline() == found["command"] else None
    return None


def start(project: Project, launch: Launch, environment: Mapping[str, str]) -> None:
    """Start `launch` in its own session and record it; output goes to its log (the last: `.log.1`).

    Raises:
        EnvironmentFailure: it cannot be started, or its log cannot be written.
    """
    log = log_of(project, launch.name)
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        if log.exists():
            log.replace(log.with_suffix(".log.1"))
        with log.open("wb") as stream:
            process = psutil.Popen(
                launch.command, cwd=project.root, env=environment, start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT,
            )  # fmt: skip
    except OSError as error:
        raise EnvironmentFailure(
            f"cannot start {launch.name}: {error}", hint="See `sluice doctor`."
        ) from error
    entry = {
        "pid": process.pid, "started": process.create_time(), "command": list(launch.command),
        "url": launch.url, "health": launch.health,
    }  # fmt: skip
    before = state(project)
    update(
        project,
        processes=before.get("processes", {}) | {launch.name: entry},
        ports=before.get("ports", {}) | ({launch.name: launch.port} if launch.port else {}),
    )


def stop(process: psutil.Process, grace: float) -> None:
    """End a process and all its children: ask it, after `grace` seconds ask all, then kill."""
    family, left = {process}, {process}
    for ask, seconds in (("terminate", grace), ("terminate", 3.0), ("kill", 3.0)):
        with suppress(psutil.NoSuchProcess):
            family |= set(process.children(recursive=True))
        for member in left:
            with suppress(psutil.NoSuchProcess):
                getattr(member, ask)()
        psutil.wait_procs(left, timeout=seconds)
        left = {member for member in family if is_running(member)}


def is_running(process: psutil.Process) -> bool:
    """Whether it does anything still: what ended and was not collected by its parent does not."""
    with suppress(psutil.NoSuchProcess):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False


def free_port(wanted: int) -> tuple[int, str]:
    """`wanted` if nothing listens there, else the next free of 50, and a line that says who does.

    Raises:
        EnvironmentFailure: none of them is free.
    """
    for port in range(wanted, min(wanted + 50, 65536)):
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((HOST, port))
            taken = f"port {wanted} is taken by {_holder(wanted)}; using {port}"
            return port, "" if port == wanted else taken
    raise EnvironmentFailure(
        f"no free port from {wanted} to {wanted + 49}.", hint="Stop something that listens there."
    )


def log_of(project: Project, name: str) -> Path:
    """Where a server writes its output."""
    return project.state / "logs" / f"{name}.log"


def tail(text: str, lines: int = 15) -> str:
    """The last lines that are not blank.

    >>> tail("a\\n\\nb\\nc\\n", 2)
    'b\\nc'
    """
    return "\n".join([line for line in text.splitlines() if line.strip()][-lines:])


@contextmanager
def lock(project: Project, wait: float) -> Iterator[None]:
    """One `up`, `down` at a time in a project.

    Raises:
        BusyError: another one holds it for longer than `wait` seconds.
        EnvironmentFailure: the state folder cannot be written.
    """
    from filelock import FileLock, Timeout

    held = FileLock(project.state / "servers.lock", timeout=wait)
    try:
        project.state.mkdir(parents=True, exist_ok=True)
        held.acquire()
    except Timeout as error:
        raise BusyError(
            "another `sluice up` or `sluice down` is running here.", hint="Wait for it to end."
        ) from error
    except OSError as error:
        raise EnvironmentFailure(
            f"cannot write {project.state}: {error.strerror}", hint="Fix permissions."
        ) from error
    try:
        yield
    finally:
        held.release()


def _holder(port: int) -> str:
    with suppress(psutil.Error, OSError):
        for one in psutil.net_connections(kind="tcp"):
            if one.status == psutil.CONN_LISTEN and one.laddr.port == port and one.pid:
                return f"{psutil.Process(one.pid).name()} (process {one.pid})"
    return "another process"
