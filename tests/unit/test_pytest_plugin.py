"""The gate as a fixture and a marker: what each verdict does to a test, and that it costs nothing unused."""

from __future__ import annotations

import subprocess
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from sluicegate.scaffold import init

pytest_plugins = ["pytester"]
INSTALLED = any(
    point.value == "sluicegate.pytest_plugin" for point in entry_points(group="pytest11")
)
PLUGIN = [] if INSTALLED else ["-p", "sluicegate.pytest_plugin"]
TESTS = """
import pytest

def test_release(sluice_gate):
    assert sluice_gate.decision == "PROMOTE", sluice_gate.text

@pytest.mark.sluice_gate
def test_behind_the_gate():
    pass

def test_other():
    pass
"""


def git(root: Path, *arguments: str) -> None:
    """Run git with an author."""
    author = ["-c", "user.name=t", "-c", "user.email=t@example.invalid"]
    subprocess.run(["git", *author, *arguments], cwd=root, check=True, capture_output=True)


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project on a branch that changes the README only, with a test file that asks for the gate."""
    for name in (
        "SLUICE_BASE",
        "GITHUB_BASE_REF",
        "CI_MERGE_REQUEST_DIFF_BASE_SHA",
        "PYTEST_ADDOPTS",
    ):
        monkeypatch.delenv(name, raising=False)
    root = pytester.path / "project"
    init(root)
    git(root, "checkout", "-q", "-b", "mine")
    (root / "README.md").write_text("changed", "utf-8")
    git(root, "commit", "-qam", "readme")
    (root / "tests" / "test_gate.py").write_text(TESTS, "utf-8")
    (root / "pytest.ini").write_text("[pytest]\naddopts = --strict-markers\n", "utf-8")
    monkeypatch.chdir(root)
    return root


def test_nothing_changed_passes(project: Path, pytester: pytest.Pytester) -> None:
    """Where nothing of the release changed, tests that ask for the gate pass."""
    result = pytester.runpytest_subprocess(
        *PLUGIN, "--rootdir", ".", "--sluice-base", "main", "tests/test_gate.py"
    )
    result.assert_outcomes(passed=3)


def test_error_fails_with_the_hint(project: Path, pytester: pytest.Pytester) -> None:
    """A gate that cannot run fails the tests that ask for it, once, with the reason, and leaves the others alone."""
    result = pytester.runpytest_subprocess(
        *PLUGIN, "--rootdir", ".", "--sluice-base", "no-such", "tests/test_gate.py"
    )
    result.assert_outcomes(passed=1, errors=2)
    result.stdout.fnmatch_lines(["*no-such*"])


@pytest.mark.parametrize(("wish", "expected"), [("fail", {"errors": 2}), ("skip", {"skipped": 2})])
def test_hold(
    project: Path, pytester: pytest.Pytester, wish: str, expected: dict[str, int]
) -> None:
    """HOLD fails the tests, or skips them where the ini file says so; here a budget of no time makes it."""
    ini = f"[pytest]\nsluice_hold = {wish}\nsluice_max_seconds = 0.01\n"
    (project / "pytest.ini").write_text(ini, "utf-8")
    text = (project / "params.yaml").read_text("utf-8")
    (project / "params.yaml").write_text(text.replace("rank: 16", "rank: 8"), "utf-8")
    result = pytester.runpytest_subprocess(
        *PLUGIN, "--rootdir", ".", "--sluice-base", "main", "-rs", "tests/test_gate.py"
    )
    result.assert_outcomes(passed=1, **expected)
    result.stdout.fnmatch_lines(["*time is up*" if wish == "fail" else "*the release gate holds*"])


def test_a_limit_that_is_no_number_is_wrong_use(project: Path, pytester: pytest.Pytester) -> None:
    """Said before any test runs, in one line."""
    (project / "pytest.ini").write_text("[pytest]\nsluice_max_seconds = soon\n", "utf-8")
    result = pytester.runpytest_subprocess(*PLUGIN, "--rootdir", ".", "tests/test_gate.py")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["ERROR: sluice_max_seconds = soon: write a number of seconds, or leave it out."]
    )


def test_unused_costs_nothing(project: Path, pytester: pytest.Pytester) -> None:
    """A session that does not ask for the gate imports nothing of the engine, and `--help` shows the option."""
    (project / "tests" / "test_gate.py").write_text(
        "import sys\n"
        "def test_light():\n"
        "    heavy = {'pydantic', 'numpy', 'torch', 'mlflow', 'dvc', 'sqlalchemy', 'sluicegate.line'}\n"
        "    assert not heavy & set(sys.modules)\n",
        "utf-8",
    )
    pytester.runpytest_subprocess(*PLUGIN, "--rootdir", ".", "tests/test_gate.py").assert_outcomes(
        passed=1
    )
    helped = pytester.runpytest_subprocess(*PLUGIN, "--help")
    helped.stdout.fnmatch_lines(["*--sluice-base*"])
