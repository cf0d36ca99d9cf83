"""Example texts for a drift report: rows from where the distributions of a moved column part."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice

from sluicegate.cards.drift_report import Moved, Sample
from sluicegate.drift import Profile, measured
from sluicegate.monitoring.explaining import aspect_of, regions
from sluicegate.monitoring.rows import Row, chunks

COLUMNS, EACH = 3, 2
_CANDIDATES = 40
_HIGHEST = ("injection_score", "hostile_words", "pii_count", "similarity")
SEARCHED = 20_000
"""Rows of either side that are looked through."""


def samples(
    moved: Sequence[Moved],
    reference: Profile,
    window: Profile,
    before: Iterable[Row],
    after: Iterable[Row],
) -> tuple[Sample, ...]:
    """Texts of the reference of which there is less now, and of the window of which there is more.

    For at most three columns, the most telling of each aspect (length, language, ...), two texts a
    side.
    """
    wanted: dict[str, tuple[object, object]] = {}
    aspects: set[tuple[str, str]] = set()
    for item in moved:
        column = item.score.column
        key = (column.partition(".")[0], aspect_of(column))
        parts = regions(column, reference, window)
        if key not in aspects and parts is not None and len(wanted) < COLUMNS:
            wanted[column] = parts
            aspects.add(key)
    found: list[Sample] = []
    for place, (side, rows) in enumerate((("before", before), ("after", after))):
        found += _found(rows, side, {column: parts[place] for column, parts in wanted.items()})
    order = list(wanted)
    return tuple(sorted(found, key=lambda sample: order.index(sample.column)))


def _found(rows: Iterable[Row], side: str, wanted: dict[str, object]) -> list[Sample]:
    kept: dict[str, list[tuple[float, Sample]]] = {column: [] for column in wanted}
    for chunk in chunks(islice(rows, SEARCHED)):
        if all(len(own) >= _CANDIDATES for own in kept.values()):
            break
        numbers, labels = measured(chunk)
        for column, part in wanted.items():
            values = (numbers[column] if column in numbers else labels[column]).tolist()
            for row, value in zip(chunk, values, strict=True):
                if (
                    len(kept[column]) < _CANDIDATES
                    and _inside(value, part)
                    and _new(row, kept[column])
                ):
                    shown = f"{value:.4g}" if isinstance(value, float) else str(value) or "none"
                    texts = (str(row.get("prompt") or ""), str(row.get("response") or ""))
                    rank = value if column.endswith(_HIGHEST) and isinstance(value, float) else 0.0
                    kept[column].append((rank, Sample(column, side, shown, *texts)))
    return [
        sample for own in kept.values() for _, sample in sorted(own, key=lambda one: -one[0])[:EACH]
    ]


def _inside(value: object, part: object) -> bool:
    if isinstance(part, tuple):
        return isinstance(value, float) and part[0] <= value < part[1]
    return value == part


def _new(row: Row, kept: Sequence[tuple[float, Sample]]) -> bool:
    return all(sample.prompt != row.get("prompt") for _, sample in kept)
