"""Seals: outputs that this machine did not make from these inputs are made again."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sluicegate.errors import ConfigError, IntegrityError
from sluicegate.evidence_key import RUNNERS, VARIABLE, key_id
from sluicegate.hashing import digest_bytes
from sluicegate.line.pipeline import STAGES
from sluicegate.models.cache import open_cache
from sluicegate.project import Project
from sluicegate.versioning import reproduce, seals
from sluicegate.yaml_file import read_yaml

STAGE = """
import sys
from pathlib import Path
from sluicegate.project import Project
from sluicegate.versioning.seals import seal, stage_inputs
project = Project(Path.cwd())
inputs = stage_inputs(project, "double")
with open("runs", "a") as runs:
    runs.write("x")
Path("out").mkdir(exist_ok=True)
Path("out/text").write_text(Path("given").read_text() * 2)
seal(project, "double", inputs, ["out"])
if Path("cheat").exists():
    Path("out/text").write_text("better")
"""
SEALED = {"double": ("out",)}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A pipeline of one stage that says how often it ran."""
    root = tmp_path / "project"
    root.mkdir()
    subprocess.run(["git", "init", "-q", str(root)], check=True)
    (root / "stage.py").write_text(STAGE, "utf-8")
    (root / "given").write_text("ab", "utf-8")
    (root / "params.yaml").write_text("double: {times: 2}\nother: 1\n", "utf-8")
    stage = {
        "cmd": f"{sys.executable} stage.py",
        "deps": ["given"],
        "params": ["double.times"],
        "outs": ["out"],
    }
    (root / "dvc.yaml").write_text(json.dumps({"stages": {"double": stage}}), "utf-8")
    return Project(root)


def runs(project: Project) -> int:
    """How often the stage ran."""
    return len((project.root / "runs").read_text("utf-8"))


def forge(project: Project) -> None:
    """Replace the output, and let DVC believe that the stage made it."""
    (project.root / "out" / "text").write_text("forged", "utf-8")
    dvc = [sys.executable, "-m", "dvc", "commit", "-q", "-f", "double"]
    subprocess.run(dvc, cwd=project.root, check=True)


def test_what_was_made_here_is_kept(project: Project) -> None:
    """A second run runs nothing, also after DVC's run cache brought an earlier result back."""
    assert reproduce(project, quiet=True, sealed=SEALED) == ["double"]
    assert reproduce(project, quiet=True, sealed=SEALED) == []
    (project.root / "given").write_text("cd", "utf-8")
    reproduce(project, quiet=True, sealed=SEALED)
    (project.root / "given").write_text("ab", "utf-8")
    reproduce(project, quiet=True, sealed=SEALED)
    assert (project.root / "out" / "text").read_text("utf-8") == "abab"
    assert runs(project) == 2


def test_forged_outputs_are_made_again(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    """What `dvc commit -f` has put into dvc.lock and the cache is not used, and a line says so."""
    reproduce(project, quiet=True, sealed=SEALED)
    forge(project)
    assert reproduce(project, quiet=True) == []  # DVC itself believes it
    assert (project.root / "out" / "text").read_text("utf-8") == "forged"
    assert reproduce(project, quiet=True, sealed=SEALED) == ["double"]
    assert (project.root / "out" / "text").read_text("utf-8") == "abab"
    assert "double: its outputs were not made here from these inputs" in capsys.readouterr().err


def test_true_outputs_of_other_inputs_are_made_again(project: Project) -> None:
    """A result that was made here counts for the inputs that it was made of, and no others."""
    reproduce(project, quiet=True, sealed=SEALED)
    (project.root / "given").write_text("cd", "utf-8")
    subprocess.run(
        [sys.executable, "-m", "dvc", "commit", "-q", "-f", "double"], cwd=project.root, check=True
    )
    assert reproduce(project, quiet=True, sealed=SEALED) == ["double"]
    assert (project.root / "out" / "text").read_text("utf-8") == "cdcd"


def test_without_seals_all_runs_once(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """A project of an earlier version, or a clone, runs its stages once more and says why."""
    reproduce(project, quiet=True, sealed=SEALED)
    shutil.rmtree(project.state / "seals")
    assert reproduce(project, quiet=True, sealed=SEALED) == ["double"]
    assert "no seals yet, as after an upgrade" in capsys.readouterr().err
    assert reproduce(project, quiet=True, sealed=SEALED) == []


def test_a_seal_of_another_key_is_none(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seals count for the key that made them; one from the environment goes before the file."""
    listed = "\n".join(f"  {sign}: {key_id((sign * 32).encode())}" for sign in "ab")
    (project.root / "registry").mkdir()
    (project.root / RUNNERS).write_text(f"runners:\n{listed}\n", "utf-8")
    monkeypatch.setenv(VARIABLE, "a" * 32)
    reproduce(project, quiet=True, sealed=SEALED)
    assert reproduce(project, quiet=True, sealed=SEALED) == []
    assert not (project.state / "seals" / "key").exists()
    monkeypatch.setenv(VARIABLE, "b" * 32)
    assert reproduce(project, quiet=True, sealed=SEALED) == ["double"]
    monkeypatch.setenv(VARIABLE, " ")  # a secret that a fork does not have
    assert reproduce(project, quiet=True, sealed=SEALED) == ["double"]
    assert (project.state / "seals" / "key").stat().st_mode & 0o777 == 0o600
    monkeypatch.setenv(VARIABLE, "short")
    with pytest.raises(ConfigError, match="shorter than 16"):
        reproduce(project, quiet=True, sealed=SEALED)


def test_a_key_that_the_registry_does_not_list_makes_all_anew(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its seals do not count, and a line says which id to list; once that is there, its new ones
    do.
    """
    key = "c" * 32
    listed = f"runners: {{ci: {key_id(key.encode())}}}\n"
    (project.root / "registry").mkdir()
    (project.root / RUNNERS).write_text(listed, "utf-8")
    monkeypatch.setenv(VARIABLE, key)
    reproduce(project, quiet=True, sealed=SEALED)
    (project.root / RUNNERS).write_text("runners: {other: 0123456789abcdef}\n", "utf-8")
    assert reproduce(project, quiet=True, sealed=SEALED) == ["double"]
    assert f"ci: {key_id(key.encode())}" in capsys.readouterr().err
    (project.root / RUNNERS).write_text(listed, "utf-8")
    assert reproduce(project, quiet=True, sealed=SEALED) == ["double"]
    assert reproduce(project, quiet=True, sealed=SEALED) == []
    assert runs(project) == 3


def test_answers_that_were_not_kept_here_are_not_there(tmp_path: Path) -> None:
    """A row with a digest that anybody can compute, and a cache of another machine, bring none."""
    path = tmp_path / ".sluice" / "judgements" / "replies.db"
    with open_cache(path, "replies") as cache:
        cache.store("mine", {"text": "4"})
        assert cache.load(["mine"]) == {"mine": {"text": "4"}}
    forged = '{"text":"5"}'
    with sqlite3.connect(path) as database:
        row = ("theirs", forged, digest_bytes(f"theirs\n{forged}".encode()))
        database.execute("INSERT INTO replies VALUES (?, ?, ?)", row)
    with open_cache(path, "replies") as cache:
        assert cache.load(["mine", "theirs"]) == {"mine": {"text": "4"}}
    other = tmp_path / "clone" / ".sluice" / "judgements" / "replies.db"
    other.parent.mkdir(parents=True)
    shutil.copy(path, other)
    with open_cache(other, "replies") as cache:
        assert cache.load(["mine"]) == {}


def test_outputs_that_change_after_their_seal_stop_the_line(project: Project) -> None:
    """A pipeline that edits what a stage made ends with an error, not in a circle."""
    (project.root / "cheat").touch()
    with pytest.raises(IntegrityError, match="its outputs are not what it made") as caught:
        reproduce(project, quiet=True, sealed=SEALED)
    assert "sluice stage double" in caught.value.hint


@pytest.mark.parametrize(
    "name", [".sluice/seals/key", ".sluice/generations/answers.db", ".SLUICE/x"]
)
def test_state_in_git_is_refused(project: Project, name: str) -> None:
    """Seals, answers, judges' scores and calibrations that git brings stop the line at once."""
    (project.root / name).parent.mkdir(parents=True)
    (project.root / name).write_text("forged", "utf-8")
    subprocess.run(["git", "add", "-f", name], cwd=project.root, check=True)
    with pytest.raises(IntegrityError, match="tracked by git"):
        reproduce(project, quiet=True, sealed=SEALED)
    assert not (project.root / "runs").exists()


def test_a_link_in_place_of_the_state_is_refused(project: Project) -> None:
    """Git can bring the whole folder as a link to one that it tracks."""
    (project.root / "mine").mkdir()
    os.symlink("mine", project.state)
    subprocess.run(["git", "add", "-f", ".sluice"], cwd=project.root, check=True)
    with pytest.raises(IntegrityError, match="tracked by git"):
        reproduce(project, quiet=True, sealed=SEALED)


def test_checking_takes_no_time(project: Project) -> None:
    """50 MB of outputs are checked within 0.3 s."""
    reproduce(project, quiet=True, sealed=SEALED)
    for number in range(10):
        (project.root / "out" / str(number)).write_bytes(bytes(5_000_000))
    seals.seal(project, "double", seals.stage_inputs(project, "double"), ["out"])
    best = float("inf")
    for _ in range(3):
        start = time.perf_counter()
        assert seals.first_unsealed(project, SEALED) == ""
        best = min(best, time.perf_counter() - start)
    assert best < 0.3


def test_every_cached_output_is_sealed() -> None:
    """What DVC can restore of the shipped pipeline is what the stages seal."""
    stages = read_yaml(Path(__file__).parents[2] / "dvc.yaml")["stages"]
    cached = {
        name: tuple(out for out in stage["outs"] if isinstance(out, str))
        for name, stage in stages.items()
    }
    assert {name: stage.outs for name, stage in STAGES.items()} == cached
