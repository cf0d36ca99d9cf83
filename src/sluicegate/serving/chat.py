"""OpenAI's chat completions: what a body asks for, and what goes out. Pure.

A field that would change the answer and cannot be honoured is refused: an answer is never to
something else than what was asked.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictStr, ValidationError

from sluicegate.errors import DataError
from sluicegate.generating import Reply, Request
from sluicegate.records import GenerationSettings

CHAMPION = "champion"
MOST_TOKENS = 4096
"""Of an answer that a client may ask for."""
MOST_MESSAGES = 1000
Model = Annotated[StrictStr, Field(pattern=r"^(champion|[0-9a-f]{64})$")]
User = Annotated[StrictStr, Field(max_length=1000)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Message(_Strict):
    """One message, plain text."""

    role: Literal["system", "user", "assistant"]
    content: StrictStr


class StreamOptions(_Strict):
    """As OpenAI has it."""

    include_usage: StrictBool = False


class Chat(_Strict):
    """The body of `POST /v1/chat/completions`; what is absent is the release's own setting."""

    model: Model = CHAMPION
    messages: Annotated[tuple[Message, ...], Field(min_length=1, max_length=MOST_MESSAGES)]
    max_tokens: Annotated[int, Field(ge=1, le=MOST_TOKENS, strict=True)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1, le=MOST_TOKENS, strict=True)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**31, strict=True)] | None = None
    stop: (
        StrictStr | Annotated[tuple[Annotated[StrictStr, Field(max_length=200)], ...],
                              Field(max_length=4)] | None
    ) = None  # fmt: skip
    n: Literal[1] = 1
    stream: StrictBool = False
    stream_options: StreamOptions | None = None
    user: User = ""

    @property
    def digest(self) -> str:
        """Of the release that is asked for; empty for the champion."""
        return "" if self.model == CHAMPION else self.model

    def request(self, settings: GenerationSettings) -> Request:
        """What the engine is asked, `settings` being the release's."""
        own: dict[str, Any] = {
            "max_new_tokens": self.max_completion_tokens or self.max_tokens,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "seed": self.seed,
            "stop": (self.stop,) if isinstance(self.stop, str) else self.stop,
        }
        used = replace(settings, **{k: value for k, value in own.items() if value is not None})
        return Request(
            tuple({"role": one.role, "content": one.content} for one in self.messages),
            used.max_new_tokens,
            used.temperature,
            used.seed,
            top_p=used.top_p,
            repetition_penalty=used.repetition_penalty,
            stop=used.stop,
        )


class Answer(_Strict):
    """The body of `POST /v1/answer`: the release's own prompt and settings, filled with `inputs`."""

    inputs: dict[Annotated[StrictStr, Field(max_length=200)], StrictStr]
    model: Model = CHAMPION
    user: User = ""

    @property
    def digest(self) -> str:
        """Of the release that is asked for; empty for the champion."""
        return "" if self.model == CHAMPION else self.model


Body = TypeVar("Body", Chat, Answer)


def read_chat(value: Any) -> Chat:
    """The body of a chat completion.

    Raises:
        DataError: names the field that is wrong or unknown.

    Example:
        >>> read_chat({"messages": [{"role": "user", "content": "Hi"}], "stream": True}).stream
        True
    """
    return _read(Chat, value)


def read_answer(value: Any) -> Answer:
    """The body of `/v1/answer`.

    Raises:
        DataError: names the field that is wrong or unknown.
    """
    return _read(Answer, value)


def _read(kind: type[Body], value: Any) -> Body:
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        field = ".".join(str(part)[:40] for part in first["loc"][:4])
        raise DataError(
            f"{ascii(field)[1:-1] or 'the body'}: {first['msg']}",
            hint=f"Fields: {', '.join(kind.model_fields)}.",
        ) from error


@dataclass(frozen=True, slots=True)
class Said:
    """An answer on its way out."""

    reply: Reply
    key: str
    model: str
    created: int

    @property
    def finish_reason(self) -> str:
        """As OpenAI calls it."""
        return "stop" if self.reply.finished else "length"

    @property
    def usage(self) -> dict[str, int]:
        """Tokens of prompt and answer."""
        asked, answered = self.reply.prompt_tokens, self.reply.completion_tokens
        return {
            "prompt_tokens": asked,
            "completion_tokens": answered,
            "total_tokens": asked + answered,
        }

    def completion(self) -> dict[str, Any]:
        """The whole answer."""
        message = {"role": "assistant", "content": self.reply.text}
        choice = {"index": 0, "message": message, "finish_reason": self.finish_reason}
        return {**self._head("chat.completion"), "choices": [choice], "usage": self.usage}

    def events(self, *, usage: bool) -> bytes:
        """The answer as server-sent events."""
        deltas: Sequence[tuple[Mapping[str, str], str | None]] = (
            ({"role": "assistant", "content": self.reply.text}, None),
            ({}, self.finish_reason),
        )
        head = self._head("chat.completion.chunk")
        parts = [
            {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}
            for delta, reason in deltas
        ]
        if usage:
            parts.append({**head, "choices": [], "usage": self.usage})
        return b"".join(event(part) for part in parts) + b"data: [DONE]\n\n"

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self.key, "object": kind, "created": self.created, "model": self.model}


def event(value: Any) -> bytes:
    """One server-sent event; JSON has no line end of its own, so nothing in it can begin another.

    Example:
        >>> event({"a": "b\\n\\ndata: c"})
        b'data: {"a": "b\\\\n\\\\ndata: c"}\\n\\n'
    """
    return b"data: " + json.dumps(value).encode() + b"\n\n"
