"""LangKit's light text metrics, computed for many texts at once; LangKit need not be installed.

The twelve columns of `langkit.light_metrics` (0.0.35) under the same names and with equal values. Deliberate
differences:

- A missing text (None) stays a null in its own row. In LangKit one None blanks the metric for the whole batch.
- `has_patterns` holds LangKit's answer, the first group that matches; `patterns` holds all of them.
- `aggregate_reading_level` is the number. LangKit registers two functions under that name, the first of which
  makes a phrase ("7th and 8th grade"); the number, which it computes last, is what its profiles keep.
- `vader_sentiment` (Hutto and Gilbert 2014, compound score) is computed with its lexicon from here; LangKit's own
  `sentiment_nltk` downloads it.
- Whitespace without a word, such as a vertical tab, is counted as textstat counts it; nothing is stripped first.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from sluicegate.drift.light.patterns import GROUPS, patterns
from sluicegate.drift.light.readability import readability
from sluicegate.drift.light.tokens import FIELDS, Vocabulary

__all__ = ["GROUPS", "NUMERIC", "light_metrics"]

Array = NDArray[np.float64]
Numbers = NDArray[np.intp]

NUMERIC = (
    "flesch_reading_ease", "automated_readability_index", "aggregate_reading_level", "syllable_count", "lexicon_count",
    "sentence_count", "character_count", "letter_count", "polysyllable_count", "monosyllable_count", "difficult_words",
)  # fmt: skip
"""The eleven numeric columns; the twelfth is `has_patterns`."""

_SUMS = {
    "characters": "character_count", "letters": "letter_count", "words": "lexicon_count",
    "syllables": "syllable_count", "polysyllables": "polysyllable_count", "monosyllables": "monosyllable_count",
}  # fmt: skip
_BATCH = 512
_LINSEAR = 100


def light_metrics(texts: Sequence[str | None]) -> tuple[dict[str, Array], list[tuple[str, ...] | None]]:
    """The light metrics of each text: numeric columns (NaN where the text is None) and the patterns found.

    The counts are in characters, words, sentences and syllables; the readability columns in grades or on Flesch's
    scale. An empty text counts 0 of everything but one sentence. No texts give empty columns.

    Returns:
        `NUMERIC` columns as float arrays of one value per text, in order; and per text the tuple of pattern groups
        (LangKit's `has_patterns` is its first element, or None), None for a missing text.

    Example:
        >>> numbers, found = light_metrics(["Where is my order? Call 555-123-4567.", None, ""])
        >>> numbers["lexicon_count"].tolist(), numbers["sentence_count"].tolist()
        ([6.0, nan, 0.0], [1.0, nan, 1.0])
        >>> found
        [('phone number',), None, ()]
    """
    present = [i for i, text in enumerate(texts) if text is not None]
    columns = {name: np.full(len(texts), np.nan) for name in NUMERIC}
    found: list[tuple[str, ...] | None] = [None] * len(texts)
    for start in range(0, len(present), _BATCH):
        places = present[start : start + _BATCH]
        batch = [text for place in places if (text := texts[place]) is not None]
        numbers, groups = _batch(batch)
        for name in NUMERIC:
            columns[name][places] = numbers[name]
        for place, group in zip(places, groups, strict=True):
            found[place] = group
    return columns, found


_LOCK = threading.Lock()


@cache
def _vocabulary() -> Vocabulary:
    return Vocabulary()


def _batch(texts: list[str]) -> tuple[dict[str, Array], list[tuple[str, ...]]]:
    tokens = [text.split() for text in texts]
    sizes = np.fromiter(map(len, tokens), np.intp, len(tokens))
    with _LOCK:
        vocabulary = _vocabulary()
        codes = vocabulary.number(tokens)
        fields = dict(zip(FIELDS, vocabulary.table, strict=True))
        grades, more = vocabulary.grades, vocabulary.more
        vocabulary.trim()
    owner = np.repeat(np.arange(len(texts)), sizes)
    counts = {name: _sums(fields[name][codes], sizes) for name in _SUMS}
    counts["sentences"] = _sentences(codes, fields, sizes, owner)
    easy, counts["hard"], difficult = _difficult(codes, fields, grades, more, owner, len(texts))
    counts["not_easy"] = easy
    counts["linsear"] = _linsear(codes, fields, sizes, counts)
    numbers = {_SUMS[name]: counts[name] for name in _SUMS}
    numbers |= readability(counts)
    numbers |= {"sentence_count": counts["sentences"], "difficult_words": difficult}
    return numbers, _patterns(texts, codes, fields, owner)


def _sums(values: NDArray[np.int32], sizes: Numbers) -> Array:
    """Sum of each text's stretch of `values`; 0 for a text without tokens."""
    total = np.zeros(len(sizes))
    filled = sizes > 0
    if filled.any():
        starts = (np.cumsum(sizes) - sizes)[filled]
        total[filled] = np.add.reduceat(values, starts, dtype=np.int64)
    return total


def _sentences(codes: Numbers, fields: Mapping[str, NDArray[np.int32]], sizes: Numbers, owner: Numbers) -> Array:
    """Stretches of three words or more between sentence ends, at least 1 (textstat's rule)."""
    head, tail = fields["head"][codes], fields["tail"][codes]
    seen = np.cumsum(head + tail, dtype=np.int64)
    inside = np.flatnonzero(fields["breaks"][codes])
    filled = np.flatnonzero(sizes)
    last = np.cumsum(sizes)[filled] - 1
    order = np.argsort(np.concatenate([2 * inside, 2 * last + 1]), kind="stable")
    reached = np.concatenate([seen[inside] - tail[inside], seen[last]])[order]
    texts = np.concatenate([owner[inside], filled])[order]
    long = np.diff(reached, prepend=0) >= 3
    return np.maximum(np.bincount(texts[long], minlength=len(sizes)), 1).astype(np.float64)


def _difficult(
    codes: Numbers,
    fields: Mapping[str, NDArray[np.int32]],
    grades: NDArray[np.int8],
    more: Mapping[int, list[int]],
    owner: Numbers,
    texts: int,
) -> tuple[Array, Array, Array]:
    """Distinct words that are not on the list of easy ones: all, with three syllables or more, with two or more."""
    if not len(grades):
        return np.zeros(texts), np.zeros(texts), np.zeros(texts)
    words = fields["piece"][codes]
    kept = np.flatnonzero((grades[words] > 0) & (words >= 0))
    places = np.flatnonzero(fields["several"][codes])
    extra = [
        text * len(grades) + word
        for text, code in zip(owner[places].tolist(), codes[places].tolist(), strict=True)
        for word in more[code]
        if grades[word]
    ]
    pairs = np.sort(np.concatenate([owner[kept] * len(grades) + words[kept], np.array(extra, np.intp)]))
    distinct = pairs[np.diff(pairs, prepend=-1) > 0]
    text, word = np.divmod(distinct, len(grades))
    grade = grades[word]
    every, hard, two = (np.bincount(text[grade >= least], minlength=texts).astype(float) for least in (1, 3, 2))
    return every, hard, two


def _linsear(
    codes: Numbers, fields: Mapping[str, NDArray[np.int32]], sizes: Numbers, counts: Mapping[str, Array]
) -> Array:
    """Linsear Write before halving, over each text's first hundred tokens."""
    short = np.minimum(sizes, _LINSEAR)
    position = np.arange(len(codes)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    first = codes[position < _LINSEAR]
    owner = np.repeat(np.arange(len(sizes)), short)
    difficult = _sums(fields["polysyllables"][first], short)
    sentences = _sentences(first, fields, short, owner) if (sizes > _LINSEAR).any() else counts["sentences"]
    result: Array = (short - difficult + difficult * 3) / sentences
    return result


def _patterns(
    texts: list[str], codes: Numbers, fields: Mapping[str, NDArray[np.int32]], owner: Numbers
) -> list[tuple[str, ...]]:
    """Try the expressions only where digits and words stand so that they could match."""
    count = len(texts)
    digits = np.concatenate([fields["digits"][codes], [0, 0]])
    near = digits[:-2] + digits[1:-1] + digits[2:] >= 9
    numbers = np.bincount(owner[near | (fields["plus"][codes] > 0)], minlength=count) > 0
    road = np.concatenate([fields["road"][codes], [0, 0, 0]])
    house = (fields["ends_in_digit"][codes] > 0) & ((road[2:-1] > 0) | (road[3:] > 0))
    roads = np.bincount(owner[house], minlength=count) > 0
    emails = np.bincount(owner[fields["email"][codes] > 0], minlength=count) > 0
    found: list[tuple[str, ...]] = [()] * count
    for i in np.flatnonzero(numbers | roads | emails).tolist():
        found[i] = patterns(texts[i], numbers=bool(numbers[i]), roads=bool(roads[i]), email=bool(emails[i]))
    return found
