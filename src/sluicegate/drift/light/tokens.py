"""What each whitespace-separated token adds to a text's counts, worked out once per distinct token and kept.

Every light metric is a sum over the tokens of a text, a walk over its sentence ends, or a count of its distinct
words. A token's share depends on nothing but its characters, so a batch of texts becomes one array of token numbers
and the rest is NumPy. The definitions are those of textstat 0.7.4 and syllapy 0.8.0, on which LangKit builds.
"""

from __future__ import annotations

import re
import string
from functools import cache
from importlib.resources import files
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sluicegate.drift.light.patterns import EMAIL

FIELDS = (
    "characters", "letters", "words", "syllables", "polysyllables", "monosyllables",
    "head", "tail", "breaks", "digits", "ends_in_digit", "plus", "road", "email", "piece", "several",
)  # fmt: skip
"""One column each of `Vocabulary.table`. `head` and `tail`: is there a word before the first and after the last
sentence end inside the token; `piece`: its first word as `Vocabulary.grades` counts them, -1 without one;
`several`: `Vocabulary.more` has further ones."""

_PUNCTUATION = re.compile(r"[^\w\s]")
_BREAK = re.compile(r"[.!?]+")
_WORD = re.compile(r"\w")
_PIECE = re.compile(r"[\w\='‘’]+")
_DIGIT = re.compile(r"\d")
_VOWELS = re.compile(r"[aeiouy]+")
_PLUS = re.compile(r"\+([0-9]|$)")
_ROAD = re.compile(r"St|Road|Rd|Ave|Boulevard|Blvd|Drive|Dr|Court|Ct|Lane|Ln|Square|Sq")
_TOKENS, _CHARACTERS = 200_000, 8_000_000


def word_list(name: str) -> list[str]:
    """The lines of one of the word lists shipped in `words/` (see LICENSES.txt there)."""
    return files("sluicegate.drift.light").joinpath("words", name).read_text("utf-8").splitlines()


@cache
def _easy() -> frozenset[str]:
    return frozenset(word_list("easy.txt"))


@cache
def _known() -> dict[str, int]:
    return {word: int(count) for word, count in (line.split("\t") for line in word_list("syllables.txt"))}


def syllables(word: str) -> int:
    """Syllables of one token, punctuation ignored: a list of known words, else runs of vowels; 0 with a digit in it.

    Example:
        >>> [syllables(word) for word in ("Refund,", "table", "unbelievable!", "B2B", "...")]
        [2, 2, 5, 0, 0]
    """
    bare = _PUNCTUATION.sub("", word.lower()).lower().strip(string.punctuation)
    return 0 if not bare or _DIGIT.search(bare) else _spoken(bare)


def _spoken(word: str) -> int:
    """Syllables of a lower-case word without punctuation and digits."""
    known = _known().get(word)
    if known is not None:
        return known
    count = len(_VOWELS.findall(word))
    if word[-1] == "e":
        count -= 1
        if word.endswith("le") and len(word) > 2 and word[-3] not in "aeiouy":
            count += 1
    return count or 1


class Vocabulary:
    """Numbers for tokens, and tables indexed by them. Bounded: `trim` forgets all once it has grown too large."""

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self.codes = _Codes(self)
        self.table: NDArray[np.int32] = np.zeros((len(FIELDS), 0), np.int32)
        self.grades: NDArray[np.int8] = np.zeros(0, np.int8)
        self.more: dict[int, list[int]] = {}
        self._fresh: list[tuple[int, ...]] = []
        self._words: dict[str, tuple[int, int]] = {}
        self._grade: list[int] = []
        self._characters = 0

    def trim(self) -> None:
        """Forget everything when more than 200,000 tokens or 8 million characters are kept; call between batches."""
        if len(self.codes) > _TOKENS or self._characters > _CHARACTERS:
            self._clear()

    def number(self, tokens: list[list[str]]) -> NDArray[np.intp]:
        """The numbers of all tokens of a batch in one array; afterwards `table`, `grades` and `more` cover them.

        `grades` is, per distinct lower-case word: 0 an easy one (Dale-Chall list), else 1 below two syllables,
        2 with two, 3 with three or more. `more` lists the further words of the tokens that hold several.
        """
        total = sum(map(len, tokens))
        found = np.fromiter(map(self.codes.__getitem__, chain.from_iterable(tokens)), np.intp, total)
        if self._fresh:
            self.table = _extended(self.table, len(self.codes), np.array(self._fresh, np.int32).T)
            self.grades = _extended(self.grades, len(self._words), np.array(self._grade, np.int8))
            self._fresh, self._grade = [], []
        return found

    def add(self, token: str) -> int:
        """Work out a new token and return its number."""
        code = len(self.codes)
        size = len(token)
        self._characters += size
        row: tuple[int, ...]
        bare = token.rstrip(".,!?:;")
        if bare.isalpha() and bare.isascii():
            word, count = self._word(bare.lower())
            end = size > len(bare) and ("." in token or "!" in token or "?" in token)
            row = (size, len(bare), 1, count, count >= 3, count < 2, 1, 0, end, 0, 0, 0, _road(token), 0, word, 0)
        else:
            row = self._odd(token, code)
        self._fresh.append(row)
        self.codes[token] = code
        return code

    def _odd(self, token: str, code: int) -> tuple[int, ...]:
        lower = token.lower()
        cleaned = _PUNCTUATION.sub("", token)
        pieces = [self._word(piece) for piece in _PIECE.findall(lower)]
        if len(pieces) > 1:
            self.more[code] = [piece for piece, _ in pieces[1:]]
        count = pieces[0][1] if len(pieces) == 1 else syllables(token)
        digits = len(_DIGIT.findall(token))
        parts = _BREAK.split(token)
        broken = len(parts) > 1
        return (
            len(token), len(cleaned), bool(cleaned), count, count >= 3,
            bool(cleaned) and (count if token.isascii() else syllables(cleaned)) < 2,
            bool(_WORD.search(parts[0])), broken and bool(_WORD.search(parts[-1])), broken,
            digits, digits > 0 and bool(_DIGIT.match(token[-1])), "+" in token and bool(_PLUS.search(token)),
            _road(token), "@" in token and bool(EMAIL.search(token)), pieces[0][0] if pieces else -1, len(pieces) > 1,
        )  # fmt: skip

    def _word(self, word: str) -> tuple[int, int]:
        """The number and the syllables of a distinct lower-case word."""
        found = self._words.get(word)
        if found is None:
            count = _spoken(word) if word.isalpha() and word.isascii() else syllables(word)
            self._grade.append(0 if word in _easy() else 1 if count < 2 else 2 if count == 2 else 3)
            found = self._words[word] = (len(self._words), count)
        return found


def _extended(kept: NDArray[Any], size: int, fresh: NDArray[Any]) -> NDArray[Any]:
    """`kept` with `fresh` as the last of `size` columns, its room doubled when there is too little."""
    room = kept.shape[-1]
    if size > room:
        wider = np.zeros((*kept.shape[:-1], max(size, 2 * room)), kept.dtype)
        wider[..., :room] = kept
        kept = wider
    kept[..., size - fresh.shape[-1] : size] = fresh
    return kept


def _road(token: str) -> bool:
    return _ROAD.match(token) is not None


class _Codes(dict[str, int]):
    """Token to number; asks its vocabulary for what it has not."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        super().__init__()
        self._vocabulary = vocabulary

    def __missing__(self, token: str) -> int:
        return self._vocabulary.add(token)
