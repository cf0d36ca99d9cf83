"""`sluice init`: copy the template (the engine's own root folders) into a new folder under git.

`sluice upgrade` (in `upgrade`) brings a project's copy forward; `template` knows what was copied.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from sluicegate.errors import EnvironmentFailure, UsageError
from sluicegate.scaffold.template import FILES, FOLDERS, files, write_record
from sluicegate.versioning import git

__all__ = ["FILES", "FOLDERS", "init"]

_BUILDING = ".sluice-init"
_README = """# {name}

A Sluicegate project: data, prompts and policy here, the engine in the installed package.

    sluice release --no-server     # sample data to champion
    sluice up && sluice release   # the same as a Prefect flow on local servers
    sluice gate --base main    # what a pull request gets: .github/workflows, .gitlab-ci.yml
    pytest tests               # this project's own tests
    sluice upgrade             # after `pip install -U sluicegate`: these files, brought forward

Edit `params.yaml`, `prompts/`, `registry/`; see `sluice --help`.
"""


def init(target: Path) -> list[str]:
    """Make a new project in `target`, which must be absent or empty; returns the files written.

    An absent target is built beside its place and renamed into it. An empty folder stays the same
    folder, which a shell may stand in: it is filled, and emptied again if that fails; what a killed
    call was building there does not stand in the way.

    Raises:
        UsageError: the target exists and is not empty.
        VersioningError: git is missing, or could not commit.
        EnvironmentFailure: the disk is full or the folder cannot be written; nothing stays.
    """
    target = target.resolve()
    if target.exists() and (
        not target.is_dir() or any(path.name != _BUILDING for path in target.iterdir())
    ):
        raise UsageError(f"{target} exists and is not empty.", hint="Choose a new folder.")
    there = target.exists()
    building = target / _BUILDING if there else target.with_name(f".{target.name}.new")
    shutil.rmtree(building, ignore_errors=True)
    wrote = files()
    try:
        for name, text in wrote.items():
            (building / name).parent.mkdir(parents=True, exist_ok=True)
            (building / name).write_bytes(text)
        write_record(building, wrote)
        (building / "README.md").write_text(_README.format(name=target.name), "utf-8")
        _first_commit(building)
        if there:
            _fill(target, building)
        else:
            building.rename(target)
    except OSError as error:
        raise EnvironmentFailure(
            f"cannot write {target}: {error.strerror or error}",
            hint="Free disk space or fix permissions, then run again.",
        ) from error
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return sorted(
        str(path.relative_to(target))
        for path in target.rglob("*")
        if path.is_file() and ".git" not in path.parts
    )


def _fill(target: Path, building: Path) -> None:
    """Move everything up into `target`."""
    names = sorted(path.name for path in building.iterdir())
    try:
        for name in names:
            (building / name).rename(target / name)
    except BaseException:
        moved = [target / name for name in names if not (building / name).exists()]
        for path in moved:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        raise


def _first_commit(folder: Path) -> None:
    """Lineage needs a commit; it names its author, since git may have none configured."""
    author = ("-c", "user.name=sluice init", "-c", "user.email=sluice@example.invalid")
    git(folder, "init", "--quiet", "--initial-branch=main")
    git(folder, "add", "--all")
    git(folder, *author, "commit", "--quiet", "-m", "sluice init")
