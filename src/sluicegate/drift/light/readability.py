"""The readability formulas, for arrays of texts, rounded step by step as textstat rounds them.

Flesch 1948 (reading ease), Kincaid et al. 1975 (grade), McLaughlin 1969 (SMOG), Coleman and Liau
1975, Smith and Senter 1967 (ARI), Dale and Chall 1948, O'Hayre 1966 (Linsear), Gunning 1952 (fog).
textstat rounds halves of negative numbers away from zero and lower (-3.2 becomes -4); that is kept,
since its values are what users know.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def rounded(number: Array, points: int = 0) -> Array:
    """textstat's rounding: floor(x + 0.5) above zero, floor(x - 0.5) below.

    Example:
        >>> rounded(np.array([2.5, -3.2, 1.26]), 0).tolist()
        [3.0, -4.0, 1.0]
    """
    scale: float = 10**points
    shifted: Array = np.floor(number * scale + np.copysign(0.5, number)) / scale
    return shifted


def readability(counts: Mapping[str, Array]) -> dict[str, Array]:
    """Flesch reading ease (higher: easier), ARI and the consensus of nine grades, per text.

    Args:
        counts: arrays `words`, `syllables`, `sentences` (at least 1), `characters`, `letters`,
            `polysyllables`, `not_easy`, `hard` (not easy, three syllables or more), `linsear` (the
            formula's quotient before halving).

    Returns:
        `flesch_reading_ease` (about 0 to 120, unbounded below), `automated_readability_index` and
        `aggregate_reading_level` (school grades; the commonest of the nine scores, the first of
        equals). A text
        without a word scores what textstat gives it: 206.84, 0.0 and 0.0.
    """
    words, sentences = counts["words"], counts["sentences"]
    spoken = words > 0
    safe = np.where(spoken, words, 1.0)
    length = rounded(words / sentences, 1)
    syllables = np.where(spoken, rounded(counts["syllables"] / safe, 1), 0.0)
    ease = rounded(206.835 - 1.015 * length - 84.6 * syllables, 2)
    index = (
        4.71 * rounded(counts["characters"] / safe, 2) + 0.5 * rounded(words / sentences, 2) - 21.43
    )
    index = np.where(spoken, rounded(index, 1), 0.0)
    scores = [
        rounded(0.39 * length + 11.8 * syllables - 15.59, 1),
        _smog(counts["polysyllables"], sentences),
        _coleman(counts["letters"], words, sentences),
        index,
        _dale(words, counts["not_easy"], length),
        _linsear(counts["linsear"]),
        np.where(spoken, rounded(0.4 * (length + counts["hard"] / safe * 100), 2), 0.0),
    ]
    return {
        "flesch_reading_ease": ease,
        "automated_readability_index": index,
        "aggregate_reading_level": _consensus(ease, scores),
    }


def _smog(polysyllables: Array, sentences: Array) -> Array:
    value = rounded(1.043 * (30 * (polysyllables / sentences)) ** 0.5 + 3.1291, 1)
    return np.where(sentences >= 3, value, 0.0)


def _coleman(letters: Array, words: Array, sentences: Array) -> Array:
    spoken, safe = words > 0, np.where(words > 0, words, 1.0)
    per_letter = rounded(np.where(spoken, rounded(letters / safe, 2), 0.0) * 100, 2)
    per_sentence = rounded(np.where(spoken, rounded(sentences / safe, 2), 0.0) * 100, 2)
    return rounded(0.058 * per_letter - 0.296 * per_sentence - 15.8, 2)


def _dale(words: Array, not_easy: Array, length: Array) -> Array:
    spoken, safe = words > 0, np.where(words > 0, words, 1.0)
    difficult = 100 - (words - not_easy) / safe * 100
    score = 0.1579 * difficult + 0.0496 * length
    score = np.where(difficult > 5, score + 3.6365, score)
    return np.where(spoken, rounded(score, 2), 0.0)


def _linsear(quotient: Array) -> Array:
    return np.where(quotient <= 20, quotient - 2, quotient) / 2


def _consensus(ease: Array, scores: list[Array]) -> Array:
    """The commonest grade; of equally common ones the first in textstat's order."""
    absent = np.float64(-1e18)
    steps = [ease >= bound for bound in (100, 90, 80, 70, 60, 50, 40, 30)]
    flesch = np.select(steps, [13.0, 5.0, 6.0, 7.0, 8.0, 10.0, 11.0, 12.0], 13.0)
    second = np.where((ease < 70) & (ease >= 60), 9.0, absent)
    grades = [rounded(scores[0]), np.ceil(scores[0]), flesch, second]
    for score in scores[1:]:
        grades += [rounded(score), np.ceil(score)]
    stacked = np.stack(grades) + 0.0
    votes = np.stack([(stacked == grade).sum(axis=0) for grade in stacked])
    votes[3][second == absent] = 0
    chosen: Array = np.take_along_axis(stacked, votes.argmax(axis=0)[None], axis=0)[0]
    return chosen
