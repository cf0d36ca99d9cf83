"""The ledger: who let which release serve, when, on what evidence; append-only, hash-chained, a transaction a step.

    entries   one row per step; `hash` covers the row and the hash of the row before
    head      one row: sequence and hash of the last entry, so that a cut-off tail is noticed
    champion  one row or none: which release serves; moved together with its entry, by compare-and-set on `epoch`

SQLite (WAL, synchronous=FULL) by default; any SQLAlchemy URL with row locks (PostgreSQL) works the same way.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from sluicegate.errors import BusyError, EnvironmentFailure, IntegrityError, StaleEpochError, UsageError
from sluicegate.hashing import canonical_json, digest_value
from sluicegate.records import Champion, LedgerEntry

GENESIS = "0" * 64
MOVES = ("bootstrap", "promote", "rollback")
Guard = Callable[[Sequence[LedgerEntry], Champion | None], object]

_SCHEMA = sa.MetaData()
_ENTRIES = sa.Table(
    "entries",
    _SCHEMA,
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
_HEAD = sa.Table(
    "head",
    _SCHEMA,
    sa.Column("id", sa.Integer, sa.CheckConstraint("id = 1"), primary_key=True, autoincrement=False),
    sa.Column("sequence", sa.Integer, nullable=False),
    sa.Column("hash", sa.Text, nullable=False),
)
_CHAMPION = sa.Table(
    "champion",
    _SCHEMA,
    sa.Column("id", sa.Integer, sa.CheckConstraint("id = 1"), primary_key=True, autoincrement=False),
    sa.Column("release", sa.Text, nullable=False),
    sa.Column("epoch", sa.Integer, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
)
_APPEND_ONLY = tuple(
    f"CREATE TRIGGER IF NOT EXISTS no_{verb} BEFORE {verb} ON entries BEGIN SELECT RAISE(ABORT, 'append-only'); END"
    for verb in ("UPDATE", "DELETE")
)


class Ledger:
    """One ledger at a database URL; made on first use, safe for any number of processes and threads.

    Args:
        url: SQLAlchemy URL, e.g. `sqlite:////path/ledger.db`.
        clock: gives the time of an entry; recorded in UTC.
        wait: seconds to wait for another process's transaction before `BusyError`.

    Raises (every method):
        BusyError: another process held the ledger for longer than `wait`.
        EnvironmentFailure: the disk is full, or the database cannot be opened or written; nothing was changed.
        IntegrityError: the database is damaged.
    """

    def __init__(self, url: str, *, clock: Callable[[], datetime] | None = None, wait: float = 30.0) -> None:
        self._url = url
        self._clock = clock or (lambda: datetime.now(UTC))
        self._wait = wait
        self._engine: sa.Engine | None = None

    def append(
        self, kind: str, release: str, actor: str, payload: Mapping[str, Any], *, unless_same: Sequence[str] = ()
    ) -> LedgerEntry:
        """Add one entry that does not move the champion, and return it.

        Args:
            unless_same: payload fields; when the last entry of this kind and release has equal values in all
                of them it is returned instead, which makes a re-run a no-op.

        Raises:
            UsageError: the kind moves the champion, the actor is empty, or the payload is not JSON.
        """
        if kind in MOVES:
            raise UsageError(f"{kind!r} entries are written by move_champion only.")
        text = _payload_text(payload)
        with self._transaction(write=True) as connection:
            before = _read(connection, kind=kind, release=release) if unless_same else []
            if before:
                fresh = json.loads(text)
                if all(before[-1].payload.get(name) == fresh.get(name) for name in unless_same):
                    return before[-1]
            pointer = _champion(connection)
            return self._insert(connection, kind, release, actor, text, pointer.epoch if pointer else 0)

    def move_champion(
        self,
        to: str,
        version: int,
        expected_epoch: int,
        kind: str,
        actor: str,
        payload: Mapping[str, Any],
        *,
        guard: Guard | None = None,
    ) -> LedgerEntry:
        """Point the champion at release `to` and record it, both or neither.

        Args:
            expected_epoch: the epoch the caller has seen; 0 when there was no champion.
            kind: bootstrap, promote or rollback.
            guard: called inside the transaction with all entries of `to`, all moves, and the current champion;
                what it raises undoes the move, so a check and the move are one step.

        Raises:
            StaleEpochError: the pointer moved since `expected_epoch` was read; nothing was changed.
            UsageError: unknown kind, empty actor, or a payload that is not JSON.
        """
        if kind not in MOVES:
            raise UsageError(f"{kind!r} does not move the champion; {', '.join(MOVES)} do.")
        text = _payload_text({**payload, "version": version})
        with self._transaction(write=True) as connection:
            pointer = _champion(connection)
            epoch = pointer.epoch if pointer else 0
            if epoch != expected_epoch:
                raise StaleEpochError(
                    f"The champion is at epoch {epoch}, not {expected_epoch}: somebody else moved it.",
                    hint="Judge the candidate again, against the champion of now.",
                )
            if guard is not None:
                guard(_read(connection, release=to, moves=True), pointer)
            values = {"release": to, "epoch": epoch + 1, "version": version}
            if pointer is None:
                connection.execute(sa.insert(_CHAMPION).values(id=1, **values))
            elif connection.execute(sa.update(_CHAMPION).where(_CHAMPION.c.epoch == epoch).values(values)).rowcount < 1:
                raise StaleEpochError("The champion moved during this transaction.")
            return self._insert(connection, kind, to, actor, text, epoch + 1)

    def champion(self) -> Champion | None:
        """The release that serves, or None before the first bootstrap."""
        with self._transaction(write=False) as connection:
            return _champion(connection)

    def entries(self, kind: str | None = None, release: str | None = None) -> list[LedgerEntry]:
        """Entries in order, oldest first; of one kind and/or release when given."""
        with self._transaction(write=False) as connection:
            return _read(connection, kind=kind, release=release)

    def head(self) -> tuple[int, str]:
        """Sequence and hash of the last entry, to anchor elsewhere; (0, 64 zeros) when empty."""
        with self._transaction(write=False) as connection:
            return _head(connection)

    def verify(self, *, anchor: tuple[int, str] | None = None) -> None:
        """Check every hash, link, epoch, the head and the champion pointer.

        Raises:
            IntegrityError: names the first entry that is not as it was written; or `anchor`, a `head()` kept
                somewhere else, is no longer part of the chain.
        """
        with self._transaction(write=False) as connection:
            if connection.dialect.name == "sqlite":
                answer = connection.exec_driver_sql("PRAGMA integrity_check").scalar()
                if answer != "ok":
                    raise IntegrityError(f"The ledger file is damaged: {answer}")
            entries = _read(connection)
            head, pointer = _head(connection), _champion(connection)
        _verify_chain(entries)
        last = (entries[-1].sequence, entries[-1].hash) if entries else (0, GENESIS)
        if head != last:
            raise IntegrityError(f"The ledger ends at entry {last[0]}, but entry {head[0]} was written.")
        if anchor is not None and anchor[0] and anchor not in {(entry.sequence, entry.hash) for entry in entries}:
            raise IntegrityError(f"Entry {anchor[0]}, anchored elsewhere, is not in this ledger.")
        moves = [entry for entry in entries if entry.kind in MOVES]
        expected = Champion(moves[-1].release, moves[-1].epoch, moves[-1].payload["version"]) if moves else None
        if pointer != expected:
            raise IntegrityError(f"The champion pointer is {pointer}, the last recorded move says {expected}.")

    def _insert(
        self, connection: sa.Connection, kind: str, release: str, actor: str, payload: str, epoch: int
    ) -> LedgerEntry:
        if not actor.strip():
            raise UsageError("Every ledger entry needs an actor.", hint="Set SLUICE_ACTOR or git's user.name.")
        sequence, previous = _head(connection)
        last = _read(connection, last=True)
        if (last[-1].sequence, last[-1].hash) != (sequence, previous) if last else sequence != 0:
            raise IntegrityError("The end of the ledger is not what was written.", hint="Run `sluice verify`.")
        row: dict[str, Any] = {
            "sequence": sequence + 1,
            "time": self._clock().astimezone(UTC).isoformat(timespec="microseconds"),
            "actor": actor,
            "kind": kind,
            "release": release,
            "epoch": epoch,
            "payload": payload,
            "previous": previous,
        }
        row["hash"] = digest_value(row)
        connection.execute(sa.insert(_ENTRIES).values(**row))
        connection.execute(sa.update(_HEAD).where(_HEAD.c.id == 1).values(sequence=row["sequence"], hash=row["hash"]))
        return LedgerEntry(**{**row, "payload": json.loads(payload)})

    @contextmanager
    def _transaction(self, *, write: bool) -> Iterator[sa.Connection]:
        try:
            if self._engine is None:
                self._engine = _open(self._url, self._wait)
            with self._engine.connect().execution_options(sluice_write=write) as connection, connection.begin():
                if write:
                    _head(connection, lock=True)  # writers wait here for each other where the database has row locks
                yield connection
        except DBAPIError as error:
            raise _translated(error) from error
        except SQLAlchemyError as error:
            raise EnvironmentFailure(f"The ledger at {self._url} cannot be used: {error}") from error


def _open(url: str, wait: float) -> sa.Engine:
    parsed = sa.engine.make_url(url)
    if parsed.get_backend_name() != "sqlite":
        engine = sa.create_engine(parsed, isolation_level="READ COMMITTED", pool_pre_ping=True)
        with engine.begin() as connection:
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7482903)")
            _create(connection)
        return engine
    from filelock import FileLock, Timeout

    path = Path(parsed.database or "")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(path.name + ".lock"), timeout=wait):
            engine = sa.create_engine(parsed, connect_args={"timeout": wait, "isolation_level": None})
            sa.event.listen(engine, "connect", _on_connect)
            sa.event.listen(engine, "begin", _on_begin)
            with engine.connect().execution_options(sluice_write=True) as connection, connection.begin():
                _create(connection)
                for statement in _APPEND_ONLY:
                    connection.exec_driver_sql(statement)
    except Timeout as error:
        raise BusyError(f"{path}: another process is opening the ledger.") from error
    except OSError as error:
        raise EnvironmentFailure(f"{path}: the ledger cannot be opened: {error.strerror}") from error
    return engine


def _create(connection: sa.Connection) -> None:
    _SCHEMA.create_all(connection)
    if connection.execute(sa.select(_HEAD.c.id)).first() is None:
        if connection.execute(sa.select(_ENTRIES.c.sequence).limit(1)).first() is not None:
            raise IntegrityError("The ledger has entries but no head: it was edited.")
        connection.execute(sa.insert(_HEAD).values(id=1, sequence=0, hash=GENESIS))


def _on_connect(connection: Any, _record: Any) -> None:
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")


def _on_begin(connection: sa.Connection) -> None:
    write = connection.get_execution_options().get("sluice_write", True)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def _translated(error: DBAPIError) -> EnvironmentFailure:
    text = str(error.orig)
    if "locked" in text or "busy" in text:
        return BusyError("Another process holds the ledger.", hint="Wait for it to end, then run again.")
    if "malformed" in text or "not a database" in text or "append-only" in text:
        return IntegrityError(f"The ledger is damaged: {text}")
    return EnvironmentFailure(f"The ledger cannot be used: {text}", hint="Free disk space or fix permissions.")


def _payload_text(payload: Mapping[str, Any]) -> str:
    try:
        text = canonical_json(dict(payload))
        text.encode("utf-8")
    except (TypeError, ValueError) as error:
        raise UsageError(f"A ledger payload must be plain JSON: {error}") from error
    return text


def _champion(connection: sa.Connection) -> Champion | None:
    row = connection.execute(sa.select(_CHAMPION.c.release, _CHAMPION.c.epoch, _CHAMPION.c.version)).one_or_none()
    return Champion(row.release, row.epoch, row.version) if row is not None else None


def _head(connection: sa.Connection, *, lock: bool = False) -> tuple[int, str]:
    query = sa.select(_HEAD.c.sequence, _HEAD.c.hash)
    row = connection.execute(query.with_for_update() if lock else query).one_or_none()
    if row is None:
        raise IntegrityError("The ledger has no head: it was edited.")
    return row.sequence, row.hash


def _read(
    connection: sa.Connection,
    *,
    kind: str | None = None,
    release: str | None = None,
    moves: bool = False,
    last: bool = False,
) -> list[LedgerEntry]:
    query = sa.select(_ENTRIES).order_by(_ENTRIES.c.sequence)
    if kind is not None:
        query = query.where(_ENTRIES.c.kind == kind)
    if release is not None:
        chosen = _ENTRIES.c.release == release
        query = query.where(sa.or_(chosen, _ENTRIES.c.kind.in_(MOVES)) if moves else chosen)
    if last:
        query = sa.select(_ENTRIES).order_by(_ENTRIES.c.sequence.desc()).limit(1)
    return [_entry(dict(row._mapping)) for row in connection.execute(query)]


def _entry(row: dict[str, Any]) -> LedgerEntry:
    """The record of one stored row, its hash checked."""
    stored = row.pop("hash")
    try:
        payload = json.loads(row["payload"])
        found = digest_value(row)
    except (TypeError, ValueError) as error:
        raise IntegrityError(f"Ledger entry {row['sequence']} cannot be read: {error}") from error
    if stored != found or not isinstance(payload, dict):
        raise IntegrityError(f"Ledger entry {row['sequence']} is not what was written: its hash does not match.")
    return LedgerEntry(**{**row, "payload": payload, "hash": stored})


def _verify_chain(entries: Sequence[LedgerEntry]) -> None:
    previous, epoch = GENESIS, 0
    for position, entry in enumerate(entries, start=1):
        epoch += entry.kind in MOVES
        if entry.sequence != position or entry.previous != previous:
            raise IntegrityError(f"Ledger entry {position} is missing, inserted or out of order.")
        if entry.epoch != epoch:
            raise IntegrityError(f"Ledger entry {position} has epoch {entry.epoch}; {epoch} moves were recorded.")
        previous = entry.hash
