"""The local servers of a project: Prefect, a worker for scheduled runs, and the MLflow pages; loopback only.

All state is under `.sluice/`: databases in `prefect/` and `mlflow/`, logs in `logs/`, ports and process ids in
`servers.json`. Neither Prefect nor MLflow is imported here: they are processes, spoken to by HTTP.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import psutil

from sluicegate.errors import ConfigError, EnvironmentFailure
from sluicegate.hashing import digest_bytes
from sluicegate.local_services import processes
from sluicegate.local_services.prefect_api import (
    APPROVALS,
    DEPLOYMENT,
    POOL,
    WORKER,
    healthy,
    pause,
    prepare_for_worker,
    request,
)
from sluicegate.local_services.prefect_api import resume_waiting as resume_waiting_runs
from sluicegate.local_services.processes import HOST, Launch
from sluicegate.project import Project
from sluicegate.tracking.connection import exclusive, settle

DEFAULT_PORTS = {"prefect": 4200, "mlflow": 5000}
NAMES = ("prefect", "worker", "mlflow")
LEASES = "prefect.server.concurrency.lease_storage.filesystem"
LOCAL_DATABASES = ("sqlite:", "postgresql", "mysql", "mssql")
Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """One server. `state` is running, starting (alive, not answering), stopped, or remote (not ours to start)."""

    name: str
    state: str
    url: str = ""
    pid: int | None = None
    log: str = ""

    @property
    def detail(self) -> str:
        """One line for a person."""
        where = f" at {self.url}" if self.url else ""
        return f"{self.state}{where}" + (f" (process {self.pid})" if self.pid else "")


def up(
    project: Project, *, wait: float = 120.0, progress: Progress | None = None
) -> list[ServerStatus]:
    """Start what is not running, wait until each answers, and apply `prefect.yaml`. Safe to repeat.

    Nights missed while everything was down are settled first: of all overdue runs the newest one stays.

    Args:
        project: whose servers; two projects on one machine get different ports.
        wait: seconds each server may take to answer.
        progress: called with one line per step, among them which ports were taken and by whom.

    Raises:
        EnvironmentFailure: a server stopped or stayed silent (its last log lines are in the message), or Prefect
            refuses `prefect.yaml`.
        BusyError: another `up` or `down` of this project is at work.
    """
    say = progress or _silent
    with ExitStack() as held:
        held.enter_context(processes.lock(project, wait))
        prefect = _start(project, _prefect(project, say), say)
        pages = _mlflow(project, say) if _mlflow_is_local(project) else None
        if pages is not None and processes.alive(project, "mlflow") is None:
            # The server migrates its database while starting: nobody else may meanwhile.
            held.enter_context(exclusive(project.mlflow_artifacts.parent, "migration"))
            settle(project.mlflow_url, project.mlflow_artifacts)
            _start(project, pages, say)
        _await(project, prefect, wait, say)
        if processes.alive(project, "worker") is None:
            prepare_for_worker(f"{prefect.url}/api")
        # One after the other: the worker's first writes and a deployment's lock each other out of SQLite.
        deploy(project, progress=say)
        pause(f"{prefect.url}/api", APPROVALS, not asks_for_approvals(project))
        worker = _start(project, _worker(prefect.url), say)
        for launch in (worker, pages):
            if launch is not None:
                _await(project, launch, wait, say)
    return status(project)


def down(
    project: Project, *, grace: float = 15.0, progress: Progress | None = None
) -> list[ServerStatus]:
    """Stop the worker, MLflow and Prefect with all their children; what is already stopped stays so.

    Args:
        project: whose servers.
        grace: seconds that a server (for the worker: with the flow run in progress) gets before it is killed.
        progress: called with one line per server.
    """
    say = progress or _silent
    with processes.lock(project, 60.0):
        for name in ("worker", "mlflow", "prefect"):
            process = processes.alive(project, name)
            if process is not None:
                say(f"stopping {name} (process {process.pid})")
                processes.stop(process, grace)
            processes.forget(project, name)
    return status(project)


def status(project: Project) -> list[ServerStatus]:
    """The state of each server, checked now: process alive, and answering. Starts nothing."""
    found = []
    for name in NAMES:
        record, process = processes.record(project, name), processes.alive(project, name)
        if name == "mlflow" and not _mlflow_is_local(project):
            found.append(
                ServerStatus(name, "remote", url=re.sub(r"//[^/@]*@", "//", project.mlflow_url))
            )
        elif process is None or record is None:
            found.append(ServerStatus(name, "stopped"))
        else:
            state = "running" if healthy(record["health"]) else "starting"
            found.append(
                ServerStatus(
                    name, state, record["url"], process.pid, str(processes.log_of(project, name))
                )
            )
    return found


def api_url(project: Project) -> str | None:
    """Address of this project's Prefect API while it answers, else None."""
    record = processes.record(project, "prefect")
    if (
        record is None
        or processes.alive(project, "prefect") is None
        or not healthy(record["health"])
    ):
        return None
    return f"{record['url']}/api"


def environment(project: Project) -> dict[str, str]:
    """Environment for a process that uses the local servers; no setting of another Prefect leaks in."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PREFECT_")}
    record = processes.record(project, "prefect")
    proxy_free = {
        part for part in kept.get("NO_PROXY", kept.get("no_proxy", "")).split(",") if part
    }
    direct = ",".join(sorted(proxy_free | {HOST, "localhost"}))
    return kept | ({"PREFECT_API_URL": f"{record['url']}/api"} if record else {}) | {
        "DO_NOT_TRACK": "true",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_BACKEND_STORE_URI": project.mlflow_url,  # not on the command line, which everybody on the machine reads
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "NO_PROXY": direct,
        "no_proxy": direct,
        "PREFECT_HOME": str(project.state / "prefect"),
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": os.environ.get("SLUICE_LOG_LEVEL", "WARNING"),
        "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_CONCURRENCY_INITIAL_DEPLOYMENT_LEASE_DURATION": "60",
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": LEASES,
        "PREFECT_SERVER_SERVICES_LATE_RUNS_ENABLED": "false",  # its writes and a flow's lock each other out of SQLite
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        "PYTHONUNBUFFERED": "1",
        "SLUICE_ROOT": str(project.root),
    }  # fmt: skip


def deploy(project: Project, *, progress: Progress | None = None) -> bool:
    """Apply `prefect.yaml` to the local server; False when there is none, or it was applied as it is already.

    Raises:
        EnvironmentFailure: the server is not running, or Prefect refuses the file.
    """
    say = progress or _silent
    file = project.root / "prefect.yaml"
    if not file.is_file():
        return False
    api = _require_api(project)
    flows = b"".join(flow.read_bytes() for flow in sorted((project.root / "flows").glob("*.py")))
    key = digest_bytes(str(project.root).encode() + file.read_bytes() + flows)
    if processes.state(project).get("deployed") == key and request(
        f"{api}/deployments/name/{DEPLOYMENT}"
    ):
        return False
    say("applying prefect.yaml")
    command = [
        sys.executable,
        "-m",
        "prefect",
        "--no-prompt",
        "deploy",
        "--all",
        "--prefect-file",
        str(file),
    ]
    try:
        done = subprocess.run(
            command,
            cwd=project.root,
            env=environment(project),
            capture_output=True,
            text=True,
            timeout=120,
        )
    except subprocess.TimeoutExpired as error:
        raise EnvironmentFailure(
            "`prefect deploy` did not end within 120 s.", hint="Run `sluice up` again."
        ) from error
    if (
        done.returncode != 0
        or request(f"{api}/deployments/name/{DEPLOYMENT}", timeout=60.0) is None
    ):
        raise EnvironmentFailure(
            f"Prefect refuses {file}:\n{processes.tail(done.stdout + done.stderr)}",
            hint="Correct it, then `sluice up` again; the servers themselves are running.",
        )
    processes.update(project, deployed=key)
    return True


def asks_for_approvals(project: Project) -> bool:
    """Does registry/gates.yaml ask people to approve? Where it cannot be read, nobody knows: True."""
    from sluicegate.gates import load_policy

    try:
        return load_policy(project.registry / "gates.yaml").approvals is not None
    except ConfigError:
        return True


def resume_waiting(project: Project, tag: str) -> tuple[list[str], str]:
    """Let suspended runs that carry `tag` go on: their names, and a note where Prefect was not reached.

    Without a note and without names nothing waited, or no server was ever started here.
    """
    api = api_url(project)
    found = resume_waiting_runs(api, tag) if api else None
    if found is not None:
        return found, ""
    started = (project.state / "prefect").is_dir()
    return (
        [],
        "Prefect does not answer; what waits there goes on within minutes of `sluice up`."
        if started
        else "",
    )


def run_flow(project: Project, *, promote: bool = True, result: Path | None = None) -> int:
    """Run `flows/release.py` here, recorded by the local server; return its exit code (0, 1, 2, 3 or 4).

    Args:
        project: its server must be up.
        promote: False stops after the verdict.
        result: where the flow writes its outcome as JSON, if given.

    Raises:
        ConfigError: the project has no `flows/release.py`.
        EnvironmentFailure: no server is running, or the flow was killed.
    """
    flow = project.root / "flows" / "release.py"
    if not flow.is_file():
        raise ConfigError(
            f"{flow} is missing.",
            hint="`sluice init` writes one; `sluice release --plain` needs none.",
        )
    _require_api(project)
    command = [sys.executable, str(flow), "--root", str(project.root)]
    command += [] if promote else ["--no-promote"]
    command += ["--result", str(result)] if result else []
    # Prefect keeps tracebacks in its own log; here the flow itself says what went wrong, and what to do.
    quiet = environment(project) | {"PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL"}
    process = subprocess.Popen(
        command, cwd=project.root, env=quiet, stdout=2
    )  # progress; stdout is the answer's
    try:
        code = process.wait()
    except KeyboardInterrupt:
        processes.stop(psutil.Process(process.pid), 20.0, signalled=True)
        raise
    if code < 0:
        raise EnvironmentFailure(
            f"the release flow was killed by signal {-code}.", hint="Run it again; it resumes."
        )
    return code


def _prefect(project: Project, say: Progress) -> Launch:
    port = _port(project, "prefect", say)
    command = (
        sys.executable,
        "-m",
        "prefect",
        "server",
        "start",
        "--host",
        HOST,
        "--port",
        str(port),
    )
    return Launch(
        "prefect", command, f"http://{HOST}:{port}", f"http://{HOST}:{port}/api/health", port
    )


def _mlflow(project: Project, say: Progress) -> Launch:
    port = _port(project, "mlflow", say)
    for folder in (project.state / "mlflow", project.mlflow_artifacts):
        folder.mkdir(parents=True, exist_ok=True)
    command = (
        sys.executable, "-m", "mlflow", "server", "--artifacts-destination", str(project.mlflow_artifacts),
        "--host", HOST, "--port", str(port), "--workers", "1",
    )  # fmt: skip
    return Launch("mlflow", command, f"http://{HOST}:{port}", f"http://{HOST}:{port}/health", port)


def _worker(prefect: str) -> Launch:
    command = (
        sys.executable, "-m", "prefect", "worker", "start", "--pool", POOL, "--type", "process", "--name", WORKER,
        "--install-policy", "never",
    )  # fmt: skip
    return Launch(
        "worker",
        command,
        f"{prefect}/work-pools",
        f"{prefect}/api/work_pools/{POOL}/workers/filter",
    )


def _port(project: Project, name: str, say: Progress) -> int:
    """The port in use, else the one used last time, else the default; the next free one when that is taken."""
    wanted = int(processes.state(project).get("ports", {}).get(name, DEFAULT_PORTS[name]))
    if processes.alive(project, name) is not None:
        return wanted
    port, note = processes.free_port(wanted)
    if note:
        say(f"{name}: {note}")
    return port


def _start(project: Project, launch: Launch, say: Progress) -> Launch:
    if processes.alive(project, launch.name) is None:
        say(f"starting {launch.name}")
        processes.start(project, launch, environment(project))
    return launch


def _await(project: Project, launch: Launch, wait: float, say: Progress) -> None:
    began = time.monotonic()
    while not healthy(launch.health):
        process = processes.alive(project, launch.name)
        late = time.monotonic() - began > wait
        if process is None or late:
            if process is not None:
                processes.stop(process, 5.0)
            processes.forget(project, launch.name)
            log = processes.log_of(project, launch.name)
            what = (
                f"did not answer within {wait:.0f} s"
                if process is not None
                else "stopped while starting"
            )
            text = log.read_text("utf-8", "replace") if log.is_file() else ""
            raise EnvironmentFailure(
                f"{launch.name} {what}.\n{processes.tail(text)}", hint=f"The whole log: {log}"
            )
        time.sleep(0.1)
    say(f"{launch.name} answers at {launch.url}")


def _require_api(project: Project) -> str:
    api = api_url(project)
    if api is None:
        raise EnvironmentFailure(
            "the local Prefect server is not running.",
            hint="`sluice up` starts it; `sluice release --plain` needs none.",
        )
    return api


def _mlflow_is_local(project: Project) -> bool:
    return project.mlflow_url.startswith(LOCAL_DATABASES)


def _silent(line: str) -> None:
    """Progress that nobody reads."""
