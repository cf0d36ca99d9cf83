"""Versions that somebody deleted in MLflow come back from the ledger and the store."""

from __future__ import annotations

import sys
from pathlib import Path

from sluicegate.ledger import Ledger
from sluicegate.releasing import (
    collect_approvals,
    find_release,
    promote,
    reconcile,
    register,
    verify,
)
from sluicegate.tracking import Tracking

sys.path.insert(0, str(Path(__file__).parents[1]))
from reviewed_project import decided, judged_in_mlflow, reviewed, stored


def test_deleted_versions_and_models_come_back(tmp_path: Path) -> None:
    """The champion's version returns under a higher number, a whole model under its own; approvals
    still find them.
    """
    project = reviewed(tmp_path)
    tracking = Tracking(project.mlflow_url, project.mlflow_artifacts)
    second = judged_in_mlflow(project, tracking)
    told = {"tracking": tracking, "model": "m"}
    first = find_release(project, "1")
    tracking.client.delete_model_version("m", "1")
    tracking.client.delete_model_version("m", "2")
    found = reconcile(project, **told)
    assert found.changed[:2] == (
        "version 1 had been deleted in MLflow: it is there again as version 3",
        "version 2 had been deleted in MLflow: it is there again as version 4",
    )
    assert found.champion == tracking.version_of("m", first)
    assert found.challenger == tracking.version_of("m", second)
    assert reconcile(project, **told).changed == ()

    decided(project, second, why="again", tracking=tracking)
    shown = tracking.version_of("m", second)
    assert shown is not None
    tracking.set_tags("m", shown, {"sluice.approve.ana": "reads well"})
    (approval,) = collect_approvals(project, **told).recorded
    assert approval.payload["via"] == "mlflow"
    promote(project, second, actor="ann", **told)
    assert tracking.alias("m", "champion") == shown

    tracking.client.delete_registered_model("m")
    with tracking.start_run("m", "evaluate") as run:
        third = register(project, stored(project, 3), run_id=run.id, actor="ann", **told)
    assert tracking.version_of("m", first) == 1
    assert tracking.version_of("m", second) == 2
    assert third.version == 3
    versions = [
        entry.payload["version"] for entry in Ledger(project.ledger_url).entries("register")
    ]
    assert versions == [1, 2, 3]
    reconcile(project, **told)
    assert tracking.alias("m", "champion") == 2
    assert verify(project, **told).releases == 3
