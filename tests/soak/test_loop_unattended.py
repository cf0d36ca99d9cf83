"""One whole turn of the loop, unattended, with real tuning: traffic, drift, retraining (killed
once), gate, verdict.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest

from sluicegate import local_services as servers
from sluicegate.hashing import read_json
from sluicegate.ledger import Ledger
from sluicegate.line.learn.cooldown import last_retraining
from sluicegate.local_services import prefect_api
from sluicegate.project import Project
from sluicegate.releasing import load_stored
from sluicegate.scaffold import init
from sluicegate.traffic import Feedback, TrafficLog, TrafficRow
from soak_scale import SOAK
from tiny_model import build_tiny_model

ENDED = ("Promoted", "Rejected", "Held", "Unchanged")
EDITS = {
    "params.yaml": [
        ("epochs: 2", "epochs: 1"),
        ("max_steps: 0 ", "max_steps: 12 "),
        ("max_new_tokens: 96", "max_new_tokens: 32"),
    ],
    "prefect.yaml": [('cron: "17 * * * *"', 'cron: "* * * * *"')],  # a look every minute
}

pytestmark = [
    pytest.mark.skipif(not SOAK, reason="minutes of tuning: `make soak`"),
    pytest.mark.slow,
    pytest.mark.timeout(3600),
]


@pytest.fixture(params=["tiny", "smollm2-135m-instruct"])
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Project]:
    """The sample project on one of two base models, released once, in production: its servers run
    and look every minute.
    """
    kept = os.environ.pop("MLFLOW_TRACKING_URI", None)
    made = Project(tmp_path / "project")
    init(made.root)
    for name, pairs in EDITS.items():
        text = (made.root / name).read_text("utf-8")
        for old, new in pairs:
            assert old in text
            text = text.replace(old, new)
        (made.root / name).write_text(text, "utf-8")
    if request.param == "tiny":
        base = ("model: smollm2-135m-instruct", f"model: {build_tiny_model(tmp_path / 'tiny')}")
        limits = ("max_tokens: 1024", "max_tokens: 4000"), ("dtype: auto", "dtype: float32")
        text = made.params.read_text("utf-8")
        for old, new in (base, *limits):
            assert old in text
            text = text.replace(old, new)
        made.params.write_text(text, "utf-8")
    (made.root / "prefect.toml").write_text("[worker]\nquery_seconds = 3\n")
    assert sluice(made, "release", "--no-server").returncode in (0, 1, 4)
    try:
        servers.up(made, wait=300.0)
        yield made
    finally:
        servers.down(made, grace=5.0)
        if kept is not None:
            os.environ["MLFLOW_TRACKING_URI"] = kept


def sluice(project: Project, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sluicegate", *arguments]
    return subprocess.run(
        command, cwd=project.root, text=True, capture_output=True, check=False, timeout=1800
    )


def production(project: Project) -> None:
    """Sixty long questions of a new kind, half of the answers corrected."""
    now = datetime.now(UTC)
    things = ["heater", "boat", "printer", "garden hose", "telescope", "cello"]
    written = []
    for number in range(60):
        thing = things[number % 6]
        chat = "\n".join(
            f"Customer: part {turn} of my {thing} number {number} hums at {turn + number} hertz, "
            "what does that mean?\n"
            f"Agent: a {thing} hums at {turn + number} hertz when screw {turn * number} is loose."
            for turn in range(14)
        )
        correction = f"The {thing} number {number} hums. The agent says that screws are loose."
        said = (Feedback(now, correction=correction),) if number % 2 else ()
        written.append(
            TrafficRow(
                key=f"row{number}",
                time=now - timedelta(seconds=60 - number),
                prompt=f"Sum this up!\n{chat}",
                response=f"{thing} hums",
                group=f"customer {number}",
                inputs={"conversation": chat},
                feedback=said,
            )
        )
    assert TrafficLog(project.traffic_url).write(written) == 60


def eventually(true: Callable[[], bool], seconds: float) -> bool:
    until = time.monotonic() + seconds
    while not (held := true()) and time.monotonic() < until:
        time.sleep(1.0)
    return held


def runs(project: Project) -> list[dict[str, Any]]:
    return prefect_api._runs(str(servers.api_url(project)), prefect_api.RETRAIN)


def kill_flow(project: Project) -> None:
    """SIGKILL for the flow run's process and all its children, the tuning among them."""
    worker = psutil.Process(servers.status(project)[1].pid)
    for child in worker.children():
        family = [*child.children(recursive=True), child]
        if any("stage" in member.cmdline() for member in family):
            for member in family:
                member.kill()
            return
    raise AssertionError("no stage is at work")


def test_the_loop_turns_once_unattended(project: Project) -> None:
    """Drift in the log is enough: it is seen, the retraining starts, is killed, starts again, and
    ends with one verdict on a release whose parent is the champion; more alarms start nothing.
    """
    champion = Ledger(project.ledger_url).champion()
    assert champion is not None
    looks = len(Ledger(project.ledger_url).entries("verdict"))
    production(project)
    tuning = project.build / "tune.json"
    before = tuning.stat().st_mtime
    assert eventually(lambda: last_retraining(project).get("ended", 0) is None, 600.0), runs(
        project
    )
    assert eventually(lambda: "stage" in str(_commands(project)), 300.0), last_retraining(project)
    kill_flow(project)
    assert eventually(lambda: last_retraining(project)["attempt"] == 2, 600.0), runs(project)
    assert eventually(lambda: last_retraining(project)["ended"] is not None, 2400.0), runs(project)

    record = last_retraining(project)
    print(
        f"the retraining ended as {record['outcome']} after "
        f"{record['ended'] - record['started']:.0f} s"
    )
    assert record["outcome"] in ENDED, record
    assert record["cause"] == "sluicegate.drift"
    assert tuning.stat().st_mtime > before
    judged = Ledger(project.ledger_url).entries("verdict")[-1].release
    lineage = load_stored(project, judged).lineage
    assert lineage.parent == champion.release
    assert len(Ledger(project.ledger_url).entries("verdict")) == looks + 1
    after = Ledger(project.ledger_url).champion()
    assert after is not None
    assert (after.release == judged) is (record["outcome"] == "Promoted")
    assert read_json(project.build / "prepare.json")["counts"]["read"] == 152 + 30
    assert sluice(project, "verify").returncode == 0

    time.sleep(130)  # two more looks, two more alarms
    assert last_retraining(project) == record
    assert [run["state"]["name"] for run in runs(project)].count(record["outcome"]) == 1


def _commands(project: Project) -> list[list[str]]:
    """The command lines of the worker's tree."""
    found = []
    for process in psutil.Process(servers.status(project)[1].pid).children(recursive=True):
        try:
            found.append(process.cmdline())
        except psutil.Error:
            continue
    return found
