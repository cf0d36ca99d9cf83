"""Results that the author of a change supplies decide nothing: the attacks, carried out with real
git, DVC, PEFT and MLflow on a tiny model.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from sluicegate.data.examples import read_examples
from sluicegate.evaluation import evaluate, read_evidence, write_evidence
from sluicegate.hashing import digest_file
from sluicegate.ledger import Ledger
from sluicegate.project import Project
from sluicegate.records import Generation
from sluicegate.scaffold import init

sys.path.insert(0, str(Path(__file__).parents[1]))
from tiny_model import build_tiny_model

pytestmark = pytest.mark.slow
POLICY = """
minimum_examples: 20
rules:
  - {name: good answers, kind: at_least, metric: chrf, threshold: 0.9, compare: mean}
"""
SETTINGS = {
    "model: smollm2-135m-instruct": "model: models/tiny",
    "dtype: auto": "dtype: float32",
    "max_new_tokens: 96": "max_new_tokens: 4",
    "max_tokens: 1024": "max_tokens: 4000",
    "max_steps: 0": "max_steps: 1",
}
GOLDEN = 20
FROM_CI = ("CI", "SLUICE_BASE", "GITHUB_BASE_REF", "GITHUB_EVENT_PATH", "CI_COMMIT_BRANCH")


def run(root: Path, *command: str, code: int | None = 0) -> str:
    """Run a command in the project, outside any CI; returns all it printed."""
    done = subprocess.run(
        command,
        cwd=root,
        env=environment(root),
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
        stdin=subprocess.DEVNULL,
    )
    said = done.stdout + done.stderr
    assert code is None or done.returncode == code, said
    return said


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


def git(root: Path, *arguments: str) -> str:
    """Run git with an author."""
    author = ("-c", "user.name=t", "-c", "user.email=t@example.invalid")
    return run(root, "git", *author, *arguments).strip()


def gate(root: Path, base: str, *, code: int | None = None) -> tuple[dict[str, Any], str]:
    """Run `sluice gate`; returns its JSON (empty where it wrote none) and all it printed."""
    out = root.parent / f"{root.name}.json"
    command = (sys.executable, "-m", "sluicegate", "gate", "--base", base, "--json-out", str(out))
    said = run(root, *command, code=code)
    assert "this is a defect" not in said, said
    return (json.loads(out.read_text("utf-8")) if out.is_file() else {}), said


@pytest.fixture(scope="module")
def author(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The author's clone: everything was run once on main, whose answers are bad."""
    root = tmp_path_factory.mktemp("forged") / "author"
    init(root)
    build_tiny_model(root / "models" / "tiny")
    (root / "registry" / "gates.yaml").write_text(POLICY, "utf-8")
    text = (root / "params.yaml").read_text("utf-8")
    for old, new in SETTINGS.items():
        assert old in text
        text = text.replace(old, new)
    (root / "params.yaml").write_text(text, "utf-8")
    for name, rows in (("support_train", 20), ("support_golden", GOLDEN)):
        sample = root / "data" / "sample" / f"{name}.jsonl"
        kept = sample.read_text("utf-8").splitlines(keepends=True)[:rows]
        sample.write_text("".join(kept), "utf-8")
    git(root, "add", "-f", "models")
    git(root, "commit", "-qam", "tiny")
    outcome, said = gate(root, "")
    assert outcome["decision"] in ("REJECT", "HOLD"), said
    yield root
    shutil.rmtree(root.parent, ignore_errors=True)


def forge_evidence(root: Path) -> str:
    """The candidate's evidence as if it had answered with the references; its path."""
    project = Project(root)
    path = project.evidence / "candidate.parquet"
    true, golden = read_evidence(path), read_examples(project.golden)
    said = [Generation(row.reference[0], 10, 10, 0.1, True) for row in golden]
    forged = evaluate(true.release, golden, digest_file(project.golden), said, list(true.summaries))
    assert forged.summaries["chrf"].mean > 0.9
    write_evidence(path, forged)
    return "evaluate"


def forge_adapter(root: Path) -> str:
    """Another adapter than the one that these settings and rows give."""
    from safetensors.torch import load_file, save_file

    (weights,) = (root / "build" / "adapter").glob("*.safetensors")
    weights.chmod(0o644)
    tensors = {name: value + 0.5 for name, value in load_file(weights).items()}
    save_file(tensors, weights, metadata={"format": "pt"})
    return "tune"


def forge_golden(root: Path) -> str:
    """A golden set whose references are what the model says anyway."""
    project = Project(root)
    answers = {
        row.id: row.output for row in read_evidence(project.evidence / "champion.parquet").rows
    }
    project.golden.chmod(0o644)
    rows = [json.loads(line) for line in project.golden.read_text("utf-8").splitlines()]
    for row in rows:
        row["reference"] = [answers[row["id"]] or "x"]
    project.golden.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return "prepare"


def forge_profile(root: Path) -> str:
    """A profile that monitoring would compare with."""
    path = root / "build" / "profile" / "reference.parquet"
    path.chmod(0o644)
    path.write_bytes(path.read_bytes() + b"forged")
    return "profile"


def attack(author: Path, clone: Path, *forgeries: Any) -> dict[str, str]:
    """Forge, let DVC believe it, commit lock and cache on a branch, and clone that branch.

    Returns the forged files' digests.
    """
    branch = clone.name
    author = shutil.copytree(author, clone.parent / "author", symlinks=True)
    git(author, "checkout", "-q", "-f", "-B", branch, "main")
    files = {
        "evaluate": "build/evidence/candidate.parquet",
        "tune": "build/adapter/adapter_model.safetensors",
        "prepare": "data/golden/golden.jsonl",
        "profile": "build/profile/reference.parquet",
    }
    stages = [forge(author) for forge in forgeries]
    run(author, sys.executable, "-m", "dvc", "commit", "-q", "-f", *stages)
    digests = {files[stage]: digest_file(author / files[stage]) for stage in stages}
    git(author, "add", "-f", "dvc.lock", ".dvc/cache", ".dvc/config")
    git(author, "commit", "-qm", "faster")
    git(author, "clone", "-q", "--branch", branch, str(author), str(clone))
    git(clone, "branch", "-q", "main", "origin/main")
    # DVC itself brings the forged bytes, so the attack is a real one.
    run(clone, sys.executable, "-m", "dvc", "checkout", "-q", *digests)
    assert {name: digest_file(clone / name) for name in digests} == digests
    return digests


def test_forged_evidence(author: Path, tmp_path: Path) -> None:
    """An evaluation of the references as answers, committed for a fresh clone: the answers are made
    again, the verdict is the true one, and nothing can be promoted.
    """
    clone = tmp_path / "evidence"
    (tmp_path / "cache").symlink_to(author.parent / "cache")
    forged = attack(author, clone, forge_evidence)
    outcome, said = gate(clone, "")
    assert outcome["decision"] in ("REJECT", "HOLD"), said
    assert "evaluate: " in said
    assert "it is run again" in said
    assert outcome["generations"]["made"] >= GOLDEN
    assert {name: digest_file(clone / name) for name in forged}.items().isdisjoint(forged.items())
    evidence = read_evidence(Project(clone).evidence / "candidate.parquet")
    assert evidence.summaries["chrf"].mean < 0.9
    release = outcome["register"]["release"]
    refused = run(clone, sys.executable, "-m", "sluicegate", "promote", release[:12], code=3)
    champion = Ledger(Project(clone).ledger_url).champion()
    assert champion is None or champion.release != release, refused
    again, said = gate(clone, "")
    assert "it is run again" not in said  # evaluated against the champion of now, and sealed
    assert again["decision"] == outcome["decision"]


def test_all_forged_and_compared(author: Path, tmp_path: Path) -> None:
    """Golden set, adapter and profile in the same way, against main: each is made again, and the
    comparison names what was committed.
    """
    clone = tmp_path / "all"
    (tmp_path / "cache").symlink_to(author.parent / "cache")
    forged = attack(author, clone, forge_golden, forge_adapter, forge_profile)
    outcome, said = gate(clone, "main")
    # Made again, the candidate is the merge base's own release: there is nothing to judge.
    assert outcome["register"]["unchanged"], said
    assert outcome["verdict"] is None
    for stage in ("prepare", "tune", "profile"):
        assert f"{stage}: " in said
        assert stage in outcome["reproduce"]["ran"]
    assert {name: digest_file(clone / name) for name in forged}.items().isdisjoint(forged.items())
    parts = {part["name"] for part in outcome["change"]["parts"]}
    assert {"recorded results", "DVC settings"} <= parts


def test_state_that_git_brings(author: Path, tmp_path: Path) -> None:
    """Answers, judges' scores, calibrations and seals committed under `.sluice/` stop the gate."""
    clone = tmp_path / "state"
    git(author, "clone", "-q", str(author), str(clone))
    for name in ("generations", "judgements", "seals"):
        (clone / ".sluice" / name).mkdir(parents=True)
        (clone / ".sluice" / name / "x").write_text("forged", "utf-8")
    git(clone, "add", "-f", ".sluice")
    git(clone, "commit", "-qm", "caches")
    outcome, said = gate(clone, "", code=3)
    assert outcome == {}
    assert "is tracked by git" in said
    assert not (clone / "build").exists()


@pytest.mark.parametrize(
    "number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name
)
def test_a_signal_to_the_gate_alone(author: Path, number: int) -> None:
    """While a merge base's release is trained, a signal to `sluice gate` ends all that it started.

    After Ctrl-C and SIGTERM no work tree stays, and git's index is never touched.
    """
    name = f"long-{number.name.lower()}"
    git(author, "checkout", "-q", "-f", "-B", name, "main")
    params = (author / "params.yaml").read_text("utf-8")
    params = params.replace("max_steps: 1", f"max_steps: {100_000 + number}")
    assert str(100_000 + number) in params
    (author / "params.yaml").write_text(params, "utf-8")
    git(author, "commit", "-qam", "long training")
    (author / "params.yaml").write_text(
        params.replace("repetition_penalty: 1.0", "repetition_penalty: 1.2"), "utf-8"
    )
    index = (author / ".git" / "index").read_bytes()
    process = subprocess.Popen(
        [sys.executable, "-m", "sluicegate", "gate", "--base", name],
        cwd=author,
        env=environment(author),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    try:
        family = _training(process)
        os.kill(process.pid, number)
        _, said = process.communicate(timeout=60)
    finally:
        if process.poll() is None:
            process.kill()
    assert psutil.wait_procs(family, timeout=30)[1] == []
    assert (author / ".git" / "index").read_bytes() == index
    if number != signal.SIGKILL:
        assert process.returncode == 130, said
        assert "Nothing is half done" in said
        assert git(author, "worktree", "list").count("\n") == 0


def _training(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """All that the gate has started, once the stage tune has worked for a moment."""
    until = time.monotonic() + 200
    while time.monotonic() < until:
        assert process.poll() is None, process.stderr and process.stderr.read()
        family = psutil.Process(process.pid).children(recursive=True)
        for member in family:
            try:
                if member.cmdline()[-2:] == ["stage", "tune"]:
                    time.sleep(3)
                    return psutil.Process(process.pid).children(recursive=True)
            except psutil.Error:
                continue
        time.sleep(0.2)
    raise AssertionError("the stage tune never ran")
