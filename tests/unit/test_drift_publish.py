"""Publishing a drift check: page, MLflow run with the profile, Markdown; personal data stays out."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from sluicegate.drift import read_profile
from sluicegate.line.run import open_run
from sluicegate.line.watch.report import publish, reference_path
from sluicegate.monitoring import Row, check_rows
from sluicegate.project import Project
from sluicegate.records import DriftReport
from watched_project import examples, rows, watched


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The shipped sample project with a champion."""
    return watched(tmp_path_factory.mktemp("publish") / "project")


def traffic(project: Project, times: int) -> list[Row]:
    """The golden conversations, as often over, with an address in each."""
    found = rows(project, examples(project), times=times)
    return [
        {
            "prompt": f"lin.person@example.org {row.prompt}",
            "response": row.response,
            "group": row.group,
        }
        for row in found
    ]


def test_drift_is_published(project: Project) -> None:
    """Longer prompts: the page and the run hold cause, plots, examples of both sides and the
    profile; no address.
    """
    window_rows = traffic(project, 3)
    report, window = check_rows(window_rows, reference_path(open_run(project)))
    assert report.status == "DRIFT"
    found = publish(open_run(project), report, window, lambda: iter(window_rows))
    html = Path(found.html).read_text("utf-8")
    assert Path(found.html) == project.reports / "drift.html"
    assert "What is asked has changed" in html
    assert "What the golden set lacks" in html
    assert html.count("<svg") >= 3
    assert '<div class="who before">Reference</div>\n<div class="pair">' in html
    assert "lin.person" not in html
    assert "[EMAIL]" in html
    assert found.markdown.startswith("## Drift")
    client = open_run(project).tracking.client
    run = client.get_run(found.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.tags["sluice.drift"] == "DRIFT"
    assert run.data.metrics["rows"] == report.rows
    kept = {item.path for item in client.list_artifacts(found.run_id)}
    assert {"drift.html", "drift.md", "profile"} <= kept
    assert {item.path for item in client.list_artifacts(found.run_id, "profile")} == {
        "profile/window.parquet", "profile/window.json",
    }  # fmt: skip
    assert read_profile(project.build / "monitor" / "window.parquet").rows == report.rows


def test_no_data_is_published(project: Project) -> None:
    """Without a window there is a page and a run that say so, and the rows are not read."""

    def never() -> Iterable[Row]:
        raise AssertionError("read")

    found = publish(open_run(project), DriftReport("NO_DATA", 0, notes=("0 rows.",)), None, never)
    assert "No data" in Path(found.html).read_text("utf-8")
    assert (
        open_run(project).tracking.client.get_run(found.run_id).data.tags["sluice.drift"]
        == "NO_DATA"
    )
