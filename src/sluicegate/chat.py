"""Turns of a chat that an input keeps as turns: one text of canonical JSON, as a list of messages.

Who speaks is said by the JSON alone: whatever a person wrote stays inside the content of a turn.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from sluicegate.hashing import canonical_json

SPOKEN = {"user": "Customer", "assistant": "Agent"}
"""The roles that a kept turn may have, and who speaks where turns are read as a text."""
_START = '[{"content":'


def kept_turns(text: str) -> list[dict[str, str]] | None:
    """The turns that an input holds; None where it is any other text.

    Example:
        >>> kept_turns('[{"content":"Hi","role":"user"}]'), kept_turns("[]"), kept_turns("user: Hi")
        ([{'content': 'Hi', 'role': 'user'}], [], None)
    """
    if text != "[]" and not text.startswith(_START):
        return None
    try:
        turns = json.loads(text)
        kept = canonical_json(turns) == text
    except (ValueError, RecursionError):
        return None
    return turns if kept and are_turns(turns) else None


def are_turns(turns: object) -> bool:
    """Whether a value is a list of turns, each with a role of `SPOKEN` and a text, and no more."""
    return isinstance(turns, list) and all(
        isinstance(turn, dict)
        and turn.keys() == {"role", "content"}
        and isinstance(turn["content"], str)
        and isinstance(turn["role"], str)
        and turn["role"] in SPOKEN
        for turn in turns
    )


def as_read(inputs: Mapping[str, str]) -> dict[str, str]:
    """Inputs as people and metrics read them: turns become "Speaker: text" lines.

    Example:
        >>> as_read({"chat": '[{"content":"My bag?","role":"user"}]', "style": "brief"})
        {'chat': 'Customer: My bag?', 'style': 'brief'}
    """
    found = {}
    for name, text in inputs.items():
        turns = kept_turns(text)
        if turns is not None:
            text = "\n".join(f"{SPOKEN[turn['role']]}: {turn['content']}" for turn in turns)
        found[name] = text
    return found
