"""A demo behind OpenAI's interface: no model at all, but rules that answer as the prompt asks.

It listens on loopback, and its name says what it is. A better prompt gets better answers: JSON only
where JSON is asked for, only labels and keys that the prompt names, nothing from the contexts where
it is told to be brief. Equal requests with equal seeds get equal answers.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from sluicegate.hashing import digest_value
from sluicegate.local_services import loopback

NAME = "sluice-demo"
BANNER = "a demo without a model, for examples only: rules answer, whatever name is asked for"
UNKNOWN = "I do not know."
GUESS = "Yes, that is possible within 30 days."
HINTS = {
    "account": "login log password locked sign profile email verify",
    "billing": "charged charge invoice payment paid card bill refund price",
    "bug": "error crash broken freeze fails screen app",
    "delivery": "parcel package courier arrive arrived late shipping tracking order",
    "refund": "refund money back return cancel",
    "shipping": "parcel package courier arrive arrived late delivery tracking order",
    "technical": "error crash broken freeze fails screen app",
    "true": "urgent immediately asap today now tomorrow hours still third",
    "high": "urgent immediately asap today now tomorrow still third",
}
"""Words that speak for a label; others come from what the prompt says of it."""
OPTIONS = re.compile(
    r"[\"'`]?(\w+)[\"'`]?\s*(?::|is|=|,|\()?\s*(?:one of|either)\s*:?\s*([^\n.;)}]+)", re.I
)
LISTED = re.compile(r"^\s*(?:-|\*|\d+\.)\s+[\"'`]?([\w -]{1,30}?)[\"'`]?(?:\s*[:–]\s*(.*))?$", re.M)
CONTEXTS = re.compile(r"^(?:contexts?|documents?|passages?|sources?)\b[^\n]*:\s*$", re.I | re.M)
QUESTION = re.compile(r"^question:\s*(.+)$", re.I | re.M)
MATERIAL = re.compile(
    r"^(?:ticket|message|customer|text|input|e-?mail|conversation|request)\b[^\n:]{0,20}:\s*",
    re.I | re.M,
)
IDENTIFIER = re.compile(r"\b[A-Z]{1,5}-?\d{2,}\b|#\d+")
COMMON = re.compile(
    r"an?|and|are|as|at|be|by|can|do|does|for|from|how|i|in|is|it|my|of|on|or|our|that|the|they|"
    r"this|to|was|we|what|when|where|which|who|will|with|you|your"
)


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, taken apart: all that is said, the part to be worked on, and the rest."""

    said: str
    material: str
    instructions: str

    @classmethod
    def of(cls, messages: Sequence[Mapping[str, Any]]) -> Asked:
        """The material follows a line such as `Ticket:`, or is the last paragraph."""
        texts = [one.get("content") or "" for one in messages if one["role"] != "tool"]
        last = next((one["content"] for one in reversed(messages) if one["role"] == "user"), "")
        found = list(MATERIAL.finditer(last))
        first = [*texts[:-1], last[: found[-1].start()] if found else ""]
        if found or len(texts) > 1:
            return cls(
                "\n".join(texts), last[found[-1].end() :] if found else last, "\n".join(first)
            )
        before, _, material = last.strip().rpartition("\n")
        return cls(last, material, before or last)

    def wants(self, pattern: str) -> bool:
        """Whether the instructions mention it."""
        return re.search(pattern, self.instructions, re.I) is not None


def answer(body: Mapping[str, Any], *, flips: float = 0.0, seed: int = 0) -> dict[str, Any]:
    """The message that answers the body of a chat completion.

    Args:
        body: `messages`, and maybe `tools`, `response_format` and `seed`.
        flips: share of answers that noise spoils; which ones depends on both seeds and the messages.
        seed: of the server.

    Example:
        >>> said = "Answer with JSON only: label, one of billing, delivery.\\nTicket: charged twice"
        >>> answer({"messages": [{"role": "user", "content": said}]})["content"]
        '{"label": "billing"}'
    """
    messages = body["messages"]
    asked = Asked.of(messages)
    told: dict[str, Any] = {"role": "assistant", "content": None}
    if messages[-1]["role"] == "tool":
        return told | {"content": f"I looked it up. {facts(messages[-1]['content'])}"}
    if body.get("tools"):
        return told | {"tool_calls": [call(body["tools"], asked.material)]}
    schema = (body.get("response_format") or {}).get("json_schema", {}).get("schema", {})
    drawn = int(digest_value([seed, body.get("seed"), asked.said])[:8], 16) / 16**8
    return told | {"content": worded(asked, schema, drawn < flips)}


def worded(asked: Asked, schema: Mapping[str, Any], flip: bool) -> str:
    """The text of an answer, by the first rule that applies; `flip`: it is spoilt."""
    if QUESTION.search(asked.said):
        return grounded(asked, flip)
    fields = options_of(asked, schema)
    if schema or asked.wants(r"\bjson\b"):
        value = json.dumps(record(asked, fields, flip))
        bare = schema or asked.wants(r"\bonly\b|nothing else|no other text")
        return value if bare else f"Here is the JSON:\n```json\n{value}\n```"
    if fields:
        label = chosen(next(iter(fields.values())), asked.material, flip)
        bare = asked.wants(r"\bonly\b|one word|nothing else")
        return label if bare else f"I would say that this is about {label}."
    if asked.wants(r"classif|categor|label"):  # no labels are given, so it makes one up
        return f"{asked.material.split()[0].strip('.,!?').title()} issue" if asked.material else ""
    sentences = split(asked.material)
    if asked.wants(r"summar"):
        return " ".join(sentences[: 1 if flip else 2])
    hello = "Thank you for your message. " if asked.wants("polite|friendly|thank") else ""
    return hello + (facts(asked.material) if not flip else "We will look into it.")


def grounded(asked: Asked, flip: bool) -> str:
    """A question's answer from the contexts: the sentence that shares most words with it."""
    question = QUESTION.search(asked.said)
    start = CONTEXTS.search(asked.said)
    if start is None or asked.wants(r"\bbrief|\bshort|few words|concise"):
        return GUESS
    wanted = words(question[1] if question else asked.material)
    passages = QUESTION.sub("", asked.said[start.end() :])
    sentences = split(re.sub(r"^\s*(?:\[\d+\]|-)\s*", "", passages, flags=re.M))
    ranked = sorted(sentences, key=lambda one: -len(wanted & words(one)))
    best = ranked[1] if flip and len(ranked) > 1 else ranked[0] if ranked else ""
    if len(wanted & words(best)) >= min(2, len(wanted)):
        number = passages[: passages.find(best)].count("[")
        return f"{best} [{number}]" if asked.wants(r"\bcite|\bcitation") and number else best
    return UNKNOWN if asked.wants(r"do(?:es)? not know|don't know|cannot|unsure") else GUESS


def options_of(asked: Asked, schema: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Each field that has labels to choose from, with what the prompt says of every label."""
    said = {name.lower(): text or "" for name, text in LISTED.findall(asked.instructions)}
    found: dict[str, Iterable[str]] = {
        name: map(json_text, part.get("enum", ("true", "false")))
        for name, part in schema.get("properties", {}).items()
        if "enum" in part or part.get("type") == "boolean"
    }
    for name, listed in OPTIONS.findall(asked.instructions):
        labels = [one.strip(" \"'`") for one in re.split(r",|\||\bor\b", listed)]
        found.setdefault(name.lower(), [one for one in labels if one])
    if not found and len(said) > 1 and asked.wants(r"classif|categor|label"):
        found["label"] = said
    return {
        name: {label: said.get(label.lower(), "") for label in labels}
        for name, labels in found.items()
    }


def record(asked: Asked, fields: Mapping[str, Mapping[str, str]], flip: bool) -> dict[str, Any]:
    """A value for each field, and for each other key that the prompt writes in quotation marks."""
    quoted = r"[\"`](\w+)[\"`](?=\s*[:,}\]\n(]|\s+(?:and|is)\b)"
    keys = [*fields, *re.findall(quoted, asked.instructions)]
    values: dict[str, Any] = {}
    for key in dict.fromkeys(keys):
        if key in fields:
            label = chosen(fields[key], asked.material, flip)
            values[key] = label == "true" if set(fields[key]) == {"true", "false"} else label
        elif not any(key in labels for labels in fields.values()):
            values[key] = value_of(key, {}, asked.material)
    return values or {"answer": (split(asked.material) or [""])[0]}


def chosen(labels: Mapping[str, str], text: str, flip: bool) -> str:
    """The label that most words speak for, else the last (`other`, mostly); another after a flip."""
    heard = words(text)
    names = list(labels)

    def points(label: str) -> int:
        return len(heard & words(f"{label} {HINTS.get(label.lower(), '')} {labels[label]}"))

    best = max(names, key=points)
    best = best if points(best) else names[-1]
    return names[(names.index(best) + 1) % len(names)] if flip else best


def call(tools: Sequence[Mapping[str, Any]], text: str) -> dict[str, Any]:
    """A call of the tool whose description shares most words with the text."""

    def points(tool: Mapping[str, Any]) -> int:
        said = f"{tool['name'].replace('_', ' ')} {tool.get('description', '')}"
        return len(words(text) & words(said))

    best = max((one["function"] for one in tools), key=points)
    parts = best.get("parameters", {}).get("properties", {})
    arguments = json.dumps({name: value_of(name, part, text) for name, part in parts.items()})
    function = {"name": best["name"], "arguments": arguments}
    return {"id": "call_1", "type": "function", "function": function}


def value_of(name: str, part: Mapping[str, Any], text: str) -> Any:
    """What the text holds for a field: a label, a number, an identifier or its first sentence."""
    if "enum" in part:
        return chosen({json_text(one): "" for one in part["enum"]}, text, False)
    if part.get("type") in ("integer", "number"):
        number = re.search(r"\d+", text)
        return int(number[0]) if number else 0
    identifier = IDENTIFIER.search(text)
    if identifier or re.search(r"(?:^|_)(?:id|number|order)$", name):
        return identifier[0] if identifier else ""
    return (split(text) or [""])[0]


def facts(text: str) -> str:
    """A JSON object in the text as `key: value`, else the text's first sentence."""
    found = re.search(r"\{[^{}]*\}", text)
    try:
        values = json.loads(found[0]) if found else {}
    except ValueError:
        values = {}
    told = ", ".join(f"{key.replace('_', ' ')}: {json_text(one)}" for key, one in values.items())
    return f"{told}." if told else (split(text) or [""])[0]


def json_text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def split(text: str) -> list[str]:
    """The sentences of a text."""
    return [one.strip() for one in re.split(r"(?<=[.!?])\s+|\n+", text) if one.strip()]


def words(text: str) -> set[str]:
    """Words that mean something, without a plural's `s`."""
    found = re.findall(r"\w+", text.lower())
    return {one.removesuffix("s") for one in found if not COMMON.fullmatch(one)}


def application(*, latency: float = 0.0, flips: float = 0.0, seed: int = 0) -> Starlette:
    """The ASGI application, which answers at `/v1/chat/completions`.

    Args:
        latency: seconds before each answer.
        flips, seed: see `answer`.
    """
    fingerprint = "demo_" + digest_value([NAME, flips, seed])[:10]

    async def completions(request: Request) -> JSONResponse:
        await asyncio.sleep(latency)
        try:
            body = await request.json()
            if body.get("stream"):
                raise ValueError("the demo does not stream")
            made = completion(body, answer(body, flips=flips, seed=seed))
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            told = {"message": f"the demo cannot read this request: {error}", "type": "demo"}
            return JSONResponse({"error": told}, 400)
        return JSONResponse(made | {"system_fingerprint": fingerprint})

    return Starlette(routes=[Route("/v1/chat/completions", completions, methods=["POST"])])


def completion(body: Mapping[str, Any], message: dict[str, Any]) -> dict[str, Any]:
    """The body of the reply, cut at `stop` and `max_tokens` (a token is four characters)."""
    text, reason = message["content"] or "", "tool_calls" if "tool_calls" in message else "stop"
    stops = body.get("stop") or ()
    for stop in [stops] if isinstance(stops, str) else stops:
        text = text.split(stop)[0]
    most = body.get("max_tokens") or body.get("max_completion_tokens") or 1 << 20
    if len(text) > 4 * most:
        text, reason = text[: 4 * most], "length"
    if message["content"] is not None:
        message = message | {"content": text}
    used = [sum(len(one.get("content") or "") for one in body["messages"]) // 4, len(text) // 4]
    usage = {"prompt_tokens": used[0], "completion_tokens": used[1], "total_tokens": sum(used)}
    return {
        "id": "demo-" + digest_value([body["messages"], body.get("seed")])[:12],
        "object": "chat.completion",
        "created": int(time.time()),
        "model": NAME,
        "choices": [{"index": 0, "message": message, "finish_reason": reason}],
        "usage": usage,
    }


def serve(app: Starlette, port: int) -> None:
    """Listen on loopback, and say where; see `loopback.serve`."""

    def tell(address: str) -> None:
        print(f"{NAME}: {BANNER}", flush=True)
        print(f"url: {address}/v1", flush=True)

    loopback.serve(app, port, tell)
