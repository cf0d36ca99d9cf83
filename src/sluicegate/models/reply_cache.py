"""Replies by content digest in one SQLite file: each is committed alone, so a killed run has lost nothing it was told."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from sluicegate.errors import EnvironmentFailure
from sluicegate.hashing import canonical_json, digest_bytes
from sluicegate.records import Reply

FILE = "replies.db"
_SCHEMA = "CREATE TABLE IF NOT EXISTS replies (key TEXT PRIMARY KEY, value TEXT NOT NULL, digest TEXT NOT NULL)"


class ReplyCache:
    """An open cache; made by `open_cache`. Keys are SHA-256 of who was asked and what."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    def load(self, keys: Sequence[str]) -> dict[str, Reply]:
        """Replies to those of `keys` that are there, marked `cached`; a row whose bytes changed is not there."""
        query = "SELECT value, digest FROM replies WHERE key = ?"
        found = {}
        for key in keys:
            row = self._database.execute(query, (key,)).fetchone()
            if row is not None and _digest(key, row[0]) == row[1]:
                value = json.loads(row[0])
                value["alternatives"] = tuple(value["alternatives"])
                found[key] = Reply(**(value | {"cached": True}))
        return found

    def store(self, key: str, reply: Reply) -> None:
        """Keep one reply; when this returns, the death of the process no longer matters."""
        value = canonical_json({**asdict(reply), "cached": False})
        self._database.execute(
            "INSERT OR REPLACE INTO replies VALUES (?, ?, ?)", (key, value, _digest(key, value))
        )


@contextmanager
def open_cache(folder: Path) -> Iterator[ReplyCache]:
    """The cache in `folder`, made if need be; several processes may have it open.

    Raises:
        EnvironmentFailure: it cannot be read or written (disk full, not a database), then or inside the block.
    """
    path = folder / FILE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # no transaction is ever open between two statements; one thread at a time uses it, not always the same
        database = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
        try:
            database.execute("PRAGMA journal_mode=WAL")
            database.execute("PRAGMA synchronous=NORMAL")
            database.execute(_SCHEMA)
            yield ReplyCache(database)
        finally:
            database.close()
    except sqlite3.Error as error:
        raise EnvironmentFailure(
            f"{path}: {error}", hint="Free disk space, or delete this file: it is only a cache."
        ) from error
    except OSError as error:
        raise EnvironmentFailure(
            f"{path}: {error.strerror}", hint="Free disk space or fix permissions."
        ) from error


def _digest(key: str, value: str) -> str:
    return digest_bytes(f"{key}\n{value}".encode("utf-8", "surrogatepass"))
