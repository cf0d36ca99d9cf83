"""Failpoints without hooks in the product: count what a child process does to the world, and fail
the k-th of it.

Children are forked after the imports, so a case costs milliseconds. Side effects are seen where
Python itself announces them (audit events: files opened for writing, made, renamed, removed) and
where the drivers are called (fsync, SQLAlchemy's writes and commits, the writing methods of
MLflow's client).
"""

from __future__ import annotations

import errno
import os
import pickle
import signal
import sqlite3
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sluicegate.errors import SluiceError

MODES = ("SIGKILL", "exception", "EIO", "ENOSPC")
_FILES = {
    "os.mkdir",
    "os.rename",
    "os.remove",
    "os.rmdir",
    "os.chmod",
    "os.truncate",
    "os.link",
    "os.symlink",
}
_GIVES_SPACE = {"os.remove", "os.rmdir"}
_WRITES = ("INSERT", "UPDATE", "DELETE", "CREATE", "DROP", "ALTER", "REPLACE")
_MLFLOW = (
    "create_registered_model", "create_model_version", "update_model_version", "set_model_version_tag",
    "set_registered_model_alias", "delete_registered_model_alias", "log_artifact", "log_artifacts",
)  # fmt: skip


class Injected(RuntimeError):
    """What a failpoint of mode `exception` raises: an error that nobody foresaw."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a child ended: `done` (with what it returned), `refused` (an error of ours), `injected`,
    `killed` or `crashed`.
    """

    end: str
    value: Any = None
    text: str = ""


class Child:
    """A forked process that runs `action` and sends back what it returned or raised."""

    def __init__(self, action: Callable[[], Any]) -> None:
        self._reading, writing = os.pipe()
        self.pid = os.fork()
        if self.pid:
            os.close(writing)
            return
        try:
            os.close(self._reading)
            self._send(writing, self._outcome(action))
        finally:
            os._exit(0)  # whatever happens, this process never goes back into the test

    @staticmethod
    def _outcome(action: Callable[[], Any]) -> Outcome:
        try:
            return Outcome("done", action())
        except SluiceError as error:
            return Outcome("refused", type(error).__name__, str(error))
        except Injected as error:
            return Outcome("injected", None, str(error))
        except BaseException:  # whatever else: the parent shows it
            return Outcome("crashed", None, traceback.format_exc())

    @staticmethod
    def _send(writing: int, outcome: Outcome) -> None:
        data = pickle.dumps(outcome)
        while data:
            data = data[os.write(writing, data) :]

    def kill(self) -> None:
        """SIGKILL; nothing happens where the child has ended."""
        os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> Outcome:
        """Wait for the end; call it once."""
        with os.fdopen(self._reading, "rb") as stream:
            data = stream.read()
        _, status = os.waitpid(self.pid, 0)
        if os.WIFSIGNALED(status):
            return Outcome("killed", None, f"signal {os.WTERMSIG(status)}")
        found: Outcome = pickle.loads(data)
        return found


def in_child(action: Callable[[], Any]) -> Outcome:
    """Run `action` in a forked process and wait for it."""
    return Child(action).wait()


def failing(action: Callable[[], Any], at: int, mode: str) -> Outcome:
    """Run `action` in a child whose side effect number `at` (from 1) fails in the way of `mode`."""

    def run() -> Any:
        _Failpoints(at, mode).install()
        return action()

    return in_child(run)


def effects(action: Callable[[], Any]) -> list[str]:
    """What `action` does to the world, in order: one line a side effect, as `failing` numbers them."""

    def run() -> list[str]:
        points = _Failpoints(0, "")
        points.install()
        action()
        return points.seen

    found = in_child(run)
    assert found.end == "done", found.text
    return list(found.value)


class _Failpoints:
    """Counts side effects of this process.

    `ENOSPC` lasts: from then on everything that needs space fails.
    """

    def __init__(self, at: int, mode: str) -> None:
        self.at, self.mode = at, mode
        self.seen: list[str] = []
        self.dirty: set[int] = set()
        self.full = False

    def reach(self, what: str, *, sql: bool = False) -> None:
        self.seen.append(what)
        if len(self.seen) == self.at:
            if self.mode == "SIGKILL":
                os.kill(os.getpid(), signal.SIGKILL)
            if self.mode == "exception":
                raise Injected(what)
            self.full = self.mode == "ENOSPC"
            self.refuse(sql)
        elif self.full and what.split(" ")[0] not in _GIVES_SPACE:
            self.refuse(sql)

    def refuse(self, sql: bool) -> None:
        if sql:
            raise sqlite3.OperationalError(
                "database or disk is full" if self.full else "disk I/O error"
            )
        number = errno.ENOSPC if self.full else errno.EIO
        raise OSError(number, os.strerror(number))

    def install(self) -> None:
        """For good: this process is a child that ends soon."""
        sys.addaudithook(self.audit)
        for name in ("fsync", "fdatasync"):
            setattr(os, name, self.before(getattr(os, name), name))
        self.wrap_sql()
        self.wrap_mlflow()

    def audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in _FILES:
            self.reach(f"{event} {arguments[0]}")
        elif event == "open" and isinstance(arguments[0], str | bytes):
            writes = arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC)
            if writes and not os.fsdecode(arguments[0]).startswith("/dev/null"):
                self.reach(f"open {os.fsdecode(arguments[0])}")

    def before(self, call: Callable[..., Any], what: str) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **named: Any) -> Any:
            self.reach(what)
            return call(*arguments, **named)

        return wrapped

    def around(self, call: Callable[..., Any], what: str) -> Callable[..., Any]:
        """Two points: before the call, and after it was done but before anybody is told."""

        def wrapped(*arguments: Any, **named: Any) -> Any:
            self.reach(what)
            value = call(*arguments, **named)
            self.reach(f"{what}, answer lost")
            return value

        return wrapped

    def wrap_sql(self) -> None:
        from sqlalchemy.engine.default import DefaultDialect

        execute, many, commit = (
            DefaultDialect.do_execute,
            DefaultDialect.do_executemany,
            DefaultDialect.do_commit,
        )

        def written(call: Any) -> Any:
            def wrapped(dialect: Any, cursor: Any, statement: str, *rest: Any, **named: Any) -> Any:
                if statement.lstrip().upper().startswith(_WRITES):
                    self.dirty.add(id(cursor.connection))
                    self.reach(f"sql {statement[:40]}", sql=True)
                return call(dialect, cursor, statement, *rest, **named)

            return wrapped

        def committed(dialect: Any, connection: Any) -> None:
            raw = getattr(connection, "driver_connection", None) or getattr(
                connection, "dbapi_connection", connection
            )
            writes = id(raw) in self.dirty
            self.dirty.discard(id(raw))
            if writes:
                self.reach("commit", sql=True)
            commit(dialect, connection)
            if writes:
                self.reach("commit, answer lost", sql=True)

        DefaultDialect.do_execute = written(execute)  # type: ignore[method-assign]
        DefaultDialect.do_executemany = written(many)  # type: ignore[method-assign]
        DefaultDialect.do_commit = committed  # type: ignore[method-assign]

    def wrap_mlflow(self) -> None:
        if "mlflow" not in sys.modules:
            return
        from mlflow import MlflowClient

        for name in _MLFLOW:
            setattr(MlflowClient, name, self.around(getattr(MlflowClient, name), f"mlflow {name}"))
