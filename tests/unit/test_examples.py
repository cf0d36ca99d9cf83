"""The projects of examples/: each is sound, answers a row, and its changes apply."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.chat_server import ChatServer, says

from sluicegate.applications.calls import Role
from sluicegate.applications.running import Row, answer_rows
from sluicegate.config import EndpointSpec, ModelSpec
from sluicegate.line.check import check_configuration
from sluicegate.line.pipeline.application import application_of
from sluicegate.line.run import open_run
from sluicegate.local_services.demo_model import answer
from sluicegate.models import open_model
from sluicegate.project import Project
from sluicegate.records import GenerationSettings
from sluicegate.scaffold import EXAMPLES, Endpoint, init
from sluicegate.versioning import git

ROOT = Path(__file__).parents[2] / "examples"
ASKED = {
    "code": ("ticket", "I was charged twice for order TQ-4410.", '"label":"billing"'),
    "rag": ("question", "When does the reading café close?", "an hour before the library"),
    "tools": ("message", "My lawyer will write to you.", "A colleague reads your message"),
}


def test_every_example_is_a_template() -> None:
    """A folder more is a row more in the table."""
    assert sorted(EXAMPLES.values()) == sorted(path.name for path in ROOT.iterdir())


@pytest.mark.parametrize("template", EXAMPLES)
def test_it_is_sound_and_answers(template: str, tmp_path: Path) -> None:
    """What `sluice init` makes of it passes `sluice check`; the code answers on the demo model, and
    both changes apply.
    """
    root = tmp_path / "p"
    column, asked, said = ASKED[template]
    with ChatServer(says(lambda one: answer(one.body)["content"])) as server:
        init(root, template, Endpoint(server.url, "demo"))
        assert check_configuration(Project(root)) == []
        spec = EndpointSpec(url=server.url, model="demo", allow_private=True)
        model = open_model(ModelSpec(endpoint=spec), "demo", root=root)
        application = application_of(open_run(root), {"main": "demo"})
        rows, roles = [Row("1", {column: asked})], {"main": Role("main", model)}
        (answered,) = answer_rows(
            application, rows, roles, GenerationSettings(), cache=tmp_path / "cache"
        )
    assert answered.generation.failure == ""
    assert said in answered.generation.text
    for name in ("worse", "better"):
        git(root, "apply", "--check", f"changes/{name}.patch")
    assert not (root / "README.md").read_text("utf-8").startswith("# Example")


@pytest.mark.parametrize("name", EXAMPLES.values())
def test_rows_are_distinct(name: str) -> None:
    """At least 60 golden rows and some to develop on; no text is asked twice."""
    golden, development = (
        [
            json.loads(line)
            for path in (ROOT / name / "data" / "sample").glob(f"*_{kind}.jsonl")
            for line in path.read_text("utf-8").splitlines()
        ]
        for kind in ("golden", "development")
    )
    assert len(golden) >= 60
    assert len(development) >= 12
    texts = [next(text for key, text in row.items() if key != "id") for row in golden + development]
    assert len(set(texts)) == len(texts)


def test_what_is_right_exists() -> None:
    """Gold documents of the search are files; the tools that are right know the number."""
    rows = (ROOT / "rag/data/sample/questions_golden.jsonl").read_text("utf-8").splitlines()
    documents = {path.stem: path.read_text("utf-8") for path in (ROOT / "rag/documents").iterdir()}
    for row in map(json.loads, rows):
        assert row["answer"] in documents[row["gold"][0]]
    book = json.loads((ROOT / "tools/app/book.json").read_text("utf-8"))
    rows = (ROOT / "tools/data/sample/messages_golden.jsonl").read_text("utf-8").splitlines()
    for row in map(json.loads, rows):
        (call,) = row["calls"]
        assert book[call["name"]][call["arguments"]["number"]] == row["reply"]
