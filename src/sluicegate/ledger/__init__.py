"""The ledger: who let which release serve, when, on what evidence; append-only and hash-chained.

    entries   one row per step; `hash` covers the row and the hash of the row before
    head      one row: sequence and hash of the last entry, so that a cut-off tail is noticed
    champion  one row or none: which release serves; moved with its entry, by compare-and-set on
        `epoch`

Each step is one transaction. SQLite (WAL, synchronous=FULL) by default, PostgreSQL by URL;
`database` holds what
differs between them. A project's ledger is opened with `open_ledger`, which keeps its last head in
the store as well
(`witness`): a ledger that was deleted, set back or swapped is not written on as if it were the one
known here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from sluicegate.database import transaction
from sluicegate.errors import IntegrityError, StaleEpochError, UsageError
from sluicegate.hashing import canonical_json, digest_value
from sluicegate.ledger import reading, witness
from sluicegate.ledger.database import (
    CHAMPION,
    ENTRIES,
    GENESIS,
    HEAD,
    check_schema,
    open_engine,
    translated,
)
from sluicegate.ledger.reading import MOVES, NEW, Head
from sluicegate.project import Project
from sluicegate.records import Champion, LedgerEntry

__all__ = ["LOST_HINT", "MOVES", "NEW", "Guard", "Ledger", "open_ledger"]

LOST_HINT = (
    "Restore the ledger from a backup; where it is kept elsewhere, name it: SLUICE_LEDGER_URL. "
    "A person may begin anew, on the record: `sluice ledger new --reason WHY`."
)
Guard = Callable[[Sequence[LedgerEntry], Champion | None], object]


def open_ledger(project: Project) -> Ledger:
    """The ledger of a project, with the head that this machine saw last as its witness."""
    return Ledger(project.ledger_url, witness=project.ledger_witness)


class Ledger:
    """One ledger at a database URL; made on first use, safe for any number of processes and
    threads.

    Args:
        url: SQLAlchemy URL: `sqlite:////path/ledger.db` or `postgresql://user@host/name`.
        clock: gives the time of an entry; recorded in UTC.
        wait: seconds to wait for another process's transaction before `BusyError`.
        witness: file with the head that was written last; a ledger without it is not written.

    Raises (every method):
        BusyError: another process held the ledger for longer than `wait`.
        EnvironmentFailure: the disk is full, or the database cannot be opened or written; nothing
            was changed, unless a server was lost just while it committed: whether the step was
            made shows when it is run again.
        IntegrityError: the database is damaged, or not the one that the witness saw.
        MissingExtraError: the driver of a PostgreSQL URL is not installed.
    """

    def __init__(
        self,
        url: str,
        *,
        clock: Callable[[], datetime] | None = None,
        wait: float = 30.0,
        witness: Path | None = None,
    ) -> None:
        self._url = url
        self._witness = witness
        self._clock = clock or (lambda: datetime.now(UTC))
        self._wait = wait
        self._engine: sa.Engine | None = None

    def append(
        self,
        kind: str,
        release: str,
        actor: str,
        payload: Mapping[str, Any],
        *,
        unless_same: Sequence[str] = (),
    ) -> LedgerEntry:
        """Add one entry that does not move the champion, and return it.

        Args:
            unless_same: payload fields; when the last entry of this kind and release has equal
                values in all
                of them it is returned instead, which makes a re-run a no-op.

        Raises:
            UsageError: the kind moves the champion, the actor is empty, or the payload is not JSON.
        """
        if kind in MOVES:
            raise UsageError(f"{kind!r} entries are written by move_champion only.")
        text = _payload_text(payload)
        with self._transaction(write=True, anew=kind == NEW) as connection:
            before = reading.read(connection, kind=kind, release=release) if unless_same else []
            if before:
                fresh = json.loads(text)
                if all(before[-1].payload.get(name) == fresh.get(name) for name in unless_same):
                    return before[-1]
            pointer = reading.champion(connection)
            return self._insert(
                connection, kind, release, actor, text, pointer.epoch if pointer else 0
            )

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
            guard: called inside the transaction with all entries of `to`, all moves, and the
                current champion;
                what it raises undoes the move, so a check and the move are one step.

        Raises:
            StaleEpochError: the pointer moved since `expected_epoch` was read; nothing was changed.
            UsageError: unknown kind, empty actor, or a payload that is not JSON.
        """
        if kind not in MOVES:
            raise UsageError(f"{kind!r} does not move the champion; {', '.join(MOVES)} do.")
        text = _payload_text({**payload, "version": version})
        with self._transaction(write=True) as connection:
            pointer = reading.champion(connection)
            epoch = pointer.epoch if pointer else 0
            if epoch != expected_epoch:
                raise StaleEpochError(
                    f"The champion is at epoch {epoch}, not {expected_epoch}: somebody else moved "
                    "it.",
                    hint="Judge the candidate again, against the current champion.",
                )
            if guard is not None:
                guard(reading.read(connection, release=to, moves=True), pointer)
            values = {"release": to, "epoch": epoch + 1, "version": version}
            if pointer is None:
                connection.execute(sa.insert(CHAMPION).values(id=1, **values))
            elif (
                connection.execute(
                    sa.update(CHAMPION).where(CHAMPION.c.epoch == epoch).values(values)
                ).rowcount
                < 1
            ):
                raise StaleEpochError("The champion moved during this transaction.")
            return self._insert(connection, kind, to, actor, text, epoch + 1)

    def champion(self) -> Champion | None:
        """The release that serves, or None before the first move."""
        with self._transaction(write=False) as connection:
            return reading.champion(connection)

    def entries(self, kind: str | None = None, release: str | None = None) -> list[LedgerEntry]:
        """Entries in order, oldest first; of one kind and/or release when given."""
        with self._transaction(write=False) as connection:
            return reading.read(connection, kind=kind, release=release)

    def head(self) -> tuple[int, str]:
        """Sequence and hash of the last entry, to anchor elsewhere; (0, 64 zeros) when empty."""
        with self._transaction(write=False) as connection:
            return reading.head(connection)

    def strangers(self, heads: Iterable[Head]) -> list[Head]:
        """Those of `heads` that are no entry of this ledger, nor were given up by a person."""
        with self._transaction(write=False) as connection:
            return reading.strangers(connection, heads)

    def verify(self, *, anchor: tuple[int, str] | None = None) -> None:
        """Check every hash, link, epoch, the head and the champion pointer.

        Raises:
            IntegrityError: names the first entry that is not as it was written; or `anchor`, a
                `head()` kept
                somewhere else, is no longer part of the chain.
        """
        with self._transaction(write=False) as connection:
            if connection.dialect.name == "sqlite":
                answer = connection.exec_driver_sql("PRAGMA integrity_check").scalar()
                if answer != "ok":
                    raise IntegrityError(f"The ledger file is damaged: {answer}")
            check_schema(connection)
            entries = reading.read(connection)
            head, pointer = reading.head(connection), reading.champion(connection)
        reading.verify_chain(entries)
        last = (entries[-1].sequence, entries[-1].hash) if entries else (0, GENESIS)
        if head != last:
            raise IntegrityError(
                f"The ledger ends at entry {last[0]}, but entry {head[0]} was written."
            )
        if anchor is not None and anchor[0] and self.strangers([anchor]):
            raise IntegrityError(f"Entry {anchor[0]}, anchored elsewhere, is not in this ledger.")
        moves = [entry for entry in entries if entry.kind in MOVES]
        expected = (
            Champion(moves[-1].release, moves[-1].epoch, moves[-1].payload["version"])
            if moves
            else None
        )
        if pointer != expected:
            raise IntegrityError(
                f"The champion pointer is {pointer}, but the last recorded move says {expected}."
            )

    def _check_witness(self, connection: sa.Connection) -> None:
        seen = witness.read(self._witness) if self._witness else None
        if seen and reading.strangers(connection, [seen]):
            raise IntegrityError(
                f"This is not the ledger that was written here last: it lacks entry {seen[0]} "
                f"({seen[1][:12]}). It was deleted, set back or replaced.",
                hint=LOST_HINT,
            )

    def _insert(
        self,
        connection: sa.Connection,
        kind: str,
        release: str,
        actor: str,
        payload: str,
        epoch: int,
    ) -> LedgerEntry:
        if (
            not actor.strip() or not actor.isprintable()
        ):  # a byte that is no UTF-8 arrives as a lone surrogate
            raise UsageError(
                "Every ledger entry needs an actor.", hint="Set SLUICE_ACTOR or git's user.name."
            )
        sequence, previous = reading.head(connection)
        last = reading.read(connection, last=True)
        if (last[-1].sequence, last[-1].hash) != (sequence, previous) if last else sequence != 0:
            raise IntegrityError(
                "The end of the ledger is not what was written.", hint="Run `sluice verify`."
            )
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
        connection.execute(sa.insert(ENTRIES).values(**row))
        connection.execute(
            sa.update(HEAD).where(HEAD.c.id == 1).values(sequence=row["sequence"], hash=row["hash"])
        )
        return LedgerEntry(**{**row, "payload": json.loads(payload)})

    @contextmanager
    def _transaction(self, *, write: bool, anew: bool = False) -> Iterator[sa.Connection]:
        try:
            if self._engine is None:
                self._engine = open_engine(self._url, self._wait)
            with transaction(self._engine, write=write) as connection:
                if write:
                    reading.head(
                        connection, lock=True
                    )  # writers wait here where there are row locks
                    if not anew:
                        self._check_witness(connection)
                yield connection
                head = reading.head(connection) if write and self._witness else None
            if head and self._witness:
                witness.keep(self._witness, head)
        except SQLAlchemyError as error:
            raise translated(error) from error
        except (
            UnicodeDecodeError
        ) as error:  # SQLite quotes a damaged schema in its message, damaged as it is
            raise IntegrityError(f"The ledger file is damaged: {error}") from error


def _payload_text(payload: Mapping[str, Any]) -> str:
    try:
        text = canonical_json(dict(payload))
        text.encode("utf-8")
    except (TypeError, ValueError) as error:
        raise UsageError(f"A ledger payload must be plain JSON: {error}") from error
    return text
