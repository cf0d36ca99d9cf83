"""The server of `sluice serve` and `sluice traffic serve`: nobody without a key can hold all its
connections.

A connection that sends no whole request in time is closed. Where there are too many, the one that
has been idle longest gives way to the new one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from sluicegate.errors import EnvironmentFailure

SECONDS = 10.0
"""How long a connection may go without a whole request."""
MOST = 200
"""Connections at once; far below the files that a process may have open."""
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class _Connections:
    """Which connections are open, which answer a request now, and when the others last did."""

    def __init__(self, seconds: float, most: int) -> None:
        self.seconds, self.most = seconds, most
        self.open: dict[Any, tuple[asyncio.Transport, float]] = {}
        self.busy: set[Any] = set()

    def come(self, transport: asyncio.Transport) -> None:
        """A new connection: it may cost the one that has been idle longest its place."""
        peer = transport.get_extra_info("peername")
        if len(self.open) >= self.most:
            idle = [name for name in self.open if name not in self.busy]
            self.drop(min(idle, key=lambda name: self.open[name][1]) if idle else None, transport)
        self.open[peer] = (transport, time.monotonic())
        asyncio.get_running_loop().call_later(self.seconds, self.check, peer, transport)

    def drop(self, peer: Any, newcomer: asyncio.Transport) -> None:
        """Close an idle connection; where none is, the new one."""
        self.open.pop(peer, (newcomer, 0.0))[0].abort()

    def check(self, peer: Any, transport: asyncio.Transport) -> None:
        """Close a connection that has been idle for too long; else look again when it would be."""
        held, since = self.open.get(peer, (None, 0.0))
        if held is not transport:
            return
        left = self.seconds - (time.monotonic() - since)
        if peer not in self.busy and left <= 0:
            transport.abort()
            return
        later = self.seconds if peer in self.busy else left
        asyncio.get_running_loop().call_later(later, self.check, peer, transport)

    def go(self, transport: asyncio.Transport) -> None:
        """A connection is closed."""
        peer = transport.get_extra_info("peername")
        if self.open.get(peer, (None,))[0] is transport:
            del self.open[peer]


def server(
    app: Any,
    host: str,
    port: int,
    *,
    seconds: float = SECONDS,
    most: int = MOST,
    certificate: Path | None = None,
    private_key: Path | None = None,
) -> uvicorn.Server:
    """The server, not started, for an ASGI application that reads whole bodies or refuses them.

    Args:
        certificate, private_key: PEM files, for TLS.
    """
    connections = _Connections(seconds, most)

    class Protocol(H11Protocol):
        def connection_made(self, transport: Any) -> None:
            connections.come(transport)
            super().connection_made(transport)

        def connection_lost(self, exc: Exception | None) -> None:
            connections.go(self.transport)
            super().connection_lost(exc)

    async def tracked(scope: Message, receive: Receive, send: Send) -> None:
        peer = tuple(scope.get("client") or ())
        name = next((one for one in connections.open if one[: len(peer)] == peer), None)
        connections.busy.add(name)
        try:
            await app(scope, receive, send)
        finally:
            connections.busy.discard(name)
            if name in connections.open:
                connections.open[name] = (connections.open[name][0], time.monotonic())

    config = uvicorn.Config(
        tracked,
        host=host,
        port=port,
        http=Protocol,
        ws="none",
        log_level="warning",
        proxy_headers=False,
        server_header=False,
        h11_max_incomplete_event_size=16 << 10,
        ssl_certfile=certificate,
        ssl_keyfile=private_key,
    )
    return uvicorn.Server(config)


def serve(
    app: Any,
    host: str,
    port: int,
    *,
    certificate: Path | None = None,
    private_key: Path | None = None,
) -> None:
    """Serve until a signal ends it.

    Raises:
        EnvironmentFailure: the address cannot be listened on.
    """
    made = server(app, host, port, certificate=certificate, private_key=private_key)
    made.run()
    if not made.started:
        raise EnvironmentFailure(
            f"{host}:{port} cannot be listened on.", hint="Is another server there? Try --port."
        )
