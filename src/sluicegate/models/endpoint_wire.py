"""Connections for httpcore on asyncio alone: an answer that is there is taken without giving up the turn.

httpcore's own go through anyio, which yields to the event loop ten times a request: answers that arrive together then go
through all their steps abreast, and each next request waits for all of them. (600 calls of 50 ms, 16 at once: 1.7 % of
the time and a sixth of the processor.) Deadlines are the caller's, by cancelling; the ones httpcore passes are not used.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable
from typing import Any, cast

import httpcore

MOST_WAITING = 1 << 18
"""Bytes that may have arrived and not been read; the other side then has to wait."""


class Wire(httpcore.AsyncNetworkStream, asyncio.Protocol):
    """One connection: asyncio calls its `Protocol` half, httpcore the other; one task reads and writes."""

    def __init__(self) -> None:
        self._arrived = bytearray()
        self._reader: asyncio.Future[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._over = False
        self._error: Exception | None = None
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Called by asyncio."""
        self._arrived += data
        if len(self._arrived) > MOST_WAITING:
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> None:
        """Called by asyncio; it closes the connection after this."""
        self._over = True
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by asyncio."""
        self._over, self._error = True, self._error or exc
        self._writable.set()
        self._wake()

    def pause_writing(self) -> None:
        """Called by asyncio."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Called by asyncio."""
        self._writable.set()

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """See httpcore: what has arrived, at least a byte; none at the end.

        Raises:
            httpcore.ReadError: the connection broke.
        """
        del timeout
        if not self._arrived and not self._over:
            self._reader = asyncio.get_running_loop().create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        if not self._arrived and self._error is not None:
            raise httpcore.ReadError(str(self._error)) from self._error
        data = bytes(self._arrived[:max_bytes])
        del self._arrived[:max_bytes]
        if len(self._arrived) <= MOST_WAITING and not self._over:
            self._transport.resume_reading()
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """See httpcore.

        Raises:
            httpcore.WriteError: the connection is closed or broke.
        """
        del timeout
        if not self._over:
            self._transport.write(buffer)
            await self._writable.wait()
        if self._over:
            raise httpcore.WriteError("the connection is closed") from self._error

    async def aclose(self) -> None:
        """See httpcore: at once; nothing is said to the other side any more."""
        self._transport.abort()
        await asyncio.sleep(0)  # asyncio closes the socket in the next turn

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> Wire:
        """See httpcore.

        Raises:
            httpcore.ConnectError: no handshake, or a certificate that is not trusted.
        """
        del timeout
        loop = asyncio.get_running_loop()
        try:
            changed = await loop.start_tls(
                self._transport, self, ssl_context, server_hostname=server_hostname
            )
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from error
        if changed is None:
            raise httpcore.ConnectError("the connection was cut") from self._error
        self._transport = changed
        return self

    def get_extra_info(self, info: str) -> Any:
        """See httpcore: `is_readable` of an idle connection says that it is of no more use."""
        if info == "is_readable":
            return self._over or bool(self._arrived)
        return self._transport.get_extra_info(info)


class Network(httpcore.AsyncNetworkBackend):
    """See httpcore: connects to addresses that are numbers."""

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> Wire:
        """See httpcore; the last three are not used.

        Raises:
            httpcore.ConnectError: nobody answers there.
        """
        del timeout, local_address, socket_options
        try:
            _, wire = await asyncio.get_running_loop().create_connection(Wire, host, port)
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from error
        return wire

    async def sleep(self, seconds: float) -> None:
        """See httpcore."""
        await asyncio.sleep(seconds)
