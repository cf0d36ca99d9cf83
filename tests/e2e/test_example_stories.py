"""The projects of examples/ on the packaged demo model: from `sluice init` over a bad change, which
is rejected for what is bad about it, to a good one and a roll-back.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from test_line import edit
from test_line import sluice as run

from sluicegate.ledger import Ledger
from sluicegate.local_services.demo_model import application
from sluicegate.project import Project
from sluicegate.scaffold import EXAMPLES
from sluicegate.versioning import git

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
STORIES = {
    "code": (60, "labels kept", "better triage"),
    "rag": (64, "invents no numbers", "answers as good"),
    "tools": (62, "a person where one is needed", "better calls or replies"),
}
"""Golden rows, the rule that the bad change breaks, and the one by which the good one passes."""


class Demo:
    """The demo model, which counts what it is asked."""

    def __init__(self) -> None:
        self.asked = 0
        self._answers = application()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.asked += scope["type"] == "http"
        await self._answers(scope, receive, send)

    def since(self, before: int) -> int:
        """Questions since that number."""
        return self.asked - before


@pytest.fixture
def demo() -> Demo:
    return Demo()


@pytest.fixture
def address(demo: Demo) -> Iterator[str]:
    """Where it listens."""
    server = uvicorn.Server(uvicorn.Config(demo, port=0, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/v1"
    server.should_exit = True
    thread.join()


def told(root: Path, *arguments: str, code: int = 0) -> str:
    """What a command says, which has to end with `code`."""
    done = run(root, *arguments)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def change(root: Path, name: str) -> None:
    """A branch with the change `changes/NAME.patch`."""
    git(root, "checkout", "-q", "-b", name, "main")
    git(root, "apply", "--index", f"changes/{name}.patch")
    commit(root, name)


def commit(root: Path, message: str) -> None:
    author = ("-c", "user.name=t", "-c", "user.email=t@example.invalid")
    git(root, *author, "commit", "-q", "-m", message)


def line_of(said: str, rule: str) -> str:
    """The line of a verdict's table about one rule."""
    return next(line for line in said.splitlines() if line.split("(")[0].strip().endswith(rule))


@pytest.mark.parametrize("template", EXAMPLES)
def test_the_story(template: str, tmp_path: Path, demo: Demo, address: str) -> None:
    """The first release serves; without a change nothing is asked; the bad change is rejected in
    its branch by the rule that is there for it, the good one is promoted, and rolled back.
    """
    rows, broken, passed = STORIES[template]
    hosted = ("--template", template, "--endpoint", address, "--model", "sluice-demo")
    told(tmp_path, "init", "project", *hosted)
    root = tmp_path / "project"
    assert "nothing is wrong" in told(root, "check")
    assert "judged without a champion" in told(root, "release", "--no-server")
    ledger = Ledger(Project(root).ledger_url)
    first = ledger.champion()
    assert first is not None
    assert demo.asked >= rows
    git(root, "add", "--all")
    commit(root, "what the line wrote")

    before = demo.asked
    told(root, "gate", "--base", "main")
    assert demo.since(before) == 0, "a gate without a change asks nothing"

    change(root, "worse")
    said = told(root, "gate", "--base", "main", code=1)
    assert line_of(said, broken).strip().startswith("fail"), said
    if template == "tools":
        one_prompt(root, demo, rows)

    change(root, "better")
    git(root, "checkout", "-q", "main")
    git(root, "merge", "-q", "better")
    said = told(root, "release", "--no-server")
    assert line_of(said, passed).strip().startswith("pass"), said
    second = ledger.champion()
    assert second is not None
    assert second.release != first.release
    told(root, "rollback", "--reason", "to see it go back")
    now = ledger.champion()
    assert now is not None
    assert now.release == first.release
    told(root, "verify")


def one_prompt(root: Path, demo: Demo, rows: int) -> None:
    """Of two questions a row, a change of the second prompt asks the second ones only."""
    git(root, "checkout", "-q", "-b", "words", "main")
    before = demo.asked
    edit(root / "prompts" / "reply.yaml", "in one sentence and", "in a sentence and", commit=False)
    git(root, "add", "prompts")
    commit(root, "words")
    held = told(root, "gate", "--base", "main", code=4)
    assert "better calls or replies" in held
    assert demo.since(before) == rows
