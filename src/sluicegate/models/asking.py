"""Any model, asked one request at a time by many tasks of one event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sluicegate.budget import Budget
from sluicegate.generating import Failure, Model, Reply, Request
from sluicegate.models.addresses import Unreachable
from sluicegate.models.hosted import Ask, HostedModel

GATHER_SECONDS = 0.01
"""Requests that come so close together are one batch of a model that works on many at once."""
BATCH_ROWS = 16
"""Requests in work at once for such a model."""


@asynccontextmanager
async def asking(model: Model, budget: Budget) -> AsyncIterator[Ask]:
    """Inside the block single requests may be made; what they may spend is in `budget`.

    A model that is not hosted answers batches, and nothing else moves meanwhile: the budget is
    nobody else's then.

    Raises:
        BudgetError, ConfigError, ModelError: see `Model.generate`; some from the request itself.
    """
    if not isinstance(model, HostedModel):
        yield _Batches(model, budget).ask
        return
    try:
        async with model.asking(budget) as ask:
            yield ask
    except Unreachable as error:
        reason = str(error)

        async def refuse(request: Request) -> Reply | Failure:
            return Failure(reason)

        yield refuse


def at_once(model: Model) -> int:
    """How many requests are worth having in the air at once."""
    return model.concurrency if isinstance(model, HostedModel) else BATCH_ROWS


class _Batches:
    def __init__(self, model: Model, budget: Budget) -> None:
        self._model, self._budget = model, budget
        self._waiting: list[Request] = []

    async def ask(self, request: Request) -> Reply | Failure:
        if not self._waiting:
            self._batch = asyncio.create_task(self._answer())
        place, batch = len(self._waiting), self._batch
        self._waiting.append(request)
        return (await asyncio.shield(batch))[place]

    async def _answer(self) -> list[Reply | Failure]:
        await asyncio.sleep(GATHER_SECONDS)
        batch, self._waiting = self._waiting, []
        return self._model.generate(batch, budget=self._budget)
