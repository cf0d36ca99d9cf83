"""Programs that a model wrote, run against tests in two sandboxes; see `pass_at_k_roles`.

Only the tests' process reports, and no line of the program runs there. The price: arguments and
results must be plain values. What is confined and what is not: docs/reference/metrics.md.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from sluicegate.errors import EvidenceError
from sluicegate.metrics import sandbox

SCRIPTS = ("sluicegate.metrics.pass_at_k_roles:main",)
"""Never imported here: run by itself. A stage's fingerprint finds it by this name."""
ROLES = Path(__file__).with_name("pass_at_k_roles.py")


@dataclass(frozen=True, slots=True)
class Limits:
    """What one program may use.

    Attributes:
        seconds: of processor time; three times as much by the clock.
        memory: bytes of address space of each process.
        file_bytes: bytes of one file.
        room: bytes of all files together.
        processes: processes and threads at one time, the first included.
    """

    seconds: int = 5
    memory: int = 512 * 2**20
    file_bytes: int = 2**20
    room: int = 16 * 2**20
    processes: int = 4


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
    """Whether all tests passed or why not; `reason` holds words of the program: only show it."""

    passed: bool
    reason: str = ""


def run_program(problem: Problem, programs: Sequence[str], limits: Limits | None = None) -> Outcome:
    """Run the first of `programs` that is Python (readings of one answer) against the tests.

    Raises:
        EnvironmentFailure: this machine cannot confine a program, so that none was run; the hint
            says what is missing.
        EvidenceError: the tests themselves are broken: no program is to blame.
    """
    limits = limits or Limits()
    common = {"limits": asdict(limits), "entry_point": problem.entry_point}
    asked = common | {"role": "tests", "helpers": _helpers(problem), "test": problem.test}
    with ExitStack() as stack:
        ends = [stack.enter_context(end) for end in socket.socketpair()]
        jobs = (asked, common | {"role": "program", "programs": list(programs)})
        started = [
            sandbox.start(stack, ROLES, job, end, limits.room)
            for job, end in zip(jobs, ends, strict=True)
        ]
        for end in ends:
            end.close()
        until = time.monotonic() + sandbox.START_SECONDS
        for one in started:
            one.expect_ready(until)
        try:
            verdict = started[0].line(time.monotonic() + 3 * limits.seconds)
        except TimeoutError:
            return Outcome(False, f"no verdict after {3 * limits.seconds} s")
    if "broken" in verdict:
        raise EvidenceError(
            f"The tests of {problem.entry_point} are broken: {verdict['broken']}",
            hint="Correct the tests in the golden set; arguments must be plain values.",
        )
    passed = "passed" in verdict
    return Outcome(passed, str(verdict.get("failed", "")) or ("" if passed else "no verdict"))


@cache
def confinement_works(limits: Limits) -> bool:
    """Try the sandbox on a good, a wrong and an escaping program, once in this process.

    Raises:
        EnvironmentFailure: it does not start, or does not tell them apart.
    """
    problem = Problem("", "f", "import math, random\nassert [f(n) for n in (1, 2)] == [2, 4]\n")
    needs = "import math, random, hashlib, decimal, datetime, re, json, heapq, itertools\n"
    good = run_program(problem, [f"{needs}def f(n): return n * 2\n"], limits)
    if not good.passed:
        raise sandbox.refused(f"a program that is right did not pass: {good.reason}")
    if run_program(problem, ["def f(n): return n\n"], limits).passed:
        raise sandbox.refused("a program that is wrong passed")
    outside = " or ".join(f"os.path.exists({path!r})" for path in ("/proc", "/sys", "/etc/passwd"))
    escape = f"import os\ndef f(n): return {outside} or os.getuid() == 0 or n * 2\n"
    held = run_program(problem, [escape], limits)
    if not held.passed:
        raise sandbox.refused(f"a program sees what it must not: {held.reason}")
    return True


def _helpers(problem: Problem) -> str:
    """The prompt as a module of its own: tests may use what it defines."""
    try:
        compile(problem.prompt, "prompt.py", "exec")
    except SyntaxError:
        return problem.prompt.rstrip() + "\n    pass\n"
    return problem.prompt
