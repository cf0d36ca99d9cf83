"""The ledger's database: its tables and append-only triggers; how any database is opened is in
`sluicegate.database`.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from sluicegate import database
from sluicegate.errors import EnvironmentFailure, IntegrityError

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
    sa.Column(
        "id", sa.Integer, sa.CheckConstraint("id = 1"), primary_key=True, autoincrement=False
    ),
    sa.Column("sequence", sa.Integer, nullable=False),
    sa.Column("hash", sa.Text, nullable=False),
)
CHAMPION = sa.Table(
    "champion",
    SCHEMA,
    sa.Column(
        "id", sa.Integer, sa.CheckConstraint("id = 1"), primary_key=True, autoincrement=False
    ),
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


def open_engine(url: str, wait: float) -> sa.Engine:
    """An engine for the ledger at `url`, its tables and triggers made.

    Args:
        wait: seconds to wait for another process's transaction.

    Raises:
        BusyError, EnvironmentFailure, IntegrityError: see `Ledger`.
        MissingExtraError: the driver of a PostgreSQL URL is not installed.
    """
    return database.open_engine(url, wait, _KIND)


def check_schema(connection: sa.Connection) -> None:
    """Find an append-only trigger that was taken away, switched off or rewritten since the ledger
    was opened.

    Raises:
        IntegrityError: names it.
    """
    if connection.dialect.name == "sqlite":
        query = (
            "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'entries'"
        )
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
        raise IntegrityError(f"The ledger's trigger {wrong[0]} is not as it was created.")


def translated(error: SQLAlchemyError) -> EnvironmentFailure:
    """The error to raise for what SQLAlchemy raised, by the reaction that it asks for."""
    return database.translated(error, _KIND)


def _is_made(connection: sa.Connection) -> bool:
    """Is everything there, so that a reader need not wait for a writer just to open the ledger?"""
    found = set(connection.exec_driver_sql("SELECT name FROM sqlite_master").scalars())
    return {*SCHEMA.tables, *_SQLITE_TRIGGERS} <= found and connection.execute(
        sa.select(HEAD.c.id)
    ).first() is not None


def _create(connection: sa.Connection) -> None:
    """Make what is absent; a table of entries that is there already keeps, or gets back, its
    triggers.
    """
    SCHEMA.create_all(connection)
    if connection.dialect.name == "sqlite":
        for statement in _SQLITE_TRIGGERS.values():
            connection.exec_driver_sql(
                statement.replace("CREATE TRIGGER", "CREATE TRIGGER IF NOT EXISTS", 1)
            )
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


_KIND = database.Kind("ledger", _OPENING, _is_made, _create)
