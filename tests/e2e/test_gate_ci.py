"""The gate in pull requests that change one thing each: real git, DVC, PEFT, MLflow and ledger, a
tiny model.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from sluicegate.ledger import Ledger
from sluicegate.project import Project
from sluicegate.scaffold import init

sys.path.insert(0, str(Path(__file__).parents[1]))
from tiny_model import build_tiny_model

pytestmark = pytest.mark.slow
POLICY = """
minimum_examples: 20
rules:
  - {name: scores exist, kind: at_least, metric: chrf, threshold: 0.0, compare: mean}
  - {name: kept, kind: not_worse_than_champion, metric: rougeL, margin: 0.9}
"""
SETTINGS = {
    "model: smollm2-135m-instruct": "model: models/tiny",
    "dtype: auto": "dtype: float32",
    "max_new_tokens: 96": "max_new_tokens: 6",
    "max_tokens: 1024": "max_tokens: 4000",
    "max_steps: 0": "max_steps: 3",
}
GOLDEN = 24
FROM_CI = ("CI", "SLUICE_BASE", "GITHUB_BASE_REF", "GITHUB_EVENT_PATH", "CI_COMMIT_BRANCH")
FROM_CI += ("CI_MERGE_REQUEST_DIFF_BASE_SHA", "CI_MERGE_REQUEST_TARGET_BRANCH_SHA")


def git(root: Path, *arguments: str) -> str:
    """Run git with an author."""
    author = ["-c", "user.name=t", "-c", "user.email=t@example.invalid"]
    return subprocess.run(
        ["git", *author, *arguments], cwd=root, check=True, capture_output=True, text=True
    ).stdout.strip()


def gate(
    root: Path, *arguments: str, code: int | None = 0, **variables: str
) -> tuple[dict[str, Any], str]:
    """Run `sluice gate`; returns what it wrote as JSON (empty where it wrote none) and all it
    printed.
    """
    out = root.parent / f"{root.name}.json"
    done = subprocess.run(
        [sys.executable, "-m", "sluicegate", "gate", "--json-out", str(out), *arguments],
        cwd=root,
        env=environment(root) | variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
        stdin=subprocess.DEVNULL,
    )
    said = done.stdout + done.stderr
    assert code is None or done.returncode == code, said
    assert "this is a defect" not in said, said
    return (json.loads(out.read_text("utf-8")) if out.is_file() else {}), said


def environment(root: Path) -> dict[str, str]:
    """Offline, outside any pull request, with a model cache beside the project."""
    known = {name: value for name, value in os.environ.items() if name not in FROM_CI}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    cache = str(root.parent / "cache")
    return known | {
        "PATH": path,
        "HF_HUB_OFFLINE": "1",
        "DO_NOT_TRACK": "true",
        "SLUICE_CACHE": cache,
    }


def branch(root: Path, name: str, file: str, old: str, new: str) -> None:
    """A branch off main whose only commit replaces text in one file."""
    git(root, "checkout", "-q", "-f", "-B", name, "main")
    text = (root / file).read_text("utf-8")
    assert old in text
    (root / file).write_text(text.replace(old, new), "utf-8")
    git(root, "commit", "-qam", name)


def parts(outcome: dict[str, Any]) -> list[str]:
    """Names of the parts that changed."""
    return [part["name"] for part in outcome["change"]["parts"]]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project from the template on a tiny model: one commit on main, an empty ledger, nothing
    ever run.
    """
    folder = tmp_path_factory.mktemp("gate")
    root = folder / "project"
    init(root)
    build_tiny_model(root / "models" / "tiny")
    (root / "registry" / "gates.yaml").write_text(POLICY, "utf-8")
    text = (root / "params.yaml").read_text("utf-8")
    for old, new in SETTINGS.items():
        assert old in text
        text = text.replace(old, new)
    (root / "params.yaml").write_text(text, "utf-8")
    for name, rows in (("support_train", 30), ("support_golden", GOLDEN)):
        sample = root / "data" / "sample" / f"{name}.jsonl"
        sample.write_text(
            "".join(sample.read_text("utf-8").splitlines(keepends=True)[:rows]), "utf-8"
        )
    git(root, "add", "-f", "models")
    git(root, "commit", "-qam", "tiny")
    yield root
    shutil.rmtree(root, ignore_errors=True)


def test_prompt_only(project: Path) -> None:
    """A changed prompt is judged against the release of the merge base, nothing becomes champion,
    all files are there.
    """
    branch(
        project,
        "prompt",
        "prompts/summarize.yaml",
        "Read the following",
        "Please read the following",
    )
    out = project.parent / "out"
    files = {name: out / name for name in ("gate.xml", "comment.md", "report.html")}
    outcome, said = gate(
        project, "--base", "main", "--junit", str(files["gate.xml"]), "--comment",
        str(files["comment.md"]),
        "--html", str(files["report.html"]),
    )  # fmt: skip
    assert parts(outcome) == ["prompt"]
    assert outcome["generations"] == {"made": 2 * GOLDEN, "cached": 0}
    assert "the merge base" in said
    assert Ledger(Project(project).ledger_url).champion() is None
    verdicts = Ledger(Project(project).ledger_url).entries("verdict")
    assert [entry.payload["champion"] for entry in verdicts] == [outcome["register"]["champion"]]
    suite = ElementTree.parse(files["gate.xml"]).getroot()
    assert [case.get("name") for case in suite.iter("testcase")] == ["scores exist", "kept"]
    assert "| prompt |" in files["comment.md"].read_text("utf-8")
    assert "<html" in files["report.html"].read_text("utf-8")
    assert git(project, "worktree", "list").count("\n") == 0


def test_unchanged_gate_costs_nothing(project: Path) -> None:
    """The same gate again generates nothing, runs no stage and gives the same verdict, look for
    look.
    """
    first, _ = gate(project, "--base", "main")
    again, said = gate(project, SLUICE_BASE="main")
    assert again["generations"] == {"made": 0, "cached": 2 * GOLDEN}
    assert again["reproduce"]["ran"] == []
    assert "Running stage 'evaluate'" not in said
    assert again["verdict"] == first["verdict"]
    assert len(Ledger(Project(project).ledger_url).entries("verdict")) == 1


def test_policy_only(project: Path) -> None:
    """A changed policy is a new verdict on the old answers: none is generated."""
    text = (project / "registry" / "gates.yaml").read_text("utf-8")
    (project / "registry" / "gates.yaml").write_text(
        text.replace("margin: 0.9", "margin: 0.0001"), "utf-8"
    )
    outcome, _ = gate(project, "--base", "main", code=None)
    git(project, "checkout", "-q", "--", "registry")
    assert outcome["decision"] in ("HOLD", "REJECT")
    assert outcome["exit_code"] in (1, 4)
    assert parts(outcome) == ["prompt", "policy"]
    assert outcome["generations"] == {"made": 0, "cached": 2 * GOLDEN}


def test_generation_settings_only(project: Path) -> None:
    """Changed generation settings train nothing, and what the merge base's release answered is not
    asked again.
    """
    branch(
        project, "generation", "params.yaml", "repetition_penalty: 1.0", "repetition_penalty: 1.3"
    )
    outcome, said = gate(project, "--base", "main")
    assert parts(outcome) == ["generation settings"]
    assert outcome["change"]["parts"][0]["detail"] == "repetition_penalty 1.0 → 1.3"
    assert outcome["generations"] == {"made": GOLDEN, "cached": GOLDEN}
    assert "Running stage 'tune'" not in said


def test_tune_settings_only(project: Path) -> None:
    """A changed adapter setting trains and answers for the candidate only."""
    branch(project, "tune", "params.yaml", "rank: 16", "rank: 8")
    outcome, said = gate(project, "--base", "main")
    assert parts(outcome) == ["tune settings"]
    assert outcome["generations"]["made"] <= GOLDEN
    assert said.count("Running stage 'tune'") == 1


def test_data_only(project: Path) -> None:
    """Less training data is told as data, and the golden set stays the same."""
    rows = (
        (project / "data" / "sample" / "support_train.jsonl")
        .read_text("utf-8")
        .splitlines(keepends=True)
    )
    branch(project, "data", "data/sample/support_train.jsonl", rows[0], "")
    outcome, _ = gate(project, "--base", "main")
    assert parts(outcome) == ["data"]
    assert outcome["generations"]["made"] <= GOLDEN


def test_nothing_of_the_release(project: Path) -> None:
    """A pull request that only touches a README runs nothing and lets it through."""
    branch(project, "readme", "README.md", "A Sluicegate project", "A project")
    outcome, said = gate(project, "--base", "main")
    assert (parts(outcome), outcome["change"]["other"]) == ([], ["README.md"])
    assert outcome["generations"] == {"made": 0, "cached": 0}
    assert "Running stage" not in said


def test_budgets(project: Path) -> None:
    """Tokens and time that are spent end the run with HOLD and 4; what was generated is kept for
    the next run.
    """
    branch(project, "budget", "params.yaml", "repetition_penalty: 1.0", "repetition_penalty: 1.7")
    junit = project.parent / "out" / "budget.xml"
    verdicts = len(Ledger(Project(project).ledger_url).entries("verdict"))
    outcome, said = gate(
        project, "--base", "main", "--max-tokens", "5000", "--junit", str(junit), code=4
    )
    assert "token budget of 5,000" in said
    made = outcome["generations"]["made"]
    assert 0 < made < GOLDEN
    assert outcome["spent"]["tokens"] <= 5000
    assert outcome["verdict"] is None
    assert [error.get("type") for error in ElementTree.parse(junit).getroot().iter("error")] == [
        "HOLD"
    ]
    held, said = gate(project, "--base", "main", "--max-seconds", "1", code=4)
    assert held["spent"]["seconds"] < 40
    assert re.search("time is up|time budget", said)
    assert len(Ledger(Project(project).ledger_url).entries("verdict")) == verdicts
    rest, _ = gate(project, "--base", "main")
    assert rest["generations"]["made"] == GOLDEN - made - held["generations"]["made"]
    _, said = gate(project, "--base", "main", "--max-cost", "1", code=2)
    assert "release.price" in said


def test_clone_in_ci(project: Path, tmp_path: Path) -> None:
    """On a detached head with nothing but the caches and seals brought back, nothing is trained or
    generated again.
    """
    clone = tmp_path / "clone"
    git(project, "clone", "-q", str(project), str(clone))
    git(clone, "checkout", "-q", "--detach", "origin/prompt")
    for name in (".dvc/cache", ".sluice/generations", ".sluice/seals"):
        shutil.copytree(project / name, clone / name)
    outcome, said = gate(clone, GITHUB_BASE_REF="main", SLUICE_CACHE=str(project.parent / "cache"))
    assert outcome["change"]["ref"] == "origin/main"
    assert outcome["generations"] == {"made": 0, "cached": 2 * GOLDEN}
    assert "Running stage 'tune'" not in said


def test_shallow_clone(project: Path, tmp_path: Path) -> None:
    """Where the history is too short for a merge base, the gate stops with 3 and the line that
    fetches more.
    """
    git(project, "checkout", "-q", "prompt")
    clone = tmp_path / "clone"
    git(
        project,
        "clone",
        "-q",
        "--depth",
        "1",
        "--no-single-branch",
        f"file://{project}",
        str(clone),
    )
    outcome, said = gate(clone, "--base", "origin/main", code=3)
    assert "git fetch --deepen" in said
    assert "fetch-depth: 0" in said
    assert outcome == {}
    git(clone, "fetch", "-q", "--deepen=5", "origin", "+refs/heads/*:refs/remotes/origin/*")
    assert git(clone, "merge-base", "HEAD", "origin/main") == git(project, "rev-parse", "main")
    _, said = gate(clone, "--base", "origin/gone", code=3)
    assert "origin/gone" in said
    _, said = gate(project, "--base", "no-such-branch", code=2)
    assert "no-such-branch" in said


def test_champion_goes_before_the_merge_base(project: Path) -> None:
    """Where a release serves, it is what a candidate is compared with, and the gate moves nothing."""
    git(project, "checkout", "-q", "-f", "main")
    done = subprocess.run(
        [sys.executable, "-m", "sluicegate", "release", "--no-server"],
        cwd=project,
        env=environment(project),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    before = Ledger(Project(project).ledger_url).champion()
    assert before is not None
    branch(project, "after", "params.yaml", "repetition_penalty: 1.0", "repetition_penalty: 1.3")
    outcome, said = gate(project, "--base", "main")
    assert outcome["register"]["champion"] == before.release
    assert f"champion version {before.version}" in said
    assert Ledger(Project(project).ledger_url).champion() == before
