"""The first release with `method: none`: judged by the rules that need no champion, then served on
that verdict.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from test_line import OPEN_POLICY, edit, sluice

from sluicegate.ledger import Ledger
from sluicegate.project import Project
from sluicegate.scaffold import init

sys.path.insert(0, str(Path(__file__).parents[1]))
from tiny_model import build_tiny_model

pytestmark = pytest.mark.slow


def test_release_zero_is_judged_before_it_serves(tmp_path: Path) -> None:
    """A model that babbles is rejected by the shipped policy and nothing serves; under a policy
    that it meets it serves, and its scores are shown.
    """
    build_tiny_model(tmp_path / "tiny")
    root = tmp_path / "project"
    init(root)
    params = root / "params.yaml"
    edit(params, "model: smollm2-135m-instruct", "model: ../tiny", commit=False)
    edit(params, "dtype: auto", "dtype: float32", commit=False)
    edit(params, "max_new_tokens: 96", "max_new_tokens: 8", commit=False)
    edit(params, "method: lora ", "method: none ")
    refused = sluice(root, "release", "--no-server", "--json")
    assert refused.returncode == 1, refused.stdout + refused.stderr
    found = json.loads(refused.stdout[refused.stdout.index("{\n") :])["decide"]
    assert (found["decision"], found["first"]) == ("REJECT", True)
    assert "chrf 0.0" in found["text"]
    ledger = Ledger(Project(root).ledger_url)
    assert ledger.champion() is None
    (root / "registry" / "gates.yaml").write_text(OPEN_POLICY, "utf-8")
    author = ["-c", "user.name=t", "-c", "user.email=t@example.invalid"]
    subprocess.run(["git", *author, "commit", "-qam", "policy"], cwd=root, check=True)
    passed = sluice(root, "release", "--no-server")
    assert passed.returncode == 0, passed.stdout + passed.stderr
    assert "judged without a champion" in passed.stdout
    champion = ledger.champion()
    assert champion is not None
    assert champion.release == found["release"]
    kinds = [entry.kind for entry in ledger.entries()]
    assert kinds == ["register", "verdict", "verdict", "promote"]
    again = sluice(root, "release", "--no-server")
    assert "nothing changed" in again.stdout, again.stdout + again.stderr
    assert sluice(root, "verify").returncode == 0
