"""How long an answer is. These describe: longer is not better; a gate asks for a bound."""

from __future__ import annotations

import re
from collections.abc import Sequence

LONGEST = 10_000_000.0
_ENDING = re.compile(r"[.!?\u2026]+[\"'\u201d\u2019)\]]*(?=\s|$)|[\u3002\uff01\uff1f]+|\n+")


def length_words(source: str, output: str, references: Sequence[str] = ()) -> float:
    """Words between white space; 0 when the output is blank, at most 10 million. It describes.

    Example:
        >>> length_words("", "Ana asks: where is it?")
        5.0
    """
    return min(float(len(output.split())), LONGEST)


def length_characters(source: str, output: str, references: Sequence[str] = ()) -> float:
    """Unicode code points, white space included; 0 when blank, at most 10 million. It describes.

    Example:
        >>> length_characters("", "two words")
        9.0
    """
    return min(float(len(output)), LONGEST) if output.strip() else 0.0


def length_sentences(source: str, output: str, references: Sequence[str] = ()) -> float:
    """Stretches with a letter or digit that end at . ! ? and white space, CJK kin, or a line's end.

    An abbreviation with a full stop ends a sentence too. 0 when the output is blank; a blank-free
    text without a letter counts as one. It describes.

    Example:
        >>> length_sentences("", "It came at 14.30. Ana is happy!")
        2.0
    """
    if not output.strip():
        return 0.0
    parts = _ENDING.split(output)
    return min(float(max(1, sum(any(char.isalnum() for char in part) for part in parts))), LONGEST)
