"""A model behind an OpenAI-compatible interface: many requests in the air, each bounded in time, size, tries and cost.

No redirect is followed, TLS is verified, no proxy of the environment is used, and what is called is the address that
was checked (`endpoint_address`). Failures are values; their texts are made here and never quote a header.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

from sluicegate.config import EndpointSpec
from sluicegate.errors import ConfigError
from sluicegate.hashing import digest_value
from sluicegate.models.ask_limits import (
    NO_LIMITS,
    AskLimits,
    Purse,
    Size,
    least_tokens,
    most_prompt_tokens,
)
from sluicegate.models.cached_asker import Took
from sluicegate.models.endpoint_address import Place, Unreachable, check_url, find_places
from sluicegate.models.endpoint_call import Caller, Outcome, read_key, trusted
from sluicegate.models.rate_limits import LONGEST_WAIT, TokenBucket, backoff
from sluicegate.records import Failure, Question, Reply

GIVE_UP = 8
"""So many questions in a row without any answer (or as many as are in the air at once): the rest is not asked."""
LOOK_UP_SECONDS = 10.0


class _OutOfBudget(Exception):
    """No further try may start; `size` is the request that would not fit, if it was not time."""

    def __init__(self, size: Size | None = None) -> None:
        super().__init__()
        self.size = size


@dataclass(slots=True)
class _Run:
    """What the workers of one call share."""

    waiting: Iterator[tuple[int, Question]]
    took: Took
    settled: asyncio.Event = field(default_factory=asyncio.Event)
    paused_until: float = 0.0
    failed_in_a_row: int = 0
    trouble: str = ""
    done: int = 0
    over: _OutOfBudget | None = None


def endpoint_identity(spec: EndpointSpec) -> str:
    """SHA-256 of address and model name: what answers, as far as a client can know."""
    return digest_value({"endpoint": spec.url.rstrip("/"), "model": spec.model})


class EndpointSource:
    """Answers questions over HTTP; see `cached_asker.Source`. One budget and one set of rate limits for its life."""

    def __init__(
        self,
        spec: EndpointSpec,
        name: str,
        *,
        limits: AskLimits = NO_LIMITS,
        extra: Mapping[str, object] | None = None,
    ) -> None:
        """Check what can be checked without a network.

        Args:
            spec: the endpoint.
            name: its name in models.yaml, for messages.
            limits: the most that may be spent. What a failed request may have cost counts at its upper bound. An answer
                costs what the server reports, and at least a token for every 8 bytes of question and answer.
            extra: further fields of each request (`top_p`, `stop`).

        Raises:
            ConfigError: unsafe address, no key in the environment, or a limit on money without a price.
        """
        check_url(spec, name)
        if limits.max_cost and spec.price is None:
            raise ConfigError(
                f"registry/models.yaml: {name}: a limit on money needs a price.",
                hint="Set `price` of this endpoint.",
            )
        self.spec, self.name = spec, name
        self._key = read_key(spec, name)
        self._extra = dict(extra or {})
        price = spec.price
        self._purse = Purse(limits, price.input if price else 0.0, price.output if price else 0.0)
        self._requests, self._tokens = (
            TokenBucket(spec.requests_per_minute),
            TokenBucket(spec.tokens_per_minute),
        )
        self._chance = random.Random()

    def answer(self, questions: Sequence[Question], took: Took) -> None:
        """See `cached_asker.Source`; at most `concurrency` requests at once.

        Raises:
            BudgetError: a limit is reached; requests in the air were waited for first (not when time was up).
            ConfigError: the endpoint's name leads to an address that is not allowed.
        """
        self._purse.start()
        try:
            places = find_places(self.spec, self.name, min(self.spec.timeout, LOOK_UP_SECONDS))
        except Unreachable as error:
            for index in range(len(questions)):
                took(index, Failure(str(error)))
            return
        _run_now(lambda: self._all(questions, places, took))

    async def _all(
        self, questions: Sequence[Question], places: Sequence[Place], took: Took
    ) -> None:
        most = min(self.spec.concurrency, len(questions))
        run, context = _Run(iter(enumerate(questions)), took), trusted(places)
        callers = [Caller(self.spec, self._key, places, context) for _ in range(most)]
        workers = [asyncio.create_task(self._work(run, caller)) for caller in callers]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
        if run.over is not None:
            raise self._purse.spent(len(questions) - run.done, run.over.size)

    async def _work(self, run: _Run, caller: Caller) -> None:
        """Answer one question after the other until none is left or the budget is spent."""
        async with caller:
            for index, question in run.waiting:
                if run.failed_in_a_row >= max(GIVE_UP, self.spec.concurrency):
                    answer: Reply | Failure = Failure(
                        f"not asked, as the requests before failed: {run.trouble}"
                    )
                else:
                    try:
                        answer = await self._one(run, caller, question)
                    except _OutOfBudget as error:
                        run.over = run.over or error
                        run.settled.set()
                        return
                run.done += 1
                run.took(index, answer)
                if run.over is not None:
                    return

    async def _one(self, run: _Run, caller: Caller, question: Question) -> Reply | Failure:
        """Ask until there is an answer, a failure that stays, or no try left."""
        size = (most_prompt_tokens(question), question.max_tokens)
        body = self._body(question)
        for tried in range(1, self.spec.tries + 1):
            await self._may_start(run, size)
            used = size
            try:
                outcome = _bounded(await self._try(caller, body), question)
                used = _used(outcome, size)
            finally:
                self._purse.settle(size, used)
                self._tokens.give_back(sum(size) - sum(used))
                run.settled.set()
            if (
                not outcome.again
                or tried == self.spec.tries
                or (outcome.wait or 0.0) > LONGEST_WAIT
            ):
                break
            pause = backoff(tried, self._chance)
            if outcome.wait is not None:  # the server said when: that holds for everybody
                run.paused_until = max(run.paused_until, time.monotonic() + outcome.wait)
                pause += outcome.wait
            await self._sleep(pause)
        if isinstance(outcome.answer, Reply):
            self._purse.answered += 1
        run.failed_in_a_row = run.failed_in_a_row + 1 if outcome.down else 0
        if isinstance(outcome.answer, Failure) and outcome.down:
            run.trouble = outcome.answer.reason
        return outcome.answer

    async def _may_start(self, run: _Run, size: Size) -> None:
        """Wait for a pause to end, for room in the budget and for the rate limits; then reserve.

        Raises:
            _OutOfBudget: never again.
        """
        while True:
            if run.over is not None:
                raise run.over
            wait = max(0.0, run.paused_until - time.monotonic())
            if not wait and not self._purse.fits(size):
                if not self._purse.held:
                    raise _OutOfBudget(size)
                run.settled.clear()
                await run.settled.wait()  # a request in the air ends, at its deadline at the latest
                continue
            wait = wait or self._tokens.take(sum(size))
            if not wait:
                wait = self._requests.take(1)
                if not wait:
                    break
                self._tokens.give_back(sum(size))
            await self._sleep(wait)
        if self._purse.seconds_left == 0:
            raise _OutOfBudget
        self._purse.reserve(size)

    async def _sleep(self, seconds: float) -> None:
        left = self._purse.seconds_left
        if left is not None and seconds >= left:
            raise _OutOfBudget
        await asyncio.sleep(seconds)

    async def _try(self, caller: Caller, body: bytes) -> Outcome:
        """One request, cut at its deadline or when the time of the whole budget is up."""
        left = self._purse.seconds_left
        last = left is not None and left <= self.spec.timeout
        limit = left if left is not None and last else self.spec.timeout
        try:
            return await caller.post(body, limit)
        except TimeoutError:
            if last:
                raise _OutOfBudget from None
            return Outcome(
                Failure(f"no complete answer within {limit:g} s"), down=True, billed=True
            )

    def _body(self, question: Question) -> bytes:
        payload: dict[str, Any] = {
            "model": self.spec.model,
            "messages": [dict(message) for message in question.messages],
            "max_tokens": question.max_tokens,
            "temperature": question.temperature,
            "seed": question.seed,
            **self._extra,
        }
        if question.alternatives:
            payload |= {"logprobs": True, "top_logprobs": question.alternatives}
        return json.dumps(payload).encode("ascii")


def _bounded(outcome: Outcome, question: Question) -> Outcome:
    """The outcome, its tokens as reported but never fewer than its texts have: a server that says 0 is not free."""
    answer = outcome.answer
    if not isinstance(answer, Reply):
        return outcome
    asked = sum(least_tokens(message["content"]) for message in question.messages)
    told = min(least_tokens(answer.text), question.max_tokens)
    asked, told = max(answer.prompt_tokens, asked), max(answer.completion_tokens, told)
    return replace(outcome, answer=replace(answer, prompt_tokens=asked, completion_tokens=told))


def _used(outcome: Outcome, size: Size) -> Size:
    """Tokens of question and answer to count for a try; where only the server knows, the most that it can be."""
    if isinstance(outcome.answer, Reply):
        return outcome.answer.prompt_tokens, outcome.answer.completion_tokens
    return size if outcome.billed else (0, 0)


def _run_now(job: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run `job` to its end, also where an event loop is running already (a notebook, an asynchronous flow)."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        asyncio.run(job())
        return
    with ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: asyncio.run(job())).result()
