"""What a hosted model sent, read strictly: a reply, or why none. Nothing repeats the API key."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sluicegate.generating import Failure, Reply, likely_tokens

SECRET = 16
"""Keys of fewer characters are placeholders ("EMPTY", "ollama"), which an answer may well
contain.
"""
THOUGHT = "</think>"
CUT = frozenset({"length", "max_tokens", "max_length", "max_output_tokens", "model_length"})
FILTERED = frozenset({"content_filter", "safety", "recitation", "blocklist", "prohibited_content"})
BROKEN = frozenset({"error", "abort", "aborted", "cancelled", "canceled"})
TOOLS = frozenset({"tool_calls", "tool_use", "function_call"})
"""Finish reasons of many servers, in small letters. Any other is an answer that came to its end."""

FILTER = "the content filter of the server stopped it: change the text, or ask another model"
OVERFLOW = re.compile(
    r"context.?(length|window|size)|maximum context|too many tokens|too long", re.I
)
MEANING = {
    401: "the API key was refused: is the variable that key_env names set to a key of this server?",
    403: "the API key was refused: may it use this model?",
    404: "no such path or model: the address ends in /v1 with most servers, "
    "and `model` is the server's name for it",
    413: "the request is too large",
}


class _Part(BaseModel):
    """A server may send more fields than these; these must be right."""

    model_config = ConfigDict(strict=True, frozen=True, allow_inf_nan=False)


class _Likely(_Part):
    token: str
    logprob: float


class _Place(_Likely):
    top_logprobs: list[_Likely] = []


class _LogProbs(_Part):
    content: list[_Place] | None = None


class _Text(_Part):
    text: str = ""


class _Message(_Part):
    content: str | list[_Text] | None = None
    refusal: str | None = None
    tool_calls: list[Any] | None = None

    @property
    def text(self) -> str:
        if isinstance(self.content, list):
            return "".join(part.text for part in self.content)
        return self.content or ""


class _Choice(_Part):
    message: _Message
    finish_reason: str | None = None
    logprobs: _LogProbs | None = None


class _Usage(_Part):
    prompt_tokens: Annotated[int, Field(ge=0, le=10**9)] = 0
    completion_tokens: Annotated[int, Field(ge=0, le=10**9)] = 0


class _Answer(_Part):
    """Body of POST /chat/completions as OpenAI defines it, as far as it is used."""

    choices: list[_Choice]
    usage: _Usage | None = None
    model: Any = None
    system_fingerprint: Any = None


@dataclass(frozen=True, slots=True)
class Key:
    """An API key that no representation shows."""

    text: str

    def __repr__(self) -> str:
        return "Key(...)"

    def within(self, text: str | bytes) -> bool:
        """Whether `text` repeats the key."""
        if len(self.text) < SECRET:
            return False
        return self.text in (text if isinstance(text, str) else text.decode("latin-1"))

    def out_of(self, text: str) -> str:
        """`text`, short and printable, without any word that has six characters in a row of the
        key.
        """
        text = "".join(letter if letter.isprintable() else " " for letter in text)
        starts = range(max(1, len(self.text) - 5)) if self.text else ()
        pieces = {self.text[start : start + 6] for start in starts}
        hidden = re.sub(
            r"[^\s'\"]+",
            lambda word: "[...]" if any(piece in word[0] for piece in pieces) else word[0],
            text,
        )
        return hidden[:200].strip()


def read_answer(body: bytes, seconds: float, key: Key, max_tokens: int) -> Reply | Failure:
    """The reply in the body of a 200 answer, or a `Failure` that says what is wrong with it.

    Tokens are 0 where the server does not tell them.

    Args:
        body: at most a few MB.
        seconds: what the request took.
        key: the API key: an answer that repeats it is refused, since replies are kept.
        max_tokens: what was asked for; tells whether an answer was cut where the server does not.
    """
    leak = Failure("the endpoint's answer contains the API key; it was not kept")
    if key.within(body):
        return leak
    if body.lstrip()[:1] == b"<":
        return Failure(
            "the endpoint sent a web page, not JSON: is its address right? "
            "With most servers it ends in /v1"
        )
    try:
        answer = _Answer.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "the whole body"
        said = key.out_of(f"{field}: {first['type']}")
        return Failure(f"the endpoint's answer cannot be read: {said}")
    if not answer.choices:
        return Failure("the endpoint's answer is empty (it has no choices): ask again later")
    choice = answer.choices[0]
    if key.within(choice.message.text):
        return leak
    who = " ".join(str(one) for one in (answer.model, answer.system_fingerprint) if one)
    return _reply(choice, answer.usage or _Usage(), seconds, key, max_tokens, who)


def _reply(
    choice: _Choice, usage: _Usage, seconds: float, key: Key, max_tokens: int, who: str
) -> Reply | Failure:
    reason, message = (choice.finish_reason or "").lower(), choice.message
    if reason in FILTERED:
        return Failure(FILTER)
    if reason in BROKEN:
        return Failure(f"the endpoint broke its answer off ({reason}): ask again later")
    if message.refusal:
        return Failure(f"the model refused to answer: {key.out_of(message.refusal)}")
    if reason in TOOLS or (message.tool_calls and not message.text):
        return Failure("the model called a tool instead of answering: ask it without tools")
    cut = reason in CUT or (not reason and usage.completion_tokens >= max_tokens)
    text, places = _without_thoughts(message.text, _alternatives(choice.logprobs))
    if message.content is None or (cut and text.lstrip().startswith("<think>")):
        return Failure("the model gave no answer after its thoughts: give it more tokens")
    return Reply(
        text=text,
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        seconds=seconds,
        finished=not cut,
        alternatives=places,
        answered_by=key.out_of(who),
    )


def _without_thoughts(
    text: str, places: Sequence[Mapping[str, float]]
) -> tuple[str, tuple[Mapping[str, float], ...]]:
    """What follows `</think>`, which many servers do not open, and its tokens' places."""
    before, found, after = text.rpartition(THOUGHT)
    if not found:
        return text, tuple(places)
    end, length = len(before) + len(found), 0
    for number, place in enumerate(places):
        if length >= end:
            return after, tuple(places[number:])
        length += len(next(iter(place)))  # the token that was chosen comes first
    return after, ()


def _alternatives(found: _LogProbs | None) -> list[Mapping[str, float]]:
    """Likely tokens of each place with log probabilities, the chosen first; equal texts are one."""
    places: list[Mapping[str, float]] = []
    for place in (found.content if found else None) or ():
        likely = likely_tokens((one.token, one.logprob) for one in place.top_logprobs)
        chosen = {place.token: likely.get(place.token, place.logprob)}
        places.append(chosen | likely)
    return places


def read_error(body: bytes) -> dict[str, Any] | None:
    """A body's error, whatever the status: `message`, and `code` and `param` if told."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    inner = (
        found.get("error", found) if isinstance(found, dict) and "choices" not in found else None
    )
    if isinstance(inner, str):
        return {"message": inner}
    if not isinstance(inner, dict) or not isinstance(inner.get("message"), str):
        return None
    return inner


def read_refusal(status: int, error: Mapping[str, Any] | None, key: Key) -> Failure:
    """What to tell a person about an answer that is not 200; one line, without the key."""
    if 300 <= status < 400:
        return Failure(
            f"the endpoint answered with a redirect ({status}), which is never followed: "
            "write the address that it leads to"
        )
    error = error or {}
    said = str(error.get("message", ""))
    code = f"{error.get('code', '')} {error.get('type', '')}"
    meaning = MEANING.get(status, "")
    too_long = status in (400, 413, 422) and bool(OVERFLOW.search(f"{code} {said}"))
    if too_long:
        meaning = "the request is longer than the model's context"
    elif "content_filter" in code or "content management policy" in said:
        meaning = FILTER
    parts = (f"the endpoint answered {status}", meaning, key.out_of(said))
    return Failure(": ".join(filter(None, parts)), too_long=too_long)


def refused_parameter(status: int, error: Mapping[str, Any] | None) -> str:
    """The parameter that a server does not take, as far as it tells; else empty.

    Example:
        >>> refused_parameter(400, {"message": "Unsupported parameter: 'max_tokens'"})
        'max_tokens'
    """
    if status not in (400, 422) or not error:
        return ""
    said = f"{error.get('message', '')} {error.get('code', '')}".lower()
    if not re.search(
        r"unsupported|not supported|does not support|unrecogni|unknown|extra|deprecat", said
    ):
        return ""
    named = str(error.get("param") or "")
    known = ("temperature", "seed", "max_tokens", "max_completion_tokens")
    found = [name for name in known if name == named] or [name for name in known if name in said]
    return found[0] if found else ""
