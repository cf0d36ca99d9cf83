"""Chat messages as tracing tools record them, and the two texts that a row holds of them.

The prompt is what the user's last message says, as in the reference profile; the response what the
answer to it says. Parts that are no text (images, calls of tools) are left out. Where no text is
certain there is an error with the reason: an image, an answer that only calls a tool, cut JSON.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from sluicegate.errors import DataError

ONLY_CALLS = "the answer only calls a tool."
_ANSWERS = ("assistant", "ai", "model")
_USERS = ("user", "human")
_KNOWN_ROLES = (*_ANSWERS, *_USERS, "system", "developer", "tool", "function")
_TEXTS = ("text", "input_text", "output_text")
_CALLS = ("tool_call", "tool_use", "function_call", "tool-call")
_RESULTS = ("tool_result", "tool_call_response", "function_call_output", "tool-result")
_OTHER_PARTS = ("image", "image_url", "input_image", "audio", "input_audio", "file", "document",
                "thinking", "reasoning", "refusal", "blob", "uri", "video")  # fmt: skip
_CUT = re.compile(r"\s*\[?\s*\{\s*\"(?:role|type|parts|messages|choices|content)\"\s*:")


class NoAnswerError(DataError):
    """The turn is no answer: it only calls a tool, or the call failed. Such turns are counted."""


def prompt_of(value: Any) -> str:
    """The text of the last message of the user; empty if there is nothing at all.

    Args:
        value: a text, a list of messages, an object that holds one, or the JSON text of these.

    Raises:
        DataError: there are messages, but which text the user sent is not certain.

    Example:
        >>> prompt_of([{"role": "system", "content": "s"}, {"role": "user", "content": "Hi"}])
        'Hi'
    """
    found = _messages(_decoded(value))
    if isinstance(found, str):
        return found
    asked = [one for one in found if _role(one) in _USERS and not _only(one, _RESULTS)]
    if not asked:
        if any(_role(one) in _KNOWN_ROLES for one in found):
            raise DataError("there is no message of the user.")
        texts = [text for text in map(text_of, found) if text]
        return texts[-1] if texts else ""
    text = text_of(asked[-1])
    if not text:
        raise DataError("the last message of the user holds no text.")
    return text


def response_of(value: Any) -> str:
    """The text of the answer; empty if there is nothing at all.

    In a conversation that is the last message of the assistant, which has to come after the last of
    the user; of several answers to one question, the first.

    Args:
        value: as for `prompt_of`; also an object with `choices`, `candidates` or `generations`.

    Raises:
        NoAnswerError: the answer only calls a tool, or the user had the last word.
        DataError: there are messages, but none that is certainly the answer.

    Example:
        >>> response_of({"choices": [{"message": {"role": "assistant", "content": "Hello!"}}]})
        'Hello!'
    """
    found = _messages(_decoded(value))
    if isinstance(found, str):
        return found
    if not found:
        return ""
    answers = [place for place, one in enumerate(found) if _role(one) in _ANSWERS]
    others = [place for place, one in enumerate(found) if _role(one) in (*_USERS, "tool")]
    if others and (not answers or answers[-1] < others[-1]):
        raise NoAnswerError("the conversation ends without an answer.")
    told = [one for one in found if text_of(one)]
    chosen = found[answers[-1 if others else 0]] if answers else told[0] if told else found[0]
    text = text_of(chosen)
    if not text and any(map(_calls, found)):
        raise NoAnswerError(ONLY_CALLS)
    if not text:
        raise DataError("the answer holds no text.")
    return text


def text_of(message: Any) -> str:
    """The text of one message, whose content is a text or a list of parts."""
    if isinstance(message, str):
        return message
    if not isinstance(message, Mapping):
        return ""
    content = message.get("parts", message.get("content", message.get("text")))
    if isinstance(content, Mapping):  # Gemini: {"content": {"parts": [...]}}
        content = content.get("parts")
    if isinstance(content, str):
        return content
    texts = [text for text in map(_part, content) if text] if isinstance(content, Sequence) else []
    refusal = message.get("refusal")
    return "\n".join(texts) or (refusal if isinstance(refusal, str) else "")


def parts_in(text: Any, *, bare: bool = False) -> Any:
    """The content parts that an exporter wrote as a JSON text; any other value as it is.

    Args:
        bare: parts may be without a `type`, as Bedrock and Strands write them.
    """
    if not isinstance(text, str) or not text.lstrip().startswith("["):
        return text
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return text
    known = (*_TEXTS, *_CALLS, *_RESULTS, *_OTHER_PARTS)
    typed = [
        isinstance(part, Mapping)
        and (part.get("type") in known or (bare and "type" not in part and _part_name(part)))
        for part in found
    ]
    return found if typed and all(typed) else text


def _part(part: Any) -> str:
    if isinstance(part, str):
        return part
    if not isinstance(part, Mapping) or part.get("type", "text") not in _TEXTS:
        return ""
    text = part.get("content", part.get("text"))
    return text if isinstance(text, str) else ""


def _part_name(part: Mapping[str, Any]) -> bool:
    return bool({"text", "toolUse", "toolResult", "image", "reasoningContent"} & part.keys())


def _parts(message: Any) -> list[Any]:
    held = message.get("parts", message.get("content")) if isinstance(message, Mapping) else None
    held = held.get("parts") if isinstance(held, Mapping) else held
    return held if isinstance(held, list) else []


def _only(message: Any, kinds: tuple[str, ...]) -> bool:
    """Whether all parts of a message are of these kinds: a user's turn that a program wrote."""
    parts = _parts(message)
    return bool(parts) and all(
        isinstance(part, Mapping)
        and (part.get("type") in kinds or bool({"toolResult", "functionResponse"} & part.keys()))
        for part in parts
    )


def _calls(message: Any) -> bool:
    """Whether a message calls a tool, in any spelling."""
    if not isinstance(message, Mapping):
        return False
    ends = (message.get("finish_reason"), message.get("stop_reason"), message.get("type"))
    if message.get("tool_calls") or message.get("function_call") or message.get("toolCalls"):
        return True
    return any(isinstance(end, str) and end.rstrip("s") in _CALLS for end in ends) or any(
        isinstance(part, Mapping)
        and (part.get("type") in _CALLS or bool({"toolUse", "functionCall"} & part.keys()))
        for part in _parts(message)
    )


def _messages(value: Any) -> str | list[Any]:
    """The messages, in order; or the one text that stands for them."""
    if isinstance(value, str):
        return value
    if not isinstance(value, Mapping):
        return list(value) if isinstance(value, Sequence) else []
    for name in ("choices", "candidates", "generations"):
        if isinstance(value.get(name), list):
            return [_chosen(one) for one in value[name]]
    if isinstance(value.get("message"), Mapping | list):
        return [_chosen(value)]
    for name in ("messages", "input", "output"):
        if isinstance(value.get(name), str | list):
            return _messages(value[name])
    return [value]


def _chosen(one: Any) -> Any:
    """The message of a choice, which keeps the reason why the choice ended."""
    while isinstance(one, list) and one:
        one = one[0]
    held = one.get("message") if isinstance(one, Mapping) else None
    if isinstance(held, list):
        held = {"content": held}
    if not isinstance(held, Mapping):
        return one
    ends = {name: one[name] for name in ("finish_reason", "stop_reason") if name in one}
    role = held.get("role") or one.get("role") or ("ai" if "text" in one else "assistant")
    return {**held, "role": role, **ends}


def _decoded(value: Any) -> Any:
    """A text that is JSON for messages is read; any other text is what was said.

    Raises:
        DataError: it begins as messages do, and is no JSON: an exporter cut it.
    """
    if not isinstance(value, str) or value.lstrip()[:1] not in ("[", "{"):
        return value
    try:
        found = json.loads(value)
    except (ValueError, RecursionError):
        if _CUT.match(value):
            raise DataError("the messages are JSON that was cut or damaged.") from None
        return value
    return found if looks_like_messages(found) else value


def looks_like_messages(value: Any) -> bool:
    """Is it surely no user's own JSON? That may have a `text` or a `message`, too."""
    first = value[0] if isinstance(value, list) and value else value
    if not isinstance(first, Mapping):
        return False
    held = [first, first.get("message"), *_list(first.get("messages"))[:1]]
    for one in (*_list(first.get("choices"))[:1], *_list(first.get("candidates"))[:1]):
        if not isinstance(one, Mapping):
            continue
        if "finish_reason" in one and isinstance(one.get("text"), str):
            return True
        held += [one.get("message"), one.get("content")]
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
