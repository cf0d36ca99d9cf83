"""Reading the traffic log a page at a time, in the order of time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import sqlalchemy as sa

from sluicegate.errors import DataError
from sluicegate.traffic.rows import Feedback, TrafficRow, checked_name, microseconds
from sluicegate.traffic.tables import FEEDBACK, ROWS, feedback_of, row_of

_PAGE_ROWS = 500
_PAGE_CHARACTERS = 4 << 20
_FETCH = 20


@dataclass(frozen=True, slots=True)
class Limits:
    """Which rows: microseconds since 1970, `until` exclusive; `commented`: with feedback."""

    since: int | None
    until: int | None
    last: int | None
    release: str
    commented: bool = False

    @classmethod
    def of(
        cls,
        *,
        since: datetime | None,
        until: datetime | None,
        last: int | None,
        release: str,
        commented: bool = False,
    ) -> Limits:
        """From what a caller gives.

        Raises:
            DataError: a time without a zone; `last` is negative; `release` is no name.
        """
        if last is not None and last < 0:
            raise DataError(f"last: {last} rows cannot be read.")
        times = [None if time is None else microseconds(time) for time in (since, until)]
        return cls(times[0], times[1], last, checked_name("release", release), commented)

    @property
    def where(self) -> list[sa.ColumnElement[bool]]:
        """The conditions without `last`."""
        found: list[sa.ColumnElement[bool]] = []
        if self.since is not None:
            found.append(ROWS.c.time >= self.since)
        if self.until is not None:
            found.append(ROWS.c.time < self.until)
        if self.release:
            found.append(ROWS.c.release == self.release)
        if self.commented:
            found.append(ROWS.c.id.in_(sa.select(FEEDBACK.c.row)))
        return found


@dataclass(frozen=True, slots=True)
class Place:
    """Where the next page begins (after time and id), and the greatest id at the start."""

    time: int
    id: int
    newest: int


def count(connection: sa.Connection, limits: Limits) -> int:
    """How many rows there are within the limits."""
    found = connection.execute(
        sa.select(sa.func.count()).select_from(ROWS).where(*limits.where)
    ).scalar_one()
    return found if limits.last is None else min(found, limits.last)


def start(connection: sa.Connection, limits: Limits) -> Place | None:
    """Where to begin; None where there is nothing to read."""
    newest = connection.execute(sa.select(sa.func.max(ROWS.c.id))).scalar()
    if newest is None or limits.last == 0:
        return None
    if limits.last is None:
        return Place(-1, -1, newest)
    oldest = (
        sa.select(ROWS.c.time, ROWS.c.id)
        .where(*limits.where)
        .order_by(ROWS.c.time.desc(), ROWS.c.id.desc())
        .offset(limits.last - 1)
        .limit(1)
    )
    found = connection.execute(oldest).first()
    return Place(-1, -1, newest) if found is None else Place(found.time, found.id - 1, newest)


def page(
    connection: sa.Connection, limits: Limits, place: Place
) -> tuple[list[TrafficRow], Place | None]:
    """The rows after `place`, at most 500 and a few MB, and where to go on; None at the end."""
    after = sa.or_(
        ROWS.c.time > place.time, sa.and_(ROWS.c.time == place.time, ROWS.c.id > place.id)
    )
    floor = ROWS.c.time >= place.time  # the same again, so that the index is used
    query = (
        sa.select(ROWS)
        .where(*limits.where, floor, after, ROWS.c.id <= place.newest)
        .order_by(ROWS.c.time, ROWS.c.id)
        .limit(_PAGE_ROWS)
    )
    found: list[sa.Row[tuple[object, ...]]] = []
    size, whole = 0, True
    with connection.execution_options(stream_results=True).execute(query) as result:
        while whole and (some := result.fetchmany(_FETCH)):
            found += some
            size += sum(len(row.prompt) + len(row.response) + len(row.inputs) for row in some)
            whole = size < _PAGE_CHARACTERS
    if not found:
        return [], None
    end = found[-1]
    following = (
        None if whole and len(found) < _PAGE_ROWS else replace(place, time=end.time, id=end.id)
    )
    return _with_feedback(connection, found), following


def find(connection: sa.Connection, key: str) -> TrafficRow | None:
    """The row with this key."""
    found = connection.execute(sa.select(ROWS).where(ROWS.c.key == key)).all()
    return _with_feedback(connection, found)[0] if found else None


def _with_feedback(
    connection: sa.Connection, rows: Sequence[sa.Row[tuple[object, ...]]]
) -> list[TrafficRow]:
    said: dict[int, list[Feedback]] = defaultdict(list)
    query = sa.select(FEEDBACK).where(FEEDBACK.c.row.in_([row.id for row in rows]))
    for one in connection.execute(query.order_by(FEEDBACK.c.time, FEEDBACK.c.id)):
        said[one.row].append(feedback_of(one._asdict()))
    return [row_of(row._asdict(), tuple(said.get(row.id, ()))) for row in rows]
