"""A hosted model: many requests in the air, each bounded in time, size, tries and cost.

A door (`openai_door`, `litellm_door`) sends one request and says how it ended. Failures are values;
their texts are made here and in `reading`, and never quote a header.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from sluicegate.budget import Budget, Size
from sluicegate.config import EndpointSpec
from sluicegate.errors import ConfigError
from sluicegate.generating import Failure, Messages, Reply, Request, Took, least_tokens, most_tokens
from sluicegate.models.addresses import Unreachable
from sluicegate.models.rates import TokenBucket

GIVE_UP = 8
"""So many requests in a row without any answer (or as many as are in the air at once): the rest is
not made.
"""
REFUSABLE = ("temperature", "seed", "max_tokens")
"""Parameters that a request can do without, or under another name."""
logger = logging.getLogger(__name__)


class OutOfBudget(Exception):
    """No further try may start; `size` is the request that would not fit, if it was not time."""

    def __init__(self, size: Size | None = None) -> None:
        super().__init__()
        self.size = size


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a request ended, all tries together.

    Attributes:
        down: no sign of a working server.
        refused: a parameter of the request that the server does not take.
    """

    answer: Reply | Failure
    down: bool = False
    refused: str = ""


@dataclass(slots=True)
class Run:
    """What the workers of one `generate` share; `start` and `end` go around every try."""

    budget: Budget
    requests: TokenBucket
    tokens: TokenBucket
    settled: asyncio.Event = field(default_factory=asyncio.Event)
    failed_in_a_row: int = 0
    trouble: str = ""
    done: int = 0
    over: OutOfBudget | None = None

    async def start(self, size: Size) -> None:
        """Wait for room in the budget and for the rate limits; then reserve.

        Raises:
            OutOfBudget: never again.
        """
        while True:
            if self.over is not None:
                raise self.over
            if not self.budget.fits(size):
                if not self.budget.in_the_air:
                    raise OutOfBudget(size)
                self.settled.clear()
                await self.settled.wait()  # a try in the air ends, at its deadline at the latest
                continue
            wait = self.tokens.take(sum(size))
            if not wait:
                wait = self.requests.take(1)
                if not wait:
                    break
                self.tokens.give_back(sum(size))
            await asyncio.sleep(wait)
        self.budget.reserve(size)

    def end(self, size: Size, used: Size, *, answers: int = 0) -> None:
        """Count what a try used; where only the server knows, that is the most that it can be."""
        self.budget.settle(size, used, answers=answers)
        self.tokens.give_back(sum(size) - sum(used))
        self.settled.set()


@dataclass(frozen=True, slots=True)
class Call:
    """One request on its way through a door. `size`: the most tokens that it can have."""

    run: Run
    size: Size
    max_tokens: int


Send = Callable[[dict[str, Any], Call], Awaitable[Outcome]]
Ask = Callable[[Request], Awaitable[Reply | Failure]]


class Door(Protocol):
    """The way to one hosted model."""

    @property
    def identity(self) -> str:
        """SHA-256 of address and model name: what answers, as far as a client can know."""
        ...

    def opened(self, connections: int) -> AbstractAsyncContextManager[Send]:
        """Inside the block requests may be sent: fields of a chat completion in, an outcome out.

        What is sent is started (`Run.start`) before each try, and ended (`Run.end`) after each that
        brought no reply.

        Raises:
            ConfigError: the address is not allowed.
            Unreachable: there is no address.
        """
        ...


class HostedModel:
    """See `Model`. One set of rate limits for life; what a server refused is not sent again."""

    def __init__(self, door: Door, spec: EndpointSpec, name: str, context: int) -> None:
        self._door, self._spec, self._name, self.context = door, spec, name, context
        self._requests = TokenBucket(spec.requests_per_minute)
        self._tokens = TokenBucket(spec.tokens_per_minute)
        self._refused: set[str] = set()

    @property
    def identity(self) -> str:
        """Of the door."""
        return self._door.identity

    @property
    def concurrency(self) -> int:
        """Most requests in the air at once."""
        return self._spec.concurrency

    def count_tokens(self, messages: Messages) -> int:
        """More tokens than `messages` can have: a server does not tell how it splits text."""
        return most_tokens(messages)

    def generate(
        self,
        requests: Sequence[Request],
        *,
        budget: Budget | None = None,
        took: Took | None = None,
    ) -> list[Reply | Failure]:
        """See `Model.generate`; at most `concurrency` requests at once.

        What a failed request may have cost counts at its upper bound. An answer costs what the
        server reports, and at least a token for every 8 bytes of prompt and answer.

        Raises:
            BudgetError: a limit is reached; requests in the air were waited for first (not when
                time was up).
            ConfigError: the address is not allowed, money is limited and there is no price, or a
                request holds what the interface does not have.
        """
        budget = self._checked(requests, budget or Budget())
        answers: list[Reply | Failure] = [Failure("not asked")] * len(requests)

        def arrived(place: int, answer: Reply | Failure) -> None:
            answers[place] = answer
            if took is not None:
                took(place, answer)

        if requests:
            with budget.working():
                try:
                    run_now(lambda: self._all(requests, budget, arrived))
                except Unreachable as error:
                    for place in range(len(requests)):
                        arrived(place, Failure(str(error)))
        return answers

    def _checked(self, requests: Sequence[Request], budget: Budget) -> Budget:
        """The budget at the price of this model."""
        if any(request.repetition_penalty != 1.0 for request in requests):
            raise ConfigError(
                f"{self._name}: OpenAI's interface has no repetition_penalty.",
                hint="Set release.generation.repetition_penalty to 1.0.",
            )
        if self._spec.price is not None:
            price = (self._spec.price.input, self._spec.price.output)
            return budget.priced(price, judging=budget.judging)
        if budget.cost is not None and not any(
            budget.price if budget.own_price is None else budget.own_price
        ):
            raise ConfigError(
                f"registry/models.yaml: {self._name}: a limit on money needs a price.",
                hint="Set its `price: {input: ..., output: ...}`, money per million tokens.",
            )
        return budget

    @asynccontextmanager
    async def asking(self, budget: Budget) -> AsyncIterator[Ask]:
        """Inside the block single requests may be made, by any number of tasks of this event loop;
        otherwise as `generate`. After too many in a row without any answer none is sent.

        Raises:
            BudgetError: from `ask`, when a limit is reached.
            ConfigError: see `generate`.
        """
        most = self._spec.concurrency
        budget = self._checked((), budget)
        run, room = Run(budget, self._requests, self._tokens), asyncio.Semaphore(most)
        async with self._door.opened(most) as send:

            async def ask(request: Request) -> Reply | Failure:
                self._checked((request,), budget)
                async with room:
                    if run.failed_in_a_row >= max(GIVE_UP, most):
                        return Failure(f"not asked, as the ones before failed: {run.trouble}")
                    try:
                        return await self._one(run, request, send)
                    except OutOfBudget as error:
                        run.over = run.over or error
                        run.settled.set()
                        raise budget.exceeded(1, run.over.size) from None

            yield ask

    async def _all(self, requests: Sequence[Request], budget: Budget, took: Took) -> None:
        most = min(self._spec.concurrency, len(requests))
        run, waiting = Run(budget, self._requests, self._tokens), iter(enumerate(requests))
        async with self._door.opened(most) as send:
            tasks = [asyncio.create_task(self._work(run, waiting, send, took)) for _ in range(most)]
            try:
                async with asyncio.timeout(budget.seconds_left):
                    await asyncio.gather(*tasks)
            except TimeoutError:
                run.over = OutOfBudget()
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        if run.over is not None:
            raise budget.exceeded(len(requests) - run.done, run.over.size)

    async def _work(
        self, run: Run, waiting: Iterator[tuple[int, Request]], send: Send, took: Took
    ) -> None:
        """Make one request after the other until none is left or the budget is spent."""
        for place, request in waiting:
            answer: Reply | Failure
            if run.failed_in_a_row >= max(GIVE_UP, self._spec.concurrency):
                answer = Failure(f"not asked, as the requests before failed: {run.trouble}")
            else:
                try:
                    answer = await self._one(run, request, send)
                except OutOfBudget as error:
                    run.over = run.over or error
                    run.settled.set()
                    return
            run.done += 1
            took(place, answer)
            if run.over is not None:
                return

    async def _one(self, run: Run, request: Request, send: Send) -> Reply | Failure:
        """Send a request, and again without what the server does not take."""
        size = (most_tokens(request.messages), request.max_tokens)
        call, body = Call(run, size, request.max_tokens), self._body(request)
        outcome = await send(body, call)
        while outcome.refused in body and outcome.refused in REFUSABLE:
            self._learn(outcome.refused)
            body = self._body(request)
            outcome = await send(body, call)
        answer = outcome.answer
        if isinstance(answer, Reply):
            answer = _bounded(answer, request)
            run.end(size, (answer.prompt_tokens, answer.completion_tokens), answers=1)
        run.failed_in_a_row = run.failed_in_a_row + 1 if outcome.down else 0
        if isinstance(answer, Failure) and outcome.down:
            run.trouble = answer.reason
        return answer

    def _learn(self, parameter: str) -> None:
        """From now on requests go out without `parameter`; that is told once."""
        if parameter not in self._refused:
            instead = "max_completion_tokens" if parameter == "max_tokens" else "its own value"
            logger.warning(
                "%s: the server takes no %s; it is asked with %s.", self._name, parameter, instead
            )
        self._refused.add(parameter)

    def _body(self, request: Request) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self._spec.model,
            "messages": [dict(message) for message in request.messages],
            "max_tokens": request.max_tokens,
            "temperature": request.temperature,
            "seed": request.seed,
        }
        if request.alternatives:
            body |= {"logprobs": True, "top_logprobs": request.alternatives}
        if request.top_p != 1.0:
            body["top_p"] = request.top_p
        if request.stop:
            body["stop"] = list(request.stop)
        if request.response_format is not None:
            body["response_format"] = dict(request.response_format)
        for name in self._refused:
            value = body.pop(name)
            if name == "max_tokens":
                body["max_completion_tokens"] = value
        return body


def _bounded(reply: Reply, request: Request) -> Reply:
    """Tokens as reported, never fewer than the texts have: a silent server is not free."""
    asked = sum(least_tokens(message["content"]) for message in request.messages)
    answered = min(least_tokens(reply.text), request.max_tokens)
    return replace(
        reply,
        prompt_tokens=max(reply.prompt_tokens, asked),
        completion_tokens=max(reply.completion_tokens, answered),
    )


def run_now(job: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run `job` to its end, also inside a running event loop (a notebook, an async flow)."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        asyncio.run(job())
        return
    with ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: asyncio.run(job())).result()
