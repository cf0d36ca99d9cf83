"""`sluice init`: copy the project template (the engine's own root folders) into a new folder under git."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import sluicegate
from sluicegate.errors import EnvironmentFailure, UsageError, VersioningError

FOLDERS = ("flows", "prompts", "registry", "data/sample", "tests/project")
FILES = (
    "dvc.yaml",
    "params.yaml",
    "prefect.yaml",
    "requirements.txt",
    ".github/workflows/sluice-gate.yml",
    ".gitlab-ci.yml",
)
_BUILDING = ".sluice-init"
_IGNORED = (
    "/.venv/\n/.sluice/\n/build/\n/reports/\n/data/prepared/\n/data/golden/golden.jsonl\n/data/raw/feedback.jsonl\n"
    "__pycache__/\n.pytest_cache/\n"
)
_README = """# {name}

A Sluicegate project: data, prompts and policy here, the engine in the installed package.

    sluice release --plain     # sample data to champion
    sluice up && sluice release   # the same as a Prefect flow on local servers
    sluice gate --base main    # what a pull request gets: .github/workflows/sluice-gate.yml, .gitlab-ci.yml
    pytest tests               # this project's own tests

Edit `params.yaml`, `prompts/`, `registry/`; see `sluice --help`.
"""


def template() -> Path:
    """Folder holding the template: inside the wheel, or the checkout's root for an editable install."""
    packaged = Path(sluicegate.__file__).parent / "template"
    return packaged if packaged.is_dir() else Path(sluicegate.__file__).parents[2]


def init(target: Path) -> list[str]:
    """Make a new project in `target`, which must be absent or empty; returns the files written.

    An absent target is built beside its place and renamed into it, so an interrupted call leaves nothing half done. An
    empty folder stays the same folder, which a shell may stand in: it is filled, and emptied again if that fails; what a
    killed call was building in it does not stand in the way of the next.

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
    if shutil.which("git") is None:
        raise VersioningError("git is not installed.", hint="apt-get install git")
    there = target.exists()
    source, building = (
        template(),
        target / _BUILDING if there else target.with_name(f".{target.name}.new"),
    )
    shutil.rmtree(building, ignore_errors=True)
    ignore = shutil.ignore_patterns("__pycache__", "*.pyc", ".*")
    try:
        for folder in FOLDERS:
            shutil.copytree(source / folder, building / folder, ignore=ignore)
        for name in FILES:
            (building / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source / name, building / name)
        (building / ".gitignore").write_text(_IGNORED, "utf-8")
        (building / "README.md").write_text(_README.format(name=target.name), "utf-8")
        _first_commit(building)
        if there:
            _fill(target, building)
        else:
            building.rename(target)
    except OSError as error:
        raise EnvironmentFailure(
            f"cannot write {target}: {_reason(error)}",
            hint="Free disk space or fix permissions, then run again.",
        ) from error
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return sorted(
        str(path.relative_to(target))
        for path in target.rglob("*")
        if path.is_file() and ".git" not in path.parts
    )


def _reason(error: OSError) -> str:
    """`shutil.copytree` tells of several files at once: the first one's."""
    if isinstance(error, shutil.Error) and error.args and error.args[0]:
        return str(error.args[0][0][-1])
    return error.strerror or str(error)


def _fill(target: Path, building: Path) -> None:
    """Move everything up into `target`."""
    names = sorted(path.name for path in building.iterdir())
    try:
        for name in names:
            (building / name).rename(target / name)
    except BaseException:
        for path in (
            target / name for name in names if not (building / name).exists()
        ):  # those that were moved
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        raise


def _first_commit(folder: Path) -> None:
    """Lineage needs a commit; the author falls back to a neutral one where git has none configured."""
    for arguments in (
        ["init", "--quiet", "--initial-branch=main"],
        ["add", "--all"],
        [
            "-c",
            "user.name=sluice init",
            "-c",
            "user.email=sluice@example.invalid",
            "commit",
            "--quiet",
            "-m",
            "sluice init",
        ],
    ):
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise VersioningError(f"git {arguments[0]}: {done.stderr.strip()}")
