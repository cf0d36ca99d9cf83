"""The library's help desk: search the documents, then answer from what was found."""

from __future__ import annotations

from typing import Any

from app.search import Document, search
from sluicegate import Answer


def answer(inputs: dict[str, str], app: Any) -> Answer:
    """The answer to one question, with the documents that the model saw as its contexts."""
    question = inputs["question"]
    found = search(question, documents(app), app.settings["passages"])
    prompt = app.prompt("answer").render(question=question, passages=[one["text"] for one in found])
    return Answer(app.model().ask(prompt).text.strip(), contexts=found)


def documents(app: Any) -> list[Document]:
    """Every file of documents/: its name is its id, its first line the title."""
    found = []
    for path in sorted(app.data("documents").glob("*.md")):
        title, _, text = path.read_text("utf-8").partition("\n")
        found.append({"id": path.stem, "title": title.strip("# "), "text": text.strip()})
    return found
