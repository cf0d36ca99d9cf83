"""A golden set that shares rows with earlier ones inherits what they spent."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from test_gates import BETTER, policy

from sluicegate.cli import sluice
from sluicegate.data.examples import write_examples
from sluicegate.gates import allowance
from sluicegate.gates.budget import inherited
from sluicegate.hashing import digest_file
from sluicegate.ledger import Ledger
from sluicegate.line.release.golden_rows import budget, fingerprints, shares
from sluicegate.line.run import open_run
from sluicegate.project import Project
from sluicegate.records import Example
from sluicegate.scaffold import init

ROWS = [Example(f"r{n}", f"g{n}", {"text": f"Text  {n}"}, ("ok",), "s") for n in range(20)]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    for name in ("SLUICE_LEDGER_URL", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    init(tmp_path / "p")
    return Project(tmp_path / "p")


def golden(project: Project, rows: list[Example]) -> str:
    """Make these the golden set; its digest. What earlier ones had is known."""
    project.golden.parent.mkdir(parents=True, exist_ok=True)
    write_examples(project.golden, rows)
    digest = digest_file(project.golden)
    shares(project, digest, [])
    return digest


def verdict(project: Project, golden: str, evidence: str = "e", decision: str = "HOLD") -> None:
    payload = {
        "golden": golden, "evidence": evidence, "champion_evidence": None, "policy": "p",
        "decision": decision, "verdict": evidence,
    }  # fmt: skip
    Ledger(project.ledger_url).append("verdict", "c" * 64, "ann", payload)


@pytest.mark.parametrize(
    ("touch", "share"),
    [
        (lambda row: replace(row, reference=("other",)), 1.0),
        (lambda row: replace(row, inputs={"text": "Quite another"}), 1.0),
        (lambda row: replace(row, id=f"new {row.id}"), 1.0),
        (lambda row: replace(row, id=f"new {row.id}", inputs={"text": row.inputs["text"].upper()}),
         1.0),
        (lambda row: replace(row, id=f"new {row.id}", inputs={"text": "Quite another"}), 0.95),
    ],
)  # fmt: skip
def test_a_touched_row_is_no_fresh_row(project: Project, touch: object, share: float) -> None:
    """Its id or its text gives it away; only both new make it fresh."""
    before = golden(project, ROWS)
    assert callable(touch)
    now = golden(project, [touch(ROWS[0]), *ROWS[1:]])
    assert shares(project, now, [before]) == {before: pytest.approx(share)}


def test_what_is_kept_of_rows_is_no_text(project: Project) -> None:
    """Digests, readable by their owner."""
    digest = golden(project, ROWS)
    kept = (project.store / "golden" / f"{digest}.json").read_text("utf-8")
    assert "Text" not in kept
    assert len(fingerprints(ROWS)) == len(ROWS)


def test_evaluations_count_by_the_share_of_rows(project: Project) -> None:
    """Two verdicts on a set of which half the rows are left count as one; a repeat counts once."""
    before = golden(project, ROWS)
    verdict(project, before, "one")
    verdict(project, before, "one")
    verdict(project, before, "two")
    fresh = [replace(row, id=f"n{row.id}", inputs={"text": f"New {row.id}"}) for row in ROWS[10:]]
    now = golden(project, [*ROWS[:10], *fresh])
    run = open_run(project)
    found = budget(run)
    assert (found.golden, found.evaluations) == (now, 0)
    assert found.inherited == pytest.approx(1.0)
    assert found.alpha == pytest.approx(allowance([False], run.policy))
    assert found.alpha < found.first


def test_fresh_rows_bring_alpha_back(project: Project) -> None:
    """As many as `golden status` names are enough, and one less is not."""
    before = golden(project, ROWS)
    for number in range(3):
        verdict(project, before, f"e{number}")
    run = open_run(project)
    count = budget(run).fresh_rows
    assert 0 < count < len(ROWS)

    def alpha(replaced: int) -> float:
        return allowance((), run.policy, 3 * (1 - replaced / len(ROWS)))

    assert alpha(count) >= budget(run).first / 2 > alpha(count - 1)


def test_a_set_nothing_is_known_of_is_told_apart(project: Project) -> None:
    """Of sets older than the record nothing is inherited; of this one nothing from itself."""
    now = golden(project, ROWS)
    verdict(project, now)
    verdict(project, "0" * 64)
    assert shares(project, now, [now, "0" * 64]) == {}
    assert inherited(Ledger(project.ledger_url).entries(), golden=now, shares={}) == 0.0


def test_the_command_shows_what_is_left(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Evaluations, alpha and the rows that restore it; without a golden set it says what to run."""
    monkeypatch.chdir(project.root)
    bare = CliRunner().invoke(sluice, ["golden", "status"])
    assert "no golden set" in str(bare.exception)
    verdict(project, golden(project, ROWS))
    done = CliRunner().invoke(sluice, ["golden", "status"])
    assert done.exit_code == 0, done.output
    assert "evaluations:  1 of 20" in done.output
    assert "fresh rows" in done.output


def test_even_spending_gives_each_the_same() -> None:
    """All together they have alpha; after the last there is nothing."""
    rules = policy(BETTER, submissions=10, spending="even")
    rates = [allowance([False] * number, rules) for number in range(10)]
    assert rates == pytest.approx([0.005] * 10)
    assert allowance([False] * 10, rules) == 0.0
    assert math.fsum(rates) == pytest.approx(rules.alpha)


def test_a_budget_that_is_nearly_spent_leaves_no_part_of_an_evaluation() -> None:
    """Half an evaluation is none."""
    rules = policy(BETTER, submissions=3)
    assert allowance([False, False], rules) > 0.0
    assert allowance([False, False], rules, 0.5) == 0.0
