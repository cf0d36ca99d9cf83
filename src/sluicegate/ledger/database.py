"""The ledger's database: tables, append-only triggers, opening, locks, and the drivers' errors in our words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, MultipleResultsFound, SQLAlchemyError

from sluicegate.errors import BusyError, EnvironmentFailure, IntegrityError, MissingExtraError

GENESIS = "0" * 64

SCHEMA = sa.MetaData()
ENTRIES = sa.Table(
    "entries",
    SCHEMA,
    sa.Column("sequence", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("time", sa.Text, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("release", sa.Text, nullable=False, index=True),
    sa.Column("epoch", sa.Integer, nullable=False),
    sa.Column("payload", sa.Text, nullable=False),
    sa.Column("previous", sa.Text, nullable=False, unique=True),
    sa.Column("hash", sa.Text, nullable=False),
)
HEAD = sa.Table(
    "head",
    SCHEMA,
    sa.Column("id", sa.Integer, sa.CheckConstraint("id = 1"), primary_key=True, autoincrement=False),
    sa.Column("sequence", sa.Integer, nullable=False),
    sa.Column("hash", sa.Text, nullable=False),
)
CHAMPION = sa.Table(
    "champion",
    SCHEMA,
    sa.Column("id", sa.Integer, sa.CheckConstraint("id = 1"), primary_key=True, autoincrement=False),
    sa.Column("release", sa.Text, nullable=False),
    sa.Column("epoch", sa.Integer, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
)
_SQLITE_TRIGGERS = {
    f"no_{verb}": f"CREATE TRIGGER no_{verb} BEFORE {verb} ON entries BEGIN SELECT RAISE(ABORT, 'append-only'); END"
    for verb in ("UPDATE", "DELETE")
}
_POSTGRES_FUNCTION = (
    "CREATE FUNCTION sluice_append_only() RETURNS trigger LANGUAGE plpgsql AS "
    "$$ BEGIN RAISE EXCEPTION 'append-only'; END $$"
)
_POSTGRES_TRIGGERS = {
    "no_change": "CREATE TRIGGER no_change BEFORE UPDATE OR DELETE ON entries "
    "FOR EACH ROW EXECUTE FUNCTION sluice_append_only()",
    "no_truncate": "CREATE TRIGGER no_truncate BEFORE TRUNCATE ON entries "
    "FOR EACH STATEMENT EXECUTE FUNCTION sluice_append_only()",
}
_OPENING = 7482903
"""Key of PostgreSQL's advisory lock under which the tables are made."""

# SQLSTATE, or its first two characters, of what another process causes and waiting cures.
_BUSY = ("55P03", "40001", "40P01", "57014", "53300")
_LOST = ("08", "57P")


def open_engine(url: str, wait: float) -> sa.Engine:
    """An engine for the ledger at `url`, its tables and triggers made.

    Args:
        wait: seconds to wait for another process's transaction.

    Raises:
        BusyError, EnvironmentFailure, IntegrityError: see `Ledger`.
        MissingExtraError: the driver of a PostgreSQL URL is not installed.
    """
    parsed = sa.engine.make_url(url)
    if parsed.get_backend_name() == "sqlite":
        return _open_sqlite(parsed, wait)
    if parsed.drivername == "postgresql":  # SQLAlchemy would take psycopg2
        parsed = parsed.set(drivername="postgresql+psycopg")
    try:
        # No pool: a connection that waits between two steps is one more that a restarted server breaks.
        engine = sa.create_engine(parsed, isolation_level="READ COMMITTED", poolclass=sa.NullPool)
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "The database driver", "postgres") from error
    sa.event.listen(engine, "begin", lambda connection: _begin_postgres(connection, wait))
    with engine.begin() as connection:
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_OPENING})")
        _create(connection)
    return engine


def check_schema(connection: sa.Connection) -> None:
    """Find an append-only trigger that was taken away, switched off or rewritten since the ledger was opened.

    Raises:
        IntegrityError: names it.
    """
    if connection.dialect.name == "sqlite":
        query = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'entries'"
        expected = dict(_SQLITE_TRIGGERS)
    else:
        query = (
            "SELECT tgname, tgenabled::text || prosrc FROM pg_trigger JOIN pg_proc ON pg_proc.oid = tgfoid "
            "WHERE tgrelid = 'entries'::regclass AND NOT tgisinternal"
        )
        expected = dict.fromkeys(_POSTGRES_TRIGGERS, "O" + _POSTGRES_FUNCTION.split("$$")[1])
    found = {row[0]: row[1] for row in connection.exec_driver_sql(query)}
    wrong = sorted(name for name in {*found, *expected} if found.get(name) != expected.get(name))
    if wrong:
        raise IntegrityError(f"The ledger's trigger {wrong[0]} is not as it was made.")


def translated(error: SQLAlchemyError) -> EnvironmentFailure:
    """The error to raise for what SQLAlchemy raised, by the reaction that it asks for."""
    if isinstance(error, MultipleResultsFound):
        return IntegrityError("The ledger has a row twice that there is once: it was edited.")
    if not isinstance(error, DBAPIError):
        return EnvironmentFailure(f"The ledger cannot be used: {error}")
    text = str(error.orig).strip()
    state = str(getattr(error.orig, "sqlstate", None) or "")
    if state in _BUSY or "locked" in text or "busy" in text:
        return BusyError("Another process holds the ledger.", hint="Wait for it to end, then run again.")
    if any(sign in text for sign in ("malformed", "not a database", "append-only", "Could not decode")):
        return IntegrityError(f"The ledger is damaged: {text}")
    if state.startswith(_LOST) or error.connection_invalidated or (not state and "connection" in text):
        return EnvironmentFailure(
            f"The ledger's server cannot be reached: {text}",
            hint="Start it, then run again: a step that it had already written is not written twice.",
        )
    return EnvironmentFailure(f"The ledger cannot be used: {text}", hint="Free disk space or fix permissions.")


def _open_sqlite(parsed: sa.URL, wait: float) -> sa.Engine:
    from filelock import FileLock, Timeout

    path = Path(parsed.database or "")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(path.name + ".lock"), timeout=wait):
            engine = sa.create_engine(parsed, connect_args={"timeout": wait, "isolation_level": None})
            sa.event.listen(engine, "connect", _on_connect)
            sa.event.listen(engine, "begin", _begin_sqlite)
            with engine.connect().execution_options(sluice_write=False) as connection, connection.begin():
                made = _is_made(connection)
            if not made:
                with engine.connect().execution_options(sluice_write=True) as connection, connection.begin():
                    _create(connection)
    except Timeout as error:
        raise BusyError(f"{path}: another process is opening the ledger.") from error
    except OSError as error:
        raise EnvironmentFailure(f"{path}: the ledger cannot be opened: {error.strerror}") from error
    return engine


def _is_made(connection: sa.Connection) -> bool:
    """Is everything there, so that a reader need not wait for a writer just to open the ledger?"""
    found = set(connection.exec_driver_sql("SELECT name FROM sqlite_master").scalars())
    return {*SCHEMA.tables, *_SQLITE_TRIGGERS} <= found and connection.execute(sa.select(HEAD.c.id)).first() is not None


def _create(connection: sa.Connection) -> None:
    """Make what is absent; a table of entries that is there already keeps, or gets back, its triggers."""
    SCHEMA.create_all(connection)
    if connection.dialect.name == "sqlite":
        for statement in _SQLITE_TRIGGERS.values():
            connection.exec_driver_sql(statement.replace("CREATE TRIGGER", "CREATE TRIGGER IF NOT EXISTS", 1))
    else:
        _create_postgres_triggers(connection)
    if connection.execute(sa.select(HEAD.c.id)).first() is None:
        if connection.execute(sa.select(ENTRIES.c.sequence).limit(1)).first() is not None:
            raise IntegrityError("The ledger has entries but no head: it was edited.")
        connection.execute(sa.insert(HEAD).values(id=1, sequence=0, hash=GENESIS))


def _create_postgres_triggers(connection: sa.Connection) -> None:
    if connection.exec_driver_sql("SELECT to_regproc('sluice_append_only')").scalar() is None:
        connection.exec_driver_sql(_POSTGRES_FUNCTION)
    query = "SELECT tgname FROM pg_trigger WHERE tgrelid = 'entries'::regclass"
    known = {row[0] for row in connection.exec_driver_sql(query)}
    for name, statement in _POSTGRES_TRIGGERS.items():
        if name not in known:
            connection.exec_driver_sql(statement)


def _on_connect(connection: Any, _record: Any) -> None:
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")


def _begin_sqlite(connection: sa.Connection) -> None:
    write = connection.get_execution_options().get("sluice_write", True)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def _begin_postgres(connection: sa.Connection, wait: float) -> None:
    """A reader sees one moment, as SQLite's does; a writer waits no longer than `wait` and is told only what is on disk."""
    if connection.get_execution_options().get("sluice_write", True):
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = {max(1, round(wait * 1000))}")
        connection.exec_driver_sql("SET LOCAL synchronous_commit = on")
    else:
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
