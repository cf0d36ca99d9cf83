"""Traffic over HTTP: a FastAPI router that any application can mount.

    app.include_router(traffic_router(TrafficLog(url)), prefix="/traffic")

    POST /rows      one row or a list, all or none: {"new": 1, "keys": ["..."]} once durable
    POST /feedback  {"key": "...", "thumb": -1, "correction": "..."}
    GET  /counts    how many rows, ?since= ?until= ?release=
    GET  /health    {"status": "ok", "empty": false} if the log can be read, else 503; no token

Answers: 400 not JSON, 401 no or a wrong token, 404 no such row, 413 too large, 422 a row is refused
(with the reason), 500 the server is not set up, 503 the database refuses (send again, with the same
keys). Every write is plain data: nothing in a row is run.

Without a token any web page open on this machine could send a request here. So a request must name
a loopback address as its Host (else 403), and what it posts must be `application/json` (else 415),
which a browser sends to another site only after asking.
"""

from __future__ import annotations

import hmac
import logging
import re
from asyncio import timeout
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any

from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from sluicegate.environment import read_variable
from sluicegate.errors import (
    ConfigError,
    DataError,
    EnvironmentFailure,
    MissingExtraError,
    SluiceError,
    UsageError,
)
from sluicegate.traffic.jsonl import parse
from sluicegate.traffic.log import TrafficLog
from sluicegate.traffic.rows import TrafficRow, feedback_from, row_from

TOKEN_VARIABLE = "SLUICE_TRAFFIC_TOKEN"
_SHORTEST_TOKEN = 16
_BODY_SECONDS = 30.0
_HOST = re.compile(r"(?:(?P<name>[a-z0-9.]{1,15})|\[(?P<six>[0-9a-f:.]{2,45})\])(?::\d{1,5})?")
_LOG = logging.getLogger(__name__)


def traffic_router(
    log: TrafficLog,
    *,
    token_variable: str = TOKEN_VARIABLE,
    allow_anonymous: bool = False,
    most_bytes: int = 8 << 20,
    most_rows: int = 1_000,
) -> APIRouter:
    """Return the router; a request needs the header `Authorization: Bearer TOKEN`.

    Args:
        token_variable: environment variable that holds the token, at least 16 characters; read now.
        allow_anonymous: where the variable is not set, let any program of this machine write and
            count.
        most_bytes: largest body of a request.
        most_rows: most rows of a request.

    Raises:
        ConfigError: there is no token, or it is too short.
    """
    token = _token(token_variable, needed=not allow_anonymous)
    router = APIRouter(tags=["traffic"])
    guarded = [Depends(_token_check(token))]
    body_limit = most_bytes

    @router.post("/rows", dependencies=guarded, status_code=201)
    async def post_rows(request: Request) -> JSONResponse:
        value = await read_body(request, body_limit)
        given = value if isinstance(value, list) else [value]
        if len(given) > most_rows:
            raise HTTPException(413, f"{len(given)} rows; at most {most_rows} per request.")
        return await run_in_threadpool(_answer, lambda: _write(log, given), 201)

    @router.post("/feedback", dependencies=guarded, status_code=201)
    async def post_feedback(request: Request) -> JSONResponse:
        value = await read_body(request, body_limit)
        return await run_in_threadpool(_answer, lambda: _attach(log, value), 201)

    @router.get("/counts", dependencies=guarded)
    def counts(since: str = "", until: str = "", release: str = "") -> JSONResponse:
        return _answer(
            lambda: {
                "rows": log.count(
                    since=_time("since", since), until=_time("until", until), release=release
                )
            },
            200,
        )

    @router.get("/health")
    def health() -> JSONResponse:
        return _health(log)

    return router


def _token(token_variable: str, *, needed: bool) -> str:
    token = read_variable(token_variable)
    if not token and needed:
        raise ConfigError(
            f"{token_variable} is not set: anybody could write traffic.",
            hint=f"Set it to a random text of {_SHORTEST_TOKEN} characters or more.",
        )
    if token and len(token) < _SHORTEST_TOKEN:
        raise ConfigError(
            f"{token_variable} is too short.",
            hint=f"Use {_SHORTEST_TOKEN} random characters or more.",
        )
    return token


def _token_check(token: str) -> Callable[[Request], None]:
    wanted = token.encode("utf-8", "surrogateescape")

    def check(request: Request) -> None:
        if not wanted:
            check_local(request)
            return
        given = request.headers.get("authorization", "")
        scheme, _, found = given.partition(" ")
        right = scheme.lower() == "bearer" and hmac.compare_digest(
            found.strip().encode("latin-1", "replace"), wanted
        )
        if not right:
            raise refusal(401, "A bearer token is needed.", {"WWW-Authenticate": "Bearer"})

    return check


def check_local(request: Request) -> None:
    """Refuse what a page of another site can make a browser send, and a Host in any odd form."""
    hosts = request.headers.getlist("host")
    match = _HOST.fullmatch(hosts[0].lower()) if len(hosts) == 1 else None
    try:
        name = (match["six"] or match["name"]) if match else ""
        local = name == "localhost" or ip_address(name).is_loopback
    except ValueError:
        local = False
    if not local:
        raise refusal(403, "Without a token only requests to a loopback address are answered.")
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if request.method == "POST" and kind != "application/json":
        raise refusal(415, "Without a token the Content-Type has to be application/json.")


def refusal(status: int, detail: str, headers: Mapping[str, str] | None = None) -> HTTPException:
    """A refusal of a request whose body is not read: the connection ends with it."""
    return HTTPException(status, detail, headers={**(headers or {}), "Connection": "close"})


async def read_body(request: Request, most: int) -> Any:
    """The body as JSON; it is never read further than `most` bytes, whatever its header says."""
    too_large = refusal(413, f"The body is larger than {most} bytes.")
    told = request.headers.get("content-length", "")
    if told.isdigit() and (len(told) > 18 or int(told) > most):
        raise too_large
    parts, size = list[bytes](), 0
    try:
        async with timeout(_BODY_SECONDS):
            async for part in request.stream():
                size += len(part)
                if size > most:
                    raise too_large
                parts.append(part)
    except TimeoutError as error:
        raise refusal(408, f"The body did not come within {_BODY_SECONDS:g} s.") from error
    try:
        return await run_in_threadpool(parse, b"".join(parts))
    except DataError as error:
        raise HTTPException(400, str(error)) from error


def _write(log: TrafficLog, given: list[Any]) -> dict[str, Any]:
    now = datetime.now(UTC)
    rows, wrong = list[TrafficRow](), list[str]()
    for number, value in enumerate(given):
        try:
            rows.append(row_from(value, now=now))
        except DataError as error:
            wrong.append(f"row {number}: {error}")
    if wrong:
        more = f" (and {len(wrong) - 10} more)" if len(wrong) > 10 else ""
        raise DataError("; ".join(wrong[:10]) + more)
    return {"new": log.write(rows), "keys": [row.key for row in rows]}


def _attach(log: TrafficLog, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict) or not isinstance(value.get("key"), str):
        raise DataError("an object with the key of a row was expected.")
    said = {name: item for name, item in value.items() if name != "key"}
    return {"new": int(log.attach(value["key"], feedback_from(said, now=datetime.now(UTC))))}


def _answer(act: Callable[[], dict[str, Any]], status: int) -> JSONResponse:
    try:
        return JSONResponse(act(), status)
    except DataError as error:
        return JSONResponse({"detail": str(error), "hint": error.hint}, 422)
    except ConfigError as error:
        return JSONResponse({"detail": str(error), "hint": error.hint}, 500)
    except MissingExtraError as error:
        _LOG.error("%s %s", error, error.hint)
        return JSONResponse({"detail": "The server lacks a package; its own log says which."}, 500)
    except UsageError as error:
        return JSONResponse({"detail": str(error)}, 404)
    except EnvironmentFailure as error:
        return JSONResponse({"detail": str(error), "hint": error.hint}, 503, {"Retry-After": "1"})


def _health(log: TrafficLog) -> JSONResponse:
    try:
        return JSONResponse({"status": "ok", "empty": next(log.window(last=1), None) is None})
    except SluiceError as error:
        # anybody may ask this: what a driver says of its server is for our log only
        _LOG.error("The traffic log cannot be read: %s %s", error, error.hint)
        answer = {"status": "unavailable", "detail": "The traffic log cannot be read."}
        return JSONResponse(answer, 503, {"Retry-After": "1"})


def _time(name: str, text: str) -> datetime | None:
    if not text:
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise DataError(
            f"{name}: {text[:60]!a} is not a time.", hint="Give ISO 8601 with a zone."
        ) from error
