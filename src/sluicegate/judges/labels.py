"""Labels: what people say about answers, as numbers on a judge's scale."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from sluicegate.errors import DataError
from sluicegate.hashing import digest_value
from sluicegate.judges.base import JudgeRow
from sluicegate.judges.criteria import Criterion

TURNED = "-turned"
"""Ending of the name of a pair that is shown the other way round."""
_BETTER = {"1": 1.0, "output": 1.0, "first": 1.0, "2": 0.0, "0": 0.0, "other": 0.0, "second": 0.0}
_EQUAL = {"0.5": 0.5, "tie": 0.5, "equal": 0.5, "=": 0.5}


@dataclass(frozen=True, slots=True)
class LabelledRow:
    """One answer and what people made of it.

    Attributes:
        group: what it came from; rows of one group are not independent.
        labels: in [0, 1], one a person: 1 is the high end of the criterion's scale; pairwise, 1 if
            `output` is better.
        raters: who gave them, in the same order.
        sentinel: known to be bad; it measures whether the judge notices, not agreement.
        release: which one answered, where a file says so.
    """

    row: JudgeRow
    group: str
    labels: tuple[float, ...]
    raters: tuple[str, ...]
    sentinel: bool = False
    release: str = ""

    @property
    def human(self) -> float:
        """Mean of the labels."""
        return math.fsum(self.labels) / len(self.labels)


@dataclass(frozen=True, slots=True)
class Labels:
    """A labelled set: its rows, how many lines had no label, and the digest of what is in it."""

    rows: tuple[LabelledRow, ...]
    unlabelled: int = 0

    @property
    def digest(self) -> str:
        return digest_value(sorted(digest_value(row) for row in self.rows))


def label_value(said: Any, criterion: Criterion, where: str = "label") -> float:
    """A label as a number in [0, 1].

    Raises:
        DataError: it is not in the criterion's scale.

    Example:
        >>> five = Criterion("c", "direct", "Is it clear?", ("m",), (1, 5))
        >>> label_value("4", five), label_value("other", replace(five, form="pairwise", scale=(0,
        ...     1)))
        (0.75, 0.0)
    """
    text = str(said).strip().casefold()
    if criterion.compares:
        text = f"{float(text):g}" if _is_number(text) else text
        value = {**_BETTER, **_EQUAL}.get(text)
        if value is None:
            raise DataError(
                f"{where}: {said!r} is not a preference.", hint="Write output, other or tie."
            )
        return value
    low, high = criterion.scale
    number = float(text) if _is_number(text) and not isinstance(said, bool) else math.nan
    if not low <= number <= high:
        raise DataError(
            f"{where}: {said!r} is not between {low} and {high}.",
            hint="Labels are in the judge's scale.",
        )
    return (number - low) / (high - low)


def merged(old: Labels, new: Labels) -> tuple[Labels, int, int]:
    """Both sets together, and how many labels are new and how many changed.

    Raises:
        DataError: an id stands for two different answers.
    """
    rows = {row.row.id: row for row in old.rows}
    added = changed = 0
    for row in new.rows:
        if row.row.id not in rows:
            rows[row.row.id], added = row, added + len(row.labels)
            continue
        before = rows[row.row.id]
        same_answer(before, row, f"row {row.row.id}")
        said = dict(zip(before.raters, before.labels, strict=True))
        for rater, value in zip(row.raters, row.labels, strict=True):
            added, changed = (
                added + (rater not in said),
                changed + (said.get(rater, value) != value),
            )
            said[rater] = value
        rows[row.row.id] = replace(before, labels=tuple(said.values()), raters=tuple(said))
    return Labels(tuple(rows.values()), new.unlabelled), added, changed


def same_answer(before: LabelledRow, new: LabelledRow, where: str) -> None:
    """Refuse two rows of one id that are about different answers.

    Raises:
        DataError: they are.
    """
    if (before.row, before.group, before.sentinel) != (new.row, new.group, new.sentinel):
        raise DataError(
            f"{where}: the id {new.row.id!r} stands for two different answers.",
            hint="Give each its own id.",
        )


def spoken_label(value: float, criterion: Criterion) -> str | float:
    """A label as people write it: in the criterion's scale, or which answer is better."""
    if criterion.compares:
        return {1.0: "output", 0.5: "tie", 0.0: "other"}[value]
    low, high = criterion.scale
    number = round(low + value * (high - low), 9)
    return int(number) if number == int(number) else number


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
