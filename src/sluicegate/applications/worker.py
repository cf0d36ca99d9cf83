"""The process in which a project's own code runs: rows in, answers out, over one socket.

Started as `python -P -m sluicegate.applications.worker DESCRIPTOR`. One JSON object a line.
In come the application (first), `run` with a row, `reply` to a question. Out go `ready` or
`broken`, `ask` with a question, `done` or `failed` with a row's end. Keys and money stay outside.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import inspect
import json
import os
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, InvalidStateError, ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any

from sluicegate.applications.answers import as_texts
from sluicegate.applications.app import App
from sluicegate.errors import DataError, EnvironmentFailure, without_credentials
from sluicegate.generating import Reply
from sluicegate.own_code import use_code_of
from sluicegate.prompts import prompt_from_content, template

LONGEST_REASON = 300


class Line:
    """The socket: whole lines out, from any thread."""

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._lock, self._owner = threading.Lock(), os.getpid()

    def send(self, **message: Any) -> None:
        """Write one message; a process that the application forked and lets run on here ends."""
        if os.getpid() != self._owner:
            os._exit(0)
        raw = json.dumps(message).encode() + b"\n"
        with self._lock:
            self._socket.sendall(raw)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        with self._socket.makefile("rb") as stream:
            yield from map(json.loads, stream)


class Worker:
    """The application in this process, and the questions that wait for a reply."""

    def __init__(self, line: Line, start: Mapping[str, Any]) -> None:
        self._line, self._root = line, Path(start["root"])
        self._numbers = count()
        self._waiting: dict[int, Future[Reply]] = {}
        template.variables("{{ ready }}")  # the first use takes long, and is no row's time
        use_code_of(self._root)
        module, _, function = start["entry"].partition(":")
        self._function: Callable[..., Any] = getattr(importlib.import_module(module), function)
        inspect.signature(self._function).bind({}, None)
        self._prompts = {
            name: prompt_from_content(content) for name, content in start["prompts"].items()
        }
        self._data = {place: self._root / place for place in start["data"]}
        self._roles, self._settings = start["roles"], start["settings"]
        self._loop: asyncio.AbstractEventLoop | None = None
        if inspect.iscoroutinefunction(self._function):
            self._loop = asyncio.new_event_loop()
            threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self._pool = ThreadPoolExecutor(start["rows"])

    def take(self, message: dict[str, Any]) -> None:
        """Start a row, or hand a reply to whoever waits for it."""
        if "reply" in message:
            _settle(self._waiting.pop(message.pop("reply")), message)
            return
        row, inputs = message["run"], message["inputs"]
        if self._loop is not None:
            asyncio.run_coroutine_threadsafe(self._later(row, inputs), self._loop)
        else:
            self._pool.submit(self._now, row, inputs)

    def _now(self, row: int, inputs: dict[str, Any]) -> None:
        with self._told(row):
            self._ended(row, self._function(inputs, self._app(row)))

    async def _later(self, row: int, inputs: dict[str, Any]) -> None:
        with self._told(row):
            self._ended(row, await self._function(inputs, self._app(row)))

    def _ended(self, row: int, value: Any) -> None:
        text, parts = as_texts(value)
        self._line.send(done=row, text=text, fields=parts)

    @contextlib.contextmanager
    def _told(self, row: int) -> Iterator[None]:
        """Whatever code of a project raises, SystemExit among it, is the end of that row only."""
        try:
            yield
        except BaseException as error:
            self._line.send(failed=row, reason=reason_of(error, self._root))

    def _app(self, row: int) -> App:
        def ask(question: dict[str, Any]) -> Future[Reply]:
            number, future = next(self._numbers), Future[Reply]()
            self._waiting[number] = future
            self._line.send(ask=number, row=row, **question)
            return future

        return App(self._prompts, self._roles, self._settings, self._data, ask)


def _settle(future: Future[Reply], message: Mapping[str, Any]) -> None:
    """Give a question its reply; nobody may wait for it any longer."""
    with contextlib.suppress(InvalidStateError):  # whoever asked has given up
        if "reason" not in message:
            future.set_result(Reply(**message))
        elif message["too_long"]:
            future.set_exception(DataError(message["reason"]))
        else:
            future.set_exception(EnvironmentFailure(message["reason"]))


def reason_of(error: BaseException, root: Path) -> str:
    """Why a row failed, in one line: where in the project, what kind of error, what it says."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename).is_relative_to(root)
    ]
    where = ""
    if frames:
        where = f"{Path(frames[-1].filename).relative_to(root).as_posix()}:{frames[-1].lineno}: "
    said = " ".join(str(error).split())
    kind = type(error).__name__
    return without_credentials(f"{where}{kind}: {said}" if said else f"{where}{kind}")[
        :LONGEST_REASON
    ]


def main(descriptor: int) -> None:
    """Serve one parent until it is gone."""
    with contextlib.suppress(OSError):  # whoever runs out of memory, it is this process that ends
        Path("/proc/self/oom_score_adj").write_text("1000")
    line = Line(descriptor)
    messages = iter(line)
    start = next(messages)
    try:
        worker = Worker(line, start)
    except BaseException as error:
        line.send(broken=reason_of(error, Path(start["root"])))
        return
    line.send(ready=True)
    for message in messages:
        worker.take(message)


if __name__ == "__main__":
    try:
        main(int(sys.argv[1]))
    finally:
        os._exit(0)  # threads of the project's own code may never end
