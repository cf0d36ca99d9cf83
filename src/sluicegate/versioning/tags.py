"""Who wrote what the checked-out commit brings, and annotated tags on it."""

from __future__ import annotations

from pathlib import Path

from sluicegate.errors import VersioningError
from sluicegate.versioning.commits import git


def commit_authors(root: Path, since: str = "") -> tuple[str, ...]:
    """Names and addresses of everybody who wrote what the checked-out commit brings,
    `Co-authored-by` included.

    These are the authors of that commit and of those before it that the commit `since` does not
    have, as far as they touch the folder `root`. Where `since` is not in this clone, or has them
    all: of what a merge brought in.

    Raises:
        VersioningError: not a repository, or no commit yet.
    """
    written = _written(root, "-1", "HEAD")
    for start in filter(None, (since, "HEAD^1")):
        try:
            brought = _written(root, "--end-of-options", f"{start}..HEAD", "--", ".")
        except VersioningError:  # this clone does not have it
            continue
        if brought:
            written += brought
            break
    return tuple(dict.fromkeys(written))


def _written(root: Path, *commits: str) -> list[str]:
    """Name and address of every author of these commits."""
    people = "%an <%ae>%n%(trailers:key=Co-authored-by,valueonly,unfold)"
    found = []
    for line in git(root, "log", f"--format={people}", *commits).splitlines():
        name, _, address = line.rpartition("<")
        found += [part for part in (name.strip(), address.strip(" >")) if part]
    return found


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
    listed = git(
        root,
        "for-each-ref",
        "--format=%(refname:strip=2)%09%(contents:subject)",
        f"refs/tags/{pattern}",
    )
    return dict(line.split("\t", 1) for line in listed.splitlines())
