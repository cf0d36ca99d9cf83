"""The page of `sluice review`: shows a pair, takes keys. What it shows was written by models.

Answers reach the page as JSON and stand in it as text, never as markup; the page may load and run
nothing but its own script, and only who knows the token in the address gets it.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Mount, Route

from sluicegate.cards.page import html_page
from sluicegate.errors import SluiceError


class Reviewed(Protocol):
    """Who asks and remembers: `line.release.review.Session`."""

    def view(self) -> dict[str, Any]: ...
    def answer(self, pair: str, choice: str, left: Sequence[str], right: Sequence[str]) -> None: ...
    def undo(self) -> None: ...
    def record(self) -> object: ...


def application(session: Reviewed, token: str, faults: Sequence[str]) -> Starlette:
    """The page at `/<token>/`, and what its keys call; everything else is not found.

    Args:
        session: is asked for each pair and told each answer.
        token: only for whoever is given the address.
        faults: what may be wrong with an answer; five at most have keys.
    """
    nonce = secrets.token_urlsafe(16)
    headers = {
        "Cache-Control": "no-store",
        "Content-Security-Policy": (
            f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; "
            "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        ),
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }

    async def page(request: Request) -> Response:
        text = html_page("review.html.jinja", {}, nonce=nonce, faults=faults)
        return HTMLResponse(text, headers=headers)

    def said(act: Callable[[dict[str, Any]], object]) -> Callable[[Request], Any]:
        async def answered(request: Request) -> Response:
            if request.headers.get("content-type") != "application/json":
                return Response(status_code=415, headers=headers)
            try:
                act(await request.json())
            except (KeyError, TypeError, ValueError):
                return Response(status_code=400, headers=headers)
            except SluiceError as error:
                lines = {"error": f"{error} {error.hint}".strip()}
                return JSONResponse(lines, 409, headers=headers)
            return JSONResponse(session.view(), headers=headers)

        return answered

    routes = [
        Route("/", page),
        Route("/state", said(lambda found: None), methods=["POST"]),
        Route(
            "/answer",
            said(
                lambda found: session.answer(
                    str(found["pair"]),
                    str(found["choice"]),
                    [str(name) for name in found["left"]],
                    [str(name) for name in found["right"]],
                )
            ),
            methods=["POST"],
        ),
        Route("/undo", said(lambda found: session.undo()), methods=["POST"]),
        Route("/record", said(lambda found: session.record()), methods=["POST"]),
    ]
    hosts = Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"])
    return Starlette(routes=[Mount(f"/{token}", routes=routes)], middleware=[hosts])
