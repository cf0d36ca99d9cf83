"""Answers by digest in one SQLite file, and a model that never generates a thing twice.

Each row carries an HMAC (`evidence_key`): one that this machine did not keep is not there.
"""

from __future__ import annotations

import hmac
import json
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from sluicegate.budget import Budget
from sluicegate.errors import EnvironmentFailure
from sluicegate.evidence_key import evidence_key, mac
from sluicegate.generating import Failure, Model, Reply, Request, Took, Wrapped
from sluicegate.hashing import canonical_json, digest_value

FILE = "replies.db"
_UNSET = {"top_p": 1.0, "repetition_penalty": 1.0, "stop": (), "response_format": None}
"""What requests had not at first: it counts in their keys only where it is set, so old keys still
hold.
"""


class Cache:
    """An open cache; made by `open_cache`. Keys are SHA-256 of who was asked and what."""

    def __init__(self, database: sqlite3.Connection, table: str, key: bytes) -> None:
        self._database, self._table, self._key = database, table, key

    def load(self, keys: Sequence[str]) -> dict[str, dict[str, Any]]:
        """The fields under those `keys` that are there; a row that was not kept here is not."""
        query = f"SELECT value, digest FROM {self._table} WHERE key = ?"
        rows = {key: self._database.execute(query, (key,)).fetchone() for key in keys}
        return {
            key: json.loads(row[0])
            for key, row in rows.items()
            if row is not None and hmac.compare_digest(self._mac(key, row[0]), str(row[1]))
        }

    def store(self, key: str, fields: Mapping[str, Any]) -> None:
        """Keep one answer; when this returns, the death of the process no longer matters."""
        value = canonical_json(fields)
        row = (key, value, self._mac(key, value))
        self._database.execute(f"INSERT OR REPLACE INTO {self._table} VALUES (?, ?, ?)", row)

    def _mac(self, key: str, value: str) -> str:
        return mac(self._key, f"{key}\n{value}")


@contextmanager
def open_cache(path: Path, table: str) -> Iterator[Cache]:
    """The cache in the file `path`, made if need be; several processes may have it open.

    Its folder lies in a project's `.sluice/`, whose key signs the rows.

    Raises:
        EnvironmentFailure: it cannot be read or written (disk full, not a database), then or inside
            the block.
    """
    key = evidence_key(path.parent.parent)
    schema = "(key TEXT PRIMARY KEY, value TEXT NOT NULL, digest TEXT NOT NULL)"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        if path.stat().st_mode & 0o077:  # made by an earlier version
            path.chmod(0o600)
    except OSError as error:
        raise EnvironmentFailure(
            f"{path}: {error.strerror}", hint="Free disk space or fix permissions."
        ) from error
    try:
        # no transaction is ever open between two statements;
        # one thread at a time uses it, not always the same
        database = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
        try:
            database.execute("PRAGMA journal_mode=WAL")
            database.execute("PRAGMA synchronous=NORMAL")
            database.execute(f"CREATE TABLE IF NOT EXISTS {table} {schema}")
            yield Cache(database, table, key)
        finally:
            database.close()
    except sqlite3.Error as error:
        raise EnvironmentFailure(
            f"{path}: {error}", hint="Free disk space, or delete this file: it is only a cache."
        ) from error


class CachedModel(Wrapped):
    """See `Model`. Equal requests are made once; failures are not kept."""

    def __init__(self, model: Model, folder: Path) -> None:
        self.model, self._folder = model, folder

    def generate(
        self,
        requests: Sequence[Request],
        *,
        budget: Budget | None = None,
        took: Took | None = None,
    ) -> list[Reply | Failure]:
        """See `Model.generate`; what is asked a second time cost nothing, so it counts as cached.

        Raises:
            EnvironmentFailure: the cache cannot be read or written.
        """
        keys = [request_key(self.identity, request) for request in requests]
        places: dict[str, list[int]] = {}
        for place, key in enumerate(keys):
            places.setdefault(key, []).append(place)
        answers: list[Reply | Failure] = [Failure("not asked")] * len(keys)

        def arrived(key: str, answer: Reply | Failure) -> None:
            for number, place in enumerate(places[key]):
                if number and isinstance(answer, Reply):
                    answer = replace(answer, cached=True)
                answers[place] = answer
                if took is not None:
                    took(place, answers[place])

        with open_cache(self._folder / FILE, "replies") as cache:
            known = cache.load(list(places))
            for key, fields in known.items():
                alternatives = tuple(fields["alternatives"])
                arrived(key, Reply(**(fields | {"cached": True, "alternatives": alternatives})))
            missing = [key for key in places if key not in known]

            def keep(index: int, answer: Reply | Failure) -> None:
                if isinstance(answer, Reply):
                    cache.store(missing[index], asdict(answer))
                arrived(missing[index], answer)

            if missing:
                wanted = [requests[places[key][0]] for key in missing]
                self.model.generate(wanted, budget=budget, took=keep)
        return answers


def request_key(identity: str, request: Request) -> str:
    """SHA-256 of who is asked and what: messages and every setting."""
    names = ("max_tokens", "temperature", "seed", "alternatives")
    fields = {name: getattr(request, name) for name in names}
    for name, unset in _UNSET.items():
        if (value := getattr(request, name)) != unset:
            fields[name] = value
    messages = [dict(message) for message in request.messages]
    return digest_value({"who": identity, "messages": messages, **fields})
