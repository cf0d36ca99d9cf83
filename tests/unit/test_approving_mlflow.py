"""Approvals given in MLflow: a tag on a version, taken through the same checks."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from sluicegate.project import Project
from sluicegate.releasing import (
    collect_approvals,
    promote,
    verify,
)
from sluicegate.tracking import Tracking

sys.path.insert(0, str(Path(__file__).parents[1]))
from reviewed_project import decided, judged_in_mlflow, reviewed


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return reviewed(tmp_path)


@pytest.fixture
def tracking(project: Project) -> Tracking:
    return Tracking(project.mlflow_url, project.mlflow_artifacts)


def test_approvals_given_in_mlflow(project: Project, tracking: Tracking) -> None:
    """A tag with a name is an approval through the same checks; it is taken away, and who approved
    is shown.
    """
    second = judged_in_mlflow(project, tracking)
    page = tracking.client.get_model_version("m", "2").description
    assert page.startswith(
        "> **To approve** (this needs 1 approval by a reviewer: ana, ben, maker)"
    )
    assert "`sluice.approve.YOUR-NAME`" in page
    assert collect_approvals(project, tracking=tracking, model="m").recorded == ()
    tracking.set_tags(
        "m",
        2,
        {
            "sluice.approve.ana": "reads well",
            "sluice.approve.maker": "mine",
            "sluice.approve.ben": "No",
        },
    )
    tracking.set_tags("m", 1, {"sluice.approve.ben": "the bare model"})
    found = collect_approvals(project, tracking=tracking, model="m")
    assert [
        (entry.actor, entry.payload["via"], entry.payload["reason"]) for entry in found.recorded
    ] == [("ana", "mlflow", "reads well")]
    assert [line.partition(":")[0] for line in found.refused] == [
        "version 1, ben",
        "version 2, ben",
        "version 2, maker",
    ]
    tags = tracking.tags_of("m")[2]
    assert tags["sluice.approved"] == "ana"
    assert "maker made" in tags["sluice.approve_refused"]
    assert "'No' is not an approval" in tags["sluice.approve_refused"]
    assert not [key for key in tags if key.startswith("sluice.approve.")]
    assert collect_approvals(project, tracking=tracking, model="m") == type(found)()
    tracking.set_tags("m", 2, {"sluice.approve.ben": "me too"})
    collect_approvals(project, tracking=tracking, model="m")
    assert tracking.tags_of("m")[2]["sluice.approved"] == "ana, ben"
    assert promote(project, second, actor="maker").entry is not None
    verify(project)


def test_a_tag_counts_only_for_the_verdict_that_was_on_the_page(
    project: Project, tracking: Tracking
) -> None:
    """A tag set before another verdict goes with it; where MLflow was not told, it is refused."""
    second = judged_in_mlflow(project, tracking)
    tracking.set_tags("m", 2, {"sluice.approve.ana": "reads well"})
    decided(project, second, why="otherwise", tracking=tracking)
    assert not [key for key in tracking.tags_of("m")[2] if key.startswith("sluice.approve")]
    tracking.set_tags("m", 2, {"sluice.approve.ana": "reads well"})
    decided(project, second, why="MLflow was away")
    found = collect_approvals(project, tracking=tracking, model="m")
    assert found.recorded == ()
    assert "judged again since" in found.refused[0]
    decided(project, second, why="MLflow was away", tracking=tracking)
    tracking.set_tags("m", 2, {"sluice.approve.ana": "reads well"})
    decided(project, second, why="MLflow was away", tracking=tracking)
    assert len(collect_approvals(project, tracking=tracking, model="m").recorded) == 1
