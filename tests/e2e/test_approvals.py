"""A release that waits for people on the real servers: suspended, killed, started again, resumed,
promoted or held.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from kept_evidence import kept
from reviewed_project import at_the_keyboard
from sluicegate import local_services as servers
from sluicegate import releasing
from sluicegate.config import Params
from sluicegate.gates import load_policy
from sluicegate.ledger import Ledger
from sluicegate.line.release.approve import waiting_tag
from sluicegate.local_services import prefect_api, processes
from sluicegate.project import Project
from sluicegate.prompts import load_prompt
from sluicegate.records import Decision, GenerationSettings, Lineage, Verdict
from sluicegate.scaffold import init
from sluicegate.tracking import Tracking
from sluicegate.yaml_file import load
from soak_scale import SOAK

POLICY = """
approvals: {required: 2, role: reviewer, people: {ana: [reviewer], ben: [reviewer]}}
rules: [{name: scores exist, kind: at_least, metric: chrf, threshold: 0.0, compare: mean}]
"""
IMPORTS = "from sluicegate.line import sequence\n"
# The steps before the approvals are what the test has recorded already; the approvals and the
# promotion are real.
SCRIPTED = """
from sluicegate.line.run import Decided, Registered, Reported, Reproduced, TrafficChecked
from sluicegate.records import Decision
def step(name, found):
    def run(run, *_, **__):
        with open(run.project.root / "steps.txt", "a") as stream:
            stream.write(name + " ")
        return found(run) if callable(found) else found
    return run
def known(run):
    release = run.ledger.entries("register")[-1]
    return {"release": release.release, "version": 0, "champion": "", "champion_version": 1,
            "unchanged": False}
sequence.reproduce = step("reproduce", Reproduced((), "m"))
sequence.register = step("register", lambda run: Registered(**known(run)))
sequence.check_drift = step("check_drift", TrafficChecked("OK", 0))
sequence.decide = step("decide", lambda run: Decided(
    **known(run), decision=Decision.PROMOTE, markdown="# PROMOTE", text="PROMOTE"))
sequence.report = step("report", Reported())
"""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project from the template, release zero as champion, its servers running."""
    kept = os.environ.pop("MLFLOW_TRACKING_URI", None)
    root = tmp_path_factory.mktemp("approvals") / "project"
    init(root)
    (root / "registry" / "gates.yaml").write_text(POLICY)
    author = ["-c", "user.name=t", "-c", "user.email=t@example.invalid"]
    subprocess.run(["git", *author, "commit", "-qam", "policy"], cwd=root, check=True)
    (root / "prefect.toml").write_text("[worker]\nquery_seconds = 3\n")
    flow = root / "flows" / "release.py"
    text = flow.read_text("utf-8")
    assert IMPORTS in text
    flow.write_text(text.replace(IMPORTS, IMPORTS + SCRIPTED))
    made = Project(root)
    registered(made, 1)
    releasing.bootstrap(made, releasing.find_release(made, "1"), actor="maker")
    try:
        servers.up(made, wait=120.0)
        yield made
    finally:
        servers.down(made, grace=5.0)
        if kept is not None:
            os.environ["MLFLOW_TRACKING_URI"] = kept


def tracking(project: Project) -> Tracking:
    return Tracking(project.mlflow_url, project.mlflow_artifacts)


def model(project: Project) -> str:
    return load(project.params, Params).release.name


def registered(project: Project, length: int) -> str:
    """Store a release and register it in MLflow and the ledger, as the line would."""
    release = releasing.store_release(
        project,
        base_digest="b" * 64,
        base_name="tiny",
        adapter=None,
        prompt=load_prompt(project.prompts / "summarize.yaml"),
        generation=GenerationSettings(max_new_tokens=length),
        lineage=Lineage("1" * 64, "2" * 64, {}, "4" * 64, "c0ffee", False),
    )
    store = tracking(project)
    with store.start_run(model(project), "evaluate") as run:
        pass
    who = {"tracking": store, "model": model(project), "run_id": run.id, "actor": "maker@laptop"}
    with at_the_keyboard("maker@laptop"):
        made = releasing.register(project, release, **who)
    return made.release


def judged(project: Project, length: int) -> str:
    """A registered release with a PROMOTE verdict."""
    release = registered(project, length)
    champion = Ledger(project.ledger_url).champion()
    assert champion is not None
    verdict = Verdict(
        decision=Decision.PROMOTE,
        candidate=release,
        champion=champion.release,
        policy=load_policy(project.registry / "gates.yaml").digest,
        golden="a" * 64,
        evidence=kept(project),
        champion_evidence=kept(project, "champion"),
        rules=(),
    )
    releasing.judge(
        project,
        verdict,
        actor="gate",
        tracking=tracking(project),
        model=model(project),
        markdown="# why",
    )
    return release


def eventually(true: Callable[[], bool], seconds: float = 90.0) -> bool:
    until = time.monotonic() + seconds
    while not (held := true()) and time.monotonic() < until:
        time.sleep(0.25)
    return held


def created(project: Project, deployment: str) -> str:
    """Create a run that is due; tried again where the server's database is locked."""
    api = servers.api_url(project)
    found = prefect_api.request(f"{api}/deployments/name/{deployment}")
    assert found["paused"] is False
    made: list[dict[str, Any] | None] = []

    def create() -> bool:
        path = f"{api}/deployments/{found['id']}/create_flow_run"
        made.append(prefect_api.request(path, {"state": {"type": "SCHEDULED"}}))
        return made[-1] is not None

    assert eventually(create, 20.0)
    return str((made[-1] or {})["id"])


def started(project: Project) -> Callable[[], dict[str, Any]]:
    """Start a run of the nightly deployment; what is returned reads the run again."""
    run = created(project, servers.DEPLOYMENT)
    return lambda: dict(
        prefect_api.request(f"{servers.api_url(project)}/flow_runs/{run}") or {"state": {}}
    )


def state(run: Callable[[], dict[str, Any]]) -> str:
    return str((run()["state"] or {}).get("name"))


def sluice(project: Project, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sluicegate", *arguments]
    return subprocess.run(
        command, cwd=project.root, text=True, capture_output=True, check=False, timeout=120
    )


def steps(project: Project) -> list[str]:
    return (project.root / "steps.txt").read_text().split()


def kill_servers(project: Project) -> None:
    """SIGKILL for worker and Prefect server with all their children."""
    for name in ("worker", "prefect"):
        process = processes.alive(project, name)
        assert process is not None
        for member in [*process.children(recursive=True), process]:
            try:
                member.kill()
            except psutil.NoSuchProcess:
                continue
    assert eventually(
        lambda: not any(processes.alive(project, name) for name in ("worker", "prefect")), 20.0
    )


def test_a_run_waits_through_kill_9_and_goes_on_with_its_approvals(project: Project) -> None:
    """The run suspends with its report written, outlives SIGKILL of worker and server, and promotes
    what it waited with.
    """
    release = judged(project, 2)
    run = started(project)
    assert eventually(lambda: state(run) == "Suspended"), run()["state"]
    before = ["reproduce", "register", "check_drift", "decide", "report"]
    assert steps(project) == before
    kill_servers(project)
    servers.up(project, wait=120.0)
    assert state(run) == "Suspended"

    registered(project, 3)  # another candidate is checked out by now
    tracking(project).set_tags(model(project), 2, {"sluice.approve.ben": "reads well"})
    flow = [sys.executable, str(project.root / "flows" / "approvals.py")]
    done = subprocess.run(
        flow, cwd=project.root, env=servers.environment(project), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert [entry.actor for entry in Ledger(project.ledger_url).entries("approval")] == ["ben"]
    assert state(run) == "Suspended"

    refused = sluice(project, "promote", "2")
    assert refused.returncode == 3
    assert "ana: `sluice approve 2`" in refused.stderr
    told = json.loads(sluice(project, "approve", "2", "--as", "ana", "--json").stdout)
    assert (told["missing"], len(told["resumed"]), told["note"]) == (0, 1, "")
    assert eventually(lambda: state(run) == "Promoted"), run()["state"]
    champion = Ledger(project.ledger_url).champion()
    assert champion is not None
    assert champion.release == release
    assert steps(project) == before
    assert sluice(project, "verify").returncode == 0


def test_a_run_here_ends_waiting(project: Project) -> None:
    """Outside a deployment the run ends with 4 and the line that goes on."""
    judged(project, 4)
    result = project.root / "outcome.json"
    assert servers.run_flow(project, result=result) == 4
    text = json.loads(result.read_text())["approvals"]["text"]
    assert text == "waiting for 2 approvals by a reviewer: sluice approve 4; then sluice promote 4"


def test_a_run_resumed_too_early_waits_again_and_is_held_when_nothing_is_left_to_wait_for(
    project: Project,
) -> None:
    """Resuming without approvals suspends again; a verdict that no longer holds ends the run as
    held, not failed.
    """
    release = judged(project, 5)
    run = started(project)
    assert eventually(lambda: state(run) == "Suspended"), run()["state"]
    first = run()["state"]["timestamp"]
    assert prefect_api.resume_waiting(str(servers.api_url(project)), waiting_tag(release)) == [
        run()["name"]
    ]
    assert eventually(lambda: state(run) == "Suspended" and run()["state"]["timestamp"] != first), (
        run()["state"]
    )
    (project.registry / "gates.yaml").write_text(POLICY.replace("0.0", "0.1"))
    created(project, prefect_api.APPROVALS)
    assert eventually(lambda: state(run) == "Held"), run()["state"]
    assert "policy has changed" in run()["state"]["message"]


@pytest.mark.skipif(not SOAK, reason="waits for a deadline of 90 s: `make soak`")
def test_a_wait_that_is_over_ends_as_held(project: Project) -> None:
    """Where nobody consents within `wait_hours` the suspended run ends held, with the reason; the
    champion stays.
    """
    (project.registry / "gates.yaml").write_text(
        POLICY.replace("people:", "wait_hours: 0.025, people:")
    )
    champion = Ledger(project.ledger_url).champion()
    judged(project, 6)
    run = started(project)
    assert eventually(lambda: state(run) == "Suspended", 85.0), run()["state"]

    def asked_again() -> bool:
        flow = [sys.executable, str(project.root / "flows" / "approvals.py")]
        subprocess.run(
            flow,
            cwd=project.root,
            env=servers.environment(project),
            check=True,
            capture_output=True,
        )
        return state(run) != "Suspended"

    assert eventually(asked_again, 120.0)
    assert eventually(lambda: state(run) == "Held"), run()["state"]
    assert "did not come until" in run()["state"]["message"]
    assert Ledger(project.ledger_url).champion() == champion
