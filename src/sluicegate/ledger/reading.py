"""What the ledger's tables hold, each entry's hash checked as it is read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa

from sluicegate.errors import IntegrityError
from sluicegate.hashing import digest_value
from sluicegate.ledger.database import CHAMPION, ENTRIES, GENESIS, HEAD
from sluicegate.records import Champion, LedgerEntry

MOVES = ("bootstrap", "promote", "rollback")
NEW = "ledger_new"
"""Kind of the entry by which a person goes on without heads of a ledger that are known elsewhere.
"""
Head = tuple[int, str]


def strangers(connection: sa.Connection, heads: Iterable[Head]) -> list[Head]:
    wanted = list(dict.fromkeys(heads))
    query = sa.select(ENTRIES.c.sequence, ENTRIES.c.hash).where(
        ENTRIES.c.sequence.in_([sequence for sequence, _ in wanted])
    )
    known = {(row.sequence, row.hash) for row in connection.execute(query)}
    unknown = [head for head in wanted if head not in known]
    if unknown:
        for entry in read(connection, kind=NEW):
            known |= {(lost["sequence"], lost["hash"]) for lost in entry.payload["lost"]}
    return [head for head in unknown if head not in known]


def champion(connection: sa.Connection) -> Champion | None:
    row = connection.execute(
        sa.select(CHAMPION.c.release, CHAMPION.c.epoch, CHAMPION.c.version)
    ).one_or_none()
    return Champion(row.release, row.epoch, row.version) if row is not None else None


def head(connection: sa.Connection, *, lock: bool = False) -> tuple[int, str]:
    query = sa.select(HEAD.c.sequence, HEAD.c.hash)
    row = connection.execute(query.with_for_update() if lock else query).one_or_none()
    if row is None:
        raise IntegrityError("The ledger has no head: it was edited.")
    return row.sequence, row.hash


def read(
    connection: sa.Connection,
    *,
    kind: str | None = None,
    release: str | None = None,
    moves: bool = False,
    last: bool = False,
) -> list[LedgerEntry]:
    query = sa.select(ENTRIES).order_by(ENTRIES.c.sequence)
    if kind is not None:
        query = query.where(ENTRIES.c.kind == kind)
    if release is not None:
        chosen = ENTRIES.c.release == release
        query = query.where(sa.or_(chosen, ENTRIES.c.kind.in_(MOVES)) if moves else chosen)
    if last:
        query = sa.select(ENTRIES).order_by(ENTRIES.c.sequence.desc()).limit(1)
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
        raise IntegrityError(
            f"Ledger entry {row['sequence']} is not what was written: its hash does not match."
        )
    return LedgerEntry(**{**row, "payload": payload, "hash": stored})


def verify_chain(entries: Sequence[LedgerEntry]) -> None:
    previous, epoch = GENESIS, 0
    for position, entry in enumerate(entries, start=1):
        epoch += entry.kind in MOVES
        if entry.sequence != position or entry.previous != previous:
            raise IntegrityError(f"Ledger entry {position} is missing, inserted or out of order.")
        if entry.epoch != epoch:
            raise IntegrityError(
                f"Ledger entry {position} has epoch {entry.epoch}; {epoch} moves were recorded."
            )
        previous = entry.hash
