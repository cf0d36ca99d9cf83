"""Conversations as people keep them: lists of turns, in every common spelling, and as one text.

{"role": "customer", "text": ...}                       ours
{"role": "user", "content": ...}                        `messages`; content may be text parts
{"from": "human", "value": ...}                         ShareGPT
{"role": "assistant", "tool_calls": [...]}              a call of a tool
{"role": "tool", "content": ...}                        what the tool answered
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sluicegate.chat import SPOKEN
from sluicegate.errors import DataError
from sluicegate.hashing import canonical_json

SPEAKERS = {
    **dict.fromkeys(("customer", "user", "human"), "Customer"),
    **dict.fromkeys(("agent", "assistant", "gpt", "model", "ai", "bot", "chatgpt"), "Agent"),
    **dict.fromkeys(("system", "developer"), "System"),
    **dict.fromkeys(("tool", "function", "observation"), "Tool"),
}
_SENT = {speaker: role for role, speaker in SPOKEN.items()}
_TEXTS = ("text", "content", "value")
_TEXT_PARTS = ("text", "input_text", "output_text")


def is_turn(value: Any) -> bool:
    """Whether a value is meant as a turn: an object that says who speaks."""
    return isinstance(value, Mapping) and ("role" in value or "from" in value)


def render_turns(turns: Sequence[Any], field: str, where: str) -> str:
    """Render a conversation as "Speaker: text" lines, one a turn; texts stay as they are.

    Raises:
        DataError: there is no turn, or a turn lacks a known role or a text, or holds an image.

    Example:
        >>> turns = [{"role": "customer", "text": "my bag"}, {"from": "gpt", "value": "Got it."}]
        >>> print(render_turns(turns, "turns", "chat.jsonl, line 1"))
        Customer: my bag
        Agent: Got it.
    """
    if not turns:
        raise DataError(f"{where}: field {field}: no turns.")
    lines = []
    for index, turn in enumerate(turns):
        spot = f"{field}[{index}]"
        lines.append(f"{_speaker(turn, spot, where)}: {_said(turn, spot, where)}")
    return "\n".join(lines)


def keep_turns(turns: Any, field: str, where: str) -> str:
    """A conversation as turns that a prompt sends one by one, as canonical JSON; it may be empty.

    Raises:
        DataError: the value is no list of turns, or one is of somebody else than user and
            assistant.

    Example:
        >>> keep_turns([{"from": "human", "value": "my bag"}], "chat", "chat.jsonl, line 1")
        '[{"content":"my bag","role":"user"}]'
    """
    if isinstance(turns, str):
        try:
            turns = json.loads(turns)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{where}: field {field}: not valid JSON: {error}") from error
    if not isinstance(turns, list):
        raise DataError(f"{where}: field {field}: a list of turns was expected.")
    kept = []
    for index, turn in enumerate(turns):
        spot = f"{field}[{index}]"
        speaker = _speaker(turn, spot, where)
        if speaker not in _SENT or _calls(turn):
            raise DataError(
                f"{where}: field {spot}: a turn of the {speaker.lower()} with a call of a tool."
                if speaker in _SENT
                else f"{where}: field {spot}: a turn of the {speaker.lower()}.",
                hint="Turns of a prompt's history are the user's and the assistant's. What the "
                "system says is `system:` of the prompt; for tools write an application of your own "
                "(release.application).",
            )
        kept.append({"role": _SENT[speaker], "content": _said(turn, spot, where)})
    return canonical_json(kept)


def split_last(turns: Any, field: str, where: str) -> tuple[list[Any], str]:
    """What comes before the last answer of a conversation, and that answer.

    Raises:
        DataError: the value is no conversation that ends with a text of the assistant.
    """
    if not isinstance(turns, list) or len(turns) < 2:
        raise DataError(f"{where}: field {field}: a conversation with an answer was expected.")
    last, spot = turns[-1], f"{field}[{len(turns) - 1}]"
    if _speaker(last, spot, where) != "Agent" or _calls(last):
        raise DataError(
            f"{where}: field {spot}: the last turn is no answer of the assistant.",
            hint="Name another column as fields.reference, or remove the row.",
        )
    return turns[:-1], _said(last, spot, where)


def _speaker(turn: Any, spot: str, where: str) -> str:
    if not is_turn(turn) or not (any(name in turn for name in _TEXTS) or _calls(turn)):
        raise DataError(
            f"{where}: field {spot}: a turn needs `role` and `text`.",
            hint="Or role and content, or from and value.",
        )
    name, role = ("role", turn["role"]) if "role" in turn else ("from", turn["from"])
    if not isinstance(role, str) or role.strip().lower() not in SPEAKERS:
        known = ", ".join(SPEAKERS)
        raise DataError(
            f"{where}: field {spot}.{name}: {role!r} is unknown.", hint=f"Known roles: {known}."
        )
    return SPEAKERS[role.strip().lower()]


def _said(turn: Mapping[str, Any], spot: str, where: str) -> str:
    """The text of a turn, and its calls of tools as `[name {arguments}]`."""
    name = next((name for name in _TEXTS if turn.get(name) is not None), "")
    value, calls = turn.get(name), _calls(turn)
    texts: list[Any] = [value]
    if isinstance(value, list):
        texts = [_part(part, spot, where) for part in value]
    if calls and texts in ([None], [""]):
        texts = []
    for text in texts:
        if not isinstance(text, str):
            kind = "nothing" if text is None else type(text).__name__
            label = name or next((name for name in _TEXTS if name in turn), "text")
            raise DataError(f"{where}: field {spot}.{label}: text was expected, not {kind}.")
    said = "\n".join([*texts, *calls]).replace("\r\n", "\n").replace("\r", "\n")
    if not said.strip():
        raise DataError(
            f"{where}: field {spot}.{name}: empty text.", hint="Fill it or remove the row."
        )
    return said


def _part(part: Any, spot: str, where: str) -> Any:
    if isinstance(part, Mapping) and part.get("type", "text") in _TEXT_PARTS:
        return part.get("text", part.get("content"))
    kind = part.get("type") if isinstance(part, Mapping) else type(part).__name__
    raise DataError(
        f"{where}: field {spot}: a part of kind {kind!r}, which is no text.",
        hint="Only text can be evaluated; remove the row.",
    )


def _calls(turn: Mapping[str, Any]) -> list[str]:
    found = turn.get("tool_calls") or turn.get("function_call") or []
    calls = []
    for call in found if isinstance(found, list) else [found]:
        held = call.get("function", call) if isinstance(call, Mapping) else call
        if isinstance(held, Mapping):
            arguments = held.get("arguments", {})
            if not isinstance(arguments, str):
                arguments = json.dumps(arguments, ensure_ascii=False)
            held = f"{held.get('name', '')} {arguments}"
        calls.append(f"[{held}]")
    return calls
