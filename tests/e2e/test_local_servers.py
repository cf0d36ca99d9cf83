"""The real servers, once: started, used by a deployment and the flow, stopped without a trace."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest

from sluicegate import local_services as servers
from sluicegate.local_services import prefect_api, processes
from sluicegate.project import Project
from sluicegate.scaffold import init

ROOT = Path(__file__).parents[2]
FLOW = """
from pathlib import Path
from prefect import flow

@flow(name="release")
def release(root: str = ".", promote: bool = True) -> str:
    with open("ran.txt", "a") as stream:
        stream.write(f"{Path(root).resolve()} {promote}\\n")
    return "done"
"""
# Runs the shipped flow over scripted steps: argv[1] is what `decide` says, or what fails.
SCRIPTED = """
import runpy, sys
from sluicegate.errors import DataError, IncompleteError, TrackingError
from sluicegate.line import sequence
from sluicegate.line.progress import say
from sluicegate.line.run import (
    Approvals, Decided, Promoted, Registered, Reported, Reproduced, TrafficChecked
)
from sluicegate.records import Champion, Decision
said = sys.argv.pop(1)
decision = Decision(said if said in ("REJECT", "HOLD") else "PROMOTE")
KNOWN = {"release": "a" * 64, "version": 2, "champion": "b", "champion_version": 1, "unchanged": False}
FOUND = {
    "reproduce": Reproduced((), "m"),
    "register": Registered(**KNOWN),
    "check_drift": TrafficChecked("OK", 0),
    "decide": Decided(**KNOWN, decision=decision, markdown=f"# {decision}", text=decision),
    "approvals": Approvals(
        release="a" * 64, in_force=True, missing=int(said == "nobody"), text="waiting"),
    "promote": Promoted(Champion("a" * 64, 2, 2), True),
    "report": Reported(),
}
def step(name, found):
    def run(run, *_, **__):
        with open("steps.txt", "a") as stream:
            stream.write(name + " ")
        say(f"{name} at work")
        if said == "bad-data" and name == "reproduce":
            raise DataError("rows.jsonl, line 3: no text", hint="mend line 3")
        if said == "no-answers" and name == "reproduce":
            raise IncompleteError("2 of 9 prompts got no answer", hint="run again")
        tries = open("steps.txt").read().count("register")
        if said == "busy-store" and name == "register" and tries < 2:
            raise TrackingError("database is locked")
        return found
    return run
for name, found in FOUND.items():
    setattr(sequence, name, step(name, found))
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""

POLICY = "rules: [{name: scores exist, kind: at_least, metric: chrf, threshold: 0.0}]\n"
APPROVALS = "approvals: {required: 1, role: reviewer, people: {ana: [reviewer]}}\n"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A scratch project (with a space in its path) whose servers run."""
    kept = os.environ.pop("MLFLOW_TRACKING_URI", None)
    root = tmp_path_factory.mktemp("a project")
    (root / "flows").mkdir()
    (root / "flows" / "release.py").write_text(FLOW)
    for name in ("approvals", "monitor", "retrain"):
        shutil.copy(ROOT / "flows" / f"{name}.py", root / "flows")
    (root / "registry").mkdir()
    (root / "registry" / "gates.yaml").write_text(POLICY)
    (root / "params.yaml").write_text("{}\n")
    shutil.copy(ROOT / "prefect.yaml", root / "prefect.yaml")
    made = Project(root)
    try:
        servers.up(made, wait=120.0)
        yield made
    finally:
        servers.down(made, grace=10.0)
        if kept is not None:
            os.environ["MLFLOW_TRACKING_URI"] = kept


def runs(project: Project) -> list[dict[str, Any]]:
    return prefect_api._runs(f"{processes.record(project, 'prefect')['url']}/api")


def asked(api: str, what: str, query: dict[str, Any]) -> list[dict[str, Any]]:
    """What the server has of `flow_runs`, `task_runs` or `logs`."""
    return list(prefect_api._insisting(f"{api}/{what}/filter", query))


def eventually(true: Callable[[], bool], seconds: float) -> bool:
    until = time.monotonic() + seconds
    while not (held := true()) and time.monotonic() < until:
        time.sleep(0.25)
    return held


def overdue(project: Project, days: int) -> None:
    """Create a run of the nightly deployment that was due `days` ago."""
    api = servers.api_url(project)
    deployment = prefect_api.request(f"{api}/deployments/name/{servers.DEPLOYMENT}")["id"]
    then = (datetime.now(UTC) - timedelta(days=days)).isoformat()
    state = {"type": "SCHEDULED", "state_details": {"scheduled_time": then}}
    asked = {"state": state, "idempotency_key": then}  # a busy server may need asking twice
    assert prefect_api._insisting(f"{api}/deployments/{deployment}/create_flow_run", asked)


def test_all_three_run_on_loopback_only(project: Project) -> None:
    """Prefect, worker and MLflow answer, and none of them listens beyond this machine."""
    found = servers.status(project)
    assert [entry.state for entry in found] == ["running"] * 3
    for entry in found:
        family = [psutil.Process(entry.pid), *psutil.Process(entry.pid).children(recursive=True)]
        listening = [
            c.laddr.ip
            for p in family
            for c in p.net_connections("tcp")
            if c.status == psutil.CONN_LISTEN
        ]
        assert set(listening) <= {"127.0.0.1"}


def test_a_second_up_starts_nothing(project: Project) -> None:
    """`up` again leaves the same processes, and has nothing to deploy."""
    before = servers.status(project)
    said: list[str] = []
    assert servers.up(project, progress=said.append) == before
    assert not [line for line in said if line.startswith(("starting", "applying"))]


def test_a_scheduled_run_appears(project: Project) -> None:
    """The scheduler makes nightly runs: with the wrong SQLAlchemy it looks healthy but does not."""
    assert eventually(lambda: any(run["auto_scheduled"] for run in runs(project)), 60.0)
    soonest = min(run["expected_start_time"] for run in runs(project) if run["auto_scheduled"])
    assert "T02:30:00" in soonest


def test_the_worker_runs_the_deployment_in_the_project(project: Project) -> None:
    """A due run starts in the project's folder, with the parameters of prefect.yaml."""
    overdue(project, 0)
    ran = project.root / "ran.txt"
    assert eventually(ran.is_file, 60.0)
    assert eventually(
        lambda: any(run["state"]["type"] == "COMPLETED" for run in runs(project)), 30.0
    )
    assert ran.read_text() == f"{project.root.resolve()} True\n"


def test_approvals_are_looked_for_only_where_the_policy_asks(project: Project) -> None:
    """What looks every five minutes is paused until gates.yaml asks for approvals."""

    def paused() -> bool:
        return bool(
            prefect_api.request(
                f"{servers.api_url(project)}/deployments/name/{prefect_api.APPROVALS}"
            )["paused"]
        )

    policy = project.registry / "gates.yaml"
    assert paused()
    policy.write_text(APPROVALS + POLICY)
    servers.up(project)
    assert not paused()
    policy.write_text(POLICY)
    servers.up(project)
    assert paused()


def test_missed_nights_run_once(project: Project) -> None:
    """Of three nights that were missed without a worker only the newest stays scheduled."""
    worker = processes.alive(project, "worker")
    assert worker is not None
    processes.stop(worker, 10.0)
    for days in (3, 1, 2):
        overdue(project, days)
    prefect_api.prepare_for_worker(str(servers.api_url(project)))
    mine = [
        run
        for run in runs(project)
        if not run["auto_scheduled"] and run["state"]["type"] != "COMPLETED"
    ]
    assert [run["state"]["type"] for run in mine] == ["SCHEDULED", "CANCELLED", "CANCELLED"]
    assert "run once" in mine[1]["state"]["message"]


def test_a_killed_retraining_is_due_again_once(project: Project) -> None:
    """Of a retraining that the worker left running a new run with its parameters is made, once, and
    of a release none: that has its nights.
    """
    api = str(servers.api_url(project))
    for name in (prefect_api.RETRAIN, prefect_api.APPROVALS):
        deployment = prefect_api.request(f"{api}/deployments/name/{name}")["id"]
        body = {"state": {"type": "RUNNING"}, "parameters": {"cause": "drift"}, "name": "lost"}
        assert prefect_api._insisting(f"{api}/deployments/{deployment}/create_flow_run", body)
    prefect_api.prepare_for_worker(api)
    prefect_api.prepare_for_worker(api)
    found = prefect_api._runs(api, prefect_api.RETRAIN)
    assert {run["name"]: run["state"]["type"] for run in found} == {
        "lost": "CRASHED",
        "lost, again": "SCHEDULED",
    }
    assert [run["parameters"]["cause"] for run in found] == ["drift", "drift"]
    (other,) = (
        run for run in prefect_api._runs(api, prefect_api.APPROVALS) if run["name"] == "lost"
    )
    assert other["state"]["type"] == "CRASHED"


@pytest.mark.parametrize(
    ("said", "code", "steps"),
    [
        ("PROMOTE", 0, "reproduce register check_drift decide approvals promote report"),
        ("nobody", 4, "reproduce register check_drift decide approvals report"),
        ("REJECT", 1, "reproduce register check_drift decide report"),
        ("HOLD", 4, "reproduce register check_drift decide report"),
        ("bad-data", 2, "reproduce"),
        ("no-answers", 4, "reproduce"),
        (
            "busy-store",
            0,
            "reproduce register register check_drift decide approvals promote report",
        ),
    ],
)
def test_the_shipped_flow(
    project: Project, tmp_path: Path, said: str, code: int, steps: str
) -> None:
    """The exit code is the verdict's; only PROMOTE promotes; a locked store is tried again,
    and a run in which answers are missing ends as Held, not as Failed.
    """
    root = tmp_path / "made"
    init(root)
    (root / "scripted.py").write_text(SCRIPTED)
    command = [
        servers.sys.executable,
        "scripted.py",
        said,
        str(ROOT / "flows" / "release.py"),
        "--result",
        "out.json",
    ]
    quiet = servers.environment(project) | {"PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL"}
    done = subprocess.run(command, cwd=root, env=quiet, capture_output=True, text=True, timeout=120)
    assert done.returncode == code, done.stderr
    assert (root / "steps.txt").read_text().split() == steps.split()
    judged = "decide" in steps
    assert (root / "out.json").exists() is judged
    if code == 2:
        told = "error: rows.jsonl, line 3: no text\n  what to do: mend line 3\n"
        assert done.stderr == "reproduce at work\n" + told
    elif not judged:
        told = "HOLD: 2 of 9 prompts got no answer\n  what to do: run again\n"
        assert done.stderr == "reproduce at work\n" + told
    api = str(servers.api_url(project))
    begun = {"flow_runs": {"start_time": {"is_null_": False}}}
    (run,) = asked(api, "flow_runs", {**begun, "sort": "START_TIME_DESC", "limit": 1})
    assert re.fullmatch(r"release [0-9a-f]{7,} on main", run["name"])
    assert ("rows.jsonl, line 3" in run["state"]["message"]) is (code == 2)
    assert (run["state"]["type"] == "FAILED") is (code == 2)
    assert (run["state"]["name"] == "Held") is (said in ("HOLD", "no-answers"))
    mine = {"flow_runs": {"id": {"any_": [run["id"]]}}}
    tasks = asked(api, "task_runs", mine)
    assert {task["name"].replace(" ", "_") for task in tasks} == set(steps.split())
    lines = {f"{name} at work" for name in steps.split()}
    logs = {"logs": {"flow_run_id": {"any_": [run["id"]]}}}
    assert eventually(lambda: lines <= {log["message"] for log in asked(api, "logs", logs)}, 30.0)


def test_the_shipped_monitor(project: Project, tmp_path: Path) -> None:
    """Without a champion there is nothing to watch; wrong files are an error of their own."""
    root = tmp_path / "made"
    init(root)
    command = [servers.sys.executable, str(ROOT / "flows" / "monitor.py"), "--root", str(root)]
    quiet = servers.environment(project) | {"PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL"}

    def ends() -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, env=quiet, capture_output=True, text=True, timeout=120)

    assert ends().returncode == 0
    (root / "params.yaml").write_text("release: 3\n")
    wrong = ends()
    assert (wrong.returncode, wrong.stderr.startswith("error: ")) == (2, True), wrong.stderr


def test_down_leaves_no_process(project: Project) -> None:
    """After `down` no process of the three trees runs, and `up` would use the same ports."""
    family = []
    for entry in servers.status(project):
        if entry.pid:
            family += [
                psutil.Process(entry.pid),
                *psutil.Process(entry.pid).children(recursive=True),
            ]
    assert {entry.state for entry in servers.down(project)} == {"stopped"}
    assert [p for p in family if p.is_running() and p.status() != psutil.STATUS_ZOMBIE] == []
    assert set(processes.state(project)["ports"]) == {"prefect", "mlflow"}
