"""DVC as a command: set up quietly, run, its errors told."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from sluicegate.errors import VersioningError
from sluicegate.hashing import write_atomic
from sluicegate.versioning.children import child


def ensure_dvc(root: Path) -> None:
    """Initialise DVC in a project that has none yet, with quiet, offline, verifying defaults."""
    if (root / ".dvc" / "config").is_file():
        return
    if (root / ".dvc").is_dir():
        # A cache brought back by CI before there was a project around it: `dvc init` refuses, and
        # with --force deletes it.
        write_atomic(
            root / ".dvc" / "config", "[core]\n    analytics = false\n    check_update = false\n"
        )
        write_atomic(root / ".dvc" / ".gitignore", "/config.local\n/tmp\n/cache\n")
        if not (root / ".git").exists():
            run_dvc(root, "config", "core.no_scm", "true")
        return
    inside = (
        subprocess.run(
            ["git", "-C", str(root), "rev-parse", "--git-dir"], capture_output=True, check=False
        ).returncode
        == 0
    )
    run_dvc(root, "init", *([] if inside and (root / ".git").exists() else ["--no-scm"]))
    run_dvc(root, "config", "core.analytics", "false")
    run_dvc(root, "config", "core.check_update", "false")


def run_dvc(root: Path, *arguments: str) -> str:
    """Output of a DVC command."""
    command = [sys.executable, "-m", "dvc", *arguments]
    with child(command, root, output=subprocess.PIPE) as process:
        output, errors = process.communicate()
    if process.returncode:
        reasons = [
            line.removeprefix("ERROR: ") for line in errors.splitlines() if line.startswith("ERROR")
        ]
        raise VersioningError(
            f"dvc {arguments[0]}: {' '.join(reasons) or errors.strip() or 'failed'}",
            hint="`sluice doctor` says what is missing.",
        )
    return output
