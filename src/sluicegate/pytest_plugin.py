"""The gate as a pytest fixture and marker, for teams whose gate is their test suite.

    def test_release(sluice_gate):
        assert sluice_gate.decision == "PROMOTE", sluice_gate.text

    @pytest.mark.sluice_gate                 # the same without an assertion: only PROMOTE runs the test
    def test_after_the_gate(): ...

Nothing of the engine is imported, and nothing runs, before a test asks for it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from sluicegate.line.gate.run import GateRun

_MARK = "sluice_gate(): runs only where the release gate promotes what is checked out"


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--sluice-base` and three ini options."""
    group = parser.getgroup("sluicegate", "release gate")
    group.addoption(
        "--sluice-base",
        metavar="REF",
        default=None,
        help="branch to merge into, for `sluice_gate` (default: SLUICE_BASE, or what GitHub or GitLab name)",
    )
    parser.addini(
        "sluice_hold",
        "what HOLD (not enough evidence) does to a test: fail or skip",
        default="fail",
    )
    parser.addini("sluice_root", "the project's folder, relative to pytest's root", default=".")
    parser.addini(
        "sluice_max_seconds", "the most seconds that the gate may take; after that HOLD", default=""
    )


def pytest_configure(config: pytest.Config) -> None:
    """Tell pytest about the marker; a wrong limit stops the session before any test runs."""
    config.addinivalue_line("markers", _MARK)
    _seconds(config)


@pytest.fixture(scope="session")
def _sluice_run(request: pytest.FixtureRequest) -> GateRun:
    """The gate, run once in a session; an error of it fails every test that asks."""
    from sluicegate.budget import Budget
    from sluicegate.errors import SluiceError
    from sluicegate.line.gate.base_ref import base_from_environment
    from sluicegate.line.gate.run import run_gate
    from sluicegate.line.run import open_run

    config = request.config
    base = config.getoption("--sluice-base")
    try:
        return run_gate(
            open_run(Path(config.rootpath) / str(config.getini("sluice_root"))),
            base=base_from_environment() if base is None else str(base),
            budget=Budget(seconds=_seconds(config)),
            quiet=True,
        )
    except SluiceError as error:
        hint = f"\n  what to do: {error.hint}" if error.hint else ""
        pytest.fail(f"the release gate could not run: {error}{hint}", pytrace=False)


def _seconds(config: pytest.Config) -> float | None:
    limit = str(config.getini("sluice_max_seconds")).strip()
    try:
        return float(limit) if limit else None
    except ValueError:
        raise pytest.UsageError(
            f"sluice_max_seconds = {limit}: write a number of seconds, or leave it out."
        ) from None


@pytest.fixture(scope="session")
def sluice_gate(request: pytest.FixtureRequest, _sluice_run: GateRun) -> GateRun:
    """How the gate ended: `.decision` ("PROMOTE", "REJECT"), `.text`, `.report`, `.outcome`.

    HOLD never reaches a test: it fails it, or skips it with `sluice_hold = skip` in the ini file.
    """
    if _sluice_run.decision == "HOLD":
        wish = str(request.config.getini("sluice_hold"))
        if wish == "skip":
            pytest.skip(f"the release gate holds: {_sluice_run.report.headline}")
        pytest.fail(_sluice_run.text, pytrace=False)
    return _sluice_run


@pytest.fixture(autouse=True)
def _sluice_marked(request: pytest.FixtureRequest) -> None:
    """A marked test runs only behind a gate that promotes."""
    if request.node.get_closest_marker("sluice_gate") is None:
        return
    run = request.getfixturevalue("sluice_gate")
    if run.decision != "PROMOTE":
        pytest.fail(run.text, pytrace=False)
