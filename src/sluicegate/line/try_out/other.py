"""What a trial is compared with: the champion, another prompt, or the project at a git revision."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sluicegate.errors import UsageError, VersioningError
from sluicegate.line.pipeline.contender import Contender, candidate_release, stored_release
from sluicegate.line.run import Run, open_run
from sluicegate.project import MARKER, Project
from sluicegate.prompts import load_prompt
from sluicegate.versioning import git
from sluicegate.versioning.history import close_worktree

CHAMPION = "champion"


def with_prompt(run: Run, path: Path) -> Run:
    """The same project with another prompt in the place of its own.

    Raises:
        PromptError, ConfigError: it is no prompt.
    """
    return Run(run.project, run.params, load_prompt(path))


@contextmanager
def other(run: Run, candidate: Contender, against: str) -> Iterator[tuple[str, Contender | None]]:
    """What to compare with, in words and ready to run; within the block its files are there.

    Args:
        run: the project.
        candidate: what the working tree describes.
        against: `champion`, a prompt file or a git revision; "" is the champion where one serves,
            else nothing.

    Raises:
        UsageError: there is no such thing.
    """
    champion = run.champion
    if against in ("", CHAMPION):
        if champion is None and against:
            raise UsageError(
                "--against champion: nothing serves yet.",
                hint="Leave it out, or name a prompt file or a git revision.",
            )
        if champion is None:
            yield "", None
            return
        words = f"champion version {champion.version} ({champion.release[:12]})"
        yield words, stored_release(run, candidate, champion.release)
    elif Path(against).is_file():
        yield against, candidate_release(with_prompt(run, Path(against)))
    else:
        with _checked_out(run.project, against) as there:
            before = list(sys.path)
            try:
                contender = candidate_release(open_run(there))
            finally:
                sys.path[:] = before  # metrics and readers are those of the working tree
            yield against, contender


@contextmanager
def _checked_out(project: Project, revision: str) -> Iterator[Project]:
    """The project as it was at `revision`, with the state and the adapter of today."""
    try:
        sha = git(project.root, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
    except VersioningError as error:
        raise UsageError(
            f"--against {revision}: neither a prompt file nor a git revision.",
            hint="Name the champion, a file in prompts/, or a commit, branch or tag.",
        ) from error
    inside = git(project.root, "rev-parse", "--show-prefix").strip()
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        try:
            git(project.root, "worktree", "add", "--detach", str(folder / "tree"), sha.strip())
            there = Project(folder / "tree" / inside)
            if not there.params.is_file():
                raise UsageError(f"--against {revision}: there was no {MARKER} here then.")
            for mine, theirs in ((project.build, there.build), (project.state, there.state)):
                if mine.exists() and not theirs.exists():
                    theirs.symlink_to(mine.resolve())
            yield there
        finally:
            close_worktree(project.root, folder)
