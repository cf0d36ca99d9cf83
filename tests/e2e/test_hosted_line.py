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
from sluicegate.versioning import git

sys.path.insert(0, str(Path(__file__).parents[1]))
from chat_server import ChatServer
from hosted_model import BLOCKED, Hosted

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
KEY = "sk-this-key-must-be-nowhere-0123456789"


CHAIN = """from app.texts import first_words


def answer(inputs, app):
    summary = app.model().ask(app.prompt("summarize").render(conversation=inputs["conversation"]))
    app.model("small").ask(app.prompt("title").render(summary=summary.text), max_tokens=9)
    return first_words(summary.text, app.settings["most_words"])
"""
TEXTS = """def first_words(text, most):
    return " ".join(text.split()[:most])
"""
TITLE = "name: title\nvariables: [summary]\ntemplate: 'A title: {{ summary }}'\n"


def test_the_story_of_code(tmp_path: Path) -> None:
    """A chain of two prompts on two models: its first verdict, one prompt changed, its code
    changed, and back.
    """
    root, ledger = tmp_path / "project", Ledger(Project(tmp_path / "project").ledger_url)

    def sluice(*arguments: str, code: int = 0) -> str:
        done = run(root if root.is_dir() else tmp_path, *arguments)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    model = Hosted()
    with ChatServer(model) as server:
        hosted = ("--template", "hosted", "--endpoint", server.url, "--model", "fake")
        sluice("init", "project", *hosted)
        (root / "app").mkdir()
        (root / "app" / "chain.py").write_text(CHAIN, "utf-8")
        (root / "app" / "texts.py").write_text(TEXTS, "utf-8")
        (root / "prompts" / "title.yaml").write_text(TITLE, "utf-8")
        edit(root / "params.yaml", "  prompt: summarize ", CODE_PARAMS)
        models = root / "registry" / "models.yaml"
        models.write_text(models.read_text("utf-8") + SMALL.format(url=server.url), "utf-8")
        wrong = sluice("check", code=2)
        assert "release.models.small: registry/models.yaml has no 'smal' (did you mean" in wrong
        edit(root / "params.yaml", "small: smal}", "small: small}")
        assert "nothing is wrong" in sluice("check")
        git(root, "add", "--all")
        git(root, "commit", "-m", "A chain")
        sluice("release", "--no-server")
        first = ledger.champion()
        assert first is not None
        assert len(server.asked) == 128

        edit(root / "prompts" / "title.yaml", "A title", "A short title")
        told = sluice("gate", "--base", "HEAD~1", "--json", code=4)
        assert "application's prompts" in told, told
        assert len(server.asked) == 192, "the first prompt's calls are kept"

        edit(root / "app" / "texts.py", "[:most]", "[:most // 8]")
        told = sluice("gate", "--base", "HEAD~1", code=1)
        assert "REJECT" in told
        assert len(server.asked) == 192, "the questions are the same"
        (root / "app" / "texts.py").write_text("raise RuntimeError('unfinished')\n", "utf-8")
        assert "app/texts.py:1: RuntimeError: unfinished" in sluice("check", code=2)


CODE_PARAMS = """  application: app.chain:answer
  models: {small: smal}
  prompts: [title]
  settings: {most_words: 60}
  prompt: summarize """
SMALL = """  small:
    endpoint: {{url: {url}, model: fake-small, allow_private: true}}
"""


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
