"""Who may ask, what answers, and the record of it: the router without HTTP around it."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import ip_address
from uuid import uuid4

from fastapi import HTTPException, Request

from sluicegate import generating
from sluicegate.errors import DataError, EnvironmentFailure, IntegrityError, SluiceError
from sluicegate.generating import Failure, Reply
from sluicegate.models.rates import TokenBucket
from sluicegate.prompts import render
from sluicegate.serving.chat import Answer, Chat, Said
from sluicegate.serving.counters import Counters
from sluicegate.serving.journal import Journal
from sluicegate.serving.keys import Caller, KeyFile, Right
from sluicegate.serving.releases import Loaded, Releases, Serving
from sluicegate.traffic import TrafficRow
from sluicegate.traffic.intake import check_local, refusal

_LOG = logging.getLogger(__name__)


@dataclass(slots=True)
class Standing:
    """What is wrong, kept by whoever follows the ledger; empty where nothing is.

    Attributes:
        refused: why the ledger's champion is not served.
        ledger: why the ledger cannot be read.
        wanted: digest of the ledger's champion, as far as it is known.
    """

    refused: str = ""
    ledger: str = ""
    wanted: str = ""


@dataclass(slots=True)
class Router:
    """Everything that the interface needs.

    Attributes:
        releases, keys, journal: what answers, who may ask, where rows go.
        load: brings a release into memory, or says why not; for operators.
        host: that it listens on; strangers are let in on loopback only, and only without keys.
        most: requests answered at once; one more is told to come again.
        seconds: for one answer.
    """

    releases: Releases
    keys: KeyFile
    journal: Journal
    load: Callable[[str], Loaded]
    host: str = "127.0.0.1"
    most: int = 64
    seconds: float = 120.0
    standing: Standing = field(default_factory=Standing)
    counters: Counters = field(default_factory=Counters)
    busy: int = 0

    def caller(self, request: Request, right: Right) -> Caller:
        """Who asks, once it is certain that this one may.

        Raises:
            HTTPException: 401, 403, 415 or 429.
        """
        try:
            known = self.keys.all()
            found = self.keys.caller(request.headers.getlist("authorization"))
        except IntegrityError as error:
            _LOG.error("%s %s", error, error.hint)
            raise refusal(503, "The server's keys cannot be read.") from error
        if found is None and not known and is_loopback(self.host):
            check_local(request)
            return Caller("", ("answer", "read"), TokenBucket(0))
        if found is None:
            raise refusal(401, "A key is needed.", {"WWW-Authenticate": "Bearer"})
        if right not in found.rights:
            raise refusal(403, "This key's role does not allow it.")
        wait = found.bucket.take(1)
        if wait:
            raise _later("This key has asked too often.", wait)
        return found

    async def answer(self, caller: Caller, asked: Chat | Answer) -> tuple[Said, Serving]:
        """The answer of the champion or of a pinned release; its traffic row is kept.

        Raises:
            HTTPException: 400, 403, 404, 429 or 503.
        """
        if asked.digest and "pin" not in caller.rights:
            raise HTTPException(403, "Only an operator's key may ask for an exact release.")
        if self.busy >= self.most:
            raise _later("Too many requests at once.", 1.0)
        self.busy += 1
        self.counters.busy.set(self.busy)
        try:
            if asked.digest and self.releases.find(asked.digest) is None:
                await self._load(asked.digest)
            with self.releases.taken(asked.digest) as serving:
                if serving is None:
                    raise _unavailable("No release is served yet.")
                return await self._from(serving, asked), serving
        finally:
            self.busy -= 1
            self.counters.busy.set(self.busy)

    async def _load(self, digest: str) -> None:
        try:
            await asyncio.to_thread(self.load, digest)
        except SluiceError as error:
            _LOG.error("%s cannot be loaded: %s", digest[:12], error)
            raise _unavailable("That release cannot be loaded now.") from error

    async def _from(self, serving: Serving, asked: Chat | Answer) -> Said:
        release, started, created = serving.release, time.perf_counter(), datetime.now(UTC)
        request = _request(release, asked)
        try:
            async with asyncio.timeout(self.seconds):
                (reply,) = await asyncio.gather(release.engine.ask(request), return_exceptions=True)
        except TimeoutError as error:
            raise _unavailable(f"No answer within {self.seconds:g} s.") from error
        if isinstance(reply, BaseException):
            _LOG.error("the engine of %s failed", release.digest[:12], exc_info=reply)
            raise _unavailable("The engine is down.")
        if isinstance(reply, Failure):
            if reply.too_long:
                raise HTTPException(400, "The messages are longer than the model's context.")
            _LOG.error("%s gave no answer: %s", release.digest[:12], reply.reason)
            raise _unavailable("The model gave no answer.")
        seconds = time.perf_counter() - started
        row = _row(serving, asked, request, reply, created, seconds)
        try:
            self.journal.keep(row)
        except (DataError, EnvironmentFailure) as error:
            _LOG.error("an answer was not given, as it could not be recorded: %s", error)
            raise _unavailable("The answer cannot be recorded.") from error
        self.counters.seconds.observe(seconds)
        self.counters.tokens.labels("prompt").inc(reply.prompt_tokens)
        self.counters.tokens.labels("completion").inc(reply.completion_tokens)
        return Said(reply, row.key, asked.model, int(created.timestamp()))


def _request(release: Loaded, asked: Chat | Answer) -> generating.Request:
    if isinstance(asked, Chat):
        return asked.request(release.generation)
    unknown = sorted(asked.inputs.keys() - set(release.prompt.variables))
    missing = sorted(set(release.prompt.variables) - asked.inputs.keys())
    if unknown or missing:
        raise HTTPException(
            400, f"inputs: this release takes exactly {', '.join(release.prompt.variables)}."
        )
    messages = render(release.prompt, asked.inputs)
    return generating.request_of(messages, release.generation, release.prompt.response_format)


def _row(
    serving: Serving,
    asked: Chat | Answer,
    request: generating.Request,
    reply: Reply,
    created: datetime,
    seconds: float,
) -> TrafficRow:
    texts = [one["content"] for one in request.messages if one["role"] == "user"]
    return TrafficRow(
        f"e{serving.epoch}-{uuid4().hex}",
        created,
        texts[-1] if texts else "",
        reply.text,
        release=serving.release.digest,
        latency=seconds,
        prompt_tokens=reply.prompt_tokens,
        completion_tokens=reply.completion_tokens,
        user=asked.user,
        inputs=asked.inputs if isinstance(asked, Answer) else {},
    )


def is_loopback(host: str) -> bool:
    """Whether an address can only be reached from this machine.

    Example:
        >>> [is_loopback(host) for host in ("localhost", "127.0.0.9", "::1", "0.0.0.0", "me")]
        [True, True, True, False, False]
    """
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _later(text: str, seconds: float) -> HTTPException:
    return HTTPException(429, text, headers={"Retry-After": str(math.ceil(seconds))})


def _unavailable(text: str) -> HTTPException:
    return HTTPException(503, text, headers={"Retry-After": "1"})
