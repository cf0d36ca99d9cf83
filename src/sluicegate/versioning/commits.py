"""What git says of the checked-out files."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from sluicegate.errors import VersioningError


@dataclass(frozen=True, slots=True)
class Commit:
    """Where the code is: full hash, whether files differ from it (`current_commit`), branch (''
    when detached).
    """

    sha: str
    dirty: bool
    branch: str


def git(root: Path, *arguments: str) -> str:
    """Run git in `root` and return its output; bytes that are no UTF-8, as in file names, stay as
    lone surrogates.

    Raises:
        VersioningError: git is missing or refused.
    """
    try:
        done = subprocess.run(
            ["git", "--no-optional-locks", "-C", str(root), *arguments],
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except FileNotFoundError as error:
        raise VersioningError("git is not installed.", hint="apt-get install git") from error
    if done.returncode:
        raise VersioningError(
            f"git {arguments[0]}: {done.stderr.strip() or 'failed'}",
            hint="`git init` makes a repository here."
            if "not a git repository" in done.stderr
            else "",
        )
    return done.stdout


def checked_out(root: Path) -> str:
    """What is checked out, for people: `0123abc on main`; empty where there is no commit."""
    try:
        sha = git(root, "rev-parse", "--short=7", "HEAD").strip()
        branch = git(root, "branch", "--show-current").strip()
    except VersioningError:
        return ""
    return f"{sha} on {branch}" if branch else sha


def current_commit(root: Path) -> Commit:
    """The checked-out commit; works on a detached head and in a shallow clone.

    It is dirty where a tracked file differs, or where the project has a prompt, a registry file or
    Python code that git neither tracks nor ignores: the line may use those.

    Raises:
        VersioningError: not a repository, or no commit yet.
    """
    sha = git(root, "rev-parse", "HEAD").strip()
    # dvc.lock is a product of the run itself, not an edit by a person.
    changed = git(
        root, "status", "--porcelain", "--untracked-files=no", "--", ":/", ":(exclude)dvc.lock"
    ).strip()
    new = (
        changed
        or git(
            root, "ls-files", "--others", "--exclude-standard", "--", "prompts", "registry", "*.py"
        ).strip()
    )
    return Commit(sha, bool(new), git(root, "branch", "--show-current").strip())
