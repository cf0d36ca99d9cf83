"""The connection under an endpoint: what it says of itself is what httpcore relies on."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable

import httpcore
import pytest

from sluicegate.models.endpoint_wire import MOST_WAITING, Network, Wire

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def talk(server: Talk, client: Callable[[Wire], Awaitable[None]]) -> None:
    """Run `client` on a wire to a server that does what `server` says."""

    async def serving(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await server(reader, writer)
        finally:
            writer.close()

    async def main() -> None:
        listening = await asyncio.start_server(serving, "127.0.0.1", 0)
        async with asyncio.timeout(20):
            wire = await Network().connect_tcp("127.0.0.1", listening.sockets[0].getsockname()[1])
            try:
                await client(wire)
            finally:
                await wire.aclose()
        listening.close()

    asyncio.run(main())


async def until(true: Callable[[], bool]) -> None:
    while not true():
        await asyncio.sleep(0.001)


def test_an_idle_connection_that_was_spoken_on_or_closed_is_of_no_more_use() -> None:
    """Bytes nobody asked for, and an end, make an idle connection `is_readable`: httpcore then opens another."""

    async def server(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readexactly(4))
        await reader.readexactly(1)
        writer.write(b"stray")
        await reader.readexactly(1)
        writer.close()

    async def client(wire: Wire) -> None:
        await wire.write(b"once")
        assert await wire.read(100) == b"once"
        assert not wire.get_extra_info("is_readable")
        await wire.write(b"1")
        await until(lambda: bool(wire.get_extra_info("is_readable")))
        assert await wire.read(3) + await wire.read(100) == b"stray"
        assert not wire.get_extra_info("is_readable")
        await wire.write(b"2")
        await until(lambda: bool(wire.get_extra_info("is_readable")))
        assert await wire.read(100) == b""
        with pytest.raises(httpcore.WriteError):
            await wire.write(b"3")

    talk(server, client)


def test_a_flood_waits() -> None:
    """What is not read stays with the sender, but for a little; all of it arrives in the end, in order."""
    whole = bytes(range(256)) * (1 << 15)
    left: list[int] = []

    async def server(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.set_write_buffer_limits(0)
        writer.write(whole)
        left.append(writer.transport.get_write_buffer_size())
        await writer.drain()
        writer.close()

    async def client(wire: Wire) -> None:
        await asyncio.sleep(0.3)
        assert len(wire._arrived) <= MOST_WAITING + (1 << 19)
        parts = []
        while part := await wire.read(1 << 16):
            assert len(part) <= 1 << 16
            parts.append(part)
        assert b"".join(parts) == whole

    talk(server, client)
    assert left[0] > 0


def test_a_reader_that_is_slow_is_waited_for() -> None:
    """A write returns only when most of it is on its way, so a server that does not read holds back who sends."""
    go = asyncio.Event()
    size = 1 << 25

    async def server(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await go.wait()
        await reader.readexactly(size)
        writer.write(b"read")

    async def client(wire: Wire) -> None:
        sending = asyncio.create_task(wire.write(bytes(size)))
        await asyncio.sleep(0.1)
        assert not sending.done()
        go.set()
        await sending
        assert await wire.read(100) == b"read"

    talk(server, client)


def test_a_broken_connection_is_an_error_and_not_an_end() -> None:
    """A reset is a ReadError for whom waits; nobody listening is a ConnectError."""

    async def server(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1)
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    async def client(wire: Wire) -> None:
        await wire.write(b"1")
        with pytest.raises(httpcore.ReadError):
            await wire.read(100)

    talk(server, client)
    with pytest.raises(httpcore.ConnectError):
        asyncio.run(Network().connect_tcp("127.0.0.1", 1))
