"""Traffic in: rows, or a file of them, become a profile a few thousand at a time."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sluicegate.drift import Profile, TextEncoder, profile_rows, write_profile
from sluicegate.errors import DataError
from sluicegate.monitoring.embedding import Kept
from sluicegate.monitoring.rows import Row, chunks


def profile_reference(
    rows: Sequence[Row], out: Path, *, encoder: TextEncoder | None = None
) -> None:
    """Write the profile to compare windows with; an encoder adds vectors of at most 1,000 rows.

    Raises:
        DataError: no rows, or a row without two texts.
        EnvironmentFailure: the disk refuses.
    """
    for number, row in enumerate(rows, 1):
        if row.get("prompt") is None or row.get("response") is None:
            raise DataError(f"row {number}: prompt or response is missing.")
    profile = profile_traffic(rows, encoder=encoder)
    if profile is None:
        raise DataError("there are no rows to profile.")
    write_profile(out, profile)


def profile_traffic(rows: Iterable[Row], *, encoder: TextEncoder | None = None) -> Profile | None:
    """Profile rows of traffic, read once, 5,000 at a time; None if there are none.

    With an `encoder`, texts of at most 1,000 of the rows are encoded too, whole conversations,
    chosen by hash.

    Raises:
        DataError: a prompt or response is neither a text nor None.
    """
    found: Profile | None = None
    kept = Kept() if encoder is not None else None
    start = 0
    for chunk in chunks(rows):
        profile = profile_rows(chunk, start=start)
        found = profile if found is None else found.merge(profile)
        if kept is not None:
            kept.add(chunk, start)
        start += len(chunk)
    if found is None or kept is None or encoder is None:
        return found
    return replace(found, embedded=kept.embedded(encoder))


def read_window(path: Path) -> Iterator[dict[str, str]]:
    """Yield prompt, response and, if any, group of each line; blank lines are skipped.

    Raises:
        DataError: not UTF-8, not JSON, not an object, or a text is missing; names file, line and
            field.
    """
    try:
        with path.open("rb") as stream:
            for number, line in enumerate(stream, 1):
                if line.strip():
                    yield _row(f"{path}, line {number}", line)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error


def _row(where: str, line: bytes) -> dict[str, str]:
    try:
        value: Any = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: not JSON: {error}") from error
    if not isinstance(value, dict):
        raise DataError(f"{where}: an object was expected.")
    for field in ("prompt", "response"):
        if not isinstance(value.get(field), str):
            raise DataError(f"{where}: {field} is missing or is not text.")
    row = {"prompt": value["prompt"], "response": value["response"]}
    group = value.get("group")
    if isinstance(group, str | int):
        row["group"] = str(group)
    elif group is not None:
        raise DataError(f"{where}: group is neither a text nor a number.")
    return row
