"""A project that was moved or copied never touches the folder that it came from."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from sluicegate.ledger import open_ledger
from sluicegate.project import Project
from sluicegate.releasing import promote, reconcile, verify
from sluicegate.tracking import Tracking

sys.path.insert(0, str(Path(__file__).parents[1]))
from reviewed_project import RULES, decided, judged_in_mlflow, reviewed


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose path holds what URIs escape."""
    root = tmp_path_factory.mktemp("first place") / "pröject 100%"
    elsewhere("makes", root)
    return Project(root)


def elsewhere(what: str, root: Path) -> None:
    """In a process of its own: MLflow remembers, for as long as it runs, where a run's artefacts
    were.
    """
    kept = {key: value for key, value in os.environ.items() if key != "MLFLOW_TRACKING_URI"}
    command = [sys.executable, __file__, what, str(root)]
    done = subprocess.run(command, env=kept, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]


def makes(project: Project) -> None:
    """Two registered releases, a verdict, a run with artefacts."""
    project.root.mkdir()
    reviewed(project.root)
    (project.registry / "gates.yaml").write_text(RULES)
    tracking = opened(project)
    judged_in_mlflow(project, tracking)
    with tracking.start_run("m", "evaluate", tags={"sluice.key": "k"}) as run:
        run.log_text("verdict.md", "as it was")
    reconcile(project, tracking=tracking, model="m")


def opened(project: Project) -> Tracking:
    return Tracking(project.mlflow_url, project.mlflow_artifacts)


def files(root: Path) -> dict[str, tuple[int, bytes]]:
    """Every file below `root` with its time and content."""
    return {
        str(path.relative_to(root)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def mentions(project: Project, text: str) -> list[str]:
    """Columns of the MLflow store that hold `text`."""
    found = []
    with sqlite3.connect(project.state / "mlflow" / "mlflow.db") as database:
        for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'"):
            for column in [row[1] for row in database.execute(f'PRAGMA table_info("{table}")')]:
                query = f'SELECT count(*) FROM "{table}" WHERE instr(CAST("{column}" AS TEXT), ?)'
                if database.execute(query, (text,)).fetchone()[0]:
                    found.append(f"{table}.{column}")
    return found


def goes_on(project: Project) -> None:
    """Read what was there, write more, judge, promote, and be sound."""
    tracking = opened(project)
    (found,) = tracking.client.search_runs(
        [tracking.experiment("m")], "tags.`sluice.key` = 'k'", max_results=1
    )
    run = tracking.open_run(found.info.run_id)
    local = tracking.client.download_artifacts(run.id, "verdict.md")
    assert Path(local).read_text() == "as it was"
    run.log_text("verdict.md", "written after the move")
    with tracking.start_run("m", "evaluate") as later:
        later.log_text("more.md", "new")
    assert len(list(project.mlflow_artifacts.rglob("more.md"))) == 1
    second = next(
        entry.release
        for entry in reversed(open_ledger(project).entries())
        if entry.kind == "verdict"
    )
    decided(project, second)
    promote(project, second, actor="ann", tracking=tracking, model="m")
    assert reconcile(project, tracking=tracking, model="m").changed == ()
    assert verify(project, tracking=tracking, model="m").anchors >= 2


def test_a_copy_writes_nothing_into_the_original(original: Project, tmp_path: Path) -> None:
    """Artefacts, runs, versions and the champion of a copy are its own; the original stays bit for
    bit.
    """
    copy = Project(tmp_path / "copy")
    shutil.copytree(original.root, copy.root)
    before = files(original.root)
    elsewhere("goes_on", copy.root)
    assert files(original.root) == before
    assert mentions(copy, original.root.as_uri()) == []
    assert mentions(copy, str(original.root)) == []


def test_a_moved_project_makes_no_folder_where_it_was(original: Project, tmp_path: Path) -> None:
    """Moved twice, it works on; where it was before stays empty."""
    first, second = Project(tmp_path / "a" / "p"), Project(tmp_path / "b" / "q")
    shutil.copytree(original.root, first.root)
    opened(first).tags_of("m")
    second.root.parent.mkdir()
    first.root.rename(second.root)
    elsewhere("goes_on", second.root)
    assert not first.root.exists()
    assert mentions(second, first.root.as_uri()) == []


def test_what_sits_on_another_disk_is_left_alone(original: Project, tmp_path: Path) -> None:
    """A store of a team, which is not the project's own, keeps its places."""
    shared = tmp_path / "shared.db"
    shutil.copy(original.state / "mlflow" / "mlflow.db", shared)
    other = Project(tmp_path / "other")
    tracking = Tracking(f"sqlite:///{shared}", other.mlflow_artifacts)
    assert tracking.tags_of("m")
    with sqlite3.connect(shared) as database:
        (place,) = database.execute(
            "SELECT artifact_location FROM experiments WHERE name = 'm'"
        ).fetchone()
    assert place.startswith(original.root.as_uri())


def test_mlflow_is_told_before_its_server_starts(original: Project, tmp_path: Path) -> None:
    """A process of its own, as `sluice up` starts one, finds no place outside the copy."""
    from sluicegate.tracking.connection import settle

    copy = Project(tmp_path / "copy")
    shutil.copytree(original.root, copy.root)
    settle(copy.mlflow_url, copy.mlflow_artifacts)
    assert mentions(copy, original.root.as_uri()) == []
    code = (
        "import sys; from mlflow import MlflowClient\n"
        "client = MlflowClient(sys.argv[1], sys.argv[1])\n"
        "print([e.artifact_location for e in client.search_experiments()])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, copy.mlflow_url], capture_output=True, text=True, check=True
    )
    assert original.root.name not in done.stdout


if __name__ == "__main__":
    {"makes": makes, "goes_on": goes_on}[sys.argv[1]](Project(Path(sys.argv[2])))
