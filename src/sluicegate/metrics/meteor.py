"""METEOR with exact and stemmed matches, as nltk's `meteor_score` with a WordNet of no synonyms.

Source: A. Lavie and A. Agarwal, "METEOR: an automatic metric for MT evaluation with high levels of
correlation with human judgments", WMT 2007 (alpha 0.9, beta 3, gamma 0.5). Synonyms are left out:
they come from a WordNet that has to be downloaded. The stemmer is nltk's Porter stemmer; each word
is stemmed once.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any

import regex

from sluicegate.metrics.base import optional

_TOKEN = regex.compile(r"\w+|[^\w\s]+")
ALPHA, BETA, GAMMA = 0.9, 3.0, 0.5


def meteor(source: str, output: str, references: Sequence[str]) -> float:
    """METEOR of words and runs of punctuation in [0, 1], higher is better; best reference.

    The order counts: an output that equals its reference and has n tokens scores 1 - 0.5 / n^3. 0
    when the output or every reference is blank, or when nothing agrees.

    Raises:
        MissingExtraError: nltk is not installed.

    Example:
        >>> round(meteor("", "the parcels arrived", ["the parcel arrives"]), 4)
        0.9815
    """
    words = _words(output)
    return max((_score(words, _words(reference)) for reference in references), default=0.0)


def _score(output: tuple[str, ...], reference: tuple[str, ...]) -> float:
    matches = _align(output, reference)
    if not matches:
        return 0.0
    hits = len(matches)
    precision, recall = hits / len(output), hits / len(reference)
    mean = precision * recall / (ALPHA * precision + (1 - ALPHA) * recall)
    breaks = sum(after != (before[0] + 1, before[1] + 1) for before, after in pairwise(matches))
    return float(mean * (1 - GAMMA * ((breaks + 1) / hits) ** BETA))


def _align(output: tuple[str, ...], reference: tuple[str, ...]) -> list[tuple[int, int]]:
    """Pairs of places: equal words, then equal stems; the last word takes the last free place."""
    mine, theirs = dict(enumerate(output)), dict(enumerate(reference))
    exact = _match(mine, theirs)
    for matched, words in (
        ([left for left, _ in exact], mine),
        ([right for _, right in exact], theirs),
    ):
        for place in matched:
            del words[place]
    stemmed = _match(
        {place: _stem(word) for place, word in mine.items()},
        {place: _stem(word) for place, word in theirs.items()},
    )
    return sorted(exact + stemmed)


def _match(mine: dict[int, str], theirs: dict[int, str]) -> list[tuple[int, int]]:
    free: dict[str, list[int]] = {}
    for place, word in theirs.items():
        free.setdefault(word, []).append(place)
    return [(place, free[word].pop()) for place, word in reversed(mine.items()) if free.get(word)]


@lru_cache(maxsize=8192)
def _words(text: str) -> tuple[str, ...]:
    return tuple(token.lower() for token in _TOKEN.findall(text))


@lru_cache(maxsize=1)
def _stemmer() -> Any:
    return optional("nltk.stem.porter", "nltk").PorterStemmer()


@lru_cache(maxsize=65536)
def _stem(word: str) -> str:
    return str(_stemmer().stem(word))
