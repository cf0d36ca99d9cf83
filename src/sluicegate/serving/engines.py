"""A model as an engine of the router: many requests at once, each with an answer of its own."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from functools import partial
from typing import Protocol

from sluicegate.budget import Budget
from sluicegate.generating import Failure, Model, Reply, Request
from sluicegate.models.hosted import HostedModel

MOST_TOGETHER = 32
"""Requests that go to the model in one call; those that come meanwhile go with the next."""
ANEW_AFTER = 4
"""Failures in a row after which a hosted model is asked over new connections."""


class ServingEngine(Protocol):
    """What answers for one release."""

    async def ask(self, request: Request) -> Reply | Failure:
        """Answer one request; any number may wait. All calls come from one event loop.

        Raises:
            Exception: the engine is down: whatever it raised.
        """
        ...

    def close(self) -> None:
        """Let go of memory and connections, once nobody waits. From any thread."""
        ...


def open_serving(model: Model) -> ServingEngine:
    """The engine for a model: a hosted one is asked in the event loop, any other in a thread."""
    return _Hosted(model) if isinstance(model, HostedModel) else _Batches(model)


class _Batches:
    """One thread that asks the model; what comes while it works goes together into the next call."""

    def __init__(self, model: Model) -> None:
        self._model: Model | None = model
        self._thread = ThreadPoolExecutor(1, "sluice-engine")
        self._waiting: deque[tuple[Request, asyncio.Future[Reply | Failure]]] = deque()
        self._work: asyncio.Task[None] | None = None

    async def ask(self, request: Request) -> Reply | Failure:
        answer: asyncio.Future[Reply | Failure] = asyncio.get_running_loop().create_future()
        self._waiting.append((request, answer))
        if self._work is None or self._work.done():
            self._work = asyncio.create_task(self._serve())
        return await answer

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            batch = list[tuple[Request, asyncio.Future[Reply | Failure]]]()
            while self._waiting and len(batch) < MOST_TOGETHER:
                one = self._waiting.popleft()
                if not one[1].done():  # whoever asked has not gone
                    batch.append(one)
            if not batch:
                continue
            answers = [answer for _, answer in batch]

            def took(
                place: int,
                reply: Reply | Failure,
                told: Sequence[asyncio.Future[Reply | Failure]] = tuple(answers),
            ) -> None:
                loop.call_soon_threadsafe(_tell, told[place], reply)

            assert self._model is not None, "nobody asks a closed engine"
            generate = partial(self._model.generate, [asked for asked, _ in batch], took=took)
            (ended,) = await asyncio.gather(
                loop.run_in_executor(self._thread, generate), return_exceptions=True
            )
            for place, answer in enumerate(answers):
                if not isinstance(ended, BaseException):
                    _tell(answer, ended[place])
                elif not answer.done():
                    answer.set_exception(ended)

    def close(self) -> None:
        self._thread.shutdown(wait=False)
        self._model = None


def _tell(answer: asyncio.Future[Reply | Failure], reply: Reply | Failure) -> None:
    if not answer.done():
        answer.set_result(reply)


class _Line:
    """Connections to a hosted model, closed when they are given up and nobody uses them any more."""

    def __init__(self, ask: Callable[[Request], Awaitable[Reply | Failure]]) -> None:
        self.ask, self.users, self.failed = ask, 0, 0
        self.stack = AsyncExitStack()


class _Hosted:
    """Requests go out from the event loop itself."""

    def __init__(self, model: HostedModel) -> None:
        self._model = model
        self._line: _Line | None = None
        self._opening: asyncio.Lock | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closing: set[asyncio.Task[None]] = set()

    async def ask(self, request: Request) -> Reply | Failure:
        line = await self._open()
        line.users += 1
        try:
            answer = await line.ask(request)
            line.failed = 0 if isinstance(answer, Reply) else line.failed + 1
            if line.failed >= ANEW_AFTER and self._line is line:
                self._line = None
            return answer
        finally:
            line.users -= 1
            self._end(line)

    async def _open(self) -> _Line:
        self._loop = asyncio.get_running_loop()
        self._opening = self._opening or asyncio.Lock()
        async with self._opening:
            if self._line is None:
                stack = AsyncExitStack()
                ask = await stack.enter_async_context(self._model.asking(Budget()))
                self._line = _Line(ask)
                self._line.stack = stack
            return self._line

    def _end(self, line: _Line) -> None:
        if line is self._line or line.users:
            return
        task = asyncio.create_task(line.stack.aclose())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def close(self) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._give_up)

    def _give_up(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            self._end(line)
