"""`sluice plan` in a project: from a pilot, from an assumption, and what it asks for without one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from test_gates import evidence, noisy

from sluicegate.cli.plan import plan as command
from sluicegate.errors import UsageError
from sluicegate.evaluation import write_evidence
from sluicegate.line.release.plan import plan_golden_set
from sluicegate.line.run import Run, open_run
from sluicegate.records import Evidence
from sluicegate.scaffold import init

POLICY = """
minimum_examples: 50
rules:
  - {name: better, kind: better_than_champion, metric: rouge1, way: improve}
  - {name: as good, kind: not_worse_than_champion, metric: rouge1, margin: 0.05}
  - {name: for nothing, kind: not_worse_than_champion, metric: rouge1, margin: 0.2, way: neutral}
"""


def scored(found: Evidence) -> Evidence:
    """The same with the scores under a name that the project knows."""
    rows = tuple(replace(row, scores={"rouge1": row.scores["score"]}) for row in found.rows)
    return replace(found, rows=rows, summaries={"rouge1": found.summaries["score"]})


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A new project with a small policy; nothing was evaluated."""
    monkeypatch.delenv("SLUICE_LEDGER_URL", raising=False)
    root = tmp_path / "project"
    init(root)
    (root / "registry" / "gates.yaml").write_text(POLICY, "utf-8")
    monkeypatch.chdir(root)
    return open_run(root)


def evaluated(run: Run, candidate: Evidence, champion: Evidence) -> None:
    """Leave evidence where the evaluation does."""
    for name, found in (("candidate", candidate), ("champion", champion)):
        write_evidence(run.project.evidence / f"{name}.parquet", scored(found))


def test_a_pilot_is_planned_from(run: Run) -> None:
    """Text and JSON name the rows of each way; the page is there, and the alpha a first one's."""
    evaluated(run, *noisy(60, 0.0, 4))
    found = plan_golden_set(run)
    assert found.plan.alpha == pytest.approx(0.0313, abs=1e-4)
    assert found.plan.enough("improve") is None
    rows = found.plan.enough("neutral")
    assert rows is not None
    done = CliRunner().invoke(command, ["--json"])
    assert json.loads(done.output)["enough"] == {"improve": None, "neutral": rows}
    text = CliRunner().invoke(command, ["--gain", "0.05"]).output
    assert "better by 0.05" in text
    assert "improve: never" not in text
    assert found.page.read_text("utf-8").count("<svg") == 3


def test_without_a_pilot_it_has_to_be_assumed(run: Run) -> None:
    """Nothing evaluated, or the champion alone: what is missing is said, with the options."""
    with pytest.raises(UsageError, match="nothing was evaluated"):
        plan_golden_set(run)
    same = evidence([0.5] * 40)
    evaluated(run, same, same)
    with pytest.raises(UsageError, match="no candidate beside") as refused:
        plan_golden_set(run)
    assert "--discordance" in refused.value.hint
    done = CliRunner().invoke(command, ["--discordance", "0.3", "--sd", "0.2"])
    assert done.exit_code == 0
    assert "30% of the rows differ by ±0.2" in done.output
    alone = CliRunner().invoke(command, ["--sd", "0.2"])
    assert isinstance(alone.exception, UsageError)
    with pytest.raises(UsageError, match="more than rouge1 can differ"):
        command.main(["--discordance", "0.3", "--sd", "1.5"], standalone_mode=False)
