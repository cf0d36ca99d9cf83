"""What version 0.1.0 recorded stays good: an upgraded project verifies, rolls back and releases.

The state was made by that version's own code (`sluice release`, twice, on a tiny model):
`project_0_1_0_state.tar.xz` holds the commits made on top of `project_0_1_0.bundle`, the base model
and `.sluice/`, of whose MLflow only the traces and figures were left out. It stood in another
folder, as a project that was moved does.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))
from test_line import edit, sluice

from sluicegate.ledger import Ledger
from sluicegate.project import Project

MADE = Path(__file__).parents[1] / "project_0_1_0.bundle"
STATE = Path(__file__).parents[1] / "project_0_1_0_state.tar.xz"
HEAD = "a90044a52f5e"  # of the ledger, as 0.1.0 printed it
ZERO, FIRST, SECOND = "04e9c9ad8b12", "efdd04a6166b", "6360f18b2b11"


def git(root: Path, *arguments: str) -> None:
    author = ("-c", "user.name=ana", "-c", "user.email=ana@example.org")
    subprocess.run(["git", *author, *arguments], cwd=root, check=True, capture_output=True)


@pytest.fixture(scope="module")
def upgraded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of 0.1.0 with three releases, after `sluice upgrade`, which is committed."""
    folder = tmp_path_factory.mktemp("old")
    root = folder / "project"
    with tarfile.open(STATE) as state:
        state.extractall(folder, filter="data")
    git(folder, "clone", "-q", "-b", "main", str(MADE), "project")
    git(root, "pull", "-q", "--ff-only", str(folder / "history.bundle"), "main")
    shutil.move(folder / "sluice", root / ".sluice")
    done = sluice(root, "upgrade")
    assert done.returncode == 0, done.stdout + done.stderr
    git(root, "add", "--all")
    git(root, "commit", "-q", "-m", "sluice upgrade")
    return root


def champion(root: Path) -> str:
    found = Ledger(Project(root).ledger_url).champion()
    assert found is not None
    return found.release[:12]


@pytest.mark.slow
def test_its_record_is_sound(upgraded: Path) -> None:
    """Ledger, store and evidence verify, to the same head; every entry can still be read."""
    done = sluice(upgraded, "verify")
    assert done.returncode == 0, done.stdout + done.stderr
    assert HEAD in done.stdout
    history = json.loads(sluice(upgraded, "history", "--json").stdout)
    assert [(entry["kind"], entry["release"][:12]) for entry in history] == [
        ("register", ZERO),
        ("bootstrap", ZERO),
        ("register", FIRST),
        ("verdict", FIRST),
        ("promote", FIRST),
        ("register", SECOND),
        ("verdict", SECOND),
        ("promote", SECOND),
    ]


@pytest.mark.slow
def test_it_rolls_back_and_forward(upgraded: Path) -> None:
    """Former champions serve again, the first release and release zero included."""
    assert champion(upgraded) == SECOND
    for arguments, serves in (([], FIRST), (["--to", "1"], ZERO), (["--to", "3"], SECOND)):
        done = sluice(upgraded, "rollback", *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        assert champion(upgraded) == serves
    assert sluice(upgraded, "verify").returncode == 0


@pytest.mark.slow
def test_it_releases(upgraded: Path) -> None:
    """A change is tuned, compared with the old champion and promoted; all of it verifies."""
    before = champion(upgraded)
    edit(upgraded / "params.yaml", "max_steps: 0", "max_steps: 4", commit=False)
    edit(upgraded / "params.yaml", "repetition_penalty: 1.1", "repetition_penalty: 1.2")
    done = sluice(upgraded, "release", "--no-server")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "PROMOTE" in done.stdout
    assert champion(upgraded) not in (before, ZERO, FIRST, SECOND)
    verdict = Ledger(Project(upgraded).ledger_url).entries("verdict")[-1].payload
    assert verdict["champion"].startswith(before)
    done = sluice(upgraded, "verify")
    assert done.returncode == 0, done.stdout + done.stderr
