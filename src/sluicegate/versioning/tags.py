"""Who wrote the checked-out commit, and annotated tags on it."""

from __future__ import annotations

from pathlib import Path

from sluicegate.errors import VersioningError
from sluicegate.versioning import git


def commit_authors(root: Path) -> tuple[str, ...]:
    """Name and address of whoever wrote the checked-out commit.

    Raises:
        VersioningError: not a repository, or no commit yet.
    """
    return tuple(line for line in git(root, "log", "-1", "--format=%an%n%ae").splitlines() if line)


def write_tag(root: Path, name: str, message: str) -> None:
    """Put an annotated tag on the checked-out commit.

    Raises:
        VersioningError: the tag exists, or git is missing or refuses.
    """
    try:
        git(root, "var", "GIT_COMMITTER_IDENT")
        author: tuple[str, ...] = ()
    except VersioningError:  # git knows no name here, as on a build machine
        author = ("-c", "user.name=sluice", "-c", "user.email=sluice@example.invalid")
    git(root, *author, "tag", "--annotate", "--no-sign", "--message", message, name)


def annotated_tags(root: Path, pattern: str) -> dict[str, str]:
    """Name to first line of the message, for tags such as `prefix/*`.

    Raises:
        VersioningError: git is missing, or `root` is not in a repository.
    """
    listed = git(root, "for-each-ref", "--format=%(refname:strip=2)%09%(contents:subject)", f"refs/tags/{pattern}")
    return dict(line.split("\t", 1) for line in listed.splitlines())
