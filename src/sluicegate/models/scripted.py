"""The fakes that ship: answers by a function, or an echo. No torch, no network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sluicegate.budget import Budget
from sluicegate.generating import Failure, Messages, Reply, Request, Took
from sluicegate.hashing import digest_value

if TYPE_CHECKING:
    from sluicegate.models import Entry


@dataclass(slots=True)
class ScriptedModel:
    """A Model whose replies come from `answer`, one call per request; tokens are words.

    `answer` returns the text, which is cut at the request's `stop` and `max_tokens`, a whole
    `Reply` (with `alternatives`, say), or a `Failure`; what it raises is not caught.

    Attributes:
        name: gives the identity: two fakes with equal names are one model.
        context: longest prompt plus answer, in words.
        asked: every request so far, in order.

    Example:
        >>> model = ScriptedModel(lambda request: request.messages[-1]["content"].upper())
        >>> model.generate([Request(({"role": "user", "content": "good"},))])[0].text
        'GOOD'
    """

    answer: Callable[[Request], str | Reply | Failure]
    name: str = "scripted"
    context: int = 1_000_000
    asked: list[Request] = field(default_factory=list)

    @property
    def identity(self) -> str:
        """Digest of the name."""
        return digest_value({"scripted": self.name})

    def generate(
        self,
        requests: Sequence[Request],
        *,
        budget: Budget | None = None,
        took: Took | None = None,
    ) -> list[Reply | Failure]:
        """See `Model.generate`."""
        budget, answers = budget or Budget(), list[Reply | Failure]()
        with budget.working():
            for place, request in enumerate(requests):
                size = (self.count_tokens(list(map(dict, request.messages))), request.max_tokens)
                late = budget.seconds_left == 0
                if late or not budget.fits(size):
                    raise budget.exceeded(len(requests) - place, None if late else size)
                budget.reserve(size)
                self.asked.append(request)
                answer = self._answer(request, size[0])
                if isinstance(answer, Reply):
                    used = (answer.prompt_tokens, answer.completion_tokens)
                    budget.settle(size, used, answers=1)
                else:
                    budget.settle(size, (0, 0))
                answers.append(answer)
                if took is not None:
                    took(place, answer)
        return answers

    def count_tokens(self, messages: Messages) -> int:
        """Words of all messages."""
        return sum(len(message["content"].split()) for message in messages)

    def _answer(self, request: Request, length: int) -> Reply | Failure:
        if length >= self.context:
            reason = f"the prompt has {length} tokens; the context is {self.context}"
            return Failure(reason, too_long=True)
        said = self.answer(request)
        if not isinstance(said, str):
            return said
        for stop in filter(None, request.stop):
            said = said.split(stop)[0]
        words = said.split()
        if len(words) <= request.max_tokens:
            return Reply(said, length, len(words), 0.001)
        cut = " ".join(words[: request.max_tokens])
        return Reply(cut, length, request.max_tokens, 0.001, finished=False)


def last_line(request: Request) -> str:
    """The last line of the last message of the user's.

    Example:
        >>> last_line(Request(({"role": "user", "content": "Say:\\nhello"},)))
        'hello'
    """
    texts = [one["content"] for one in request.messages if one["role"] == "user"]
    return (texts[-1].strip().splitlines() or [""])[-1] if texts else ""


def echo(context: int = 2048) -> ScriptedModel:
    """A model that repeats the last line of what it was asked."""
    return ScriptedModel(last_line, "echo", context)


def open_echo(entry: Entry) -> ScriptedModel:
    """Row of `MODELS`: `echo: {}` in registry/models.yaml, to try a line out without a model."""
    return echo(entry.spec.context)
