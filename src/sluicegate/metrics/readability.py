"""Flesch reading ease, equal to `textstat` (whylabs-textstat 0.7.4, English) unrounded.

Source: R. Flesch, "A new readability yardstick", J. Applied Psychology 32 (1948). Syllables come
from the dictionary and the rule of `syllapy`; each word is counted once.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from sluicegate.metrics.base import optional

_SENTENCE = re.compile(r"\b[^.!?]+[.!?]*")
_PUNCTUATION = re.compile(r"[^\w\s]")


def readability(source: str, output: str, references: Sequence[str] = ()) -> float:
    """Flesch reading ease in [0, 100], higher is easier: 60 to 70 plain English, under 30 hard.

    0 when the output is blank. For texts of a few words it says little.

    Raises:
        MissingExtraError: syllapy is not installed.

    Example:
        >>> round(readability("", "The customer asks for a refund because the parcel is late."), 2)
        72.62
    """
    return min(max(flesch_reading_ease(output), 0.0), 100.0) if output.strip() else 0.0


def flesch_reading_ease(text: str) -> float:
    """206.835 - 1.015 * words per sentence - 84.6 * syllables per word, unbounded below.

    A sentence of one or two words is not counted as one, as in textstat.

    Example:
        >>> round(flesch_reading_ease("Yes it is."), 3)
        119.19
    """
    words = _PUNCTUATION.sub("", text).lower().split()
    if not words:
        return 206.835
    sentences = sum(len(_PUNCTUATION.sub("", part).split()) > 2 for part in _SENTENCE.findall(text))
    return (
        206.835
        - 1.015 * (len(words) / max(1, sentences))
        - 84.6 * (sum(map(_syllables, words)) / len(words))
    )


@lru_cache(maxsize=65536)
def _syllables(word: str) -> int:
    return int(optional("syllapy", "syllapy").count(word))
