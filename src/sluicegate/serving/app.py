"""The router's HTTP interface.

    POST /v1/chat/completions   OpenAI's; model `champion`, or the digest of a release (operators)
    POST /v1/answer             {"inputs": {...}}: the release's own prompt and settings
    GET  /v1/models             what can be asked for
    GET  /healthz  /readyz      the process lives; it can answer, and what is wrong
    GET  /metrics               Prometheus

Answers name who gave them: X-Sluice-Release, X-Sluice-Epoch and X-Sluice-Request, the key of the
row in the traffic log. Refusals have OpenAI's form: 400 wrong body, 401 no key, 403 not allowed,
404 not in memory, 408 the body was too slow, 413 too large, 429 too much at once, 503 nothing can
answer.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any
from uuid import uuid4

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sluicegate import generating
from sluicegate.errors import (
    DataError,
    EnvironmentFailure,
    IntegrityError,
    PromptError,
    SluiceError,
)
from sluicegate.generating import Failure, Reply
from sluicegate.models.rates import TokenBucket
from sluicegate.prompts import render
from sluicegate.serving.chat import Answer, Chat, Said, read_answer, read_chat
from sluicegate.serving.counters import Counters
from sluicegate.serving.journal import Journal
from sluicegate.serving.keys import Caller, KeyFile, Right
from sluicegate.serving.releases import Loaded, Releases, Serving
from sluicegate.traffic import TrafficRow
from sluicegate.traffic.intake import check_local, read_body, refusal

MOST_BYTES = 1 << 20
"""Largest body."""
PATHS = ("/v1/chat/completions", "/v1/answer", "/v1/models", "/healthz", "/readyz", "/metrics")
_KINDS = {400: "invalid_request_error", 401: "authentication_error", 403: "permission_error"}
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
        except (DataError, EnvironmentFailure) as error:
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


def make_app(router: Router) -> FastAPI:
    """The ASGI application."""
    app = FastAPI(title="sluice serve", docs_url=None, redoc_url=None, openapi_url=None)

    @app.post("/v1/chat/completions")
    async def chat(request: Request) -> Response:
        caller = router.caller(request, "answer")
        asked = read_chat(await read_body(request, MOST_BYTES))
        said, serving = await router.answer(caller, asked)
        headers = _named(said, serving)
        if not asked.stream:
            return JSONResponse(said.completion(), headers=headers)
        usage = asked.stream_options is not None and asked.stream_options.include_usage
        headers["Cache-Control"] = "no-store"
        return Response(said.events(usage=usage), 200, headers, "text/event-stream")

    @app.post("/v1/answer")
    async def answer(request: Request) -> JSONResponse:
        caller = router.caller(request, "answer")
        asked = read_answer(await read_body(request, MOST_BYTES))
        said, serving = await router.answer(caller, asked)
        content = {
            "answer": said.reply.text,
            "release": serving.release.digest,
            "request": said.key,
            "finish_reason": said.finish_reason,
            "usage": said.usage,
        }
        return JSONResponse(content, headers=_named(said, serving))

    @app.get("/v1/models")
    def models(request: Request) -> dict[str, Any]:
        caller = router.caller(request, "answer")
        pins = router.releases.names() if "pin" in caller.rights else []
        listed = [{"id": name, "object": "model", "owned_by": "sluice"}
                  for name in ("champion", *pins)]  # fmt: skip
        return {"object": "list", "data": listed}

    _add_states(app, router)
    _add_refusals(app)
    app.add_middleware(_Counted, counters=router.counters)
    return app


class _Counted:
    """Counts what goes out, by path and status."""

    def __init__(self, app: ASGIApp, counters: Counters) -> None:
        self._app, self._counters = app, counters

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                path = scope["path"] if scope["path"] in PATHS else "other"
                self._counters.requests.labels(path, message["status"]).inc()
            await send(message)

        await self._app(scope, receive, counted)


def _add_states(app: FastAPI, router: Router) -> None:
    @app.get("/healthz")
    def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/readyz")
    def ready() -> JSONResponse:
        champion, wrong = router.releases.champion, _wrong(router)
        content = {
            "status": ("degraded" if wrong else "ready") if champion else "not ready",
            "release": champion.release if champion else "",
            "epoch": champion.epoch if champion else 0,
            "wrong": wrong,
        }
        return JSONResponse(content, 200 if champion else 503)

    @app.get("/metrics")
    def metrics(request: Request) -> Response:
        router.caller(request, "read")
        counters, failing = router.counters, router.journal.failing_since
        counters.unwritten.set(time.monotonic() - failing if failing else 0.0)
        champion = router.releases.champion
        counters.epoch.set(champion.epoch if champion else 0)
        counters.refused.set(bool(router.standing.refused))
        return Response(counters.text(), 200, media_type="text/plain; version=0.0.4")


def _wrong(router: Router) -> list[str]:
    """For anybody to read: what is wrong, without why; that stands in the server's own log."""
    standing = router.standing
    states = {
        f"the champion {standing.wanted[:12]} of the ledger is refused": standing.refused,
        "the ledger cannot be read": standing.ledger,
        "traffic rows wait to be written": router.journal.failing_since,
    }
    return [text for text, holds in states.items() if holds]


def _add_refusals(app: FastAPI) -> None:
    @app.exception_handler(HTTPException)
    async def refuse(_: Request, error: HTTPException) -> JSONResponse:
        return _refused(error.status_code, str(error.detail), error.headers)

    @app.exception_handler(DataError)
    @app.exception_handler(PromptError)
    async def wrong(_: Request, error: SluiceError) -> JSONResponse:
        return _refused(400, f"{error} {error.hint}".strip())


def _refused(status: int, text: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    kind = _KINDS.get(status, "rate_limit_error" if status == 429 else "server_error")
    content = {"error": {"message": text, "type": kind, "param": None, "code": status}}
    return JSONResponse(content, status, headers=dict(headers or {}))


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


def _named(said: Said, serving: Serving) -> dict[str, str]:
    return {
        "X-Sluice-Release": serving.release.digest,
        "X-Sluice-Epoch": str(serving.epoch),
        "X-Sluice-Request": said.key,
    }


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
