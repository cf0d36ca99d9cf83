"""Chat messages as tracing tools record them, and the two texts that a row holds of them.

The prompt is what the last message of the user says: the same text that the reference profile is
made of. The response is what the first answer says. Parts that are no text (images, tool calls) are
left out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

_ANSWERS = ("assistant", "ai", "model")
_KNOWN_ROLES = (*_ANSWERS, "user", "human", "system", "developer", "tool", "function")
_TEXTS = ("text", "input_text", "output_text")


def prompt_of(value: Any) -> str:
    """The text of the last user message; of the last message at all, where none is a user's; empty if there is none.

    Args:
        value: a text, a list of messages, an object that holds one under `messages`, or the JSON
            text of these.

    Example:
        >>> prompt_of([{"role": "system", "content": "Be brief."}, {"role": "user", "content":
        "Hi"}]) 'Hi'
    """
    found = _messages(_decoded(value))
    if isinstance(found, str):
        return found
    said = [(_role(one), text_of(one)) for one in found]
    texts = [text for role, text in said if role in ("user", "human") and text] or [
        text for _, text in said if text
    ]
    return texts[-1] if texts else ""


def response_of(value: Any) -> str:
    """The text of the first answer; empty if there is none.

    Args:
        value: as for `prompt_of`; also an object with `choices`, as chat completions are returned.

    Example:
        >>> response_of({"choices": [{"message": {"role": "assistant", "content": "Hello!"}}]})
        'Hello!'
    """
    found = _messages(_decoded(value))
    if isinstance(found, str):
        return found
    said = [(_role(one), text_of(one)) for one in found]
    texts = [text for role, text in said if role in _ANSWERS and text] or [
        text for _, text in said if text
    ]
    return texts[0] if texts else ""


def text_of(message: Any) -> str:
    """The text of one message, whose content is a text or a list of parts."""
    if isinstance(message, str):
        return message
    if not isinstance(message, Mapping):
        return ""
    content = message.get("parts", message.get("content", message.get("text")))
    if isinstance(content, str):
        return content
    if isinstance(content, Sequence):
        return "\n".join(text for text in map(_part, content) if text)
    return ""


def _part(part: Any) -> str:
    if isinstance(part, str):
        return part
    if not isinstance(part, Mapping) or part.get("type", "text") not in _TEXTS:
        return ""
    text = part.get("content", part.get("text"))
    return text if isinstance(text, str) else ""


def _messages(value: Any) -> str | list[Any]:
    """The messages, in order; or the one text that stands for them."""
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        if isinstance(value.get("choices"), Sequence):
            return [
                one.get("message", one) if isinstance(one, Mapping) else one
                for one in value["choices"]
            ]
        if isinstance(value.get("message"), Mapping):
            return [{"role": value.get("role", ""), **value["message"]}]
        for name in ("messages", "input", "output"):
            if isinstance(value.get(name), str | list):
                return _messages(value[name])
        return [value]
    return list(value) if isinstance(value, Sequence) else []


def _decoded(value: Any) -> Any:
    """A text that is JSON for messages is read; any other text is what was said."""
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
        try:
            found = json.loads(value)
        except (ValueError, RecursionError):
            return value
        return found if _looks_like_messages(found) else value
    return value


def _looks_like_messages(value: Any) -> bool:
    """Is it surely no user's own JSON? That may have a `text` or a `message` too, and is then what was said."""
    first = value[0] if isinstance(value, list) and value else value
    if not isinstance(first, Mapping):
        return False
    held = [first, first.get("message"), *_list(first.get("messages"))[:1]]
    for one in _list(first.get("choices"))[:1]:
        if isinstance(one, Mapping) and "finish_reason" in one and isinstance(one.get("text"), str):
            return True
        held.append(one.get("message") if isinstance(one, Mapping) else None)
    return any(isinstance(one, Mapping) and _is_message(one) for one in held)


def _is_message(value: Mapping[str, Any]) -> bool:
    parts = _list(value.get("parts"))
    if parts and all(isinstance(part, Mapping) for part in parts):
        return True
    says = any(name in value for name in ("content", "parts", "tool_calls"))
    return says and (isinstance(value.get("role"), str) or _role(value) in _KNOWN_ROLES)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _role(message: Any) -> str:
    role = message.get("role", message.get("type", "")) if isinstance(message, Mapping) else ""
    return role.lower() if isinstance(role, str) else ""
