"""A profile of text traffic, to store, compare and merge: exact summaries and a sample of blocks.

Of every column: rows, nulls, mean, variance, range; of every category its count. Beside them a
sample of metric rows, never of texts. Blocks (a conversation, a customer) are kept or dropped
whole, smallest SHA-256 first, so that the sample of a union is the union of the samples, cut again:
24 hourly profiles merge to a day's (bottom-k sampling; Cohen and Kaplan 2007).
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from sluicegate.drift.embedded import Embedded, smallest
from sluicegate.drift.light import light_metrics
from sluicegate.drift.light.sentiment import vader_sentiment
from sluicegate.drift.signals import signals
from sluicegate.errors import DataError

SIDES = ("prompt", "response")
OPERATIONS = {
    "prompt.tokens": "prompt_tokens",
    "response.tokens": "completion_tokens",
    "response.latency": "latency",
}
"""Column to the field of a row that holds it: a number, where the traffic knows it."""
LIMIT = 20_000
"""Rows in the sample of a profile, about 4 MB; whole blocks, so a little fewer, or one block larger
than that.
"""
_EVERY = 2**64 - 1
_LEVELS = (0.05, 0.5, 0.95)

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Moments:
    """Exact summary of a numeric column; `squares`: the sum of squared deviations."""

    n: int
    nulls: int
    mean: float
    squares: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Array) -> Moments:
        """Of an array in which NaN marks a null; all zero where nothing else is in it."""
        found = values[~np.isnan(values)]
        if not len(found):
            return cls(0, len(values), 0.0, 0.0, 0.0, 0.0)
        mean = float(found.mean())
        squares = float(((found - mean) ** 2).sum())
        return cls(
            len(found),
            len(values) - len(found),
            mean,
            squares,
            float(found.min()),
            float(found.max()),
        )

    def merge(self, other: Moments) -> Moments:
        """Of both columns together (Chan, Golub and LeVeque 1979)."""
        if not self.n or not other.n:
            full, nulls = (self if self.n else other), self.nulls + other.nulls
            return Moments(full.n, nulls, full.mean, full.squares, full.low, full.high)
        n, apart = self.n + other.n, other.mean - self.mean
        return Moments(
            n,
            self.nulls + other.nulls,
            self.mean + apart * other.n / n,
            self.squares + other.squares + apart * apart * self.n * other.n / n,
            min(self.low, other.low),
            max(self.high, other.high),
        )


@dataclass(frozen=True, slots=True)
class Profile:
    """What is kept of some traffic.

    `moments` and `categories` (column to label to count) cover all `rows`. `numbers`, `labels` and
    `blocks` are the sample, one entry per sampled row in order of its block; NaN and None mark
    nulls. The sample holds every block whose number is at most `cut`. `embedded` holds vectors of a
    part of it, where an encoder was given.
    """

    rows: int
    moments: Mapping[str, Moments]
    categories: Mapping[str, Mapping[str, int]]
    numbers: Mapping[str, Array]
    labels: Mapping[str, NDArray[np.object_]]
    blocks: NDArray[np.uint64]
    cut: int = _EVERY
    embedded: Embedded | None = None

    def merge(self, other: Profile) -> Profile:
        """Of both stretches of traffic; costs as much as the two samples are long.

        Raises:
            DataError: the two have different columns.
        """
        if self.numbers.keys() != other.numbers.keys() or self.labels.keys() != other.labels.keys():
            odd = sorted(
                (self.numbers.keys() | self.labels.keys())
                ^ (other.numbers.keys() | other.labels.keys())
            )
            raise DataError(f"profiles with different columns cannot be merged: {', '.join(odd)}.")
        joined = Profile(
            self.rows + other.rows,
            {name: self.moments[name].merge(other.moments[name]) for name in self.numbers},
            {
                name: dict(Counter(self.categories[name]) + Counter(other.categories[name]))
                for name in self.labels
            },
            {
                name: np.concatenate([self.numbers[name], other.numbers[name]])
                for name in self.numbers
            },
            {name: np.concatenate([self.labels[name], other.labels[name]]) for name in self.labels},
            np.concatenate([self.blocks, other.blocks]),
            min(self.cut, other.cut),
            self.embedded.merge(other.embedded) if self.embedded and other.embedded else None,
        )
        return joined.sampled(LIMIT)

    def sampled(self, limit: int) -> Profile:
        """With a sample of at most `limit` rows (at least one block)."""
        kept, cut = smallest(self.blocks, self.cut, limit)
        return Profile(
            self.rows,
            self.moments,
            self.categories,
            {name: values[kept] for name, values in self.numbers.items()},
            {name: values[kept] for name, values in self.labels.items()},
            self.blocks[kept],
            cut,
            self.embedded and self.embedded.within(cut),
        )

    def summary(self) -> dict[str, dict[str, float]]:
        """Per numeric column with a value: n, nulls, mean, stddev, min, q_05, median, q_95, max
        (quantiles: sample).
        """
        found = {}
        for name, moments in self.moments.items():
            values = self.numbers[name][~np.isnan(self.numbers[name])]
            if moments.n and len(values):
                low, middle, high = map(float, np.quantile(values, _LEVELS))
                found[name] = {
                    "n": moments.n, "nulls": moments.nulls, "mean": moments.mean,
                    "stddev": math.sqrt(moments.squares / max(moments.n - 1, 1)),
                    "min": moments.low, "q_05": low, "median": middle, "q_95": high,
                    "max": moments.high,
                }  # fmt: skip
        return found


def merge(profiles: Iterable[Profile]) -> Profile:
    """All of them in one, in any order.

    Raises:
        DataError: none is given, or their columns differ.
    """
    given = list(profiles)
    if not given:
        raise DataError("there are no profiles to merge.")
    return reduce(Profile.merge, given)


def profile_rows(rows: Sequence[Mapping[str, object]], *, start: int = 0) -> Profile:
    """Profile the `prompt` and `response` of each row by light metrics, sentiment and signals.

    `group` names the block that a row belongs to; a row without one is a block of its own, told
    from an equal row in another part by `start`, the number of rows before this part. A text that
    is None is a null in its columns, as is an absent `prompt_tokens`, `completion_tokens` or
    `latency` (seconds). No texts are kept, and of group names only a hash.

    Raises:
        DataError: no rows; a prompt or response that is neither a text nor None; an operation that
            is not a number.
    """
    if not rows:
        raise DataError("there are no rows to profile.")
    numbers, labels = measured(rows)
    return Profile(
        len(rows),
        {name: Moments.of(values) for name, values in numbers.items()},
        {
            name: dict(Counter(label for label in values if label is not None))
            for name, values in labels.items()
        },
        numbers,
        labels,
        block_numbers(rows, start),
    ).sampled(LIMIT)


def block_numbers(rows: Sequence[Mapping[str, object]], start: int = 0) -> NDArray[np.uint64]:
    """The block of each row: a hash of its group, or of the row itself and its place."""
    return np.array([_block(row, number) for number, row in enumerate(rows, start)], np.uint64)


def measured(
    rows: Sequence[Mapping[str, object]],
) -> tuple[dict[str, Array], dict[str, NDArray[np.object_]]]:
    """Every numeric and every label column of the rows, in their order; NaN and None mark nulls.

    Raises:
        DataError: as `profile_rows`.
    """
    numbers: dict[str, Array] = {}
    labels: dict[str, NDArray[np.object_]] = {}
    texts = [[_text(row, side, number) for number, row in enumerate(rows, 1)] for side in SIDES]
    groups = []
    for side, own in zip(SIDES, texts, strict=True):
        found, kinds = light_metrics(own)
        groups.append(kinds)
        numbers |= {f"{side}.{name}": values for name, values in found.items()}
        numbers[f"{side}.vader_sentiment"] = vader_sentiment(own)
        first = [None if kind is None else kind[0] if kind else "" for kind in kinds]
        labels[f"{side}.has_patterns"] = np.array(first, np.object_)
    more, named = signals(texts[0], texts[1], groups)
    numbers |= more | {name: _operation(rows, field) for name, field in OPERATIONS.items()}
    labels |= named
    return numbers, labels


def _operation(rows: Sequence[Mapping[str, object]], field: str) -> Array:
    values = [row.get(field) for row in rows]
    for number, value in enumerate(values, 1):
        if value is not None and (not isinstance(value, int | float) or not math.isfinite(value)):
            raise DataError(f"row {number}: {field} is not a number.")
    return np.array([math.nan if value is None else value for value in values], np.float64)


def _text(row: Mapping[str, object], side: str, number: int) -> str | None:
    text = row.get(side, 0)
    if text is not None and not isinstance(text, str):
        raise DataError(f"row {number}: {side} is missing or is not text.")
    return text


def _block(row: Mapping[str, object], number: int) -> int:
    group = row.get("group")
    name = f"g{group}" if group else f"r{number} {row.get('prompt')} {row.get('response')}"
    return int.from_bytes(hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()[:8])
