"""Models that are asked within what the run may still spend, and counted: judges, and a project's own TruLens metrics."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from sluicegate.config import ModelSpec
from sluicegate.errors import ConfigError
from sluicegate.evaluation.budget import Meter, Spent
from sluicegate.records import Failure, Question, Reply

if TYPE_CHECKING:
    from sluicegate.models.asking import Asker, AskLimits


@dataclass(slots=True)
class Metered:
    """An asker whose new answers count in the run's meter. `unanswered`: questions so far that brought no answer."""

    asker: Asker
    spec: ModelSpec
    meter: Meter
    unanswered: int = 0

    @property
    def identity(self) -> str:
        """Of the asker."""
        return self.asker.identity

    def ask(
        self, questions: Sequence[Question], progress: Callable[[int, int], None] | None = None
    ) -> list[Reply | Failure]:
        """Ask, and count what was not in the cache."""
        replies = self.asker.ask(questions, progress)
        new = [reply for reply in replies if isinstance(reply, Reply) and not reply.cached]
        asked, told = (
            sum(reply.prompt_tokens for reply in new),
            sum(reply.completion_tokens for reply in new),
        )
        price = self.spec.endpoint.price if self.spec.endpoint else None
        cost = (asked * price.input + told * price.output) / 1e6 if price else 0.0
        self.meter.judged(len(new), asked + told, cost)
        self.unanswered += sum(isinstance(reply, Failure) for reply in replies)
        return replies


def limits_of(meter: Meter, name: str, spec: ModelSpec, parts: int) -> AskLimits:
    """A part of what is left; of what is used up the smallest amount, since 0 stands for no limit.

    Raises:
        ConfigError: money is limited and the model has no price.
    """
    from sluicegate.models.asking import AskLimits

    seconds, tokens, cost = meter.left
    if cost is not None and spec.endpoint is not None and spec.endpoint.price is None:
        raise ConfigError(
            f"--max-cost needs the price of the judge {name}, and registry/models.yaml has none.",
            hint=f"Set models.{name}.endpoint.price: {{input: ..., output: ...}}, money per million tokens.",
        )
    return AskLimits(
        max_seconds=0.0 if seconds is None else max(seconds, 0.001),
        max_tokens=0 if tokens is None else max(tokens // parts, 1),
        max_cost=0.0 if cost is None else max(cost / parts, 1e-12),
    )


class RunAsker:
    """An asker for metrics that open their model when they are imported: it looks at the run's meter at every question.

    `asked` counts the questions of all of them in this process, so that who scores can tell that a model was asked.
    One thread at a time: the meter is a file that is read and written.
    """

    asked: ClassVar[int] = 0
    _lock: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, name: str, spec: ModelSpec, opened: Callable[[AskLimits], Asker]) -> None:
        from sluicegate.models.asking import NO_LIMITS

        self._name, self._spec, self._opened = name, spec, opened
        self._asker, self._seen = opened(NO_LIMITS), Spent()
        self._limited = False

    @property
    def identity(self) -> str:
        """Of the model."""
        return self._asker.identity

    def ask(
        self, questions: Sequence[Question], progress: Callable[[int, int], None] | None = None
    ) -> list[Reply | Failure]:
        """Ask within what is left now, and count what was not in the cache.

        Raises:
            BudgetError: the run's budget is spent.
            ConfigError: money is limited and the model has no price.
        """
        with RunAsker._lock:
            RunAsker.asked += len(questions)
            meter = Meter.of_this_run()
            limited = any(left is not None for left in meter.left)
            if limited and not (self._limited and meter.spent == self._seen):
                # Opened anew where others have spent since: this one's own limits do not know of that.
                self._asker = self._opened(limits_of(meter, self._name, self._spec, 1))
            self._limited = limited
            replies = Metered(self._asker, self._spec, meter).ask(questions, progress)
            self._seen = meter.spent
            return replies
