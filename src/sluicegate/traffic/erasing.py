"""Forgetting: a user's rows, or rows older than a date, are taken out for good."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from datetime import datetime

import sqlalchemy as sa

from sluicegate.errors import BusyError, EnvironmentFailure
from sluicegate.traffic.rows import microseconds
from sluicegate.traffic.tables import FEEDBACK, ROWS

_AT_ONCE = 2_000


def forget(
    transaction: Callable[..., AbstractContextManager[sa.Connection]],
    *,
    user: str,
    before: datetime | None,
) -> int:
    """Erase rows and their feedback, 2,000 a transaction for waiting writers; how many rows.

    Args:
        transaction: opens one; `write` says which.
        user: the hash of a user's name; empty for all users.
    """
    rows = [ROWS.c.person == user] if user else []
    said = [FEEDBACK.c.person == user] if user else []
    if before is not None:
        rows.append(ROWS.c.time < microseconds(before))
        said.append(FEEDBACK.c.time < microseconds(before))
    erased = 0
    while True:
        with transaction(write=True) as connection:
            _overwrite(connection)
            chosen = sa.select(ROWS.c.id).where(*rows).limit(_AT_ONCE)
            numbers = connection.execute(chosen).scalars().all()
            if not numbers:
                if user:
                    connection.execute(sa.delete(FEEDBACK).where(*said))
                break
            erased += connection.execute(sa.delete(ROWS).where(ROWS.c.id.in_(numbers))).rowcount
            connection.execute(sa.delete(FEEDBACK).where(FEEDBACK.c.row.in_(numbers)))
    return erased


def _overwrite(connection: sa.Connection) -> None:
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("PRAGMA secure_delete=ON")


def empty_log(engine: sa.Engine) -> None:
    """Move what SQLite's write-ahead log still holds into the database and cut it off.

    Raises:
        BusyError: a reader kept it.
        EnvironmentFailure: the disk refuses.
    """
    if engine.dialect.name != "sqlite":
        return
    try:
        # no transaction: a checkpoint cannot run in one
        with closing(engine.raw_connection()) as connection:
            cursor = connection.cursor()
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            busy = (cursor.fetchone() or [0])[0]
    except sqlite3.Error as error:
        raise EnvironmentFailure(
            f"The traffic log cannot be used: {error}", hint="Free disk space."
        ) from error
    if busy:
        raise BusyError(
            "The rows are erased, but a reader still keeps their bytes in the write-ahead log.",
            hint="Run it again when nobody is reading.",
        )
