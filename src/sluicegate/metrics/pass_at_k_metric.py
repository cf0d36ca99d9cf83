"""The metric `pass_at_1`: whether the program in an answer passes the tests in the reference.

A golden row's reference is a JSON object in the form of HumanEval, as text: `{"prompt": ...,
"entry_point": ..., "test": ...}`. The mean over the set is pass@1 (M. Chen et al., "Evaluating
large language models trained on code", 2021); for pass@k of several answers a problem see
`run_many` and `pass_at_k.mean_pass_at_k`.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from sluicegate.errors import EvidenceError
from sluicegate.hashing import digest_file, digest_value
from sluicegate.metrics.base import Metric, alone
from sluicegate.metrics.pass_at_k_runner import (
    Limits,
    Outcome,
    Problem,
    confinement_works,
    run_program,
)

_FENCE = re.compile(r"^[ \t]*```[^\n]*\n(.*?)(?:^[ \t]*```|\Z)", re.MULTILINE | re.DOTALL)
_BEGINS = re.compile(r"^(?:def|class|import|from|@|async def)\b", re.MULTILINE)


def read_problem(reference: str) -> Problem:
    """The problem in a golden row's reference.

    Raises:
        EvidenceError: it is no JSON object with the texts `prompt`, `entry_point` and `test`.

    Example:
        >>> read_problem('{"prompt": "", "entry_point": "f", "test": "assert f(1) == 2"}').entry_point
        'f'
    """
    try:
        value = json.loads(reference)
        parts = [value[name] for name in ("prompt", "entry_point", "test")]
    except (ValueError, KeyError, TypeError) as error:
        raise EvidenceError(
            f"a reference contains no tests: {reference[:60]!r}",
            hint='pass_at_1 needs {"prompt": ..., "entry_point": ..., "test": ...} as JSON, the '
            "form of HumanEval.",
        ) from error
    if not all(isinstance(part, str) for part in parts) or not parts[1].isidentifier():
        raise EvidenceError("prompt, entry_point (a name) and test of a reference must be texts.")
    return Problem(*parts)


def readings(problem: Problem, answer: str) -> list[str]:
    """The programs that an answer may mean, the likeliest first; the first that is Python is run.

    A fenced block counts before the text around it. An answer that defines the function stands
    below the prompt; any other continues it, its first line indented where generation took that
    away, and ends before unindented text.

    Example:
        >>> problem = Problem("def f(n):\\n    'Double n.'\\n", "f", "")
        >>> readings(problem, "return n * 2\\n\\nThis doubles it.")[0]
        "def f(n):\\n    'Double n.'\\n    return n * 2\\n\\n"
    """
    blocks: list[str] = _FENCE.findall(answer)
    defines = re.compile(
        rf"^(?:(?:async )?def|class) +{re.escape(problem.entry_point)}\b", re.MULTILINE
    )
    code = next(
        (block for block in blocks if defines.search(block)), blocks[0] if blocks else answer
    )
    if defines.search(code):
        found = _BEGINS.search(code)
        code = code[found.start() if found else 0 :]
        below = [
            f"{problem.prompt.rstrip()}\n    pass\n\n\n",
            f"{problem.prompt.rstrip()}\n\n\n",
            "",
        ]
        return [start + text for text in (code, _one_function(code, defines)) for start in below]
    starts = ["", "    "] if code[:1].isspace() else ["    ", ""]
    prompt = (
        problem.prompt
        if problem.prompt.endswith("\n") or not problem.prompt
        else f"{problem.prompt}\n"
    )
    return [prompt + start + text for text in (_indented(code), code) for start in starts]


def _indented(text: str) -> str:
    """The first line and what follows up to the next line that begins at the margin."""
    ends = re.compile(r"\n(?=\S)").search(text)
    return text[: ends.start() + 1] if ends else text


def _one_function(code: str, defines: re.Pattern[str]) -> str:
    """All before the function, and the function itself."""
    found = defines.search(code)
    return code[: found.start()] + _indented(code[found.start() :]) if found else code


def run_many(
    problems: Sequence[Problem], answers: Sequence[Sequence[str]], limits: Limits | None = None
) -> list[tuple[Outcome, ...]]:
    """Run every answer to every problem, on all processors: outcomes in the order given.

    `[(len(row), sum(one.passed for one in row)) for row in found]` is what `mean_pass_at_k` takes.

    Raises:
        EnvironmentFailure: programs cannot be confined on this machine; none was run.
        EvidenceError: a problem's tests are broken, or lengths differ.
    """
    if len(problems) != len(answers):
        raise EvidenceError(f"{len(problems)} problems, {len(answers)} rows of answers.")
    limits = limits or Limits()
    confinement_works(limits)
    jobs = [
        (problem, readings(problem, one))
        for problem, row in zip(problems, answers, strict=True)
        for one in row
    ]
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        done = pool.map(lambda job: run_program(job[0], job[1], limits), jobs)
        return [tuple(next(done) for _ in row) for row in answers]


def passes_tests_many(
    sources: Sequence[str],
    outputs: Sequence[str],
    references: Sequence[Sequence[str]],
) -> list[float]:
    """1.0 where the program in an output passes its first reference's tests, else (or blank) 0.0.

    Raises:
        EnvironmentFailure: programs cannot be confined on this machine; none was run.
        EvidenceError: a reference holds no tests, or broken ones.
    """
    problems = [read_problem(row[0] if row else "") for row in references]
    answers = [[output] if output.strip() else [] for output in outputs]
    return [float(any(one.passed for one in row)) for row in run_many(problems, answers)]


def _identity() -> str:
    """What else decides: the runner's files, the limits in them and the version of Python."""
    names = ("pass_at_k_roles.py", "pass_at_k_runner.py", "sandbox.py")
    files = [digest_file(Path(__file__).with_name(name)) for name in names]
    return digest_value([*files, digest_file(Path(__file__)), list(sys.version_info[:2])])


_TESTS = {"prompt": "", "entry_point": "f", "test": "assert f(1) == 2"}

PASS_AT_1 = Metric(
    "pass_at_1", "higher", "0 or 1", (0.0, 1.0), alone(passes_tests_many), many=passes_tests_many,
    identity=_identity, best=("", "def f(n):\n    return 2 * n", json.dumps(_TESTS)),
)  # fmt: skip
