"""How each local server is started: command, ports and settings."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import replace

from sluicegate.environment import read_variable
from sluicegate.local_services import processes
from sluicegate.local_services.prefect_api import POOL, WORKER
from sluicegate.local_services.processes import HOST, Launch
from sluicegate.project import Project

Progress = Callable[[str], None]
DEFAULT_PORTS = {"prefect": 4200, "mlflow": 5000}
SETTINGS = {
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_CONCURRENCY_INITIAL_DEPLOYMENT_LEASE_DURATION": "60",
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": (
        "prefect.server.concurrency.lease_storage.filesystem"
    ),
    # Its writes and a flow's lock each other out of SQLite.
    "PREFECT_SERVER_SERVICES_LATE_RUNS_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "PYTHONUNBUFFERED": "1",
}


def silent(line: str) -> None:
    """Progress that nobody reads."""


def environment(project: Project) -> dict[str, str]:
    """Environment for a process that uses the local servers; nothing of another Prefect in it."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PREFECT_")}
    record = processes.record(project, "prefect")
    past_proxy = {HOST, "localhost", *kept.get("NO_PROXY", kept.get("no_proxy", "")).split(",")}
    direct = ",".join(sorted(past_proxy - {""}))
    return kept | SETTINGS | ({"PREFECT_API_URL": f"{record['url']}/api"} if record else {}) | {
        # Not on the command line, which everybody on the machine reads.
        "MLFLOW_BACKEND_STORE_URI": project.mlflow_url,
        "NO_PROXY": direct,
        "no_proxy": direct,
        "PREFECT_HOME": str(project.state / "prefect"),
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": read_variable("SLUICE_LOG_LEVEL", "WARNING"),
        "SLUICE_ROOT": str(project.root),
    }  # fmt: skip


def prefect(project: Project, progress: Progress) -> Launch:
    """The Prefect server."""
    port = _port(project, "prefect", progress)
    command = ("prefect", "server", "start", "--host", HOST, "--port", str(port))
    return _launch("prefect", command, f"http://{HOST}:{port}", "/api/health", port)


def mlflow(project: Project, progress: Progress) -> Launch:
    """The MLflow server, on the project's own database."""
    port = _port(project, "mlflow", progress)
    for folder in (project.state / "mlflow", project.mlflow_artifacts):
        folder.mkdir(parents=True, exist_ok=True)
    command = (
        "mlflow", "server", "--host", HOST, "--port", str(port), "--workers", "1",
        "--artifacts-destination", str(project.mlflow_artifacts),
    )  # fmt: skip
    return _launch("mlflow", command, f"http://{HOST}:{port}", "/health", port)


def worker(prefect: str) -> Launch:
    """The worker that runs what is due, in the project's folder; `prefect` is its server."""
    command = (
        "prefect", "worker", "start", "--pool", POOL, "--type", "process", "--name", WORKER,
        "--install-policy", "never",
    )  # fmt: skip
    health = f"/api/work_pools/{POOL}/workers/filter"
    return replace(_launch("worker", command, prefect, health), url=f"{prefect}/work-pools")


def _launch(name: str, command: tuple[str, ...], url: str, health: str, port: int = 0) -> Launch:
    return Launch(name, (sys.executable, "-m", *command), url, f"{url}{health}", port)


def _port(project: Project, name: str, progress: Progress) -> int:
    """The port in use, else the last one, else the default; the next free one if that is taken."""
    wanted = int(processes.state(project).get("ports", {}).get(name, DEFAULT_PORTS[name]))
    if processes.alive(project, name) is not None:
        return wanted
    port, note = processes.free_port(wanted)
    if note:
        progress(f"{name}: {note}")
    return port
