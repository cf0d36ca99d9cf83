"""Where each tracing convention keeps the two texts of a call: a table, newest first.

Either the texts are certain, or the span is refused with the reason.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sluicegate.errors import DataError
from sluicegate.traffic.jsonl import parse
from sluicegate.traffic.messages import ONLY_CALLS, NoAnswerError, parts_in, prompt_of, response_of

Attributes = Mapping[str, Any]
Events = Sequence[tuple[str, Mapping[str, Any]]]
Reader = Callable[[Attributes, Events], tuple[Any, Any] | None]

SIGNS = ("traceloop.entity.", "lmnr.", "gcp.vertex.agent.", "langsmith.", "mlflow.spanInputs")
"""What attributes of tools begin with whose spans are not read, and which are named for it."""
ROLES = {f"gen_ai.{role}.message": role for role in ("system", "user", "assistant", "tool")}
_GENERATES = ("chat", "text_completion", "generate_content", "completion")
_VERCEL = ("ai.generateText.doGenerate", "ai.streamText.doStream")
_NUMBERED = re.compile(r"gen_ai\.(prompt|completion)\.(\d{1,6})\.(.+)")
_INFERRED = re.compile(r"llm\.(input|output)_messages\.(\d{1,6})\.message\.(.+)")
_INFERRED_PART = re.compile(r"contents\.(\d{1,6})\.message_content\.(type|text)")


def is_call(attributes: Attributes) -> bool:
    """Whether a span is one call of a generating model, as a dialect that is read records it."""
    operation = attributes.get("gen_ai.operation.name")
    if operation:
        return operation in _GENERATES
    kind = attributes.get("openinference.span.kind") or attributes.get("langfuse.observation.type")
    if kind:
        return str(kind).lower() in ("llm", "generation")
    if "ai.operationId" in attributes:
        return attributes["ai.operationId"] in _VERCEL
    return any(name.startswith("gen_ai.") for name in attributes)


def texts_of(attributes: Attributes, events: Events, *, dropped: bool) -> tuple[str, str]:
    """Prompt and answer, from the newest convention that the span follows.

    Args:
        dropped: the exporter says that it left out attributes or events of this span.

    Raises:
        NoAnswerError: the answer only calls a tool, or there is none.
        DataError: no dialect finds certain texts.
    """
    for name, read in DIALECTS.items():
        found = read(attributes, events)
        if found is None:
            continue
        if dropped and name not in _WHOLE:
            raise DataError("the exporter dropped attributes or events of it.")
        asked, answered = found
        prompt = prompt_of(asked)
        if answered in (None, "", [], {}):
            raise NoAnswerError("there is no answer.")
        if not prompt.strip():
            raise DataError("there is no prompt.")
        response = response_of(answered)
        if not response.strip():
            raise DataError("the answer holds no text.")
        return prompt, response
    raise DataError(
        "it has neither a prompt nor an answer: content is not captured, or goes to log records."
    )


def _messages(attributes: Attributes, events: Events) -> tuple[Any, Any] | None:
    for held in (attributes, *(held for _, held in events)):
        if "gen_ai.input.messages" in held or "gen_ai.output.messages" in held:
            return held.get("gen_ai.input.messages"), held.get("gen_ai.output.messages")
    return None


def _sides(attributes: Attributes, events: Events) -> tuple[Any, Any] | None:
    held = [attributes, *(held for _, held in events)]
    asked = [one["gen_ai.prompt"] for one in held if "gen_ai.prompt" in one]
    answered = [one["gen_ai.completion"] for one in held if "gen_ai.completion" in one]
    return (asked[0], answered[0] if answered else None) if asked else None


def _one_each(attributes: Attributes, events: Events) -> tuple[Any, Any] | None:
    bare = "strands" in str(
        attributes.get("gen_ai.system", attributes.get("gen_ai.provider.name", ""))
    )
    sent = [
        {"role": ROLES[name], **_body(held, bare=bare)} for name, held in events if name in ROLES
    ]
    chosen = [_body(held, bare=True) for name, held in events if name == "gen_ai.choice"]
    chosen.sort(key=lambda one: one["index"] if isinstance(one.get("index"), int) else 0)
    return (sent, chosen[0] if chosen else None) if sent or chosen else None


def _body(held: Attributes, *, bare: bool) -> dict[str, Any]:
    """The event's message, under `body` or `event_body`, as attributes, or as the JSON of these."""
    found = held.get("body", held.get("event_body", held))
    found = _object(found) or found
    if not isinstance(found, Mapping):
        return {"content": found}
    body = dict(found)
    if "message" in body:
        body["message"] = _object(body["message"]) or parts_in(body["message"], bare=bare)
        if isinstance(body["message"], str):
            body["message"] = {"role": "assistant", "content": body["message"]}
    if "content" in body:
        body["content"] = parts_in(body["content"], bare=bare)
    return body


def _object(value: Any) -> dict[str, Any] | None:
    """The message that a JSON text is; None for any other text, which is what was said."""
    if not isinstance(value, str) or not value.lstrip().startswith("{"):
        return None
    try:
        found = parse(value.encode("utf-8", "replace"))
    except DataError:
        return None
    known = {"role", "content", "message", "parts", "tool_calls"}
    return found if isinstance(found, dict) and known & found.keys() else None


def _numbered(attributes: Attributes, events: Events) -> tuple[Any, Any] | None:
    found = _gathered(attributes, _NUMBERED)
    if not found:
        return None
    for side in found.values():
        for message in side:
            message["content"] = parts_in(message.get("content"))
            if any(name.startswith("tool_calls.") for name in message):
                message["tool_calls"] = [True]
    return found.get("prompt", []), found.get("completion")


def _inferred(attributes: Attributes, events: Events) -> tuple[Any, Any] | None:
    found = _gathered(attributes, _INFERRED)
    if not found:
        return None
    for side in found.values():
        for message in side:
            parts: dict[int, dict[str, Any]] = {}
            for name in list(message):
                if match := _INFERRED_PART.fullmatch(name):
                    parts.setdefault(int(match[1]), {})[match[2]] = message[name]
            if parts:
                message["content"] = [parts[number] for number in sorted(parts)]
            if any(name.startswith("tool_calls.") for name in message):
                message["tool_calls"] = [True]
    return found.get("input", []), found.get("output")


def _gathered(attributes: Attributes, pattern: re.Pattern[str]) -> dict[str, list[dict[str, Any]]]:
    """Numbered attributes as the messages of each side, in order.

    Raises:
        DataError: a number between is missing: which message is the last is not certain.
    """
    sides: dict[str, dict[int, dict[str, Any]]] = {}
    for name, value in attributes.items():
        if match := pattern.fullmatch(name):
            sides.setdefault(match[1], {}).setdefault(int(match[2]), {})[match[3]] = value
    for side in sides.values():
        if sorted(side) != list(range(len(side))):
            raise DataError("numbered messages are missing between others.")
    return {side: [found[number] for number in sorted(found)] for side, found in sides.items()}


def _langfuse(attributes: Attributes, events: Events) -> tuple[Any, Any] | None:
    asked = attributes.get("langfuse.observation.input")
    answered = attributes.get("langfuse.observation.output")
    return None if asked is None and answered is None else (asked, answered)


def _vercel(attributes: Attributes, events: Events) -> tuple[Any, Any] | None:
    asked = attributes.get("ai.prompt.messages")
    answered = attributes.get("ai.response.text")
    if asked is None and answered is None:
        return None
    if not answered and attributes.get("ai.response.toolCalls"):
        raise NoAnswerError(ONLY_CALLS)
    return asked, answered


DIALECTS: dict[str, Reader] = {
    "messages": _messages,
    "sides": _sides,
    "events": _one_each,
    "numbered": _numbered,
    "openinference": _inferred,
    "langfuse": _langfuse,
    "vercel": _vercel,
}
_WHOLE = ("messages", "sides", "langfuse", "vercel")  # one value holds all messages: there or not
