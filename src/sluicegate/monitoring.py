"""A window of traffic against the reference profile: OK, DRIFT or NO_DATA (which counts as an alarm)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from sluicegate.drift import DETECTORS, Profile, compare, profile_rows, read_profile, write_profile
from sluicegate.errors import ConfigError, DataError, IntegrityError
from sluicegate.records import DriftReport, DriftScore

MINIMUM_ROWS = 30
"""Fewer rows than this say nothing about drift: the window counts as NO_DATA."""
_CHUNK = 5_000


def profile_reference(rows: Sequence[Mapping[str, str]], out: Path) -> None:
    """Write the profile that later windows are compared with; rows hold `prompt`, `response` and, if known, `group`.

    Raises:
        DataError: no rows, or a row without two texts.
        EnvironmentFailure: the disk refuses.
    """
    for number, row in enumerate(rows, 1):
        if row.get("prompt") is None or row.get("response") is None:
            raise DataError(f"row {number}: prompt or response is missing.")
    write_profile(out, profile_rows(rows))


def check_window(
    jsonl: Path | None, reference: Path, *, detector: str = "ks", minimum: int = MINIMUM_ROWS
) -> DriftReport:
    """Compare the traffic in `jsonl` (one object with `prompt` and `response` a line) with a stored profile.

    A field `group` (conversation, customer) names the rows that belong together; other fields are ignored. No file, an
    empty one, or fewer than `minimum` rows is NO_DATA with a note that says why; further as `check_profile`.

    Raises:
        DataError: a line is not such an object; the message names file, line and field.
        IntegrityError: the reference profile is absent or unreadable.
        ConfigError: no such detector.
    """
    _known(detector)
    if not reference.is_file():
        raise IntegrityError(f"{reference} is missing.", hint="Run `sluice stage profile` to make it.")
    if jsonl is None or not jsonl.exists():
        return DriftReport("NO_DATA", 0, notes=(f"no traffic window{f' at {jsonl}' if jsonl else ''}.",))
    window = profile_window(jsonl)
    if window is None:
        return DriftReport("NO_DATA", 0, notes=(f"0 rows; at least {minimum} are needed.",))
    return check_profile(window, read_profile(reference), detector=detector, minimum=minimum)


def check_profile(
    window: Profile, reference: Profile, *, detector: str = "ks", minimum: int = MINIMUM_ROWS
) -> DriftReport:
    """Compare two profiles, for instance a day merged from its hours with the reference.

    NO_DATA, with a note, are: fewer than `minimum` rows; a column without a single value; a window whose rows are all
    alike where the reference's are not. False alarms: at most 2 % of windows, over all columns together.

    Raises:
        ConfigError: no such detector.
    """
    _known(detector)
    if window.rows < max(minimum, 1):
        return DriftReport("NO_DATA", window.rows, notes=(f"{window.rows} rows; at least {minimum} are needed.",))
    if _constant(window) and not _constant(reference):
        return DriftReport("NO_DATA", window.rows, notes=("all rows of the window are alike.",))
    try:
        scores = tuple(compare(reference, window, detector=detector))
    except DataError as error:
        return DriftReport("NO_DATA", window.rows, notes=(str(error),))
    moved = list(dict.fromkeys(score.column for score in scores if score.alarm))
    columns = len({score.column for score in scores})
    notes = (f"{len(moved)} of {columns} columns moved: {', '.join(moved)}.", *_changes(scores)) if moved else ()
    return DriftReport("DRIFT" if moved else "OK", window.rows, scores, notes)


def _known(detector: str) -> None:
    if detector not in DETECTORS:
        raise ConfigError(f"detector {detector!r} is unknown.", hint=f"Known: {', '.join(DETECTORS)}.")


def _constant(profile: Profile) -> bool:
    return all(moments.low == moments.high for moments in profile.moments.values())


def _changes(scores: Sequence[DriftScore]) -> list[str]:
    """The largest change of each side, in words."""
    found = []
    for side in ("prompt", "response"):
        moved = [s for s in scores if s.alarm and s.column.startswith(f"{side}.") and np.isfinite(s.change or np.nan)]
        if moved:
            most = max(moved, key=lambda score: abs(score.change or 0.0))
            found.append(f"{most.column}: mean {most.before:.4g}, now {most.after:.4g} ({most.change:+.2f} sd).")
    return found


def profile_window(jsonl: Path) -> Profile | None:
    """Profile a file of traffic, 5,000 rows at a time, so that memory does not grow with it; None if it has no rows.

    Raises:
        DataError: a line is not an object with two texts; the message names file, line and field.
    """
    found: Profile | None = None
    rows = read_window(jsonl)
    start = 0
    while chunk := list(islice(rows, _CHUNK)):
        profile = profile_rows(chunk, start=start)
        found = profile if found is None else found.merge(profile)
        start += len(chunk)
    return found


def read_window(path: Path) -> Iterator[dict[str, str]]:
    """Yield the prompt, the response and, where there is one, the group of each line; blank lines are skipped.

    Raises:
        DataError: not UTF-8, not JSON, not an object, or a text is missing; names file, line and field.
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
            raise DataError(f"{where}: {field} is missing or not a text.")
    row = {"prompt": value["prompt"], "response": value["response"]}
    group = value.get("group")
    if isinstance(group, str | int):
        row["group"] = str(group)
    elif group is not None:
        raise DataError(f"{where}: group is neither a text nor a number.")
    return row
