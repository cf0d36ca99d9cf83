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

import time
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sluicegate.errors import DataError, PromptError, SluiceError
from sluicegate.serving.chat import Said, read_answer, read_chat
from sluicegate.serving.counters import Counters
from sluicegate.serving.releases import Serving
from sluicegate.serving.router import Router
from sluicegate.traffic.intake import read_body

MOST_BYTES = 1 << 20
"""Largest body."""
PATHS = ("/v1/chat/completions", "/v1/answer", "/v1/models", "/healthz", "/readyz", "/metrics")
_KINDS = {400: "invalid_request_error", 401: "authentication_error", 403: "permission_error"}


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


def _named(said: Said, serving: Serving) -> dict[str, str]:
    return {
        "X-Sluice-Release": serving.release.digest,
        "X-Sluice-Epoch": str(serving.epoch),
        "X-Sluice-Request": said.key,
    }
