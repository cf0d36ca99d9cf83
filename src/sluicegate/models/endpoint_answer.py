"""What an endpoint sent back, read strictly: a reply, or why it is none. Nothing here may repeat the API key."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sluicegate.models.alternatives import likely_tokens
from sluicegate.records import Failure, Reply

Count = Annotated[int, Field(ge=0, le=10**9)]
SECRET = 16
"""Keys of fewer characters are placeholders ("EMPTY", "ollama"), which an answer may well contain."""


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


class _Message(_Part):
    content: str


class _Choice(_Part):
    message: _Message
    finish_reason: str | None = None
    logprobs: _LogProbs | None = None


class _Usage(_Part):
    prompt_tokens: Count
    completion_tokens: Count


class ChatAnswer(_Part):
    """Body of POST /chat/completions as OpenAI defines it, as far as it is used."""

    choices: list[_Choice] = Field(min_length=1)
    usage: _Usage


@dataclass(frozen=True, slots=True)
class Key:
    """An API key that no representation shows."""

    text: str

    def __repr__(self) -> str:
        return "Key(...)"

    def header(self) -> list[tuple[bytes, bytes]]:
        """The header that carries the key; none without a key."""
        return [(b"Authorization", b"Bearer " + self.text.encode("ascii"))] if self.text else []

    def within(self, body: bytes) -> bool:
        """Whether `body` repeats the key."""
        return len(self.text) >= SECRET and self.text.encode("ascii") in body

    def out_of(self, text: str) -> str:
        """`text` without any word that has six characters in a row of the key."""
        pieces = (
            {self.text[start : start + 6] for start in range(max(1, len(self.text) - 5))}
            if self.text
            else set()
        )
        return re.sub(
            r"[^\s'\"]+",
            lambda word: "[...]" if any(one in word[0] for one in pieces) else word[0],
            text,
        )


def read_answer(body: bytes, seconds: float, key: Key) -> Reply | Failure:
    """The reply in the body of a 200 answer, or a `Failure` that says what is wrong with it.

    Args:
        body: at most a few MB.
        seconds: what the request took.
        key: the API key: an answer that repeats it is refused, since replies are kept.
    """
    if key.within(body):
        return Failure("the endpoint's answer contains the API key; it was not kept")
    try:
        answer = ChatAnswer.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "the whole body"
        return Failure(
            key.out_of(f"the endpoint's answer cannot be read: {field}: {first['type']}")
        )
    choice = answer.choices[0]
    if key.within(choice.message.content.encode()):
        return Failure("the endpoint's answer contains the API key; it was not kept")
    if choice.finish_reason == "content_filter":
        return Failure("the endpoint's content filter cut the answer")
    return Reply(
        text=choice.message.content,
        prompt_tokens=answer.usage.prompt_tokens,
        completion_tokens=answer.usage.completion_tokens,
        seconds=seconds,
        finished=choice.finish_reason == "stop",
        alternatives=_alternatives(choice.logprobs),
    )


def _alternatives(found: _LogProbs | None) -> tuple[dict[str, float], ...]:
    """Likely tokens of each place with their log probabilities; tokens of equal text are one."""
    if found is None or not found.content:
        return ()
    places = []
    for place in found.content:
        likely = likely_tokens((one.token, one.logprob) for one in place.top_logprobs)
        likely.setdefault(place.token, place.logprob)
        places.append(likely)
    return tuple(places)


def read_refusal(status: int, body: bytes, key: Key) -> str:
    """What to tell a person about an answer that is not 200; short, printable, without the key."""
    if 300 <= status < 400:
        return f"the endpoint answered with a redirect ({status}); redirects are never followed"
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    inner = found.get("error", found) if isinstance(found, dict) else None
    said = inner.get("message") if isinstance(inner, dict) else inner
    text = (
        "".join(letter if letter.isprintable() else " " for letter in said)
        if isinstance(said, str)
        else ""
    )
    text = key.out_of(text)[:200].strip()
    meaning = {
        401: "the API key was refused",
        403: "the API key was refused",
        404: "no such path or model",
    }
    return f"the endpoint answered {status}" + "".join(
        f": {part}" for part in (meaning.get(status, ""), text) if part
    )
