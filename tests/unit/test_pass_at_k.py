"""pass@k: programs run where they can harm nothing, and a verdict that only the tests can give."""

from __future__ import annotations

import gzip
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from sluicegate.errors import EnvironmentFailure, EvidenceError
from sluicegate.metrics import find_metric, sandbox, score_many
from sluicegate.metrics.pass_at_k import mean_pass_at_k
from sluicegate.metrics.pass_at_k_metric import read_problem, readings, run_many
from sluicegate.metrics.pass_at_k_runner import (
    Limits,
    Outcome,
    Problem,
    confinement_works,
    run_program,
)
from soak_scale import SOAK

HUMANEVAL = (
    Path(os.environ.get("SLUICE_SHARED_DATA", "/nowhere")) / "humaneval" / "HumanEval.jsonl.gz"
)
SHORT = Limits(seconds=1)
DOUBLE = Problem(
    "def f(n):\n    'Double n.'\n", "f", "def check(candidate):\n    assert candidate(3) == 6\n"
)


@pytest.fixture(autouse=True, scope="module")
def confined() -> None:
    """Programs are run on machines that can confine them; elsewhere these tests are skipped, visibly."""
    try:
        confinement_works(SHORT)
    except EnvironmentFailure as error:
        pytest.skip(f"{error} {error.hint}")


def run(body: str, problem: Problem = DOUBLE, limits: Limits = SHORT) -> Outcome:
    """The outcome of one program."""
    return run_program(problem, [body], limits)


def test_right_and_wrong_programs() -> None:
    """A program passes if, and only if, every assertion of the tests holds; the reason says what did not."""
    assert run("def f(n): return 2 * n") == Outcome(True)
    assert run("def f(n): return n").reason == "AssertionError: "
    assert "ZeroDivisionError" in run("def f(n): return n / 0").reason
    assert "KeyError" in run("def g(n): return 2 * n").reason
    assert "SyntaxError" in run("def f(n) return 2").reason


FORGERIES = {
    "exit before the tests": "import sys\nsys.exit(0)",
    "exit in the call": "import sys\ndef f(n): sys.exit(0)",
    "hard exit": "import os\ndef f(n): os._exit(0)",
    "prints": "print('passed', 1.0, {'passed': ''})\ndef f(n): return 0",
    "patched builtins": """
import builtins
builtins.AssertionError = ValueError
builtins.abs = builtins.sum = builtins.len = lambda *x: 6
def f(n): return 0
""",
    "exit handler": "import atexit, os\natexit.register(lambda: os._exit(0))\ndef f(n): return 0",
    "equal to everything": """
class All(int):
    def __eq__(self, other): return True
    __hash__ = int.__hash__
def f(n): return All(1)
""",
    "verdict on every descriptor": """
import os
def f(n):
    for one in range(64):
        try: os.write(one, b'{"passed": ""}\\n')
        except OSError: pass
    return 0
""",
    "other objects": """
import gc
def f(n):
    found = [one for one in gc.get_objects() if isinstance(one, dict) and "test" in one]
    return 6 if found else 0
""",
    "end of an iteration": "def f(n): raise StopIteration",
    "a reply of its own": """
import gc, json, socket
def f(n):
    data = json.dumps({"passed": ""}).encode()
    line = [one for one in gc.get_objects() if isinstance(one, socket.socket)][0]
    line.sendall(len(data).to_bytes(4, "big") + data)
    return 0
""",
    "a deep reply": "def f(n):\n    value = []\n    for _ in range(900): value = [value]\n    return value",
    "a huge reply": "def f(n): return 'x' * (20 * 2**20)",
    "not a plain value": "def f(n): return lambda: 6",
    "recursion": "def f(n): return f(n)",
    "crash": "import ctypes\ndef f(n): return ctypes.string_at(0)",
    "signals": """
import os
def f(n):
    os.kill(os.getppid(), 9)
    os.kill(0, 9)
    os.kill(-1, 9)
    return 0
""",
}


@pytest.mark.parametrize("body", FORGERIES.values(), ids=FORGERIES.keys())
def test_verdict_is_not_forged(body: str) -> None:
    """No exit, print, patch, handler, operator, descriptor, message or signal of a program makes it pass."""
    assert not run(body).passed


def test_iterations_of_the_tests_are_not_cut_short() -> None:
    """A program that raises StopIteration does not end a `map` in the tests early and so skip what they ask."""
    problem = Problem("", "f", "assert [value for value in map(f, [1, 2]) if value != 2] == []\n")
    assert run("def f(n): return 2", problem).passed
    assert not run("def f(n): raise StopIteration", problem).passed


def test_time_memory_files_and_processes_are_bounded() -> None:
    """Loops, sleeps, memory, files and forks end within their limits, as failures; nothing of them is left."""
    started = time.monotonic()
    assert not run("def f(n):\n    while True: pass").passed
    assert run("import time\ndef f(n): time.sleep(60)").reason == "no verdict after 3 s"
    assert "MemoryError" in run("def f(n): return bytearray(2**30)").reason
    assert "File too large" in run("def f(n): open('x', 'wb').write(b'x' * 2**21)").reason
    many = "def f(n):\n    for name in range(100): open(str(name), 'wb').write(b'x' * 2**20)"
    assert "No space" in run(many).reason
    bomb = "import os\ndef f(n):\n    while True:\n        try: os.fork()\n        except OSError: pass"
    assert not run(bomb).passed
    thread = "threading.Thread(target=time.sleep, args=(9,)).start()"
    threads = f"import threading, time\ndef f(n):\n    for _ in range(9): {thread}"
    assert "can't start new thread" in run(threads).reason
    assert time.monotonic() - started < 40
    wait_until(lambda: not left_over())


def left_over() -> list[str]:
    """Command lines of sandbox processes that still run."""
    lines = subprocess.run(
        ["ps", "-ewwo", "args"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    return [line for line in lines if sandbox.SCRIPT in line]


UNBOUND = """
import ctypes, os, time
ctypes.CDLL(None).prctl(1, 0, 0, 0, 0)
os._exit = lambda code: time.sleep(60)
def f(n): return 2 * n
"""
"""A program that takes back the signal at its parent's death, and does not end when the tests have."""


def test_daemons_die_with_the_verdict() -> None:
    """A process that a program sends into the background does not outlive the run."""
    daemon = "import os, time\nif not os.fork():\n    os.setsid()\n    time.sleep(60)\ndef f(n): return 2 * n"
    for body in (daemon, UNBOUND):
        assert run(body).passed
        wait_until(lambda: not left_over())


def test_programs_die_with_a_killed_run() -> None:
    """Where the run itself is killed, its programs die as well, whatever they do about it."""
    slow = UNBOUND.replace("return 2 * n", "time.sleep(60)")
    call = f"run_program(Problem('', 'f', 'f(1)'), [{slow!r}], Limits(seconds=20))"
    script = f"from sluicegate.metrics.pass_at_k_runner import Limits, Problem, run_program\n{call}"
    with subprocess.Popen([sys.executable, "-c", script]) as running:
        try:
            wait_until(lambda: len(left_over()) >= 4)
            time.sleep(0.5)
        finally:
            running.kill()
    wait_until(lambda: not left_over())


def wait_until(reached: Callable[[], bool]) -> None:
    """Look for ten seconds."""
    until = time.monotonic() + 10
    while not reached():
        assert time.monotonic() < until
        time.sleep(0.05)


SHARED = """
import ctypes
library = ctypes.CDLL(None)
def f(n):
    made = [library.shmget(0, ctypes.c_size_t(4096), 0o1600), library.semget(0, 1, 0o1600), library.msgget(0, 0o1600)]
    return made if made != [-1] * 3 else 2 * n
"""


def test_memory_outside_the_address_space_is_refused() -> None:
    """System V shared memory, semaphores and messages, which no limit counts, cannot be made."""
    assert run(SHARED) == Outcome(True)


def test_unknown_processors_run_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the numbers of those system calls are unknown, no program is run."""
    monkeypatch.setattr(sandbox, "_SYSTEM_V", {})
    with pytest.raises(EnvironmentFailure, match="System V"):
        run("def f(n): return 2 * n")


def test_slow_start_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sandbox that does not start in time is refused as one that does not start, and nothing of it is left."""
    monkeypatch.setattr(sandbox, "START_SECONDS", 0.0)
    with pytest.raises(EnvironmentFailure, match="did not start within 0 s"):
        run("def f(n): return 2 * n")
    wait_until(lambda: not left_over())


@pytest.fixture
def listener() -> Iterator[int]:
    """A port of this machine on which somebody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield int(server.getsockname()[1])


def test_nothing_of_the_machine_is_in_reach(tmp_path: Path, listener: int) -> None:
    """A program sees no file, folder, environment variable, process, network, device or socket of this machine."""
    secret = tmp_path / "secret"
    secret.write_text("x")
    inside = {
        "read": f"open({str(secret)!r}).read()",
        "write": f"open({str(tmp_path / 'new')!r}, 'w')",
        "home": "os.listdir('/home')",
        "proc": "os.listdir('/proc')",
        "sys": "os.listdir('/sys')",
        "dev": "os.listdir('/dev')",
        "programs": "os.stat('/bin/sh') or os.stat('/usr/bin/env')",
        "bwrap": "os.stat('/usr/bin/bwrap')",
        "job of the tests": "__import__('json').load(open('/job.json'))['test']",
        "script": "open('/sandboxed.py', 'a')",
        "root folder": "open('/new', 'w')",
        "loopback": f"socket.create_connection(('127.0.0.1', {listener}), 1)",
        "name service": "socket.getaddrinfo('example.org', 80)",
        "raw socket": "socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)",
        "library": f"open({os.__file__!r}, 'a')",
        "user namespace": "ctypes.CDLL(None).unshare(0x10000000) == 0 or missing",
        "mount": "ctypes.CDLL(None).mount(b'x', b'/work', b'tmpfs', 0, None) == 0 or missing",
        "escape": "os.chroot('.')",
        "root": "os.setuid(0) or os.getuid() == 0 and missing",
        "other process": "any(map(alive, range(20, 5000))) or missing",
        "environment": "os.environ['PATH']",
        "priority": "os.nice(-5)",
    }
    tries = (
        f"    try:\n        {act}\n        done.append({name!r})\n    except errors: pass\n"
        for name, act in inside.items()
    )
    start = (
        "import os, socket, ctypes\nerrors = (OSError, KeyError, NameError)\n"
        "def alive(number):\n    try: return os.kill(number, 0) is None\n    except OSError: return False\n"
        "def f(n):\n    done = []\n"
    )
    body = f"{start}{''.join(tries)}    return done or 2 * n\n"
    told = Problem("", "f", "found = f(3)\nassert found == 6, found\n")
    assert run(body, told) == Outcome(True)
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]


def test_arguments_and_results_keep_their_types() -> None:
    """Plain values arrive as what they were, arguments changed in place are seen, and expected exceptions can be caught."""
    values = [
        None,
        True,
        1,
        2**200,
        -0.5,
        float("inf"),
        1j,
        "ü\ud800",
        b"x",
        [1, (2,)],
        {1: {2}},
        frozenset({3}),
        (),
    ]
    test = (
        f"values = {values!r}\nimport math\n".replace("inf", "math.inf").replace(
            "import math\n", "", 1
        )
        + "for value in values:\n    back = f(value)\n    assert back == value and type(back) is type(value), value\n"
    )
    assert run("def f(n): return n", Problem("import math\n", "f", test)) == Outcome(True)
    sort = Problem(
        "", "f", "x = [3, 1]\ny = {}\nassert f(x, y) is None and x == [1, 3] and y == {1: 2}\n"
    )
    assert run("def f(x, y):\n    x.sort()\n    y[1] = 2", sort) == Outcome(True)
    raises = Problem(
        "",
        "f",
        "try: f(1)\nexcept ValueError as error: assert 'no' in str(error)\nelse: assert False\n",
    )
    assert run("def f(n): raise ValueError('no')", raises) == Outcome(True)
    assert not run("def f(n): return 1", raises).passed


@pytest.mark.parametrize(
    "test",
    [
        "assert True",
        "def check(candidate): pass",
        "assert undefined",
        "f(lambda: 1)",
        "def check(c) assert",
    ],
)
def test_broken_tests_are_nobodys_fault(test: str) -> None:
    """Tests that never call the function, cannot run, or hand over what is not a plain value are an error, not a score."""
    with pytest.raises(EvidenceError, match="broken"):
        run("def f(n): return 6", Problem("", "f", test))


def test_answers_in_every_usual_form_are_read() -> None:
    """A continuation, with or without its indentation, a whole function and a fenced one, with talk around, all run."""
    answers = [
        "    return 2 * n\n",
        "return 2 * n",
        "total = n\n    total += n\n    return total\n\nThis adds n to itself.",
        "def f(n):\n    return 2 * n",
        "Sure! Here it is:\n```python\ndef f(n):\n    return 2 * n\n```\nIt doubles.",
        "```\nreturn n + n\n```",
        "Here you are.\n\nimport math\ndef f(n):\n    return math.prod([2, n])\n\nI hope that this helps!",
        "```python\nprint(f(2))\n```\nand\n```python\ndef f(n):\n    return n * 2",
    ]
    found = run_many([DOUBLE] * len(answers), [[answer] for answer in answers], SHORT)
    assert [row[0] for row in found] == [Outcome(True)] * len(answers)
    assert readings(Problem("import math\n", "f", ""), "def f(n): return 1")[1].startswith(
        "import math\n\n\ndef f"
    )


def test_metric_scores_and_estimates() -> None:
    """`pass_at_1` scores 1 or 0, a blank answer 0 without a run, and several answers a problem give pass@k."""
    metric = find_metric("pass_at_1")
    reference = json.dumps({"prompt": DOUBLE.prompt, "entry_point": "f", "test": DOUBLE.test})
    scores = score_many(metric, ["", "", ""], ["return 2 * n", " ", "return n"], [[reference]] * 3)
    assert scores == [1.0, 0.0, 0.0]
    found = run_many([DOUBLE, DOUBLE], [["return 2 * n", "return 1"], ["return 1", "return 2"]])
    assert mean_pass_at_k([(len(row), sum(one.passed for one in row)) for row in found], 1) == 0.25


@pytest.mark.parametrize(
    "text", ["x", "[]", '{"prompt": ""}', '{"prompt": "", "entry_point": "a b", "test": ""}']
)
def test_references_without_tests_are_refused(text: str) -> None:
    """A reference that is not tests in HumanEval's form stops the evaluation and says what is needed."""
    with pytest.raises(EvidenceError):
        read_problem(text)


IN_A_USER_NAMESPACE = """
import ctypes, os, sys
if ctypes.CDLL(None).unshare(0x10000000 | 0x20000):
    sys.exit("no user namespaces here")
user, group = IDS
for name, text in ("setgroups", "deny"), ("uid_map", f"1000 {user} 1"), ("gid_map", f"1000 {group} 1"):
    open(f"/proc/self/{name}", "w").write(text)
from sluicegate.metrics.pass_at_k_runner import Limits, Problem, confinement_works, run_program
problem = Problem("", "f", "assert f(1)")
print(run_program(problem, ["def f(n): return 1"]), confinement_works(Limits(seconds=1)))
"""


def test_confinement_without_root() -> None:
    """A user who is not root gets the same confinement."""
    script = f"IDS = {os.geteuid()}, {os.getegid()}\n{IN_A_USER_NAMESPACE}"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    if "no user namespaces" in done.stderr:
        pytest.skip("the kernel allows no user namespaces, so that a process in one cannot be made")
    assert done.stdout == "Outcome(passed=True, reason='') True\n", done.stderr


@pytest.mark.skipif(
    not HUMANEVAL.is_file(), reason="HumanEval.jsonl.gz is not here (SLUICE_SHARED_DATA)"
)
def test_humaneval() -> None:
    """HumanEval's own solutions all pass, and the same problems answered with `pass` all fail."""
    rows = [json.loads(line) for line in gzip.decompress(HUMANEVAL.read_bytes()).splitlines()]
    assert len(rows) == 164
    rows = rows if SOAK else rows[::8]
    references = [[json.dumps(row)] for row in rows]
    metric = find_metric("pass_at_1")
    sources = [row["prompt"] for row in rows]
    assert score_many(metric, sources, [row["canonical_solution"] for row in rows], references) == [
        1.0
    ] * len(rows)
    assert score_many(metric, sources, ["    pass\n"] * len(rows), references) == [0.0] * len(rows)
