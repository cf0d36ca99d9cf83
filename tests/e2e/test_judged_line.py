"""A judge in the line: asked once, held while nobody calibrated it, failing visibly, and never
beyond the gate's budget.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))
from test_gate_ci import GOLDEN, POLICY, SETTINGS, environment, git

from judge_server import criterion, judge_server, model, score
from sluicegate.evaluation import read_evidence
from sluicegate.project import Project
from sluicegate.scaffold import init
from soak_scale import SOAK
from tiny_model import build_tiny_model

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not SOAK, reason="a whole line, four times over, minutes on two cores: `make soak`"
    ),
]
RULE = (
    "  - {name: clear enough, kind: at_least, metric: 'judge:clear', threshold: 0.0, compare: "
    "mean}\n"
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project on a tiny model whose policy has a rule on a judge."""
    folder = tmp_path_factory.mktemp("judged")
    root = folder / "project"
    init(root)
    build_tiny_model(root / "models" / "tiny")
    (root / "registry" / "gates.yaml").write_text(POLICY + RULE, "utf-8")
    (root / "prompts" / "judge_clear.yaml").write_text(criterion("clear"))
    text = (root / "params.yaml").read_text("utf-8")
    for old, new in {**SETTINGS, "copied_names]": "copied_names, 'judge:clear']"}.items():
        assert old in text
        text = text.replace(old, new)
    (root / "params.yaml").write_text(text, "utf-8")
    for name, rows in (("support_train", 30), ("support_golden", GOLDEN)):
        sample = root / "data" / "sample" / f"{name}.jsonl"
        sample.write_text("".join(sample.read_text("utf-8").splitlines(keepends=True)[:rows]))
    git(root, "add", "-A")
    git(root, "commit", "-qm", "judged")
    yield root
    shutil.rmtree(folder, ignore_errors=True)


def sluice(root: Path, *arguments: str, code: int) -> dict[str, Any]:
    """Run one command with --json; it must end with `code`."""
    done = subprocess.run(
        [sys.executable, "-m", "sluicegate", *arguments, "--json"], cwd=root,
        env=environment(root), check=False,
        capture_output=True, text=True, timeout=500, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    return dict(json.loads(done.stdout[done.stdout.index("{") :]))


def test_a_judge_through_the_line(root: Path) -> None:
    """Budget, failed rows, retry of those alone, HOLD while uncalibrated, and a warm run that asks
    nothing.
    """
    project = Project(root)
    models = (root / "registry" / "models.yaml").read_text("utf-8")
    broken = [True]

    def answer(messages: Sequence[dict[str, str]]) -> str | None:
        return None if broken[0] and len(messages[-1]["content"]) % 3 == 0 else score(messages)

    with judge_server(answer) as judge:
        (root / "registry" / "models.yaml").write_text(models + model(judge.url), "utf-8")
        stopped = sluice(root, "gate", "--max-tokens", "20000", code=4)
        assert "token budget" in stopped["stopped"]
        assert stopped["verdict"] is None

        failing = sluice(root, "gate", code=4)
        use = read_evidence(project.evidence / "candidate.parquet").judges["clear"]
        assert 0 < use.failed < GOLDEN
        rule = next(rule for rule in failing["verdict"]["rules"] if rule["metric"] == "judge:clear")
        assert rule["decision"] == "HOLD"
        assert f"judge clear failed on {use.failed} of {GOLDEN} rows" in rule["reason"]

        broken[0], asked = False, len(judge.asked)
        held = sluice(root, "release", "--no-server", code=4)
        assert "is not calibrated" in held["decide"]["text"]
        assert 0 < len(judge.asked) - asked < 2 * GOLDEN
        evidence = read_evidence(project.evidence / "candidate.parquet")
        assert evidence.judges["clear"].failed == 0
        assert all(row.reasons["judge:clear"].startswith("It has") for row in evidence.rows)

        asked = len(judge.asked)
        warm = sluice(root, "release", "--no-server", code=4)
        assert "evaluate" not in warm["reproduce"]["ran"]
        assert warm["decide"]["decision"] == "HOLD"
        assert len(judge.asked) == asked
    page = (root / "reports" / "release.html").read_text("utf-8")
    assert "does not count" in page
    assert "not calibrated against people" in page
