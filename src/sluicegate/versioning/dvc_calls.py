"""DVC as a command: set up quietly, run, its errors told."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from sluicegate.errors import VersioningError
from sluicegate.hashing import write_atomic
from sluicegate.versioning.children import child


def ensure_dvc(root: Path) -> None:
    """Initialise DVC in a project that has none yet, with quiet, offline, verifying defaults.

    Not by `dvc init`: it stages files in git's index, and refuses a cache that CI brought back.
    """
    if (root / ".dvc" / "config").is_file():
        return
    alone = "" if (root / ".git").exists() else "    no_scm = true\n"
    write_atomic(root / ".dvc" / ".gitignore", "/config.local\n/tmp\n/cache\n")
    write_atomic(
        root / ".dvc" / "config",
        f"[core]\n    analytics = false\n    check_update = false\n{alone}",
    )


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
