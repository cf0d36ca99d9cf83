"""Programs that a model wrote, run against tests in two confined processes; see `pass_at_k_jail` and `pass_at_k_roles`.

Confined: time, memory, processes, files, network, and everything else of the machine that a process could see by a path,
a process number or an address. Not confined: most of the kernel's own system calls (the seccomp filter is short; a hole in
the kernel is a hole here), the machine's load while a program runs, and what can be read of the standard library and of
/lib. Where the kernel, a container or another system does not allow the namespaces, nothing is run at all.

Only the tests' process reports, and no line of the program runs there, so that exit codes, prints, patched builtins and
exit handlers of a program change nothing. The price: arguments and results must be plain values.
"""

from __future__ import annotations

import json
import os
import secrets
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import IO, Any, Literal

from sluicegate.errors import EnvironmentFailure, EvidenceError

SCRIPTS = ("sluicegate.metrics.pass_at_k_jail:main", "sluicegate.metrics.pass_at_k_roles:judge")
"""Never imported here: run by themselves. A stage's fingerprint finds them by these names."""
JAIL, ROLES = (
    Path(__file__).with_name(f"{name.partition(':')[0].rpartition('.')[2]}.py") for name in SCRIPTS
)
START_SECONDS = 60.0
END_SECONDS = 5.0
LARGEST_STATUS = 2**16


@dataclass(frozen=True, slots=True)
class Limits:
    """What one program may use.

    Attributes:
        seconds: of processor time; three times as much by the clock.
        memory: bytes of address space of each process.
        file_bytes: bytes of one file.
        room: bytes of all files together.
        processes: processes and threads at one time, the first included.
        confinement: `namespaces`, or `limits_only`: no namespaces, no second process at all, and never as root. Files and
            the network are then as open to the program as to this user.
    """

    seconds: int = 5
    memory: int = 512 * 2**20
    file_bytes: int = 2**20
    room: int = 16 * 2**20
    processes: int = 4
    confinement: Literal["namespaces", "limits_only"] = "namespaces"


@dataclass(frozen=True, slots=True)
class Problem:
    """What a program is asked for, in the form of HumanEval.

    Attributes:
        prompt: the beginning of a module up to the function's docstring.
        entry_point: the function's name.
        test: a module that defines `check(candidate)`, or that calls the function by its name.
    """

    prompt: str
    entry_point: str
    test: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """Whether a program passed all tests and, where not, why; `reason` holds words of the program: show it, no more."""

    passed: bool
    reason: str = ""


def run_program(problem: Problem, programs: Sequence[str], limits: Limits | None = None) -> Outcome:
    """Run the first of `programs` that is Python (readings of one answer) against the problem's tests.

    Raises:
        EnvironmentFailure: this machine cannot confine a program, so that none was run; the hint says what is missing.
        EvidenceError: the tests themselves are broken: no program is to blame.
    """
    limits = limits or Limits()
    if not sys.platform.startswith("linux"):
        raise _refused(f"there are no namespaces on {sys.platform}")
    with ExitStack() as stack:
        job = {"limits": asdict(limits), "entry_point": problem.entry_point}
        ends = [stack.enter_context(end) for end in socket.socketpair()]
        tests = _start(
            stack,
            job | {"role": "tests", "helpers": _helpers(problem), "test": problem.test},
            ends[0],
        )
        program = _start(stack, job | {"role": "program", "programs": list(programs)}, ends[1])
        for end in ends:
            end.close()
        until = time.monotonic() + START_SECONDS
        for process in (tests, program):
            process.expect_ready(until)
        try:
            verdict = tests.line(time.monotonic() + 3 * limits.seconds)
        except TimeoutError:
            return Outcome(False, f"no verdict after {3 * limits.seconds} s")
    if "broken" in verdict:
        raise EvidenceError(
            f"the tests of {problem.entry_point} are broken: {verdict['broken']}",
            hint="Mend the tests in the golden set; arguments must be plain values.",
        )
    return Outcome(
        "passed" in verdict,
        str(verdict.get("failed", "")) or ("" if "passed" in verdict else "no verdict"),
    )


@cache
def confinement_works(limits: Limits) -> bool:
    """Try the sandbox on a good, a wrong and an escaping program, once in this process.

    Raises:
        EnvironmentFailure: it does not start, or does not tell them apart.
    """
    problem = Problem(
        "", "f", "import math, random, hashlib\nassert [f(n) for n in (1, 2)] == [2, 4]\n"
    )
    needs = "import math, random, hashlib, decimal, datetime, re, json, heapq, bisect, itertools, collections\n"
    good = run_program(problem, [f"{needs}def f(n): return n * 2\n"], limits)
    if not good.passed:
        raise _refused(f"a program that is right did not pass: {good.reason}")
    if run_program(problem, ["def f(n): return n\n"], limits).passed:
        raise _refused("a program that is wrong passed")
    if limits.confinement == "limits_only":
        return True
    outside = f"os.path.exists({sys.executable!r}) or os.path.exists('/proc/self') or os.path.exists('/etc/passwd')"
    escape = f"import os\ndef f(n): return {outside} or os.getuid() == 0 or os.getppid() or n * 2\n"
    held = run_program(problem, [escape], limits)
    if not held.passed:
        raise _refused(f"a program sees what it must not: {held.reason}")
    return True


def _helpers(problem: Problem) -> str:
    """The prompt as a module of its own: tests may use what it defines."""
    try:
        compile(problem.prompt, "prompt.py", "exec")
    except SyntaxError:
        return problem.prompt.rstrip() + "\n    pass\n"
    return problem.prompt


@dataclass(slots=True)
class _Process:
    """A confined process and the pipe on which it says how it is."""

    process: subprocess.Popen[bytes]
    status: IO[bytes]
    said: bytes = b""
    inner: int = 0

    def expect_ready(self, until: float) -> None:
        """Wait until it is shut in, and keep the number of the process inside.

        Raises:
            EnvironmentFailure: it cannot be shut in, or is not before `until` (monotonic seconds).
        """
        try:
            said = self._after_inner(until)
        except TimeoutError as error:
            raise _refused(f"the sandbox did not start within {START_SECONDS:g} s") from error
        if said.get("ready") is not True:
            raise _refused(
                str(said.get("refused", "the sandbox's process ended before it was ready"))
            )

    def _after_inner(self, until: float) -> Mapping[str, Any]:
        """The first thing it says after the number of the process inside; no candidate runs before that."""
        said = self.line(until)
        if "inner" not in said:
            return said
        self.inner = int(said["inner"])
        return self.line(until)

    def line(self, until: float) -> Mapping[str, Any]:
        """The next thing it says; empty when it has ended.

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
        """Kill it and all that it started: inside its namespace they go with the first.

        The process inside has a session of its own. Its number is its own as long as the one outside has not been told.
        """
        if not self.inner:
            with suppress(TimeoutError):
                self._after_inner(time.monotonic())
        if self.inner and self.process.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.inner, signal.SIGKILL)
            self.process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(END_SECONDS)
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.status.close()


def _start(stack: ExitStack, job: Mapping[str, Any], line: socket.socket) -> _Process:
    base = stack.enter_context(
        tempfile.TemporaryDirectory(prefix="sluice-program-", ignore_cleanup_errors=True)
    )
    with tempfile.TemporaryFile() as given:
        given.write(
            json.dumps({**job, "base": base, "stranger": 2**30 + secrets.randbelow(2**29)}).encode()
        )
        given.seek(0)
        reading, writing = os.pipe()
        try:
            process = subprocess.Popen(
                [sys.executable, "-S", "-s", "-B", str(JAIL), str(line.fileno()), str(writing)],
                stdin=given,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(line.fileno(), writing),
                env={"PYTHONHASHSEED": "0"},
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            os.close(reading)
            raise _refused(str(error)) from error
        finally:
            os.close(writing)
    started = _Process(process, os.fdopen(reading, "rb"))
    stack.callback(started.end)
    return started


def _refused(reason: str) -> EnvironmentFailure:
    return EnvironmentFailure(
        f"no program was run, since it cannot be confined here: {reason}.",
        hint="Linux 5.12 or later, with user namespaces allowed (or root outside a container). Where the programs can be "
        "trusted as far as this user is, write pass_at_1:limits_only.",
    )
