"""The local servers: found again, stopped whole, never confused with somebody else's."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from sluicegate import local_services as servers
from sluicegate.errors import BusyError, ConfigError, EnvironmentFailure, IntegrityError
from sluicegate.hashing import read_json, write_json
from sluicegate.local_services import launches, processes
from sluicegate.local_services.processes import Launch
from sluicegate.project import Project

SLEEPER = "import time; time.sleep(60)"
STUBBORN_CHILD = (
    "import subprocess, sys, time;"
    "subprocess.Popen([sys.executable, '-c',"
    "  'import signal as s, time; s.signal(15, s.SIG_IGN); time.sleep(60)']);"
    "time.sleep(60)"
)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "params.yaml").write_text("{}\n")
    made = Project(tmp_path)
    yield made
    if (made.state / "servers.json").is_file():
        for name in servers.NAMES:
            process = processes.alive(made, name)
            if process is not None:
                processes.stop(process, 0.1)


def launched(project: Project, code: str, name: str = "prefect") -> Launch:
    launch = Launch(
        name, (sys.executable, "-c", code), "http://127.0.0.1:9", "http://127.0.0.1:9/health"
    )
    processes.start(project, launch, os.environ)
    return launch


def test_a_fresh_project_has_no_servers_and_asking_leaves_no_trace(project: Project) -> None:
    """`status` and `api_url` say that nothing runs, and write nothing."""
    assert [(entry.name, entry.state) for entry in servers.status(project)] == [
        ("prefect", "stopped"),
        ("worker", "stopped"),
        ("mlflow", "stopped"),
    ]
    assert servers.api_url(project) is None
    assert not project.state.exists()


def test_down_may_be_repeated(project: Project) -> None:
    """Stopping what never ran is not an error."""
    servers.down(project)
    assert {entry.state for entry in servers.down(project)} == {"stopped"}


def test_a_taken_port_is_passed_over_and_its_holder_named() -> None:
    """The next free port is chosen, and the line says who holds the first."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        wanted = taken.getsockname()[1]
        port, note = processes.free_port(wanted)
    assert wanted < port < wanted + 50
    assert f"port {wanted} is taken by" in note
    assert f"(process {os.getpid()})" in note


def test_a_free_port_is_taken_without_a_word() -> None:
    """The wanted port is used when nothing listens there."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        wanted = probe.getsockname()[1]
    assert processes.free_port(wanted) == (wanted, "")


def test_a_started_process_is_recorded_found_and_stopped(project: Project) -> None:
    """A process outlives its starter's handle, is found by its record, and `down` ends it."""
    launched(project, SLEEPER, "worker")
    process = processes.alive(project, "worker")
    assert process is not None
    assert os.getsid(process.pid) == process.pid, "Ctrl-C in the terminal must not reach a server"
    servers.down(project)
    assert not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    assert processes.record(project, "worker") is None


def test_a_reused_process_id_is_not_taken_for_the_server(project: Project) -> None:
    """A record that fits neither start time nor command line is no server: nobody kills it."""
    other = subprocess.Popen([sys.executable, "-c", SLEEPER])
    try:
        entry = {
            "pid": other.pid,
            "started": time.time() - 9999,
            "command": ["prefect"],
            "url": "",
            "health": "",
        }
        write_json(project.state / "servers.json", {"processes": {"prefect": entry}})
        assert processes.alive(project, "prefect") is None
        servers.down(project)
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_a_clock_that_was_set_does_not_lose_a_server(project: Project) -> None:
    """When start times have moved, the command line still proves that it is the same process."""
    launched(project, SLEEPER)
    state = read_json(project.state / "servers.json")
    state["processes"]["prefect"]["started"] += 7200.0
    write_json(project.state / "servers.json", state)
    assert processes.alive(project, "prefect") is not None


def test_stop_kills_children_that_ignore_the_request(project: Project) -> None:
    """After `stop` nothing of the tree runs, even what ignores SIGTERM."""
    launched(project, STUBBORN_CHILD)
    parent = processes.alive(project, "prefect")
    assert parent is not None
    until = time.monotonic() + 10
    while not (children := parent.children(recursive=True)) and time.monotonic() < until:
        time.sleep(0.05)
    assert children
    time.sleep(0.3)
    processes.stop(parent, 1.0)
    assert [
        child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE
    ] == []


def test_a_server_that_dies_while_starting_is_an_error_with_its_last_words(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error shows the end of the log and its path; no record of the dead process stays."""
    dying = Launch(
        "prefect",
        (sys.executable, "-c", "print('no such table'); raise SystemExit(1)"),
        "",
        "http://127.0.0.1:9/",
    )
    monkeypatch.setattr(launches, "prefect", lambda project, say: dying)
    monkeypatch.setattr(servers, "_mlflow_is_local", lambda project: False)
    with pytest.raises(EnvironmentFailure, match="stopped while starting") as caught:
        servers.up(project, wait=20.0)
    assert "no such table" in str(caught.value)
    assert "prefect.log" in caught.value.hint
    assert processes.record(project, "prefect") is None


def test_a_silent_server_is_stopped_when_the_wait_is_over(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that never answers is ended and reported as such, not left behind."""
    silent = Launch("prefect", (sys.executable, "-c", SLEEPER), "", "http://127.0.0.1:9/")
    monkeypatch.setattr(launches, "prefect", lambda project, say: silent)
    monkeypatch.setattr(servers, "_mlflow_is_local", lambda project: False)
    with pytest.raises(EnvironmentFailure, match="did not answer within 1 s"):
        servers.up(project, wait=1.0)
    assert not [
        p
        for p in psutil.Process().children()
        if p.status() != psutil.STATUS_ZOMBIE and SLEEPER in p.cmdline()
    ]


def test_only_one_up_or_down_at_a_time(project: Project) -> None:
    """A second caller is told that another one is at work."""
    with (
        processes.lock(project, 1.0),
        pytest.raises(BusyError, match="running"),
        processes.lock(project, 0.1),
    ):
        pass


def test_a_damaged_record_is_named(project: Project) -> None:
    """A `servers.json` that is not JSON is an error with its path, never an empty state."""
    project.state.mkdir()
    (project.state / "servers.json").write_text("{oops")
    with pytest.raises(IntegrityError, match=r"servers\.json"):
        servers.status(project)
    (project.state / "servers.json").unlink()


def test_no_setting_of_another_prefect_leaks_in(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys and addresses of the user's own Prefect stay out; loopback goes past a proxy."""
    monkeypatch.setenv("PREFECT_API_KEY", "secret")
    monkeypatch.setenv("PREFECT_API_URL", "https://api.prefect.cloud/api")
    monkeypatch.setenv("NO_PROXY", "example.org")
    made = servers.environment(project)
    assert "PREFECT_API_KEY" not in made
    assert "PREFECT_API_URL" not in made
    assert set(made["NO_PROXY"].split(",")) == {"example.org", "127.0.0.1", "localhost"}
    assert made["PREFECT_HOME"] == str(project.state / "prefect")
    assert made["PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE"].endswith(".filesystem")
    assert made["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"


def test_a_remote_mlflow_is_not_started_and_its_password_not_shown(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With MLFLOW_TRACKING_URI at a server, that server is named, without credentials."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:secret@mlflow.example.org/x")
    pages = servers.status(project)[2]
    assert (pages.state, pages.url) == ("remote", "https://mlflow.example.org/x")


def test_a_database_password_is_not_on_the_command_line(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A PostgreSQL address reaches MLflow by environment: everybody reads command lines."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://me:secret@db.example.org/mlflow")
    assert "secret" not in " ".join(launches.mlflow(project, launches.silent).command)
    assert "secret" in servers.environment(project)["MLFLOW_BACKEND_STORE_URI"]


def test_deploying_needs_the_server_and_a_file(project: Project) -> None:
    """Without prefect.yaml there is nothing to do; with it, the server must run."""
    assert servers.deploy(project) is False
    (project.root / "prefect.yaml").write_text("deployments: []\n")
    with pytest.raises(EnvironmentFailure, match="not running") as caught:
        servers.deploy(project)
    assert "sluice up" in caught.value.hint


def test_running_the_flow_needs_the_flow_and_the_server(project: Project) -> None:
    """Each missing part is its own error, with what to do."""
    with pytest.raises(ConfigError, match=r"release\.py is missing"):
        servers.run_flow(project)
    (project.root / "flows").mkdir()
    (project.root / "flows" / "release.py").write_text("")
    with pytest.raises(EnvironmentFailure, match="not running") as caught:
        servers.run_flow(project)
    assert "--no-server" in caught.value.hint


def test_a_flow_that_fails_is_no_reject(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python ends with 1 after an import error: the code of REJECT, but an error here."""
    monkeypatch.setattr(servers, "api_url", lambda project: "http://127.0.0.1:9/api")
    (project.root / "flows").mkdir()
    flow = project.root / "flows" / "release.py"
    flow.write_text("from sluicegate.stages import line\n")
    result = project.root / "result.json"
    with pytest.raises(ConfigError, match="before there was a verdict") as caught:
        servers.run_flow(project, result=result)
    assert "sluice upgrade" in caught.value.hint
    flow.write_text("open('result.json', 'w').write('{}'); raise SystemExit(1)\n")
    assert servers.run_flow(project, result=result) == 1
