"""Locks around the pipeline: who waits, what a killed run leaves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from sluicegate import versioning
from sluicegate.errors import BudgetError, BusyError
from sluicegate.project import Project
from sluicegate.versioning import dvc_calls, locks, pipeline


def _rwlock(root: Path, pid: int) -> Path:
    path = root / ".dvc" / "tmp" / "rwlock"
    path.parent.mkdir(parents=True, exist_ok=True)
    owner = {"pid": pid, "cmd": "dvc repro"}
    path.write_text(json.dumps({"write": {"a": owner}, "read": {"b": [owner]}}))
    return path


def test_zombie_owner_is_dropped(tmp_path: Path) -> None:
    """A killed DVC that nobody has waited for does not block the next run."""
    child = os.fork()
    if child == 0:
        os._exit(0)
    try:
        while Path(f"/proc/{child}/stat").read_text().split()[2] != "Z":
            time.sleep(0.01)
        path = _rwlock(tmp_path, child)
        locks.settle_dvc_locks(tmp_path, wait=0)
        assert not path.exists()
    finally:
        os.waitpid(child, 0)


def test_stranger_owner_is_dropped(tmp_path: Path) -> None:
    """A process that is no DVC and has the recorded number by chance does not block either."""
    process = subprocess.Popen(["sleep", "60"])
    try:
        path = _rwlock(tmp_path, process.pid)
        locks.settle_dvc_locks(tmp_path, wait=0)
        assert not path.exists()
    finally:
        process.kill()
        process.wait()


def test_living_dvc_is_waited_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A DVC that works keeps its entries."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)  # dvc"])
    try:
        while b"dvc" not in Path(f"/proc/{process.pid}/cmdline").read_bytes():
            time.sleep(0.01)
        path = _rwlock(tmp_path, process.pid)
        with pytest.raises(BusyError):
            locks.settle_dvc_locks(tmp_path, wait=0)
        assert path.exists()
        assert "waiting for it to end" in capsys.readouterr().err
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"write": {}}', '{"write": {"a": 3}, "read": {}}']
)
def test_torn_lock_file_is_dropped(tmp_path: Path, text: str) -> None:
    """A lock file torn by a kill is no owner."""
    path = _rwlock(tmp_path, 1)
    path.write_text(text)
    locks.settle_dvc_locks(tmp_path, wait=0)
    assert not path.exists()


def test_child_keeps_the_lock(tmp_path: Path) -> None:
    """Where the run is killed and its DVC lives on, the next run waits for that DVC."""
    project = Project(tmp_path)
    holder = f"""
import subprocess, sys, time
from pathlib import Path
from sluicegate import versioning
from sluicegate.project import Project
with versioning.pipeline_lock(Project(Path({str(tmp_path)!r}))) as lock:
    child = subprocess.Popen(["sleep", "60"], pass_fds=(lock,))
    print(child.pid, flush=True)
    time.sleep(60)
"""
    process = subprocess.Popen([sys.executable, "-c", holder], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    child = int(process.stdout.readline())
    process.kill()
    process.wait()
    with pytest.raises(BusyError), versioning.pipeline_lock(project, wait=0):
        pass
    os.kill(child, 9)
    with versioning.pipeline_lock(project, wait=10):
        pass


def test_time_limit_interrupts_the_stage(tmp_path: Path) -> None:
    """What still runs at the time limit is ended with its children, and the error names the stage
    at work.
    """
    pid = tmp_path / "pid"
    stage = f"import os, time; open({str(pid)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    parent = (
        f"import subprocess, sys; subprocess.run([sys.executable, '-c', {stage!r}, 'stage', "
        "'tune'])"
    )
    started, until = time.monotonic(), time.time() + 5
    with (
        open(os.devnull) as lock,
        pytest.raises(BudgetError, match="the stage tune was still running"),
    ):
        pipeline._run_until(
            [sys.executable, "-c", parent], tmp_path, dict(os.environ), lock.fileno(), until, None
        )
    assert time.monotonic() - started < 50  # the stage itself would sleep for 60
    assert ended(int(pid.read_text()))


def ended(pid: int) -> bool:
    """Does the process run no more? Whoever inherits an orphan may be slow to collect it."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_no_time_left_starts_nothing(tmp_path: Path) -> None:
    """A time limit that has passed stops before DVC is started."""
    with pytest.raises(BudgetError, match="not started"):
        versioning.reproduce(Project(tmp_path), until=time.time() - 1)
    assert list(tmp_path.iterdir()) == []


def test_waiting_ends_with_the_budget(tmp_path: Path) -> None:
    """A run with a time limit waits for another one until then and no longer, and ends with HOLD's
    error.
    """
    project = Project(tmp_path)
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").touch()
    with (
        versioning.pipeline_lock(project),
        pytest.raises(BudgetError, match="another run still holds the pipeline"),
    ):
        versioning.reproduce(project, until=time.time() + 0.1)
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)  # dvc"])
    try:
        while b"dvc" not in Path(f"/proc/{process.pid}/cmdline").read_bytes():
            time.sleep(0.01)
        path = _rwlock(tmp_path, process.pid)
        with pytest.raises(BudgetError, match="another DVC still works"):
            versioning.reproduce(project, until=time.time() + 0.1)
        assert path.exists()
    finally:
        process.kill()
        process.wait()


def test_stages_of_another_run_are_not_told_as_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the run that held the pipeline before us ran is not among the stages that we ran."""
    project, held = Project(tmp_path), threading.Event()
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").touch()

    def other() -> None:
        with versioning.pipeline_lock(project):
            held.set()
            time.sleep(0.3)
            (tmp_path / "dvc.lock").write_text("stages: {tune: {cmd: theirs}}\n")

    def ours(*_: object) -> int:
        (tmp_path / "dvc.lock").write_text("stages: {tune: {cmd: theirs}, evaluate: {cmd: ours}}\n")
        return 0

    monkeypatch.setattr(pipeline, "_run_until", ours)
    thread = threading.Thread(target=other)
    thread.start()
    assert held.wait(10)
    assert versioning.reproduce(project) == ["evaluate"]
    thread.join()


def test_cache_that_ci_brought_back_is_kept(tmp_path: Path) -> None:
    """A `.dvc` folder that holds a cache but no settings becomes a working DVC, with the cache
    untouched.
    """
    (tmp_path / ".dvc" / "cache").mkdir(parents=True)
    (tmp_path / ".dvc" / "cache" / "kept").write_text("x")
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    versioning.ensure_dvc(tmp_path)
    dvc_calls.run_dvc(tmp_path, "status")
    assert (tmp_path / ".dvc" / "cache" / "kept").read_text() == "x"


def test_setting_dvc_up_leaves_the_index_alone(tmp_path: Path) -> None:
    """In a repository and outside one DVC works, and nothing is staged for the user's next commit."""
    alone, inside = tmp_path / "alone", tmp_path / "inside"
    for root in (alone, inside):
        root.mkdir()
        (root / "dvc.yaml").write_text("stages: {}\n")
    subprocess.run(["git", "init", "-q", str(inside)], check=True)
    for root in (alone, inside):
        versioning.ensure_dvc(root)
        dvc_calls.run_dvc(root, "status")
    assert versioning.git(inside, "diff", "--cached", "--name-only") == ""
    assert not (inside / ".git" / "index").exists()


def test_the_runs_own_lock_file_makes_no_commit_dirty(tmp_path: Path) -> None:
    """A changed dvc.lock is a product of the run, also in a folder of a larger repository; any
    other file is an edit.
    """
    project = tmp_path / "apps" / "summaries"
    project.mkdir(parents=True)
    for place in (project / "dvc.lock", project / "params.yaml", tmp_path / "shared.py"):
        place.write_text("one\n")
    for arguments in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "first"]):
        who = ["-c", "user.name=ann", "-c", "user.email=ann@example.com"]
        subprocess.run(["git", *who, *arguments], cwd=tmp_path, check=True)
    (project / "dvc.lock").write_text("two\n")
    assert not versioning.current_commit(project).dirty
    (tmp_path / "shared.py").write_text("two\n")
    assert versioning.current_commit(project).dirty


@pytest.mark.parametrize(
    ("hint", "told"),
    [
        ("Run again when the model works.", "Run again when the model works."),
        ("Mend line 3.", "Mend line 3, then run again; finished stages are kept."),
        ("Mend it, then run again.", "Mend it, then run again; finished stages are kept."),
        ("", "Then run again; finished stages are kept."),
    ],
)
def test_what_to_do_after_a_stage_stopped_is_said_once(
    tmp_path: Path, hint: str, told: str
) -> None:
    """The stage's own hint comes first, and nobody is told twice to run again."""
    failure = tmp_path / "failure.json"
    failure.write_text(json.dumps({"exit_code": 3, "message": "no answer", "hint": hint}))
    assert pipeline._stage_error(failure, ()).hint == told
