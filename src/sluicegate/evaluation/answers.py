"""Answers of one release, kept in a cache by content: nothing is generated twice, and a killed run goes on."""

from __future__ import annotations

import json
import math
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from sluicegate.errors import EnvironmentFailure, EvidenceError
from sluicegate.evaluation.budget import Meter
from sluicegate.hashing import canonical_json, digest_bytes, digest_value
from sluicegate.records import Generation, GenerationSettings

if TYPE_CHECKING:
    from sluicegate.models import Backend, Messages

_SCHEMA = "CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, value TEXT NOT NULL, digest TEXT NOT NULL)"


def answer(
    backend: Backend,
    rendered: Sequence[tuple[str, Messages]],
    settings: GenerationSettings,
    cache: Path,
    key: str,
    progress: Callable[[int, int], None] | None = None,
    *,
    batch: int = 32,
    meter: Meter | None = None,
) -> list[Generation]:
    """Generate one answer per (example id, messages) pair, in the order given.

    Answers are looked up first in `cache` (a folder; one SQLite file) by `key` (the release digest, plus whatever else
    changes the text, such as the dtype), settings and messages; equal messages are generated once. New ones are
    written after every `batch` prompts, so a killed run loses at most one batch. Prompts go to the backend longest
    first: the heaviest batch comes at the start. `progress(done, total)` counts cached answers as done.
    With `temperature` above 0 a resumed run may sample other texts than an uninterrupted one.
    `meter` counts what is made and what was found, and makes batches small enough to stay within its limits.

    Raises:
        BudgetError: the meter allows no further answer; those made so far are in the cache.
        EvidenceError: an example id occurs twice, or the backend returned another number of answers than asked.
        EnvironmentFailure: the cache cannot be read or written (disk full, not a database).
    """
    if len({example for example, _ in rendered}) != len(rendered):
        raise EvidenceError("an example id occurs twice among the prompts.")
    keys = [
        digest_value({"key": key, "settings": asdict(settings), "messages": messages})
        for _, messages in rendered
    ]
    wanted = dict(zip(keys, (messages for _, messages in rendered), strict=True))
    found = _load(cache, list(wanted))
    missing = [(digest, messages) for digest, messages in wanted.items() if digest not in found]
    missing.sort(key=lambda pair: (-_length(pair[1]), pair[0]))
    report = _reporter(progress, len(wanted))
    report(len(found))(0, 0)
    meter = meter or Meter()
    meter.found(len(found))
    while missing:
        size = meter.fitting(
            batch, _lengths(backend, missing[:batch], meter), settings.max_new_tokens, len(missing)
        )
        part, missing = missing[:size], missing[size:]
        started = time.monotonic()
        answers = backend.generate([messages for _, messages in part], settings, report(len(found)))
        if len(answers) != len(part):
            raise EvidenceError(
                f"the backend returned {len(answers)} answers to {len(part)} prompts."
            )
        new = dict(zip((digest for digest, _ in part), answers, strict=True))
        _store(cache, new)
        meter.made(answers, time.monotonic() - started)
        found.update(new)
        report(len(found))(0, 0)
    return [found[digest] for digest in keys]


def _reporter(
    progress: Callable[[int, int], None] | None, total: int
) -> Callable[[int], Callable[[int, int], None]]:
    """For a number of answers already there, the callback that a backend may call while it works on one batch."""

    def from_base(base: int) -> Callable[[int, int], None]:
        return lambda done, _: progress(base + done, total) if progress else None

    return from_base


def _lengths(backend: Backend, waiting: Sequence[tuple[str, Messages]], meter: Meter) -> list[int]:
    """Tokens of the next prompts; not looked at where nothing limits them."""
    return (
        [backend.count_tokens(messages) for _, messages in waiting] if meter.counts_tokens else []
    )


def _length(messages: Messages) -> int:
    return sum(len(message["content"]) for message in messages)


@contextmanager
def _opened(folder: Path) -> Iterator[sqlite3.Connection]:
    path = folder / "answers.db"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        database = sqlite3.connect(path, timeout=30)
        try:
            database.execute("PRAGMA journal_mode=WAL")
            database.execute(_SCHEMA)
            yield database
        finally:
            database.close()
    except (OSError, sqlite3.Error) as error:
        raise EnvironmentFailure(
            f"{path}: {error}", hint="Free disk space, or delete this file: it is only a cache."
        ) from error


def _load(folder: Path, keys: Sequence[str]) -> dict[str, Generation]:
    query = "SELECT value, digest FROM answers WHERE key = ?"
    with _opened(folder) as database:
        rows = {key: database.execute(query, (key,)).fetchone() for key in keys}
    found = {}
    for key, row in rows.items():
        generation = _restored(key, *row) if row else None
        if generation is not None:
            found[key] = generation
    return found


def _restored(key: str, value: str, digest: str) -> Generation | None:
    """The stored answer, or None when its bytes are not those written, or another version's: it is generated again."""
    if digest_bytes(f"{key}\n{value}".encode("utf-8", "surrogatepass")) != digest:
        return None
    try:
        return Generation(**json.loads(value))
    except TypeError:
        return None


def _store(folder: Path, answers: Mapping[str, Generation]) -> None:
    rows = []
    for key, generation in answers.items():
        if not all(map(math.isfinite, (generation.seconds, generation.first_token or 0.0))):
            raise EvidenceError("the backend reported a time that is not a finite number.")
        value = canonical_json(generation)
        rows.append((key, value, digest_bytes(f"{key}\n{value}".encode("utf-8", "surrogatepass"))))
    with _opened(folder) as database, database:
        database.executemany("INSERT OR REPLACE INTO answers VALUES (?, ?, ?)", rows)
