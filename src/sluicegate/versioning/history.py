"""Other commits than the checked-out one: the merge base, files as they were there, a work tree of
its own.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from sluicegate.errors import UsageError, VersioningError
from sluicegate.versioning.commits import git
from sluicegate.versioning.dvc_calls import ensure_dvc, run_dvc

DEEPEN = (
    "git fetch --deepen=200 origin {branch}   (GitHub Actions: fetch-depth: 0; GitLab CI: "
    "GIT_DEPTH: 0)"
)


def merge_base(root: Path, ref: str) -> str:
    """Full hash of the newest commit that HEAD and `ref` have in common.

    Raises:
        UsageError: `ref` names no commit and this is a whole clone, or the two histories have
            nothing in common.
        VersioningError: the history here is too short to tell; the hint is the line that fetches
            more.
    """
    branch = ref.removeprefix("origin/").removeprefix("refs/remotes/")
    shallow = git(root, "rev-parse", "--is-shallow-repository").strip() == "true"
    if not _answers(root, "rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}"):
        if shallow or ref.startswith("origin/"):
            spec = f"+refs/heads/{branch}:refs/remotes/origin/{branch}"
            raise VersioningError(
                f"the commit {ref} to compare with is not in this clone.",
                hint="git fetch --deepen=200 origin "
                f"{spec if ref.startswith('origin/') else branch}   "
                "(GitHub Actions: fetch-depth: 0; GitLab CI: GIT_DEPTH: 0)",
            )
        raise UsageError(
            f"--base: git knows no commit called {ref!r}.", hint="Give a branch, a tag or a commit."
        )
    found = _answers(root, "merge-base", "HEAD", ref)
    if found:
        return found.split()[0]
    if shallow:
        raise VersioningError(
            f"this clone is too shallow to find what HEAD and {ref} have in common.",
            hint=DEEPEN.format(branch=branch),
        )
    raise UsageError(
        f"--base: HEAD and {ref} have no history in common.", hint="Name the branch to merge into."
    )


def _answers(root: Path, *arguments: str) -> str:
    """Output of a git command that may say no; empty where it does."""
    done = subprocess.run(
        ["git", "--no-optional-locks", "-C", str(root), *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() if done.returncode == 0 else ""


def file_at(root: Path, sha: str, path: str) -> bytes | None:
    """Bytes of the file `path` (relative to `root`) in commit `sha`; None where it is absent or
    lies outside.
    """
    done = subprocess.run(
        ["git", "-C", str(root), "cat-file", "blob", f"{sha}:./{path}"],
        capture_output=True,
        check=False,
    )
    return done.stdout if done.returncode == 0 else None


def files_at(root: Path, sha: str, folder: str = ".") -> dict[str, str]:
    """Path to blob id of every file below `folder` (relative to `root`) in commit `sha`."""
    listed = git(root, "ls-tree", "-r", "-z", sha, "--", folder)
    found = {}
    for entry in listed.split("\0"):
        described, _, path = entry.partition("\t")
        if path:
            found[path] = described.split()[2]
    return found


def files_here(root: Path, sha: str) -> dict[str, str]:
    """The same as `files_at`, of the files as they are on the disk now; `sha` is any commit, to
    start from.

    New files count too where git does not ignore them. Only what differs from `sha` is read.
    """
    found = files_at(root, sha)
    changed = git(
        root, "diff", "--name-only", "--relative", "--no-renames", "-z", sha, "--", "."
    ).split("\0")
    changed += git(root, "ls-files", "--others", "--exclude-standard", "-z", "--", ".").split("\0")
    names = sorted(filter(None, changed))
    for name in names:
        found.pop(name, None)
    there = [name for name in names if (root / name).is_file()]
    for start in range(0, len(there), 200):
        part = there[start : start + 200]
        found.update(zip(part, git(root, "hash-object", "--", *part).split(), strict=True))
    return found


def open_worktree(root: Path, sha: str, folder: Path) -> Path:
    """Check `sha` out at `folder`/tree, with a DVC that shares this project's cache; returns the
    project's root there.

    A checkout that was cut off is made anew. `close_worktree` removes it.

    Raises:
        VersioningError: git or DVC refused.
    """
    tree, ready = folder / "tree", folder / "ready"
    inside = git(root, "rev-parse", "--show-prefix").strip()
    if not ready.is_file():
        close_worktree(root, folder)
        folder.mkdir(parents=True, exist_ok=True)
        git(root, "worktree", "add", "--detach", "--force", str(tree), sha)
        there = tree / inside
        if (there / "params.yaml").is_file():
            _share_cache(root, there)
        ready.touch()
    return tree / inside


def close_worktree(root: Path, folder: Path) -> None:
    """Remove what `open_worktree` made, and nothing else in `folder`; nothing happens where it is
    not there.
    """
    shutil.rmtree(folder / "tree", ignore_errors=True)
    (folder / "ready").unlink(missing_ok=True)
    with suppress(OSError):  # absent, or there is more in it
        folder.rmdir()
    git(root, "worktree", "prune")


def _share_cache(root: Path, there: Path) -> None:
    """Give the other work tree this project's DVC settings and cache, so that stages known here are
    not run again.
    """
    ensure_dvc(root)
    (there / ".dvc").mkdir(exist_ok=True)
    for name in ("config", "config.local"):
        if (root / ".dvc" / name).is_file():
            shutil.copy(root / ".dvc" / name, there / ".dvc" / name)
    if not (there / ".dvc" / "config").is_file():
        (there / ".dvc" / "config").touch()
    cache = run_dvc(root, "cache", "dir").strip()
    run_dvc(there, "config", "--local", "cache.dir", str((root / cache).resolve()))
    run_dvc(there, "config", "--local", "core.no_scm", "true")


def fetch_data(root: Path, targets: Sequence[str]) -> None:
    """Bring what `targets` (.dvc files) describe into the work tree, from the cache, else from the
    remote.

    Raises:
        VersioningError: neither has the bytes.
    """
    if not targets:
        return
    try:
        run_dvc(root, "checkout", *targets)
    except VersioningError:
        run_dvc(root, "pull", *targets)
