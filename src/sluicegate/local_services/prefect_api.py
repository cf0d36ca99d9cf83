"""The few calls to a local Prefect server that need no Prefect import (which costs seconds)."""

from __future__ import annotations

import http.client
import json
import time
import urllib.request
from typing import Any

POOL = "sluicegate"
DEPLOYMENT = "release/nightly"
APPROVALS = "approvals/waiting"
MONITOR = "monitor/hourly"
RETRAIN = "retrain/on-alarm"
DEPLOYMENTS = (DEPLOYMENT, APPROVALS, MONITOR, RETRAIN)
WORKER = "local"
RESUMING = "Resuming"  # Prefect's name for the state of a run that was suspended and goes on
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def request(
    url: str, body: dict[str, Any] | None = None, *, method: str = "", timeout: float = 10.0
) -> Any:
    """The JSON (or text) answer of a local server; None when there is none, or an error.

    Proxies of the environment are ignored: everything asked here is on loopback.
    """
    data = None if body is None else json.dumps(body).encode()
    verb = method or ("GET" if body is None else "POST")
    headers = {"Content-Type": "application/json"}
    asked = urllib.request.Request(url, data=data, headers=headers, method=verb)
    try:
        with _DIRECT.open(asked, timeout=timeout) as answer:
            text = answer.read().decode("utf-8", "replace")
    except (OSError, http.client.HTTPException):  # URLError and time-outs are OSErrors
        return None
    try:
        return json.loads(text)
    except ValueError:
        return text


def healthy(health: str) -> bool:
    """Does a health address answer? The worker's: does Prefect see it online?"""
    if not health.endswith("/workers/filter"):
        return request(health, timeout=3.0) is not None
    return any(one.get("status") == "ONLINE" for one in request(health, {}, timeout=3.0) or [])


def prepare_for_worker(api: str) -> None:
    """Call while no worker is alive: makes the pool, forgets the last worker, settles its runs.

    What it left running is marked crashed, and a retraining among it is due again. Of all overdue
    runs of a deployment only the newest stays scheduled, beside those that were suspended and have
    been resumed.
    """
    if request(f"{api}/work_pools/{POOL}") is None:
        request(f"{api}/work_pools/", {"name": POOL, "type": "process"})
    request(f"{api}/work_pools/{POOL}/workers/{WORKER}", method="DELETE")
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    for deployment in DEPLOYMENTS:
        left = {"type": {"any_": ["RUNNING", "PENDING", "CANCELLING"]}}
        for run in _runs(api, deployment, state=left):
            why = "The worker had stopped when the servers started again."
            set_state(api, run["id"], "CRASHED", why)
            if deployment == RETRAIN:
                start_again(api, run)
        due = {"state": {"type": {"any_": ["SCHEDULED"]}}, "expected_start_time": {"before_": now}}
        runs = [run for run in _runs(api, deployment, **due) if run["state"]["name"] != RESUMING]
        for run in runs[1:]:
            why = "A later one is due as well: missed ones run once."
            set_state(api, run["id"], "CANCELLED", why)


def start_again(api: str, run: dict[str, Any]) -> None:
    """Let a run of a deployment be due again, once, with its parameters."""
    body = {
        "name": f"{run['name']}, again",
        "parameters": run["parameters"],
        "state": {"type": "SCHEDULED", "message": f"Run {run['name']} was killed."},
        "idempotency_key": f"again {run['id']}",
    }
    request(f"{api}/deployments/{run['deployment_id']}/create_flow_run", body)


def pause(api: str, deployment: str, paused: bool) -> None:
    """Stop a deployment's schedules, or let them run."""
    found = request(f"{api}/deployments/name/{deployment}")
    if found is not None and bool(found.get("paused")) != paused:
        request(f"{api}/deployments/{found['id']}/{'pause' if paused else 'resume'}_deployment", {})


def resume_waiting(api: str, tag: str) -> list[str] | None:
    """Resume the suspended runs that carry `tag`; their names, or None where the server refuses."""
    query = {"state": {"type": {"any_": ["PAUSED"]}}, "tags": {"all_": [tag]}}
    found = _insisting(f"{api}/flow_runs/filter", {"flow_runs": query})
    if found is None:
        return None
    answers = [_insisting(f"{api}/flow_runs/{run['id']}/resume", {}) for run in found]
    return None if None in answers else [run["name"] for run in found]


def set_state(api: str, run: str, kind: str, why: str) -> None:
    """Propose a state type such as CANCELLED, with the reason as its message.

    Not forced: Prefect's own rules must run, they give back the deployment's concurrency slot.
    """
    state = {"type": kind, "message": why}
    request(f"{api}/flow_runs/{run}/set_state", {"state": state, "force": False})


def _insisting(url: str, body: dict[str, Any], *, tries: int = 5) -> Any:
    """Like `request`, asked again after a second: a busy server finds its SQLite locked."""
    for rest in reversed(range(tries)):
        answer = request(url, body)
        if answer is not None or not rest:
            return answer
        time.sleep(1.0)


def _runs(api: str, deployment: str = DEPLOYMENT, **flow_runs: Any) -> list[dict[str, Any]]:
    """Runs of a deployment, latest expected start first."""
    flow, name = deployment.split("/")
    query = {
        "flows": {"name": {"any_": [flow]}},
        "deployments": {"name": {"any_": [name]}},
        "flow_runs": flow_runs,
        "sort": "EXPECTED_START_TIME_DESC",
    }
    return list(request(f"{api}/flow_runs/filter", query) or [])
