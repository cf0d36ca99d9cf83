"""`sluice init`: the template is the checkout's own root, whole and nothing else."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from sluicegate import scaffold
from sluicegate.errors import ConfigError, EnvironmentFailure, UsageError, VersioningError
from sluicegate.project import find_project
from sluicegate.scaffold import FILES, FOLDERS, init

ROOT = Path(__file__).parents[1]


def tracked() -> set[str]:
    """Files of the template that git knows."""
    listed = subprocess.run(
        ["git", "ls-files", *FOLDERS, *FILES], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(listed.stdout.split())


def test_project_is_the_template(tmp_path: Path) -> None:
    """A new project holds every tracked file of the template, under one clean commit."""
    root = tmp_path / "mine"
    init(root)
    here = subprocess.run(
        ["git", "ls-files"], cwd=root, capture_output=True, text=True, check=True
    ).stdout.split()
    assert tracked() <= set(here)
    assert set(here) - tracked() == {".gitignore", "README.md", ".sluicegate.json"}
    status = subprocess.run(
        ["git", "status", "--porcelain"], cwd=root, capture_output=True, text=True, check=True
    )
    assert status.stdout == ""


def test_existing_folder_is_kept(tmp_path: Path) -> None:
    """A folder with something in it is never written to."""
    (tmp_path / "note").write_text("mine", "utf-8")
    with pytest.raises(UsageError):
        init(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["note"]


def test_an_empty_folder_stays_the_same_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`sluice init .`: the shell in the folder is in the project; a failure leaves it empty."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        scaffold, "_first_commit", lambda folder: (_ for _ in ()).throw(VersioningError("no"))
    )
    with pytest.raises(VersioningError):
        init(Path())
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".sluice-init" / "flows").mkdir(parents=True)  # of a call that was killed
    node = tmp_path.stat().st_ino
    written = init(Path())
    assert tmp_path.stat().st_ino == node
    assert Path("params.yaml").is_file()
    assert "dvc.yaml" in written
    status = subprocess.run(
        ["git", "status", "--porcelain"], capture_output=True, text=True, check=True
    )
    assert status.stdout == ""


def test_a_working_folder_that_is_gone_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shell may stand in a folder that was deleted."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(ConfigError, match="no longer exists"):
        find_project()


def test_a_folder_that_cannot_be_filled_is_left_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error in the middle of the moving takes back what was moved, and nothing that was not."""
    rename, moved = Path.rename, []

    def fails_later(self: Path, target: Path) -> Path:
        if len(moved) == 3:
            raise OSError(28, "No space left on device")
        moved.append(target)
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fails_later)
    with pytest.raises(EnvironmentFailure, match="No space"):
        init(tmp_path)
    assert len(moved) == 3
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_wheel_ships_the_template(tmp_path: Path) -> None:
    """The wheel's template is what git tracks, no scratch file more; the engine's data is in it."""
    copy = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(copy)], check=True)
    (copy / "prompts" / "scratch.yaml").unlink(missing_ok=True)
    build = [
        sys.executable,
        "-m",
        "build",
        "--wheel",
        "--no-isolation",
        "--outdir",
        str(tmp_path / "dist"),
        str(copy),
    ]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    template = {
        name.removeprefix("sluicegate/template/")
        for name in names
        if name.startswith("sluicegate/template/")
    }
    committed = subprocess.run(
        ["git", "ls-files", *FOLDERS, *FILES, "examples"],
        cwd=copy,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert template == set(committed)
    assert {
        "sluicegate/cards/report.css",
        "sluicegate/cards/report.html.jinja",
        "sluicegate/py.typed",
        "sluicegate/scaffold/history/0.1.0.zip",
    } <= set(names)
