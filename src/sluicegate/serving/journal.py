"""Traffic rows on their way to the log: a row is in a file before its answer has left, so that a
killed process loses none, and in the log soon after, off the answer's path.

A file `<random>.jsonl` belongs to the process that holds its lock. One that nobody holds was left
by a process that was killed: the next router writes its rows. A row that is written twice is stored
once, by its key. What a power cut takes from the files is not more than the system had not written.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Lock, Thread
from uuid import uuid4

from sluicegate.errors import DataError, EnvironmentFailure, SluiceError
from sluicegate.traffic import TrafficLog, TrafficRow, row_from
from sluicegate.traffic.rows import checked_row

SECONDS = 0.2
"""Between two writes to the log."""
LONGEST_PAUSE = 10.0
"""Between two tries, while the log cannot be written."""
_LOG = logging.getLogger(__name__)


@dataclass(slots=True)
class _Segment:
    """A file of rows that this process holds: `handle` keeps its lock."""

    path: Path
    handle: int
    size: int = 0


@dataclass(slots=True)
class Journal:
    """See the module.

    Args:
        folder: for the files; made, for its owner only.
        log: where the rows end.
    """

    folder: Path
    log: TrafficLog
    failing_since: float = 0.0
    _open: _Segment | None = None
    _sealed: list[_Segment] = field(default_factory=list)
    _lock: Lock = field(default_factory=Lock)
    _writing: Lock = field(default_factory=Lock)
    _stop: Event = field(default_factory=Event)
    _thread: Thread | None = None

    def start(self) -> None:
        """Begin to write, first what a killed router left.

        Raises:
            EnvironmentFailure: the folder cannot be made.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise _unwritable(self.folder, error) from error
        self._thread = Thread(target=self._run, name="sluice-traffic", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Write what is there and end; rows that the log does not take now wait in their files."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        with suppress(SluiceError):
            self.flush()
        for segment in (*self._sealed, *([self._open] if self._open else [])):
            os.close(segment.handle)

    def keep(self, row: TrafficRow) -> None:
        """Put a row on the disk's way: once this returns, a kill of the process does not lose it.

        Raises:
            DataError: the row cannot be stored.
            EnvironmentFailure: the disk refuses.
        """
        line = _line(checked_row(row))
        with self._lock:
            try:
                self._open = self._open or self._begin()
                _append(self._open, line)
            except OSError as error:
                raise _unwritable(self.folder, error) from error

    def flush(self) -> None:
        """Write all rows that are kept to the log, those of killed routers too.

        Raises:
            SluiceError: the log cannot be written; the rows stay where they are.
        """
        with self._writing:
            self._take_over()
            with self._lock:
                if self._open is not None:
                    self._sealed.append(self._open)
                    self._open = None
            while self._sealed:
                segment = self._sealed[0]
                self.log.write(_rows(_content(segment)))
                segment.path.unlink(missing_ok=True)
                os.close(segment.handle)
                del self._sealed[0]

    def _take_over(self) -> None:
        """Make the files that no process holds this one's."""
        held = {segment.path for segment in self._sealed}
        for path in sorted(set(self.folder.glob("*.jsonl")) - held):
            with suppress(FileNotFoundError):  # another router has written it meanwhile
                handle = os.open(path, os.O_RDWR)
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    os.close(handle)
                    continue
                self._sealed.append(_Segment(path, handle))

    def _begin(self) -> _Segment:
        """A new file: locked before it has the name by which others would look for it."""
        name = uuid4().hex
        hidden = self.folder / f".{name}"
        handle = os.open(hidden, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_APPEND, 0o600)
        fcntl.flock(handle, fcntl.LOCK_EX)
        path = self.folder / f"{name}.jsonl"
        os.rename(hidden, path)
        return _Segment(path, handle)

    def _run(self) -> None:
        pause = SECONDS
        while not self._stop.wait(pause):
            try:
                self.flush()
            except (SluiceError, OSError) as error:
                if not self.failing_since:
                    self.failing_since = time.monotonic()
                    _LOG.error("traffic rows wait in %s: %s", self.folder, error)
                pause = min(2 * pause, LONGEST_PAUSE)
                continue
            self.failing_since, pause = 0.0, SECONDS


def _append(segment: _Segment, line: bytes) -> None:
    """All of the line or nothing of it."""
    written = os.write(segment.handle, line)
    if written < len(line):
        os.ftruncate(segment.handle, segment.size)
        raise OSError(28, "No space left on device")
    segment.size += written


def _content(segment: _Segment) -> bytes:
    """By the handle: where another process has written and removed the file, its rows are known."""
    with os.fdopen(os.dup(segment.handle), "rb") as stream:
        stream.seek(0)
        return stream.read()


def _line(row: TrafficRow) -> bytes:
    fields = {
        "key": row.key,
        "time": row.time.isoformat(),
        "prompt": row.prompt,
        "response": row.response,
        "release": row.release,
        "latency": row.latency,
        "prompt_tokens": row.prompt_tokens,
        "completion_tokens": row.completion_tokens,
        "user": row.user,
        "inputs": dict(row.inputs),
    }
    return json.dumps(fields).encode() + b"\n"


def _rows(content: bytes) -> Sequence[TrafficRow]:
    """The rows of a file; a last line without an end was being written when the process died, and
    its answer never left.
    """
    rows = list[TrafficRow]()
    for line in content.split(b"\n")[:-1]:
        try:
            rows.append(row_from(json.loads(line), now=datetime.now(UTC)))
        except (ValueError, DataError) as error:
            _LOG.error("a traffic row cannot be read and is left out: %s", error)
    return rows


def _unwritable(folder: Path, error: OSError) -> EnvironmentFailure:
    return EnvironmentFailure(
        f"{folder} cannot be written: {error.strerror}", hint="Free disk space, then ask again."
    )
