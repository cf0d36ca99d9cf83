"""A window of traffic against the reference profile: OK, DRIFT or NO_DATA (which counts as an alarm)."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sluicegate.drift import DETECTORS, write_profile
from sluicegate.errors import ConfigError, DataError, IntegrityError
from sluicegate.records import DriftReport

MINIMUM_ROWS = 30
"""Fewer rows than this say nothing about drift: the window counts as NO_DATA."""


def profile_reference(rows: Sequence[Mapping[str, str]], out: Path) -> None:
    """Write the profile that later windows are compared with; rows hold `prompt` and `response`.

    Raises:
        DataError: no rows, or a row without two texts.
        MissingExtraError: LangKit is not installed.
        EnvironmentFailure: the disk refuses.
    """
    write_profile(out, rows)


def check_window(
    jsonl: Path | None, reference: Path, *, detector: str = "ks", minimum: int = MINIMUM_ROWS
) -> DriftReport:
    """Compare the traffic in `jsonl` (one object with `prompt` and `response` a line; other fields are ignored).

    No file, an empty one, or fewer than `minimum` rows is NO_DATA with a note that says why.

    Raises:
        DataError: a line is not such an object; the message names file, line and field.
        IntegrityError: the reference profile is absent or unreadable.
        ConfigError: no such detector.
        MissingExtraError: LangKit is not installed.
    """
    if detector not in DETECTORS:
        raise ConfigError(f"detector {detector!r} is unknown.", hint=f"Known: {', '.join(DETECTORS)}.")
    if not reference.is_file():
        raise IntegrityError(f"{reference} is missing.", hint="Run `sluice stage profile` to make it.")
    if jsonl is None or not jsonl.exists():
        return DriftReport("NO_DATA", 0, notes=(f"no traffic window{f' at {jsonl}' if jsonl else ''}.",))
    rows = read_window(jsonl)
    if len(rows) < max(minimum, 1):
        return DriftReport("NO_DATA", len(rows), notes=(f"{len(rows)} rows; at least {minimum} are needed.",))
    with tempfile.TemporaryDirectory(prefix="sluice-window-") as folder:
        window = Path(folder) / "window.bin"
        write_profile(window, rows)
        scores = tuple(DETECTORS[detector](reference, window))
    moved = [score.column for score in scores if score.alarm]
    notes = (f"{len(moved)} of {len(scores)} columns moved: {', '.join(moved)}.",) if moved else ()
    return DriftReport("DRIFT" if moved else "OK", len(rows), scores, notes)


def read_window(path: Path) -> list[dict[str, str]]:
    """Read the prompt and response of each line; blank lines are skipped.

    Raises:
        DataError: not UTF-8, not JSON, not an object, or a text is missing; names file, line and field.
    """
    rows = []
    try:
        with path.open("rb") as stream:
            for number, line in enumerate(stream, 1):
                if line.strip():
                    rows.append(_row(f"{path}, line {number}", line))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    return rows


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
    return {"prompt": value["prompt"], "response": value["response"]}
