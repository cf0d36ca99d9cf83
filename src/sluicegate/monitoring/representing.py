"""Does the golden set still look like the traffic? If not, its evidence misleads."""

from __future__ import annotations

import numpy as np

from sluicegate.cards.drift_report import surplus, titled
from sluicegate.drift import Profile, compare
from sluicegate.errors import DataError
from sluicegate.monitoring.checking import MINIMUM_ROWS
from sluicegate.monitoring.explaining import aspect_of
from sluicegate.records import DriftScore

MOST = 6
RARE = ("hostile_words", "pii_count", "has_patterns")
_LABEL_WORDS = {"language": "in {}", "has_patterns": "holding {}", "given": "given: {}"}


def golden_represents_traffic(
    window: Profile | None, reference: Profile, *, minimum: int = MINIMUM_ROWS
) -> tuple[str, tuple[str, ...]]:
    """Compare a window's prompts with those of the golden set (`reference`: its profile).

    Returns:
        `ok`, `drift` or `no_data`; and for `drift` what the traffic has and the golden set lacks,
        in words, the most telling first, one line for each aspect (length, language, ...). For
        `no_data`, why.
    """
    if window is None or window.rows < max(minimum, 1):
        rows = 0 if window is None else window.rows
        return "no_data", (f"{rows} rows of traffic; at least {minimum} are needed.",)
    try:
        scores = compare(reference, window, side="prompt")
    except DataError as error:
        return "no_data", (str(error),)
    moved = sorted((score for score in scores if score.alarm), key=surplus, reverse=True)
    missing: dict[str, str] = {}
    for score in moved:
        part = _lacking(score, reference, window)
        # longer texts hold more of what is rare anyway
        if part and not ("length" in missing and score.column.endswith(RARE)):
            missing.setdefault(aspect_of(score.column), part)
    return ("drift" if moved else "ok"), tuple(missing.values())[:MOST]


def _lacking(score: DriftScore, reference: Profile, window: Profile) -> str:
    """The part of a column's values that grew most, in words."""
    column = score.column
    kind = column.partition(".")[2]
    if column in reference.labels:
        return _label(kind, reference, window, column)
    if column not in reference.numbers:
        return f"{titled(column)} differs"
    before, after = (
        values[~np.isnan(values)] for values in (reference.numbers[column], window.numbers[column])
    )
    low, high = (float(edge) for edge in np.quantile(before, [0.1, 0.9]))
    parts = [
        (float((after > high).mean()), float((before > high).mean()), "above", high),
        (float((after < low).mean()), float((before < low).mean()), "below", low),
    ]
    share, known, side, edge = max(parts, key=lambda part: part[0] - part[1])
    found = f"prompts with {kind.replace('_', ' ')} {side} {edge:.4g}"
    return f"{found}: {share:.0%} of the traffic, {known:.0%} of the golden set"


def _label(kind: str, reference: Profile, window: Profile, column: str) -> str:
    sides = [
        [value for value in profile.labels[column].tolist() if value is not None]
        for profile in (reference, window)
    ]
    names = set(sides[1])
    gains = {
        name: sides[1].count(name) / len(sides[1]) - sides[0].count(name) / max(len(sides[0]), 1)
        for name in names
    }
    most = max(sorted(names), key=lambda name: gains[name])
    share, known = (side.count(most) / max(len(side), 1) for side in reversed(sides))
    words = _LABEL_WORDS.get(kind, kind.replace("_", " ") + ": {}").format(most or "none")
    return f"prompts {words}: {share:.0%} of the traffic, {known:.0%} of the golden set"
