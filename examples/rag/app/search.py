"""A small search: the documents that share most words with a question. It needs no package."""

from __future__ import annotations

import re
from collections.abc import Sequence

Document = dict[str, str]


def search(question: str, documents: Sequence[Document], most: int) -> list[Document]:
    """The `most` documents that fit best, best first."""
    wanted = words(question)

    def points(document: Document) -> float:
        return len(wanted & words(document["text"]))

    return sorted(documents, key=points, reverse=True)[:most]


def words(text: str) -> set[str]:
    """The words of a text, in lower case."""
    return set(re.findall(r"\w+", text.lower()))
