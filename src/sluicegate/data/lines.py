"""JSON Lines, read strictly, and the faults of rows: all of them are told, not only the first."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sluicegate.errors import DataError

_SHOWN = 20


class Faults:
    """What is wrong with the rows of a source, so that all of it is told and not only the first."""

    def __init__(self) -> None:
        self._found: list[DataError] = []

    @contextmanager
    def collected(self) -> Iterator[None]:
        """A fault in this block concerns one row; reading goes on."""
        try:
            yield
        except DataError as error:
            self.add(error)

    def add(self, fault: DataError) -> None:
        """One more fault, in the order of the rows."""
        self._found.append(fault)

    def refuse(self) -> None:
        """Stop where there was a fault.

        Raises:
            DataError: names the first 20 faults and how many more there are.
        """
        if not self._found:
            return
        if len(self._found) == 1:
            raise self._found[0]
        shown = "".join(f"\n  {error}" for error in self._found[:_SHOWN])
        left = len(self._found) - _SHOWN
        more = f"\n  and {left} more" if left > 0 else ""
        raise DataError(
            f"{len(self._found)} rows cannot be used:{shown}{more}", hint=self._found[0].hint
        )


def json_lines(
    path: Path, data: bytes, faults: Faults | None = None
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line number from 1, object) for each non-blank line of JSON Lines bytes.

    Args:
        faults: takes what is wrong with a line; without it the first such line stops the reading.

    Raises:
        DataError: a line is not UTF-8, not a JSON object, repeats a key or holds NaN or Infinity.
    """
    for number, raw in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        if not raw.strip():
            continue
        if faults is None:
            yield number, _object(raw, f"{path}, line {number}")
            continue
        record = None
        with faults.collected():
            record = _object(raw, f"{path}, line {number}")
        if record is not None:
            yield number, record


def _object(raw: bytes, where: str) -> dict[str, Any]:
    try:
        record = json.loads(
            raw.decode("utf-8"), parse_constant=_no_constant, object_pairs_hook=_unique_keys
        )
    except UnicodeDecodeError as error:
        raise DataError(
            f"{where}: not UTF-8 text (byte {error.start + 1}).", hint="Save it as UTF-8."
        ) from error
    except RecursionError as error:
        raise DataError(f"{where}: nested too deeply to be a row.") from error
    except ValueError as error:
        raise DataError(
            f"{where}: not valid JSON: {error}", hint="One JSON object per line."
        ) from error
    if not isinstance(record, dict):
        raise DataError(f"{where}: a JSON object was expected, not {type(record).__name__}.")
    return record


def _no_constant(token: str) -> Any:
    raise ValueError(f"{token} is not a number that a row may contain")


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) != len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"key {next(key for key in keys if keys.count(key) > 1)!r} appears twice")
    return record
