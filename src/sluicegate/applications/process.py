"""One process in which an application answers rows, seen from outside."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from sluicegate.applications import Application
from sluicegate.applications.calls import Asked, Calls
from sluicegate.config import ModelsFile
from sluicegate.errors import ConfigError
from sluicegate.generating import Failure
from sluicegate.versioning.children import child

START_SECONDS = 60.0
LONGEST_LINE = 64 << 20
TICK = 0.1
ENDED = "it ended the process that it runs in"
HIDDEN = ("SLUICE_", "MLFLOW_")
"""Variables that begin so are the line's; the application gets none of them."""


class Lost(Exception):
    """The process has ended, or a row in it does not; the text says which."""


@dataclass(slots=True)
class InWork:
    """A row in work; its clock stands still while it waits for a model.

    `models`: seconds of the models, those of questions at the same time counted once.
    """

    asked: Asked
    ended: asyncio.Future[Mapping[str, Any]]
    since: float = field(default_factory=time.monotonic)
    own: float = 0.0
    waiting: int = 0
    longest: float = 0.0
    models: float = 0.0

    def pause(self) -> None:
        """A question is on its way."""
        if not self.waiting:
            self.own += time.monotonic() - self.since
        self.waiting += 1

    def resume(self, seconds: float) -> None:
        """A reply is there; so long the model took, whether now or when it was kept."""
        self.waiting -= 1
        self.longest = max(self.longest, seconds)
        if not self.waiting:
            self.since = time.monotonic()
            self.models, self.longest = self.models + self.longest, 0.0

    @property
    def seconds(self) -> float:
        """Own time so far, models not counted."""
        return self.own + (0.0 if self.waiting else time.monotonic() - self.since)


class Session:
    """A running process; made by `started`."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        calls: Calls | None,
        process: subprocess.Popen[str],
        most: float,
    ) -> None:
        self._reader, self._writer, self._calls = reader, writer, calls
        self._process, self._most = process, most
        self.in_work: dict[int, InWork] = {}

    async def row(self, place: int, inputs: Mapping[str, Any], asked: Asked) -> Mapping[str, Any]:
        """How the process ended a row: a message `done` or `failed`, and its seconds."""
        work = InWork(asked, asyncio.get_running_loop().create_future())
        self.in_work[place] = work
        self._send(run=place, inputs=dict(inputs))
        ended = await work.ended
        del self.in_work[place]
        return {**ended, "seconds": work.seconds + work.models}

    async def read(self, tasks: asyncio.TaskGroup) -> None:
        """Take what the process says, as long as it lives.

        Raises:
            Lost: it has ended.
        """
        while True:
            message = await self._message()
            if "ask" in message:
                tasks.create_task(self._ask(message))
                continue
            place = message.get("done", message.get("failed"))
            work = self.in_work.get(place) if isinstance(place, int) else None
            if work is not None and not work.ended.done():
                work.ended.set_result(message)

    async def watch(self) -> None:
        """Look at the process and the clocks of the rows in work.

        Raises:
            Lost: one takes too long, or the process has ended and left another that keeps its line.
        """
        while True:
            await asyncio.sleep(min(TICK, self._most / 4))
            if self._process.poll() is not None:
                raise Lost(ENDED)
            if any(work.seconds > self._most for work in self.in_work.values()):
                raise Lost(f"it took longer than {self._most:g} s (release.row_seconds)")

    async def _ask(self, message: Mapping[str, Any]) -> None:
        number, work = message["ask"], self.in_work.get(message["row"])
        if work is None:  # a thread that its row has left behind
            self._send(reply=number, reason="the row has ended", too_long=True)
            return
        assert self._calls is not None, "only rows ask"
        work.pause()
        reply = await self._calls.answer(work.asked, message)
        work.resume(0.0 if isinstance(reply, Failure) else reply.seconds)
        if isinstance(reply, Failure):
            self._send(reply=number, reason=reply.reason, too_long=reply.too_long)
        else:
            fields = {name: getattr(reply, name) for name in reply.__slots__}
            self._send(reply=number, **fields)

    def _send(self, **message: Any) -> None:
        self._writer.write(json.dumps(message).encode() + b"\n")

    async def start(self, first: Mapping[str, Any]) -> None:
        """Hand the application over, and wait until it is imported.

        Raises:
            ConfigError: its code cannot be imported.
            Lost: importing it ends the process, or does not end.
        """
        self._send(**first)
        try:
            said = await asyncio.wait_for(self._message(), START_SECONDS)
        except TimeoutError:
            raise Lost(f"importing it took longer than {START_SECONDS:g} s") from None
        if said.get("ready") is not True:
            raise ConfigError(
                f"the application {first['entry']} cannot be imported: {said.get('broken')}",
                hint="A module of the project that is imported by a computed name has to be listed "
                "under release.data; others come from requirements.txt.",
            )

    async def _message(self) -> dict[str, Any]:
        try:
            raw = await self._reader.readline()
            found = json.loads(raw) if raw.endswith(b"\n") else None
        except (OSError, ValueError):  # cut off, too long, or not of ours
            found = None
        if not isinstance(found, dict):
            raise Lost(ENDED)
        return found


@asynccontextmanager
async def started(
    application: Application, calls: Calls | None, *, rows: int, hidden: Collection[str]
) -> AsyncIterator[Session]:
    """A process with `application` in it, ready for up to `rows` rows at once; it ends with the
    block, and with this process.

    Args:
        application: its files in a folder of its own.
        calls: answers its questions; None if no row will run.
        rows: most in work at once.
        hidden: environment variables that it does not get: keys of models.

    Raises:
        ConfigError, Lost: see `Session.start`.
    """
    here, there = socket.socketpair()
    variables = {
        name: text
        for name, text in os.environ.items()
        if name not in hidden and not name.startswith(HIDDEN)
    }
    command = [sys.executable, "-P", "-m", "sluicegate.applications.worker", str(there.fileno())]
    with ExitStack() as stack:
        stack.callback(there.close)
        process = stack.enter_context(
            child(command, application.root, variables=variables, kept=[there.fileno()], output=2)
        )
        there.close()
        reader, writer = await asyncio.open_connection(sock=here, limit=LONGEST_LINE)
        try:
            session = Session(reader, writer, calls, process, application.row_seconds)
            await session.start(
                {
                    "root": str(application.root),
                    "entry": application.entry,
                    "prompts": {name: one.content for name, one in application.prompts.items()},
                    "roles": sorted(application.models),
                    "settings": application.settings,
                    "data": list(application.data),
                    "rows": rows,
                }
            )
            yield session
        finally:
            writer.close()


def key_variables(models: ModelsFile) -> set[str]:
    """The environment variables that hold keys of models."""
    found = set()
    for spec in models.models.values():
        settings = spec.other.get(spec.kind)
        found.add(spec.endpoint.key_env if spec.endpoint else "")
        found.add(str(settings.get("key_env", "")) if isinstance(settings, dict) else "")
    return found - {""}
