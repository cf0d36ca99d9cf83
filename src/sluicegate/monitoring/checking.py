"""A window of traffic against the reference: OK, DRIFT or NO_DATA (which is an alarm)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from sluicegate.drift import (
    ALPHA,
    DETECTORS,
    OPTIONAL,
    Profile,
    TextEncoder,
    comparable_vectors,
    compare,
    merge,
    read_profile,
    unlike,
)
from sluicegate.drift.unlike import USUAL
from sluicegate.errors import ConfigError, DataError, IntegrityError
from sluicegate.monitoring.rows import Row
from sluicegate.monitoring.windows import profile_traffic
from sluicegate.records import DriftReport, DriftScore

MINIMUM_ROWS = 30
"""Fewer rows than this say nothing about drift: the window counts as NO_DATA."""


def check_rows(
    rows: Iterable[Row],
    reference: Path,
    *,
    detector: str = "ks",
    minimum: int = MINIMUM_ROWS,
    recent: Sequence[Profile] = (),
    encoder: TextEncoder | None = None,
) -> tuple[DriftReport, Profile | None]:
    """Compare rows of traffic with a stored profile; the rows are read once, 5,000 at a time.

    The window's profile is returned too (None without a row): it may be stored, and merged with
    others. With `recent`, profiles of the windows just before, a shift that is too small for one
    window is found in all of them together. With an `encoder`, embeddings are compared too, where
    the reference has some of the same encoder.

    Raises:
        DataError: a prompt or response is neither a text nor None.
        IntegrityError: the reference profile is absent or unreadable.
        ConfigError: no such detector.
    """
    _known(detector)
    _there(reference)
    window = profile_traffic(rows, encoder=encoder)
    if window is None:
        return DriftReport("NO_DATA", 0, notes=(f"0 rows; at least {minimum} are needed.",)), None
    known = read_profile(reference)
    return check_profile(window, known, detector=detector, minimum=minimum, recent=recent), window


def _there(reference: Path) -> None:
    if not reference.is_file():
        raise IntegrityError(
            f"{reference} is missing.", hint="Run `sluice stage profile` to make it."
        )


def check_profile(
    window: Profile,
    reference: Profile,
    *,
    detector: str = "ks",
    minimum: int = MINIMUM_ROWS,
    recent: Sequence[Profile] = (),
) -> DriftReport:
    """Compare two profiles, for instance a day merged from its hours with the reference.

    With `recent`, the window is compared by itself and merged with those, each at half the error
    rate; scores of the latter name their statistic with the number of windows, as in `ks over 3
    windows`. NO_DATA, with a note, are: fewer than `minimum` rows; a column without a single value;
    a window whose rows are all alike where the reference's are not. False alarms: at most 2 % of
    windows, over all columns together.

    Raises:
        ConfigError: no such detector.
        DataError: a recent profile has other columns.
    """
    _known(detector)
    if window.rows < max(minimum, 1):
        return DriftReport(
            "NO_DATA", window.rows, notes=(f"{window.rows} rows; at least {minimum} are needed.",)
        )
    if _constant(window) and not _constant(reference):
        return DriftReport("NO_DATA", window.rows, notes=("all rows of the window are alike.",))
    alpha = ALPHA / 2 if recent else ALPHA
    try:
        scores = tuple(compare(reference, window, detector=detector, alpha=alpha))
        if recent:
            together = compare(reference, merge([*recent, window]), detector=detector, alpha=alpha)
            over = f" over {len(recent) + 1} windows"
            scores += tuple(replace(score, statistic=score.statistic + over) for score in together)
    except DataError as error:
        return DriftReport("NO_DATA", window.rows, notes=(str(error),))
    moved = list(dict.fromkeys(score.column for score in scores if score.alarm))
    columns = len({score.column for score in scores})
    notes = (
        (
            f"{len(moved)} of {columns} columns moved: {', '.join(moved)}.",
            *_changes(scores),
            *_strange(scores),
        )
        if moved
        else ()
    )
    return DriftReport(
        "DRIFT" if moved else "OK", window.rows, scores, notes + _absent(window, reference)
    )


def _absent(window: Profile, reference: Profile) -> tuple[str, ...]:
    """What could not be compared because the window holds none of it."""
    absent = [
        name
        for name in OPTIONAL
        if name in reference.moments
        and reference.moments[name].n
        and not (name in window.moments and window.moments[name].n)
    ]
    if reference.embedded is not None and not comparable_vectors(reference, window):
        absent.append("embeddings of the same encoder")
    notes = [f"not in the window, so not compared: {', '.join(absent)}."] if absent else []
    if window.embedded is not None and reference.embedded is None:
        notes.append(
            "the reference was made without embeddings, so form is compared and meaning is not."
        )
    return tuple(notes)


def _known(detector: str) -> None:
    if detector not in DETECTORS:
        raise ConfigError(
            f"detector {detector!r} is unknown.", hint=f"Known: {', '.join(DETECTORS)}."
        )


def _constant(profile: Profile) -> bool:
    return all(moments.low == moments.high for moments in profile.moments.values())


def _strange(scores: Sequence[DriftScore]) -> list[str]:
    """How many rows are far from all of the reference."""
    found = {
        score.column: f"{score.value + 1 - USUAL:.0%} of {score.column.partition('.')[0]}s are "
        f"unlike any reference row ({1 - USUAL:.0%} would be usual)."
        for score in reversed(scores)
        if score.alarm and score.statistic.partition(" ")[0] == unlike.__name__
    }
    return list(found.values())


def _changes(scores: Sequence[DriftScore]) -> list[str]:
    """The largest change of each side, in words."""
    found = []
    for side in ("prompt", "response"):
        moved = [
            s
            for s in scores
            if s.alarm and s.column.startswith(f"{side}.") and np.isfinite(s.change or np.nan)
        ]
        if moved:
            most = max(moved, key=lambda score: abs(score.change or 0.0))
            found.append(
                f"{most.column}: mean {most.before:.4g}, now {most.after:.4g} ({most.change:+.2f} "
                "sd)."
            )
    return found
