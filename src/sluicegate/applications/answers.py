"""What code of a project returns for a row, and the texts that it becomes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sluicegate.hashing import canonical_json

MOST_CHARACTERS = 4_000_000
FIELDS = ("contexts", "tool_calls", "messages")


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer with more than its text; metrics find the rest under these names.

    Attributes:
        text: what the user gets: text, or a JSON value.
        contexts: the passages that it rests on, best first: texts or `{"id": ..., "text": ...}`.
        tool_calls: tools that were called, `{"name": ..., "arguments": {...}}` each.
        messages: the conversation so far, as chat messages.

    Example:
        >>> Answer({"label": "billing"}, contexts=["Refunds take 5 days."]).text
        {'label': 'billing'}
    """

    text: Any
    contexts: Sequence[str | Mapping[str, Any]] = ()
    tool_calls: Sequence[Mapping[str, Any]] = ()
    messages: Sequence[Mapping[str, Any]] = ()


def as_texts(value: Any) -> tuple[str, dict[str, str]]:
    """The text of what an application returned, and its other parts as JSON texts, by name.

    Raises:
        TypeError, ValueError: it is nothing, no JSON value, or too long.

    Example:
        >>> as_texts(Answer({"b": 1, "a": True}, contexts=["x"]))
        ('{"a":true,"b":1}', {'contexts': '["x"]'})
    """
    parts: dict[str, str] = {}
    if isinstance(value, Answer):
        parts = {name: _json(list(getattr(value, name))) for name in FIELDS if getattr(value, name)}
        value = value.text
    if value is None:
        raise TypeError("it returned None; return text, a JSON value or an Answer")
    text = value if isinstance(value, str) else _json(value)
    if len(text) + sum(map(len, parts.values())) > MOST_CHARACTERS:
        raise ValueError(f"it returned more than {MOST_CHARACTERS:,} characters")
    return text, parts


def _json(value: Any) -> str:
    if not isinstance(value, dict | list | tuple | int | float):
        kind = type(value).__name__
        raise TypeError(f"it returned a {kind}; return text, a JSON value or an Answer")
    try:
        return canonical_json(value)
    except (TypeError, ValueError) as error:
        raise TypeError(f"it returned what is no JSON: {error}") from error
