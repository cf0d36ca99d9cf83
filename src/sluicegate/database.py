"""Opening a database that more than one process uses: SQLite by default, PostgreSQL by URL.

A write is durable once its transaction has ended: SQLite in WAL mode with `synchronous=FULL`,
PostgreSQL with
`synchronous_commit=on`. What a driver raises becomes one error of ours for each reaction.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DBAPIError, MultipleResultsFound, SQLAlchemyError

from sluicegate.errors import (
    BusyError,
    ConfigError,
    EnvironmentFailure,
    IntegrityError,
    MissingExtraError,
)
from sluicegate.hashing import sync_folder

# SQLSTATE, or its first two characters, of what another process causes and waiting cures.
_BUSY = ("55P03", "40001", "40P01", "57014", "53300")
_LOST = ("08", "57P")


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of database.

    Args:
        name: how messages call it, for instance `ledger`.
        opening: key of PostgreSQL's advisory lock under which its tables are made.
        is_made: says, inside a SQLite transaction that only reads, whether everything is there
            already.
        create: makes what is absent, inside a transaction that writes.
        private: a SQLite file that is made can be read by its owner only.
    """

    name: str
    opening: int
    is_made: Callable[[sa.Connection], bool]
    create: Callable[[sa.Connection], None]
    private: bool = False


def parse_url(url: str, name: str) -> sa.URL:
    """The parts of a database URL, of the database that messages call `name`.

    Raises:
        ConfigError: it is none. The text is not quoted, nor is what SQLAlchemy says: it may hold a
            password.
    """
    try:
        return sa.engine.make_url(url)
    except (ArgumentError, ValueError):
        raise ConfigError(
            f"the {name}'s address is not a database URL.",
            hint="Examples: sqlite:////path/file.db, postgresql://user@host:5432/name",
        ) from None


def open_engine(url: str, wait: float, kind: Kind) -> sa.Engine:
    """An engine for the database at `url`, its tables made.

    Args:
        wait: seconds to wait for another process's transaction.

    Raises:
        ConfigError: it is no URL, or names no file, or another kind of database than SQLite and
            PostgreSQL.
        BusyError: another process was opening it for longer than `wait`.
        EnvironmentFailure: it cannot be opened or written.
        MissingExtraError: the driver of a PostgreSQL URL is not installed.
        SQLAlchemyError: for `translated`.
    """
    parsed = parse_url(url, kind.name)
    backend = parsed.get_backend_name()
    if backend not in ("sqlite", "postgresql"):
        raise ConfigError(
            f"a {kind.name} in {backend} is not supported.",
            hint="Use sqlite:////path/file.db or postgresql://.",
        )
    if backend == "sqlite":
        if parsed.database in (None, "", ":memory:"):
            raise ConfigError(
                f"a {kind.name} in memory would be lost when the process ends.",
                hint="Name a file: sqlite:////path/file.db",
            )
        return _open_sqlite(parsed, wait, kind)
    if parsed.drivername == "postgresql":  # SQLAlchemy would take psycopg2
        parsed = parsed.set(drivername="postgresql+psycopg")
    try:
        # No pool: a connection that waits between two steps is one more that a restarted server
        # breaks.
        engine = sa.create_engine(parsed, isolation_level="READ COMMITTED", poolclass=sa.NullPool)
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "The database driver", "postgres") from error
    sa.event.listen(engine, "begin", lambda connection: _begin_postgres(connection, wait))
    with engine.begin() as connection:
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({kind.opening})")
        kind.create(connection)
    return engine


@contextmanager
def transaction(engine: sa.Engine, *, write: bool) -> Iterator[sa.Connection]:
    """One transaction: all of it is there when the block ends, nothing of it when the block raises.

    Raises:
        SQLAlchemyError: for `translated`.
    """
    with engine.connect().execution_options(sluice_write=write) as connection, connection.begin():
        yield connection


def translated(error: SQLAlchemyError, kind: Kind) -> EnvironmentFailure:
    """The error to raise for what SQLAlchemy raised, by the reaction that it asks for."""
    if isinstance(error, MultipleResultsFound):
        return IntegrityError(f"The {kind.name} has a row twice that there is once: it was edited.")
    if not isinstance(error, DBAPIError):
        return EnvironmentFailure(f"The {kind.name} cannot be used: {error}")
    text = str(error.orig).strip()
    state = str(getattr(error.orig, "sqlstate", None) or "")
    if state in _BUSY or "locked" in text or "busy" in text:
        return BusyError(
            f"Another process holds the {kind.name}.", hint="Wait for it to end, then run again."
        )
    if any(
        sign in text for sign in ("malformed", "not a database", "append-only", "Could not decode")
    ):
        return IntegrityError(f"The {kind.name} is damaged: {text}")
    if (
        state.startswith(_LOST)
        or error.connection_invalidated
        or (not state and "connection" in text)
    ):
        return EnvironmentFailure(
            f"The {kind.name}'s server cannot be reached: {text}",
            hint="Start it, then run again: a step that it had already written is not written "
            "twice.",
        )
    if "readonly" in text:
        return EnvironmentFailure(
            f"The {kind.name} can only be read here.",
            hint="Run this where its file and folder may be written.",
        )
    return EnvironmentFailure(
        f"The {kind.name} cannot be used: {text}", hint="Free disk space or fix permissions."
    )


def _open_sqlite(parsed: sa.URL, wait: float, kind: Kind) -> sa.Engine:
    from filelock import FileLock, Timeout

    path = Path(parsed.database or "")
    try:
        if path.is_file() and not _writable(path):
            return _open_to_read(path, wait)
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(path.name + ".lock"), timeout=wait):
            if kind.private:
                os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
            engine = sa.create_engine(
                parsed, connect_args={"timeout": wait, "isolation_level": None}
            )
            sa.event.listen(engine, "connect", _on_connect)
            sa.event.listen(engine, "begin", _begin_sqlite)
            with transaction(engine, write=False) as connection:
                made = kind.is_made(connection)
            if not made:
                with transaction(engine, write=True) as connection:
                    kind.create(connection)
                sync_folder(path.parent)  # the new file's name is as durable as its rows
    except Timeout as error:
        raise BusyError(
            f"{path}: another process is opening the {kind.name}.", hint="Wait, then run again."
        ) from error
    except OSError as error:
        raise EnvironmentFailure(
            f"{path}: the {kind.name} cannot be opened: {error.strerror}",
            hint="Make its folder writable, or free disk space, then run again.",
        ) from error
    return engine


def _writable(path: Path) -> bool:
    return os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)


def _open_to_read(path: Path, wait: float) -> sa.Engine:
    """An engine for a file that this process may only read; what it was asked to write is refused.

    Nobody who cannot write there can change it meanwhile: without rows that wait in the write-ahead
    log it is read as it is, for SQLite would want to make files beside it.
    """
    log = path.with_name(path.name + "-wal")
    waiting = log.is_file() and log.stat().st_size > 0
    still = "" if waiting or os.access(path.parent, os.W_OK) else "&immutable=1"
    address = f"sqlite:///file:{quote(str(path.resolve()))}?mode=ro{still}&uri=true"
    engine = sa.create_engine(address, connect_args={"timeout": wait, "isolation_level": None})
    sa.event.listen(engine, "begin", _begin_sqlite)
    return engine


def _on_connect(connection: Any, _record: Any) -> None:
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")


def _begin_sqlite(connection: sa.Connection) -> None:
    write = connection.get_execution_options().get("sluice_write", True)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def _begin_postgres(connection: sa.Connection, wait: float) -> None:
    """A reader sees one moment, as SQLite's does; a writer waits no longer than `wait` and is told
    only what is on disk.
    """
    if connection.get_execution_options().get("sluice_write", True):
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = {max(1, round(wait * 1000))}")
        connection.exec_driver_sql("SET LOCAL synchronous_commit = on")
    else:
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
