"""The loop on the real servers: traffic drifts, its event starts a retraining, and a hundred alarms
start one.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from sluicegate import local_services as servers
from sluicegate.ledger import Ledger
from sluicegate.line.learn.cooldown import last_retraining
from sluicegate.line.run import open_run
from sluicegate.line.watch.check import resource
from sluicegate.local_services import prefect_api
from sluicegate.project import Project
from soak_scale import SOAK
from watched_project import examples, log, rows, said, watched

IMPORTS = "from sluicegate.line import sequence\n"
# The steps that take a model are scripted; claim, feedback, lock, events, automation and worker are
# real.
SCRIPTED = """
import time
from sluicegate.line.run import Decided, Registered, Reported, Reproduced, TrafficChecked
from sluicegate.records import Decision
def step(name, found, seconds=0.0):
    def run(run, *_, **__):
        with open(run.project.root / "steps.txt", "a") as stream:
            stream.write(name + " ")
        time.sleep(seconds)
        return found
    return run
KNOWN = {"release": "c", "version": 2, "champion": "b", "champion_version": 1, "unchanged": False}
sequence.reproduce = step("reproduce", Reproduced((), "m"), 4.0)
sequence.register = step("register", Registered(**KNOWN))
sequence.check_drift = step("check_drift", TrafficChecked("OK", 0))
sequence.decide = step("decide", Decided(
    **KNOWN, decision=Decision.REJECT, markdown="# REJECT", text="REJECT"))
sequence.report = step("report", Reported())
"""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project whose champion is asked much longer questions than those it was judged on; MLflow
    is out of reach.
    """
    kept = os.environ.get("MLFLOW_TRACKING_URI")
    os.environ["MLFLOW_TRACKING_URI"] = "http://127.0.0.1:9"
    made = watched(tmp_path_factory.mktemp("loop") / "project")
    (made.root / "prefect.toml").write_text("[worker]\nquery_seconds = 3\n")
    flow = made.root / "flows" / "retrain.py"
    text = flow.read_text("utf-8")
    assert IMPORTS in text
    flow.write_text(text.replace(IMPORTS, IMPORTS + SCRIPTED))
    correction = (said(correction="A better summary."),)
    log(made).write(rows(made, examples(made), times=4, feedback=correction))
    log(made).write(rows(made, examples(made, "validation"), times=4, feedback=correction))
    try:
        servers.up(made, wait=120.0)
        yield made
    finally:
        servers.down(made, grace=5.0)
        del os.environ["MLFLOW_TRACKING_URI"]
        if kept is not None:
            os.environ["MLFLOW_TRACKING_URI"] = kept


def eventually(true: Callable[[], bool], seconds: float = 90.0) -> bool:
    until = time.monotonic() + seconds
    while not (held := true()) and time.monotonic() < until:
        time.sleep(0.25)
    return held


def runs(project: Project, deployment: str) -> list[dict[str, Any]]:
    """Runs of a deployment that are not merely planned for later."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return prefect_api._runs(
        str(servers.api_url(project)), deployment, expected_start_time={"before_": now}
    )


def names(project: Project, deployment: str) -> list[str]:
    """The names of the states of its runs."""
    return [run["state"]["name"] for run in runs(project, deployment)]


def start(project: Project, deployment: str) -> None:
    """Create a run that is due; tried again, for the same run, where the server's database is
    locked.
    """
    api = servers.api_url(project)
    found = insisting(f"{api}/deployments/name/{deployment}")
    body = {"state": {"type": "SCHEDULED"}, "idempotency_key": uuid4().hex}
    insisting(f"{api}/deployments/{found['id']}/create_flow_run", body)


def insisting(url: str, body: Any = None) -> Any:
    """The answer of a server that may be busy."""
    answers: list[Any] = []

    def asked() -> bool:
        answers.append(prefect_api.request(url, body, timeout=30.0))
        return answers[-1] is not None

    assert eventually(asked, 60.0), url
    return answers[-1]


def event(about: str) -> dict[str, Any]:
    """A drift event as Prefect takes it."""
    return {
        "id": str(uuid4()),
        "event": "sluicegate.drift",
        "occurred": datetime.now(UTC).isoformat(),
        "resource": {"prefect.resource.id": about},
        "payload": {},
    }


def test_the_drift_event_starts_a_retraining_and_a_hundred_alarms_start_no_other(
    project: Project,
) -> None:
    """The monitor's event starts the retraining through Prefect's automation; all further alarms,
    while it works and after, start none, and what is rejected does not serve.
    """
    before = Ledger(project.ledger_url).champion()
    start(project, prefect_api.MONITOR)
    assert eventually(lambda: names(project, prefect_api.MONITOR) == ["Drift"]), runs(
        project, prefect_api.MONITOR
    )
    (seen,) = runs(project, prefect_api.MONITOR)
    assert "prompt.character_count" in seen["state"]["message"]
    assert "was not kept in MLflow" in seen["state"]["message"]

    steps = project.root / "steps.txt"
    assert eventually(steps.is_file)
    (retraining,) = runs(project, prefect_api.RETRAIN)
    wanted = {
        "cause": "sluicegate.drift",
        "resource": resource(open_run(project)),
        "root": ".",
        "promote": True,
    }
    assert retraining["parameters"] == wanted

    for _ in range(10):
        insisting(
            f"{servers.api_url(project)}/events",
            [event(resource(open_run(project))) for _ in range(10)],
        )
    start(project, prefect_api.RETRAIN)  # at work: Prefect's limit turns it away
    assert eventually(lambda: "Rejected" in names(project, prefect_api.RETRAIN)), runs(
        project, prefect_api.RETRAIN
    )
    start(project, prefect_api.RETRAIN)  # done: the cool-down turns it away
    assert eventually(lambda: "Skipped" in names(project, prefect_api.RETRAIN)), runs(
        project, prefect_api.RETRAIN
    )

    assert sorted(names(project, prefect_api.RETRAIN)) == ["Cancelled", "Rejected", "Skipped"]
    assert steps.read_text().split() == ["reproduce", "register", "check_drift", "decide", "report"]
    assert last_retraining(project)["outcome"] == "Rejected"
    assert Ledger(project.ledger_url).champion() == before
    learned = [
        json.loads(line)
        for line in (project.root / "data" / "raw" / "feedback.jsonl").read_text().splitlines()
    ]
    assert [row["answer"] for row in learned] == [
        "A better summary."
    ] * 7  # and nothing about golden rows


@pytest.mark.skipif(not SOAK, reason="one more run of a flow: `make soak`")
def test_an_event_about_another_project_is_not_ours(project: Project) -> None:
    """On a server that several projects share, each retrains for its own events."""
    (project.state / "retraining.json").unlink()
    other = "sluicegate.other-00000000.support-summaries"
    insisting(f"{servers.api_url(project)}/events", [event(other)])

    def mine() -> list[str]:
        found = [
            run
            for run in runs(project, prefect_api.RETRAIN)
            if run["parameters"].get("resource") == other
        ]
        return [str(run["state"]["message"]) for run in found if run["state"]["name"] == "Skipped"]

    assert eventually(lambda: bool(mine()))
    assert other in mine()[0]
    assert not (project.state / "retraining.json").exists()


def test_what_was_seen_is_kept_as_an_artefact(project: Project) -> None:
    """The report's summary is a Prefect artefact with the key `drift`."""
    query = {"artifacts": {"key": {"any_": ["drift"]}}}
    found = insisting(f"{servers.api_url(project)}/artifacts/filter", query)
    assert found
    assert "character_count" in found[0]["data"]
