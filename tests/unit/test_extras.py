"""What an absent extra says."""

from __future__ import annotations

import subprocess
import sys

import pytest

CASES = {
    "trulens": ("trulens", "import sluicegate.judges.trulens_door"),
    "benchmarks": (
        "lm_eval",
        "from pathlib import Path; from sluicegate.evaluation.public_benchmarks import run_tasks; "
        "run_tasks(None, None, ['arc_easy'], digest='x')",
    ),
}


@pytest.mark.parametrize("extra", CASES)
def test_a_missing_extra_says_the_line_that_installs_it(extra: str) -> None:
    """Without the package the error is ours, and its hint is the command that brings it."""
    package, code = CASES[extra]
    script = (
        f"import sys; sys.modules[{package!r}] = None\n"
        "from sluicegate.errors import MissingExtraError\n"
        f"try:\n    {code}\nexcept MissingExtraError as error:\n    print(error.hint)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.strip() == f"pip install 'sluicegate[{extra}]'", done.stderr
