"""Traffic from a file of JSON lines."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sluicegate.errors import ConfigError, DataError
from sluicegate.hashing import digest_bytes
from sluicegate.traffic.importing import MOST_LINE, Refused
from sluicegate.traffic.rows import TrafficRow, row_from

_FIELDS = tuple(TrafficRow.__dataclass_fields__)


def read_jsonl(
    path: Path, fields: Mapping[str, str] | None = None
) -> Iterator[TrafficRow | Refused]:
    """Yield the row of each line that is not blank, or why it is none; unknown fields are ignored.

    A line without a key gets one made of its bytes and number: importing a longer file again adds
    only what is new. One without a time gets the file's; a stored row keeps its own.

    Args:
        fields: our name of a field to the file's, where they differ.

    Raises:
        ConfigError: `fields` names a field that rows do not have.
        DataError: the file cannot be read.
    """
    names = {**{name: name for name in _FIELDS}, **(fields or {})}
    unknown = sorted(set(names) - set(_FIELDS))
    if unknown:
        raise ConfigError(
            f"rows have no field {unknown[0]!r}.", hint=f"Known: {', '.join(_FIELDS)}."
        )
    for number, line in read_lines(path):
        where = f"{path}, line {number}"
        if line is None:
            yield Refused(where, f"longer than {MOST_LINE} bytes.")
            continue
        try:
            value = parse(line)
            if not isinstance(value, dict):
                raise DataError("a JSON object was expected.")
            known = {ours: value[theirs] for ours, theirs in names.items() if theirs in value}
            if isinstance(known.get("group"), int):
                known["group"] = str(known["group"])
            key = "line-" + digest_bytes(b"%d %s" % (number, line.strip()))[:32]
            yield row_from(known, now=_changed(path), key=key)
        except DataError as error:
            yield Refused(where, str(error))


def read_lines(path: Path) -> Iterator[tuple[int, bytes | None]]:
    """Yield number and bytes of each line that is not blank; None for one that is too long.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        with path.open("rb") as stream:
            number = 0
            while line := stream.readline(MOST_LINE):
                number += 1
                if len(line) == MOST_LINE and not line.endswith(b"\n"):
                    while line and not line.endswith(b"\n"):
                        line = stream.readline(MOST_LINE)
                    yield number, None
                elif line.strip():
                    yield number, line
    except OSError as error:
        raise DataError(
            f"{path} cannot be read: {error.strerror}", hint="Check the path and its permissions."
        ) from error


def parse(text: bytes) -> Any:
    """A JSON value, read strictly.

    Raises:
        DataError: not UTF-8, not JSON, too deep, a key twice, or a number that JSON does not have.
    """
    try:
        return json.loads(
            text.decode("utf-8-sig"), parse_constant=_no_number, object_pairs_hook=_unique
        )
    except RecursionError as error:
        raise DataError("not JSON: nested too deeply.") from error
    except ValueError as error:
        raise DataError(f"not JSON: {str(error)[:200]!a}") from error


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is not a number")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key[:40]!r} appears twice")
        found[key] = value
    return found


def _changed(path: Path) -> datetime:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC)
