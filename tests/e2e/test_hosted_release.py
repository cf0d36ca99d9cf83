"""A prompt on a hosted model, from `sluice init` to a roll-back, where torch cannot be imported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from test_line import edit
from test_line import sluice as run

from sluicegate.ledger import Ledger
from sluicegate.project import Project

sys.path.insert(0, str(Path(__file__).parents[1]))
from chat_server import ChatServer
from hosted_model import BLOCKED, Hosted

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
KEY = "sk-this-key-must-be-nowhere-0123456789"


def test_the_story_of_a_prompt(tmp_path: Path) -> None:
    """First verdict, a worse prompt rejected, a better one promoted and rolled back; nothing is
    asked twice, what answers is recorded, and the key is written nowhere.
    """
    (tmp_path / "absent").mkdir()
    (tmp_path / "absent" / "sitecustomize.py").write_text(BLOCKED, "utf-8")
    path = os.pathsep.join((str(tmp_path / "absent"), os.environ.get("PYTHONPATH", "")))
    variables = {"PYTHONPATH": path, "FAKE_KEY": KEY}

    def sluice(*arguments: str, code: int = 0) -> str:
        done = run(root, *arguments, environment=variables)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    model = Hosted()
    with ChatServer(model) as server:
        root = tmp_path
        hosted = ("--template", "hosted", "--endpoint", server.url, "--model", "fake")
        sluice("init", "project", *hosted, "--key-env", "FAKE_KEY")
        root = tmp_path / "project"
        assert "nothing is wrong" in sluice("check")
        told = sluice("release", "--no-server")
        assert "judged without a champion" in told, told
        ledger, prompt = Ledger(Project(root).ledger_url), root / "prompts" / "summarize.yaml"
        first = ledger.champion()
        assert first is not None
        assert len(server.asked) == 64
        assert server.asked[0].headers["authorization"] == f"Bearer {KEY}"

        sluice("release", "--no-server")
        assert len(server.asked) == 64, "nothing changed, so nothing is asked"

        edit(prompt, "create a two sentence summary", "create a summary in one word")
        assert "REJECT" in sluice("release", "--no-server", code=1)
        assert len(server.asked) == 128

        edit(prompt, "a summary in one word", "a precise two sentence summary")
        model.failing = "raincoat"  # one conversation
        held = sluice("release", "--no-server", code=4)
        assert "got no answer" in held
        assert "503" in held
        model.failing = ""
        before = len(server.asked)
        assert "PROMOTE" in sluice("release", "--no-server")
        assert len(server.asked) - before < 64, "answers received before are kept"
        second = ledger.champion()
        assert second is not None
        assert second.release != first.release
        sluice("rollback", "--reason", "to see it go back")
        now = ledger.champion()
        assert now is not None
        assert now.release == first.release
        sluice("verify")
        card = (root / "reports" / "model_card.md").read_text("utf-8")
        assert "fp\\_1 (64 answers)" in card
        asked = json.loads(sluice("lineage", "champion", "--json"))
        assert asked["asked"]["model"] == "fake"
    holders = subprocess.run(
        ["grep", "-rl", "--", KEY, str(root)], capture_output=True, text=True, check=False
    )
    assert holders.stdout == ""
