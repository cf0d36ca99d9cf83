"""What each character of a text is to the light metrics, looked up for whole batches at once.

The table is filled as characters are met, by Python's own `isspace`, `isalnum`, `isdecimal` and
`lower`, which `str.split` and the expressions of textstat and syllapy go by.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]

SPACE, LETTER, OTHER, JOINER, DIGIT, BREAK, VOWEL, FOREIGN = (1 << bit for bit in range(8))
"""Kinds, combined by `|`.

LETTER: of ASCII; OTHER: what else `\\w` matches; JOINER: not of a word but kept inside one by
textstat's list of difficult words; FOREIGN: beyond ASCII and of a word or with a lower case, left
to Python.
"""
WORD = LETTER | OTHER
PIECE = WORD | JOINER

_UNKNOWN = 255
QUOTES = {ord("‘"): "\x01", ord("’"): "\x02"}
"""Joiners beyond ASCII, and the characters that stand for them in a word: such that no word has."""


def among(characters: str) -> NDArray[np.bool_]:
    """For each byte: is it one of these characters of ASCII."""
    return np.isin(np.arange(256), np.frombuffer(characters.encode("ascii"), np.uint8))


def classified(text: str) -> tuple[Bytes, Bytes]:
    """The kind of each character, and a byte: ASCII in lower case, `QUOTES`, 0 for all others.

    Example:
        >>> kinds, letters = classified("A 1")
        >>> kinds.tolist() == [LETTER | VOWEL, SPACE, OTHER | DIGIT], letters.tobytes()
        (True, b'a 1')
    """
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
    table = _table()
    both = table.take(codes)
    kinds = both.astype(np.uint8)
    new = kinds == _UNKNOWN
    if new.any():
        for code in set(codes[new].tolist()):  # np.unique would load numpy.ma first
            table[code] = _entry(chr(code))
        both = table.take(codes)
        kinds = both.astype(np.uint8)
    return kinds, (both >> 8).astype(np.uint8)


@cache
def _table() -> NDArray[np.uint16]:
    """Kind and byte of each code point in one number."""
    table = np.full(0x110000, _UNKNOWN, np.uint16)
    table[:128] = [_entry(chr(code)) for code in range(128)]
    return table


def _entry(character: str) -> int:
    ascii_only, word = character.isascii(), character.isalnum() or character == "_"
    letter = ascii_only and character.isalpha()
    kind = (
        SPACE * character.isspace()
        | LETTER * letter
        | OTHER * (word and not letter)
        | JOINER * (character in "='‘’")
        | DIGIT * character.isdecimal()
        | BREAK * (character in ".!?")
        | VOWEL * (character in "aeiouyAEIOUY")
        | FOREIGN * (not ascii_only and (word or character.lower() != character))
    )
    return kind | ord(character.lower() if ascii_only else QUOTES.get(ord(character), "\0")) << 8
