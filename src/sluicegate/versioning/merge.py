"""Edits that people have not committed yet, and merges of texts three ways, as git does them."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

from sluicegate.errors import VersioningError
from sluicegate.versioning import git


def uncommitted(root: Path, paths: Iterable[str]) -> list[str]:
    """Those of `paths`, files below `root`, that are not in the checked-out commit as they are.

    Raises:
        VersioningError: git is missing, or `root` is not in a repository.
    """
    status = ("--literal-pathspecs", "status", "--porcelain", "--ignored", "--untracked-files=all")
    return [path for path in paths if git(root, *status, "--", path)]


def merge(mine: bytes, base: bytes, theirs: bytes) -> bytes | None:
    """The text with the changes that `mine` and `theirs` made to `base`; None where they collide.

    Raises:
        VersioningError: git is missing, or cannot merge these bytes.
    """
    with tempfile.TemporaryDirectory() as folder:
        names = ("mine", "base", "theirs")
        for name, text in zip(names, (mine, base, theirs), strict=True):
            Path(folder, name).write_bytes(text)
        command = ["git", "merge-file", "--stdout", "--quiet", *names]
        try:
            done = subprocess.run(command, cwd=folder, capture_output=True, check=False)
        except FileNotFoundError as error:
            raise VersioningError("git is not installed.", hint="apt-get install git") from error
    if done.returncode < 0 or done.returncode > 127:  # up to 127: the number of collisions
        raise VersioningError(f"git merge-file: {done.stderr.decode('utf-8', 'replace').strip()}")
    return None if done.returncode else done.stdout
