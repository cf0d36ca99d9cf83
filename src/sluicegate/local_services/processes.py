"""Processes that outlive the command that started them: recorded at once, found again, stopped with their children."""

from __future__ import annotations

import socket
import subprocess
import time
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
    """What `.sluice/servers.json` holds: `processes` and `ports` by server name, `deployed`; empty when absent.

    Raises:
        IntegrityError: the file is there but damaged.
    """
    path = project.state / "servers.json"
    return read_json(path) if path.exists() else {}


def record(project: Project, name: str) -> dict[str, Any] | None:
    """The recorded process of a server, alive or not."""
    found = state(project).get("processes", {}).get(name)
    return dict(found) if found else None


def update(project: Project, **changes: Any) -> None:
    """Replace top-level entries of `servers.json`, atomically."""
    write_json(project.state / "servers.json", state(project) | changes)


def forget(project: Project, name: str) -> None:
    """Drop the record of a process; its port is remembered, so that links stay valid."""
    processes = dict(state(project).get("processes", {}))
    if processes.pop(name, None) is not None:
        update(project, processes=processes)


def alive(project: Project, name: str) -> psutil.Process | None:
    """The recorded process, if that very process still runs (a reused process id is not it).

    The same start time proves it; a clock that was set meanwhile moves start times, then the same command line does.
    """
    found = record(project, name)
    if found is None:
        return None
    try:
        process = psutil.Process(int(found["pid"]))
        same = (
            abs(process.create_time() - float(found["started"])) < 2.0
            or process.cmdline() == found["command"]
        )
        return process if same and process.status() != psutil.STATUS_ZOMBIE else None
    except psutil.Error:
        return None


def start(project: Project, launch: Launch, environment: Mapping[str, str]) -> None:
    """Start `launch` in its own session, output to its log (the previous log is kept as `.log.1`), and record it.

    Raises:
        EnvironmentFailure: it cannot be started, or its log cannot be written.
    """
    log = log_of(project, launch.name)
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        if log.exists():
            log.replace(log.with_suffix(".log.1"))
        with log.open("wb") as stream:
            process = subprocess.Popen(
                launch.command, cwd=project.root, env=environment, stdin=subprocess.DEVNULL, stdout=stream,
                stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
    except OSError as error:
        raise EnvironmentFailure(
            f"cannot start {launch.name}: {error}", hint="See `sluice doctor`."
        ) from error
    entry = {
        "pid": process.pid, "started": _start_time(process.pid), "command": list(launch.command),
        "url": launch.url, "health": launch.health,
    }  # fmt: skip
    before = state(project)
    ports = dict(before.get("ports", {})) | ({launch.name: launch.port} if launch.port else {})
    update(project, processes=dict(before.get("processes", {})) | {launch.name: entry}, ports=ports)


def stop(process: psutil.Process, grace: float, *, signalled: bool = False) -> None:
    """End a process and all its children: ask, wait `grace` seconds, then kill.

    Args:
        process: the oldest of the tree; already gone is fine.
        grace: seconds between asking and killing.
        signalled: True when it was asked already (Ctrl-C reaches the whole terminal group).
    """
    family = [process]
    with suppress(psutil.NoSuchProcess):
        family += process.children(recursive=True)
        if not signalled:
            process.terminate()
    psutil.wait_procs([process], timeout=grace)
    with suppress(psutil.NoSuchProcess):
        family += [child for child in process.children(recursive=True) if child not in family]
    left = [
        member
        for member in family
        if member.is_running() and member.status() != psutil.STATUS_ZOMBIE
    ]
    for member in left:
        with suppress(psutil.NoSuchProcess):
            member.terminate()
    for member in psutil.wait_procs(left, timeout=3.0)[1]:
        with suppress(psutil.NoSuchProcess):
            member.kill()
    psutil.wait_procs(left, timeout=3.0)


def free_port(wanted: int) -> tuple[int, str]:
    """`wanted` if nothing listens there, else the next free one of the 50 above, and a line that names the holder.

    Raises:
        EnvironmentFailure: none of them is free.
    """
    for port in range(wanted, min(wanted + 50, 65536)):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with suppress(OSError):
                probe.bind((HOST, port))
                return (
                    port,
                    ""
                    if port == wanted
                    else f"port {wanted} is taken by {_holder(wanted)}; using {port}",
                )
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

    try:
        project.state.mkdir(parents=True, exist_ok=True)
        held = FileLock(project.state / "servers.lock", timeout=wait)
        held.acquire()
    except Timeout as error:
        raise BusyError(
            "another `sluice up` or `sluice down` is at work here.", hint="Wait for it to end."
        ) from error
    except OSError as error:
        raise EnvironmentFailure(
            f"cannot write {project.state}: {error.strerror}", hint="Fix permissions."
        ) from error
    try:
        yield
    finally:
        held.release()


def _start_time(pid: int) -> float:
    try:
        return float(psutil.Process(pid).create_time())
    except psutil.Error:
        return time.time()


def _holder(port: int) -> str:
    try:
        for connection in psutil.net_connections(kind="tcp"):
            if (
                connection.status == psutil.CONN_LISTEN
                and connection.laddr.port == port
                and connection.pid
            ):
                return f"{psutil.Process(connection.pid).name()} (process {connection.pid})"
    except (psutil.Error, OSError):
        return "another process"
    return "another process"
