"""The local servers of a project: Prefect, a worker, and the MLflow pages; loopback only.

All state is under `.sluice/`: databases in `prefect/` and `mlflow/`, logs in `logs/`, ports and
process ids in `servers.json`. Neither Prefect nor MLflow is imported here: they are processes,
spoken to by HTTP.
"""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from sluicegate.errors import ConfigError, EnvironmentFailure, without_credentials
from sluicegate.hashing import digest_bytes
from sluicegate.local_services import launches, processes
from sluicegate.local_services.launches import Progress, environment, silent
from sluicegate.local_services.prefect_api import (
    APPROVALS,
    DEPLOYMENT,
    healthy,
    pause,
    prepare_for_worker,
    request,
)
from sluicegate.local_services.prefect_api import resume_waiting as resume_waiting_runs
from sluicegate.local_services.processes import Launch
from sluicegate.project import Project
from sluicegate.tracking.connection import exclusive, settle

NAMES = ("prefect", "worker", "mlflow")
LOCAL_DATABASES = ("sqlite:", "postgresql", "mysql", "mssql")


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """One server. `state`: running, starting (alive, not answering), stopped, remote (not ours)."""

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


def up(project: Project, *, wait: float = 120.0, progress: Progress = silent) -> list[ServerStatus]:
    """Start what is not running, wait until each answers, and apply `prefect.yaml`. Safe to repeat.

    Nights missed while everything was down are settled first: of all overdue runs the newest stays.

    Args:
        project: whose servers; two projects on one machine get different ports.
        wait: seconds each server may take to answer.
        progress: called with one line per step, among them which ports were taken and by whom.

    Raises:
        EnvironmentFailure: a server stopped or stayed silent (the message has its last log lines),
            or Prefect refuses `prefect.yaml`.
        BusyError: another `up` or `down` of this project is at work.
    """
    with ExitStack() as held:
        held.enter_context(processes.lock(project, wait))
        prefect = _start(project, launches.prefect(project, progress), progress)
        pages = launches.mlflow(project, progress) if _mlflow_is_local(project) else None
        if pages is not None and processes.alive(project, "mlflow") is None:
            # The server migrates its database while starting: nobody else may meanwhile.
            held.enter_context(exclusive(project.mlflow_artifacts.parent, "migration"))
            settle(project.mlflow_url, project.mlflow_artifacts)
            _start(project, pages, progress)
        _await(project, prefect, wait, progress)
        if processes.alive(project, "worker") is None:
            prepare_for_worker(f"{prefect.url}/api")
        # Before the worker: its first writes and a deployment's lock each other out of SQLite.
        deploy(project, progress=progress)
        pause(f"{prefect.url}/api", APPROVALS, not asks_for_approvals(project))
        worker = _start(project, launches.worker(prefect.url), progress)
        for launch in (worker, pages):
            if launch is not None:
                _await(project, launch, wait, progress)
    return status(project)


def down(
    project: Project, *, grace: float = 15.0, progress: Progress = silent
) -> list[ServerStatus]:
    """Stop worker, MLflow and Prefect with all their children; what is stopped already stays so.

    Args:
        project: whose servers.
        grace: seconds before a server (the worker: with the run in progress) is killed.
        progress: called with one line per server.
    """
    with processes.lock(project, 60.0):
        for name in ("worker", "mlflow", "prefect"):
            process = processes.alive(project, name)
            if process is not None:
                progress(f"stopping {name} (process {process.pid})")
                processes.stop(process, grace)
            processes.forget(project, name)
    return status(project)


def status(project: Project) -> list[ServerStatus]:
    """The state of each server, checked now: process alive, and answering. Starts nothing."""
    return [_status(project, name) for name in NAMES]


def _status(project: Project, name: str) -> ServerStatus:
    if name == "mlflow" and not _mlflow_is_local(project):
        return ServerStatus(name, "remote", without_credentials(project.mlflow_url))
    found, process = processes.record(project, name), processes.alive(project, name)
    if process is None or found is None:
        return ServerStatus(name, "stopped")
    state = "running" if healthy(found["health"]) else "starting"
    log = str(processes.log_of(project, name))
    return ServerStatus(name, state, found["url"], process.pid, log)


def api_url(project: Project) -> str | None:
    """Address of this project's Prefect API while it answers, else None."""
    prefect = _status(project, "prefect")
    return f"{prefect.url}/api" if prefect.state == "running" else None


def deploy(project: Project, *, progress: Progress = silent) -> bool:
    """Apply `prefect.yaml` to the local server; False when there is none, or nothing changed.

    Raises:
        EnvironmentFailure: the server is not running, or Prefect refuses the file.
    """
    file = project.root / "prefect.yaml"
    if not file.is_file():
        return False
    api = _require_api(project)
    flows = b"".join(flow.read_bytes() for flow in sorted((project.root / "flows").glob("*.py")))
    key = digest_bytes(str(project.root).encode() + file.read_bytes() + flows)
    known = f"{api}/deployments/name/{DEPLOYMENT}"
    if processes.state(project).get("deployed") == key and request(known):
        return False
    progress("applying prefect.yaml")
    prefect = (sys.executable, "-m", "prefect", "--no-prompt")
    try:
        done = subprocess.run(
            [*prefect, "deploy", "--all", "--prefect-file", str(file)],
            cwd=project.root, env=environment(project), capture_output=True, text=True, timeout=120,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise EnvironmentFailure(
            "`prefect deploy` did not finish within 120 s.", hint="Run `sluice up` again."
        ) from error
    if done.returncode != 0 or request(known, timeout=60.0) is None:
        raise EnvironmentFailure(
            f"Prefect refuses {file}:\n{processes.tail(done.stdout + done.stderr)}",
            hint="Correct it, then `sluice up` again; the servers themselves are running.",
        )
    processes.update(project, deployed=key)
    return True


def asks_for_approvals(project: Project) -> bool:
    """Does registry/gates.yaml ask people to approve? True also where it cannot be read."""
    from sluicegate.gates import load_policy

    try:
        return load_policy(project.registry / "gates.yaml").approvals is not None
    except ConfigError:
        return True


def resume_waiting(project: Project, tag: str) -> tuple[list[str], str]:
    """Let suspended runs that carry `tag` go on: their names, and a note if Prefect is silent.

    Without a note and without names nothing waited, or no server was ever started here.
    """
    api = api_url(project)
    found = resume_waiting_runs(api, tag) if api else None
    if found is not None:
        return found, ""
    note = "Prefect does not answer; what waits there goes on within minutes of `sluice up`."
    return [], note if (project.state / "prefect").is_dir() else ""


def run_flow(project: Project, *, promote: bool = True, result: Path | None = None) -> int:
    """Run `flows/release.py` here, recorded by the local server; returns its exit code.

    Args:
        project: its server must be up.
        promote: False stops after the verdict.
        result: where the flow writes its outcome as JSON, if given.

    Raises:
        ConfigError: the project has no `flows/release.py`, or it fails before the verdict.
        EnvironmentFailure: no server is running, or the flow was killed.
    """
    flow = project.root / "flows" / "release.py"
    if not flow.is_file():
        raise ConfigError(
            f"{flow} is missing.",
            hint="`sluice init` writes one; `sluice release --no-server` needs none.",
        )
    _require_api(project)
    command = [sys.executable, str(flow), "--root", str(project.root)]
    command += [] if promote else ["--no-promote"]
    command += ["--result", str(result)] if result else []
    # Prefect keeps tracebacks in its own log; here the flow itself says what went wrong.
    quiet = environment(project) | {"PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL"}
    # Its progress goes to stderr; stdout is the answer's.
    process = subprocess.Popen(command, cwd=project.root, env=quiet, stdout=2)
    try:
        code = process.wait()
    except KeyboardInterrupt:  # Ctrl-C has reached the flow as well
        with suppress(subprocess.TimeoutExpired):
            process.wait(20.0)
        if process.poll() is None:
            processes.stop(psutil.Process(process.pid), 1.0)
        raise
    if code < 0:
        raise EnvironmentFailure(
            f"the release flow was killed by signal {-code}.", hint="Run it again; it resumes."
        )
    if code == 1 and result and not result.is_file():  # 1 would be REJECT
        raise ConfigError(
            f"{flow} failed before there was a verdict; its error is above.",
            hint="Correct it; `sluice upgrade` brings an old project's flows forward.",
        )
    return code


def _start(project: Project, launch: Launch, progress: Progress) -> Launch:
    if processes.alive(project, launch.name) is None:
        progress(f"starting {launch.name}")
        processes.start(project, launch, environment(project))
    return launch


def _await(project: Project, launch: Launch, wait: float, progress: Progress) -> None:
    until = time.monotonic() + wait
    while not healthy(launch.health):
        process = processes.alive(project, launch.name)
        if process is None or time.monotonic() > until:
            what = f"did not answer within {wait:.0f} s" if process else "stopped while starting"
            if process:
                processes.stop(process, 5.0)
            processes.forget(project, launch.name)
            log = processes.log_of(project, launch.name)
            text = log.read_text("utf-8", "replace") if log.is_file() else ""
            raise EnvironmentFailure(
                f"{launch.name} {what}.\n{processes.tail(text)}", hint=f"The whole log: {log}"
            )
        time.sleep(0.1)
    progress(f"{launch.name} answers at {launch.url}")


def _require_api(project: Project) -> str:
    api = api_url(project)
    if api is None:
        raise EnvironmentFailure(
            "the local Prefect server is not running.",
            hint="`sluice up` starts it; `sluice release --no-server` needs none.",
        )
    return api


def _mlflow_is_local(project: Project) -> bool:
    return project.mlflow_url.startswith(LOCAL_DATABASES)
