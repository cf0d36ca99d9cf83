"""Who made what the checked-out commit brings: all of them, not only whoever pressed the button."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from sluicegate.errors import VersioningError
from sluicegate.versioning import git
from sluicegate.versioning.tags import commit_authors


def run(root: Path, person: str, *arguments: str) -> None:
    """A git command as `person`."""
    identity = ["-c", f"user.name={person.title()}", "-c", f"user.email={person}@example.org"]
    subprocess.run(["git", *identity, *arguments], cwd=root, check=True, capture_output=True)


def head(root: Path) -> str:
    """The hash of the checked-out commit."""
    return git(root, "rev-parse", "HEAD").strip()


def commit(root: Path, person: str, file: str = "prompt", message: str = "a change") -> str:
    """One more commit, which adds a line to `file`; its hash."""
    path = root / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text((path.read_text() if path.exists() else "") + f"{person}\n")
    run(root, person, "add", ".")
    run(root, person, "commit", "-m", message)
    return head(root)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository with one commit of Zoe's."""
    subprocess.run(["git", "init", "-q", "-b", "main"], cwd=tmp_path, check=True)
    commit(tmp_path, "zoe")
    return tmp_path


def people(root: Path, since: str = "") -> set[str]:
    """The addresses, without what follows the @."""
    return {name.partition("@")[0] for name in commit_authors(root, since) if "@" in name}


def test_a_merge_names_those_whose_commits_it_brings_in(root: Path) -> None:
    """Ana's two commits, merged by Bo with a merge commit: both made it; Zoe, whose work was there,
    did not.
    """
    run(root, "ana", "switch", "-c", "change")
    commit(root, "ana")
    commit(root, "cy")
    run(root, "bo", "switch", "main")
    run(root, "bo", "merge", "--no-ff", "-m", "merge", "change")
    assert people(root) == {"ana", "bo", "cy"}
    assert set(commit_authors(root)) >= {"Ana", "ana@example.org", "Bo"}


def test_everybody_since_the_parent_release_made_the_next(root: Path) -> None:
    """Commits on one line, squashed or not: all authors after the parent's commit, and none before
    it.
    """
    parent = commit(root, "ana")
    commit(root, "bo")
    commit(root, "cy")
    assert people(root, parent) == {"bo", "cy"}
    assert people(root) == {"cy"}
    assert people(root, "0" * 40) == {"cy"}, "a commit that this clone does not have"
    assert people(root, "c0ffee; --all") == {"cy"}


def test_a_parent_on_a_branch_that_was_squashed(root: Path) -> None:
    """The parent's commit need not be an ancestor: what it has does not count, what came since
    does.
    """
    run(root, "ana", "switch", "-c", "change")
    parent = commit(root, "ana", "other")
    run(root, "bo", "switch", "main")
    commit(root, "bo")
    commit(root, "cy")
    assert people(root, parent) == {"bo", "cy"}


def test_a_release_from_its_parents_own_commit_is_made_by_what_that_commit_brought(
    root: Path,
) -> None:
    """Release zero and the first candidate come from one commit: a merge there still names its
    authors.
    """
    run(root, "ana", "switch", "-c", "change")
    commit(root, "ana")
    run(root, "bo", "switch", "main")
    run(root, "bo", "merge", "--no-ff", "-m", "merge", "change")
    assert people(root, head(root)) == {"ana", "bo"}


def test_co_authors_are_authors(root: Path) -> None:
    """The trailers of a squashed pull request name the others, with and without an address."""
    trailers = "Co-authored-by: Ana Lee <ana@example.org>\nco-authored-by: Dan"
    commit(root, "bo", message=f"squashed\n\nCo-authored-by in the text\n\n{trailers}")
    assert set(commit_authors(root)) == {
        "Bo",
        "bo@example.org",
        "Ana Lee",
        "ana@example.org",
        "Dan",
    }


def test_only_the_projects_folder_counts_in_a_larger_repository(root: Path) -> None:
    """Who worked elsewhere since the parent release made nothing of this one; the checked-out
    commit always counts.
    """
    parent = commit(root, "zoe", "bot/prompt")
    commit(root, "ana", "bot/prompt")
    commit(root, "eve", "elsewhere/file")
    commit(root, "bo", "bot/prompt")
    assert people(root / "bot", parent) == {"ana", "bo"}
    commit(root, "fay", "elsewhere/file")
    assert people(root / "bot", parent) == {"ana", "bo", "fay"}


def test_no_commit_is_an_error(tmp_path: Path) -> None:
    """Nobody is no answer."""
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    with pytest.raises(VersioningError):
        commit_authors(tmp_path)
