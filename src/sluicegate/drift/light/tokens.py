"""The definitions for one token, those of textstat 0.7.4 and syllapy 0.8.0 that LangKit uses."""

from __future__ import annotations

import re
import string
from functools import cache
from importlib.resources import files

_PUNCTUATION = re.compile(r"[^\w\s]")
_PIECE = re.compile(r"[\w\='‘’]+")
_DIGIT = re.compile(r"\d")
_VOWELS = re.compile(r"[aeiouy]+")
_NO_PUNCTUATION = {code: None for code in range(128) if _PUNCTUATION.match(chr(code))}


def word_list(name: str) -> list[str]:
    """The lines of one of the word lists shipped in `words/` (see LICENSES.txt there)."""
    return files("sluicegate.drift.light").joinpath("words", name).read_text("utf-8").splitlines()


@cache
def known() -> dict[str, int]:
    """The words whose syllables are listed."""
    parts = "\t".join(word_list("syllables.txt")).split("\t")
    return dict(zip(parts[::2], map(int, parts[1::2]), strict=True))


def pieces_of(token: str) -> list[str]:
    """The words of a token among which textstat looks for difficult ones.

    Example:
        >>> pieces_of("(Don't/won't)")
        ["don't", "won't"]
    """
    return _PIECE.findall(token.lower())


def without_punctuation(token: str) -> str:
    """The letters, digits and underscores of a token."""
    return _PUNCTUATION.sub("", token)


def syllables(word: str) -> int:
    """Syllables of one token, punctuation ignored: by list, else runs of vowels; 0 with a digit.

    Example:
        >>> [syllables(word) for word in ("Refund,", "table", "unbelievable!", "B2B", "...")]
        [2, 2, 5, 0, 0]
    """
    if word.isascii():
        bare = word.lower().translate(_NO_PUNCTUATION).strip("_")
    else:
        bare = without_punctuation(word.lower()).lower().strip(string.punctuation)
    return 0 if not bare or (not bare.isalpha() and _DIGIT.search(bare)) else _spoken(bare)


def _spoken(word: str) -> int:
    """Syllables of a lower-case word without punctuation and digits."""
    listed = known().get(word)
    if listed is not None:
        return listed
    count = len(_VOWELS.findall(word))
    if word[-1] == "e":
        count -= 1
        if word.endswith("le") and len(word) > 2 and word[-3] not in "aeiouy":
            count += 1
    return count or 1
