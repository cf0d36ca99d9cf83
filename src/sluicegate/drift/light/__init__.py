"""LangKit's light text metrics, computed for many texts at once; LangKit need not be installed.

The twelve columns of `langkit.light_metrics` (0.0.35) under the same names and with equal values.
Deliberate differences:

- A missing text (None) stays a null in its own row; in LangKit it blanks the whole batch.
- `has_patterns` holds LangKit's answer, the first group that matches; `patterns` all of them.
- `aggregate_reading_level` is the number that LangKit's profiles keep, not its phrase.
- `vader_sentiment` (Hutto and Gilbert 2014) needs no download.
- Whitespace without a word is counted as textstat counts it; nothing is stripped first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sluicegate.drift.light.lexicon import Places
from sluicegate.drift.light.patterns import GROUPS, patterns
from sluicegate.drift.light.readability import readability
from sluicegate.drift.light.scanning import Scan, scan

__all__ = ["GROUPS", "NUMERIC", "light_metrics"]

Array = NDArray[np.float64]

NUMERIC = (
    "flesch_reading_ease", "automated_readability_index", "aggregate_reading_level",
    "syllable_count", "lexicon_count", "sentence_count", "character_count", "letter_count",
    "polysyllable_count", "monosyllable_count", "difficult_words",
)  # fmt: skip
"""The eleven numeric columns; the twelfth is `has_patterns`."""

_SUMS = {
    "characters": "character_count", "letters": "letter_count", "words": "lexicon_count",
    "syllables": "syllable_count", "polysyllables": "polysyllable_count",
    "monosyllables": "monosyllable_count",
}  # fmt: skip
# of a batch: enough for each NumPy call, few enough for a processor's cache
_TEXTS, _CHARACTERS = 1_000, 300_000
_LINSEAR = 100


def light_metrics(
    texts: Sequence[str | None],
) -> tuple[dict[str, Array], list[tuple[str, ...] | None]]:
    """The light metrics of each text: numeric columns (NaN for a None) and the patterns found.

    The counts are in characters, words, sentences and syllables; the readability columns in grades
    or on Flesch's scale. An empty text counts 0 of everything but one sentence. No texts give empty
    columns.

    Returns:
        `NUMERIC` columns as float arrays of one value per text, in order; and per text the tuple of
        pattern groups (LangKit's `has_patterns` is its first element, or None), None for a missing
        text.

    Example:
        >>> numbers, found = light_metrics(["Where is my order? Call 555-123-4567.", None, ""])
        >>> numbers["lexicon_count"].tolist(), numbers["sentence_count"].tolist()
        ([6.0, nan, 0.0], [1.0, nan, 1.0])
        >>> found
        [('phone number',), None, ()]
    """
    columns = {name: np.full(len(texts), np.nan) for name in NUMERIC}
    found: list[tuple[str, ...] | None] = [None] * len(texts)
    for places, batch in _batches(texts):
        numbers, groups = _batch(batch)
        for name in NUMERIC:
            columns[name][places] = numbers[name]
        for place, group in zip(places, groups, strict=True):
            found[place] = group
    return columns, found


def _batches(texts: Sequence[str | None]) -> Iterator[tuple[list[int], list[str]]]:
    """The texts that are not missing, by parts, and their places among all."""
    places: list[int] = []
    batch: list[str] = []
    characters = 0
    for place, text in enumerate(texts):
        if text is None:
            continue
        if batch and (len(batch) == _TEXTS or characters + len(text) > _CHARACTERS):
            yield places, batch
            places, batch, characters = [], [], 0
        places.append(place)
        batch.append(text)
        characters += len(text)
    if batch:
        yield places, batch


def _batch(texts: list[str]) -> tuple[dict[str, Array], list[tuple[str, ...]]]:
    found = scan(texts)
    many = found.syllables >= 3
    sentences = _sentences(found, found.bounds[1:])
    every, hard, two = _difficult(found, len(texts))
    counts = {
        "characters": _sums(found.characters, found.bounds),
        "letters": _sums(found.letters, found.bounds),
        "words": _sums(found.letters > 0, found.bounds),
        "syllables": _sums(found.syllables, found.bounds),
        "polysyllables": _sums(many, found.bounds),
        "monosyllables": _sums(found.monosyllable, found.bounds),
        "sentences": sentences,
        "not_easy": every,
        "hard": hard,
        "linsear": _linsear(found, many, sentences),
    }
    numbers = {column: counts[name] for name, column in _SUMS.items()}
    numbers |= readability(counts) | {"sentence_count": sentences, "difficult_words": two}
    return numbers, _patterns(texts, found)


def _sums(values: NDArray[Any], bounds: Places, stops: Places | None = None) -> Array:
    """Sum of each text's `values`, up to the token before `stops` or its last; 0 without tokens."""
    total = np.zeros(len(values) + 1, np.intp)
    np.cumsum(values, out=total[1:])
    return (total[bounds[1:] if stops is None else stops] - total[bounds[:-1]]).astype(np.float64)


def _sentences(found: Scan, stops: Places) -> Array:
    """Stretches of three words or more between sentence ends, at least 1 (textstat's rule)."""
    begins = found.bounds[:-1]
    seen = np.zeros(len(found.head) + 1, np.intp)
    np.cumsum(found.head, out=seen[1:])
    seen[1:] += np.cumsum(found.tail)
    texts = np.searchsorted(begins, found.broken, "right") - 1
    inside = found.broken < stops[texts]
    broken, texts = found.broken[inside], texts[inside]
    filled = np.flatnonzero(stops > begins)
    where = np.searchsorted(broken, stops[filled])
    reached = np.insert(seen[broken + 1] - found.tail[broken], where, seen[stops[filled]])
    texts = np.insert(texts, where, filled)
    first = np.diff(texts, prepend=-1) > 0
    before = np.append(0, reached[:-1])
    before[first] = seen[begins[texts[first]]]
    long = reached - before >= 3
    return np.maximum(np.bincount(texts[long], minlength=len(stops)), 1).astype(np.float64)


def _difficult(found: Scan, texts: int) -> tuple[Array, Array, Array]:
    """Distinct difficult words: all, with three syllables or more, with two or more."""
    words = found.words
    kept = ~words.easy[words.numbers]
    bits = len(words.easy).bit_length()
    pairs = np.sort(found.owner[kept] << bits | words.numbers[kept])
    distinct = pairs[np.diff(pairs, prepend=-1) > 0]
    text, count = distinct >> bits, words.syllables[distinct & (1 << bits) - 1]
    every, hard, two = (
        np.bincount(text[count >= least], minlength=texts).astype(float) for least in (0, 3, 2)
    )
    return every, hard, two


def _linsear(found: Scan, many: NDArray[np.bool_], sentences: Array) -> Array:
    """Linsear Write before halving, over each text's first hundred tokens."""
    begins = found.bounds[:-1]
    short = np.minimum(np.diff(found.bounds), _LINSEAR)
    stops = begins + short
    difficult = _sums(many, found.bounds, stops)
    if (stops < found.bounds[1:]).any():
        sentences = _sentences(found, stops)
    result: Array = (short - difficult + difficult * 3) / sentences
    return result


def _patterns(texts: list[str], found: Scan) -> list[tuple[str, ...]]:
    """The patterns of each text, looked for only where they could be."""
    groups: list[tuple[str, ...]] = [()] * len(texts)
    for i in np.flatnonzero(found.numbers | found.roads | found.email).tolist():
        groups[i] = patterns(
            texts[i],
            numbers=bool(found.numbers[i]),
            roads=bool(found.roads[i]),
            email=bool(found.email[i]),
        )
    return groups
