"""Models that are asked within what the run may still spend, and counted: judges, and a project's
own TruLens metrics.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from sluicegate.budget import Budget
from sluicegate.generating import Failure, Model, Reply, Request, Took, Wrapped


@dataclass(slots=True)
class JudgeModel(Wrapped):
    """A model whose answers count in the run's budget as a judge's, at its own price; see `Model`.

    `unanswered`: requests so far that brought no answer.
    """

    model: Model
    budget: Budget
    unanswered: int = 0

    def generate(
        self,
        requests: Sequence[Request],
        *,
        budget: Budget | None = None,
        took: Took | None = None,
    ) -> list[Reply | Failure]:
        """See `Model.generate`; without a `budget` it is the run's."""
        spending = (budget or self.budget).priced((0.0, 0.0), judging=True)
        replies = self.model.generate(requests, budget=spending, took=took)
        self.unanswered += sum(isinstance(reply, Failure) for reply in replies)
        return replies


class RunModel(Wrapped):
    """A model for metrics that open theirs when they are imported: the run's budget is looked up at
    every request.

    `asked` counts the requests of all of them in this process, so that who scores can tell that a
    model was asked. One thread at a time: the budget is a file that is read and written.
    """

    asked: ClassVar[int] = 0
    _lock: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, model: Model) -> None:
        self.model = model

    def generate(
        self,
        requests: Sequence[Request],
        *,
        budget: Budget | None = None,
        took: Took | None = None,
    ) -> list[Reply | Failure]:
        """See `Model.generate`; without a `budget` it is the run's.

        Raises:
            BudgetError: the run's budget is spent.
            ConfigError: money is limited and the model has no price.
        """
        with RunModel._lock:
            RunModel.asked += len(requests)
            judge = JudgeModel(self.model, budget or Budget.of_this_run())
            return judge.generate(requests, took=took)
