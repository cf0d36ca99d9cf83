"""Without a sandbox no program runs, whatever the reason."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from sluicegate.errors import EnvironmentFailure
from sluicegate.metrics import sandbox
from sluicegate.metrics.pass_at_k_runner import Problem, run_program


def refusal(ran: Path) -> EnvironmentFailure:
    """How a program that would leave the file `ran` is refused."""
    with pytest.raises(EnvironmentFailure, match="No program was run") as caught:
        run_program(Problem("", "f", "f(1)"), [f"open({str(ran)!r}, 'w')\ndef f(n): return 1"])
    assert not ran.exists()
    return caught.value


def test_without_bwrap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where bubblewrap is absent, the error says how to install it."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sandbox, "PACKAGE", "no_such_package")
    error = refusal(tmp_path / "ran")
    assert "bubblewrap (bwrap) is not installed" in str(error)
    assert "apt-get install bubblewrap" in error.hint


def test_bwrap_that_cannot_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the kernel refuses the namespaces, the error holds bwrap's own words."""
    fake = tmp_path / "bin" / "bwrap"
    fake.parent.mkdir()
    fake.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}{os.pathsep}{os.environ['PATH']}")
    assert "No permissions to create new namespace" in str(refusal(tmp_path / "ran"))


def test_on_another_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """macOS has no bubblewrap: the error names the system."""
    monkeypatch.setattr(sys, "platform", "darwin")
    assert "darwin" in str(refusal(tmp_path / "ran"))
