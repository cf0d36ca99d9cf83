"""`TrafficLog`: prompts, answers and feedback of production; an acknowledged row stays."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from itertools import chain
from pathlib import Path
from threading import Lock
from weakref import WeakSet

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from sluicegate.database import open_engine, parse_url, transaction, translated
from sluicegate.errors import ConfigError, IntegrityError, UsageError
from sluicegate.traffic import erasing, parquet, people, reading
from sluicegate.traffic.group_commit import GroupCommit
from sluicegate.traffic.rows import (
    BATCH_BYTES,
    MAX_USER,
    Feedback,
    TrafficRow,
    batches,
    checked_feedback,
    checked_name,
    checked_row,
    from_microseconds,
)
from sluicegate.traffic.tables import (
    FEEDBACK,
    KIND,
    ROWS,
    SETTINGS,
    feedback_values,
    insert_new,
    row_values,
)

_GATHER = 0.002
_OPEN: WeakSet[TrafficLog] = WeakSet()


class TrafficLog:
    """The log at a database URL; made on first use, safe for any number of processes and threads.

    Args:
        url: `sqlite:////path/traffic.db`, or `postgresql://user@host/name` (extra `postgres`).
        key_file: where the key for the hashes of user names is, or will be made; by default
            `traffic.key` beside the SQLite file. `SLUICE_TRAFFIC_KEY` overrides it, and is needed
            with PostgreSQL.
        wait: seconds to wait for another process's transaction before `BusyError`.

    Raises (every method):
        BusyError: another process held the log for longer than `wait`.
        ConfigError: a user name was given and there is no key to hash it with.
        EnvironmentFailure: the disk is full, or the database cannot be opened or written.
        IntegrityError: the database is damaged, or the key is not the one that its names were
            hashed with.
        MissingExtraError: the driver of a PostgreSQL URL is not installed.
    """

    def __init__(self, url: str, *, key_file: Path | None = None, wait: float = 30.0) -> None:
        parsed = parse_url(url, KIND.name)
        if parsed.get_backend_name() not in ("sqlite", "postgresql"):
            raise ConfigError(
                f"a traffic log in {parsed.get_backend_name()} is not supported.",
                hint="Use sqlite or postgresql.",
            )
        if parsed.get_backend_name() == "sqlite" and parsed.database in (None, "", ":memory:"):
            raise ConfigError(
                "a traffic log in memory would be lost when the process ends.", hint="Name a file."
            )
        self._url = url
        self._file = Path(parsed.database or "") if parsed.get_backend_name() == "sqlite" else None
        self._key_file = key_file or (self._file.with_name("traffic.key") if self._file else None)
        self._wait = wait
        self._renew()
        _OPEN.add(self)

    def write(self, rows: Iterable[TrafficRow]) -> int:
        """Store rows; how many are new. When it returns they survive a kill or a power cut.

        A row whose key is in the log already is left out: the first one stays. Rows of several
        threads share a transaction. Where it raises, some batches of 1,000 rows may be stored:
        write all again, with the same keys.

        Raises:
            DataError: a row cannot be stored; the message names its key and field. Nothing of its
                batch is stored.
        """
        new = 0
        for batch, size in batches(rows):
            new += self._group.write([self._hashed(row) for row in batch], size)
        return new

    def attach(self, key: str, feedback: Feedback) -> bool:
        """Add feedback to the row `key`; False where exactly this feedback is there already.

        Raises:
            DataError: the feedback says nothing, or a field is wrong.
            UsageError: there is no such row.
        """
        checked_name("key", key)
        checked = self._hashed_feedback(checked_feedback(feedback))
        with self._transaction(write=True) as connection:
            # Where a server has row locks: a row that is being forgotten gets no feedback later.
            held = (
                sa.select(ROWS.c.id)
                .where(ROWS.c.key == key)
                .with_for_update(read=True, key_share=True)
            )
            number = connection.execute(held).scalar()
            if number is None:
                raise UsageError(
                    f"the traffic log has no row {key[:80]!a}.",
                    hint="`sluice traffic show` lists keys.",
                )
            return bool(
                insert_new(
                    connection,
                    FEEDBACK,
                    [feedback_values(number, key, checked)],
                    FEEDBACK.c.identity,
                )
            )

    def attach_from(self, rows: Iterable[TrafficRow]) -> int:
        """Add the feedback of `rows` to those in the log, in one transaction; how much is new.

        Feedback of its row's time has none of its own: it takes the time of the stored row, so that
        rows which are read again at another moment bring nothing new. Rows that are not in the log
        are passed over.

        Raises:
            DataError: a row cannot be stored.
        """
        given = [self._hashed(checked_row(row)) for row in rows if row.feedback]
        if not given:
            return 0
        with self._transaction(write=True) as connection:
            columns = (ROWS.c.key, ROWS.c.id, ROWS.c.time)
            held = sa.select(*columns).where(ROWS.c.key.in_({row.key for row in given}))
            stored = {
                row.key: row
                for row in connection.execute(held.with_for_update(read=True, key_share=True))
            }
            values = [
                feedback_values(found.id, row.key, timed)
                for row in given
                if (found := stored.get(row.key)) is not None
                for one in row.feedback
                for timed in [
                    replace(one, time=from_microseconds(found.time))
                    if one.time == row.time
                    else one
                ]
            ]
            return (
                len(insert_new(connection, FEEDBACK, values, FEEDBACK.c.identity)) if values else 0
            )

    def get(self, key: str) -> TrafficRow | None:
        """The row with this key and all feedback on it, or None."""
        checked_name("key", key)
        with self._transaction(write=False) as connection:
            return reading.find(connection, key)

    def window(
        self,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        last: int | None = None,
        release: str = "",
        commented: bool = False,
    ) -> Iterator[TrafficRow]:
        """Yield rows, oldest first, a few at a time: memory stays small, and no lock is held.

        Rows that are written while it runs are left out; rows erased meanwhile may be missing.

        Args:
            since, until: from this time on; before this one.
            last: only the newest so many of these.
            release: only rows answered by this release.
            commented: only rows with feedback on them.

        Raises:
            DataError: a time has no zone; `last` is negative.
        """
        limits = reading.Limits.of(
            since=since, until=until, last=last, release=release, commented=commented
        )
        with self._transaction(write=False) as connection:
            place = reading.start(connection, limits)
        while place is not None:
            with self._transaction(write=False) as connection:
                rows, place = reading.page(connection, limits, place)
            yield from rows

    def count(
        self,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        last: int | None = None,
        release: str = "",
    ) -> int:
        """How many rows `window` would yield."""
        limits = reading.Limits.of(since=since, until=until, last=last, release=release)
        with self._transaction(write=False) as connection:
            return reading.count(connection, limits)

    def export(
        self,
        path: Path,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        last: int | None = None,
        release: str = "",
    ) -> int:
        """Write the window to a Parquet file, replacing one that is there; how many rows.

        Raises:
            EnvironmentFailure: the disk refuses; a file that was there before stays as it was.
        """
        return parquet.write_rows(
            path, self.window(since=since, until=until, last=last, release=release)
        )

    def forget(self, *, user: str | None = None, before: datetime | None = None) -> int:
        """Erase a user's rows (and words on others' rows), or rows before a time; how many.

        With both: that user's rows before that time. What is erased from SQLite is overwritten in
        its files.

        Raises:
            UsageError: neither was given.
        """
        if not user and before is None:
            raise UsageError("say which rows to forget.", hint="Give a user, a time, or both.")
        person = self._person(checked_name("user", user, limit=MAX_USER)) if user else ""
        erased = erasing.forget(self._transaction, user=person, before=before)
        assert self._engine is not None
        erasing.empty_log(self._engine)
        return erased

    def close(self) -> None:
        """Close the connections; the next call opens new ones."""
        if self._engine is not None:
            self._engine.dispose()

    def _renew(self) -> None:
        self._opening = Lock()
        self._engine: sa.Engine | None = None
        self._key: bytes | None = None
        self._group: GroupCommit[TrafficRow] = GroupCommit(
            self._commit, gather=_GATHER, most=BATCH_BYTES
        )

    def _commit(self, batches: Sequence[Sequence[TrafficRow]]) -> list[int]:
        rows = list(chain.from_iterable(batches))
        with self._transaction(write=True) as connection:
            new = insert_new(
                connection, ROWS, [row_values(row) for row in rows], ROWS.c.key, ROWS.c.id
            )
            numbers = dict(new)
            said = [
                feedback_values(numbers[row.key], row.key, one)
                for row in _first(rows)
                if row.key in numbers
                for one in row.feedback
            ]
            if said:
                insert_new(connection, FEEDBACK, said, FEEDBACK.c.identity)
        return [sum(numbers.pop(row.key, None) is not None for row in batch) for batch in batches]

    def _hashed(self, row: TrafficRow) -> TrafficRow:
        if not row.user and not row.feedback:
            return row
        feedback = tuple(self._hashed_feedback(one) for one in row.feedback)
        return replace(row, user=self._person(row.user), feedback=feedback)

    def _hashed_feedback(self, feedback: Feedback) -> Feedback:
        return replace(feedback, by=self._person(feedback.by))

    def _person(self, name: str) -> str:
        if not name:
            return ""
        if self._key is None:
            key = people.read_key(self._key_file)
            with self._transaction(write=True) as connection:
                values = {"name": "key", "value": people.fingerprint(key)}
                insert_new(connection, SETTINGS, [values], SETTINGS.c.name)
                known = connection.execute(
                    sa.select(SETTINGS.c.value).where(SETTINGS.c.name == "key")
                ).scalar()
            if known != values["value"]:
                raise IntegrityError(
                    "The key for user names is not the one that this log was written with.",
                    hint=f"Restore {self._key_file or people.KEY_VARIABLE}: "
                    "with another key nobody's rows could be found and erased.",
                )
            self._key = key
        return people.hashed(name, self._key)

    @contextmanager
    def _transaction(self, *, write: bool) -> Iterator[sa.Connection]:
        try:
            with self._opening:
                if self._engine is None:
                    self._engine = open_engine(self._url, self._wait, KIND)
            with transaction(self._engine, write=write) as connection:
                yield connection
        except SQLAlchemyError as error:
            raise translated(error, KIND) from error


def _first(rows: Iterable[TrafficRow]) -> Iterable[TrafficRow]:
    """Of rows with the same key, the first: the one that is stored."""
    found: dict[str, TrafficRow] = {}
    for row in rows:
        found.setdefault(row.key, row)
    return found.values()


def _close_all() -> None:
    """A SQLite connection must not pass into a forked process."""
    for log in list(_OPEN):
        log.close()


def _renew_all() -> None:
    for log in list(_OPEN):
        log._renew()


os.register_at_fork(before=_close_all, after_in_child=_renew_all)
