"""Prepared rows on disk: canonical JSON Lines, sorted by id, so that equal rows are equal bytes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sluicegate.data.lines import json_lines
from sluicegate.data.rows import read_bytes
from sluicegate.errors import DataError
from sluicegate.hashing import atomic_file, canonical_json, digest_bytes
from sluicegate.records import Example

_LATER: dict[str, type] = {"slices": dict, "expected": dict, "critical": bool}


def write_examples(path: Path, rows: Sequence[Example]) -> str:
    """Write rows as canonical JSON Lines, sorted by id, atomically; return the bytes' SHA-256.

    Only the owner of the file can read it.

    Raises:
        DataError: two rows have the same id.
        EnvironmentFailure: the disk is full or the folder cannot be written; the old file stays.
    """
    if len({row.id for row in rows}) != len(rows):
        raise DataError(f"{path}: two rows have the same id; nothing was written.")
    data = "".join(canonical_json(_plain(row)) + "\n" for row in by_id(rows)).encode("utf-8")
    with atomic_file(path, mode=0o600) as stream:  # it holds what people wrote
        stream.write(data)
    return digest_bytes(data)


def read_examples(path: Path) -> list[Example]:
    """Read rows that `write_examples` wrote. An empty file gives an empty list.

    Raises:
        DataError: missing, malformed, or two rows with the same id; the message names file, line
            and field.
    """
    if not path.is_file():
        raise DataError(
            f"{path} is missing.",
            hint="Run `sluice stage prepare`, or `dvc pull` where DVC holds it.",
        )
    rows: list[Example] = []
    seen: set[str] = set()
    for number, record in json_lines(path, read_bytes(path)):
        row = _example(record, f"{path}, line {number}")
        if row.id in seen:
            raise DataError(f"{path}, line {number}: field id: {row.id!r} was already used.")
        seen.add(row.id)
        rows.append(row)
    return by_id(rows)


def _plain(row: Example) -> dict[str, Any]:
    """A row without slices says nothing of them, so that data that have none keep their digest; so
    for what else later versions added.
    """
    return {name: part for name, part in asdict(row).items() if part or name not in _LATER}


def _example(record: dict[str, Any], where: str) -> Example:
    expected: dict[str, type] = {
        "id": str,
        "group": str,
        "inputs": dict,
        "reference": list,
        "source": str,
    }
    expected |= {name: kind for name, kind in _LATER.items() if name in record}
    if set(record) != set(expected):
        wrong = min(set(record) ^ set(expected))
        raise DataError(
            f"{where}: field {wrong!r} is {'missing' if wrong in expected else 'unknown'}."
        )
    for field, kind in expected.items():
        value = record[field]
        texts = list(
            value.values() if isinstance(value, dict) else value if kind is list else [value]
        )
        blank = field == "inputs" and any(texts)  # one of several inputs may be blank
        if kind is bool and value is True:
            continue
        sound = isinstance(value, kind) and (texts or kind is list)
        if not sound or not all(isinstance(text, str) and (text or blank) for text in texts):
            raise DataError(
                f"{where}: field {field}: expected text that is "
                f"not empty, found {json.dumps(value)[:60]}."
            )
    known = {**record, "reference": tuple(record["reference"])}
    return Example(**known)


def by_id(rows: Iterable[Example]) -> list[Example]:
    """Rows in the one order in which they are written."""
    return sorted(rows, key=lambda row: row.id)
