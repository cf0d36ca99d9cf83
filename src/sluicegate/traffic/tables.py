"""The tables of the traffic log, and a row on its way in and out of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert as postgresql_insert

from sluicegate.database import Kind
from sluicegate.errors import IntegrityError
from sluicegate.traffic.rows import (
    Feedback,
    TrafficRow,
    feedback_identity,
    from_microseconds,
    microseconds,
)

SCHEMA = sa.MetaData()
# SQLite numbers only INTEGER keys by itself
_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")
ROWS = sa.Table(
    "traffic",
    SCHEMA,
    sa.Column("id", _ID, primary_key=True, autoincrement=True),
    sa.Column("key", sa.Text, nullable=False, unique=True),
    sa.Column("time", sa.BigInteger, nullable=False),
    sa.Column("prompt", sa.Text, nullable=False),
    sa.Column("response", sa.Text, nullable=False),
    sa.Column("release", sa.Text, nullable=False),
    sa.Column("conversation", sa.Text, nullable=False),
    sa.Column("latency", sa.Double, nullable=True),
    sa.Column("prompt_tokens", sa.Integer, nullable=True),
    sa.Column("completion_tokens", sa.Integer, nullable=True),
    sa.Column("person", sa.Text, nullable=False),
    sa.Column("inputs", sa.Text, nullable=False),
    sa.Index("traffic_time", "time", "id"),
    sa.Index("traffic_person", "person"),
)
FEEDBACK = sa.Table(
    "feedback",
    SCHEMA,
    sa.Column("id", _ID, primary_key=True, autoincrement=True),
    sa.Column("row", sa.BigInteger, nullable=False, index=True),
    sa.Column("identity", sa.Text, nullable=False, unique=True),
    sa.Column("time", sa.BigInteger, nullable=False),
    sa.Column("thumb", sa.Integer, nullable=True),
    sa.Column("score", sa.Double, nullable=True),
    sa.Column("correction", sa.Text, nullable=False),
    sa.Column("label", sa.Text, nullable=False),
    sa.Column("person", sa.Text, nullable=False),
    sa.Index("feedback_person", "person"),
)
SETTINGS = sa.Table(
    "traffic_settings",
    SCHEMA,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)


_SAME = ("key", "prompt", "response", "release", "latency", "prompt_tokens", "completion_tokens")
_SAID = ("thumb", "score", "correction", "label")
"""Columns called as the fields that they hold."""


def _is_made(connection: sa.Connection) -> bool:
    found = set(connection.exec_driver_sql("SELECT name FROM sqlite_master").scalars())
    return set(SCHEMA.tables) <= found


KIND = Kind("traffic log", 7482904, _is_made, SCHEMA.create_all, private=True)


def row_values(row: TrafficRow) -> dict[str, Any]:
    """What the table holds of a checked row with a hashed user, without its feedback."""
    return {
        **{name: getattr(row, name) for name in _SAME},
        "time": microseconds(row.time),
        "conversation": row.group,
        "person": row.user,
        "inputs": json.dumps(dict(row.inputs), ensure_ascii=False) if row.inputs else "",
    }


def feedback_values(number: int, key: str, feedback: Feedback) -> dict[str, Any]:
    """What the table holds of feedback with a hashed `by` on row `key`, whose id is `number`."""
    return {
        "row": number,
        "identity": feedback_identity(key, feedback),
        **{name: getattr(feedback, name) for name in _SAID},
        "time": microseconds(feedback.time),
        "person": feedback.by,
    }


def row_of(values: Mapping[str, Any], feedback: tuple[Feedback, ...]) -> TrafficRow:
    """The row that was stored.

    Raises:
        IntegrityError: the values are not what this module writes.
    """
    try:
        return TrafficRow(
            **{name: values[name] for name in _SAME},
            time=from_microseconds(values["time"]),
            group=values["conversation"],
            user=values["person"],
            inputs=json.loads(values["inputs"]) if values["inputs"] else {},
            feedback=feedback,
        )
    except (TypeError, ValueError, OverflowError) as error:
        raise IntegrityError(f"The traffic log is damaged: row {values['id']}: {error}") from error


def feedback_of(values: Mapping[str, Any]) -> Feedback:
    """The feedback that was stored.

    Raises:
        IntegrityError: the values are not what this module writes.
    """
    try:
        return Feedback(
            **{name: values[name] for name in _SAID},
            time=from_microseconds(values["time"]),
            by=values["person"],
        )
    except (TypeError, ValueError, OverflowError) as error:
        raise IntegrityError(
            f"The traffic log is damaged: feedback {values['id']}: {error}"
        ) from error


def insert_new(
    connection: sa.Connection,
    table: sa.Table,
    values: list[dict[str, Any]],
    unique: Any,
    *more: Any,
) -> Sequence[Any]:
    """Insert what is not there yet and return, of each new one, its unique column and `more`."""
    statement: sa.Insert = sa.insert(table).prefix_with("OR IGNORE", dialect="sqlite")
    # SQLite has this too, but SQLAlchemy compiles it anew each time
    if connection.dialect.name != "sqlite":
        statement = postgresql_insert(table).on_conflict_do_nothing(index_elements=[unique])
    return connection.execute(statement.returning(unique, *more), values).all()
