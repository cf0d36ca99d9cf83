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
from itertools import chain, compress, repeat
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
_ROADS = ("St", "Road", "Rd", "Ave", "Boulevard", "Blvd", "Dr", "Court", "Ct", "Lane", "Ln", "Sq")
_NO_PUNCTUATION = {code: None for code in range(128) if _PUNCTUATION.match(chr(code))}
_IS_VOWEL = np.isin(np.arange(256), np.frombuffer(b"aeiouy", np.uint8))
_GAP, _E, _L = b"\nel"
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
    if word.isascii():
        bare = word.lower().translate(_NO_PUNCTUATION).strip("_")
    else:
        bare = _PUNCTUATION.sub("", word.lower()).lower().strip(string.punctuation)
    return 0 if not bare or (not bare.isalpha() and _DIGIT.search(bare)) else _spoken(bare)


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
    """Numbers for tokens, and tables indexed by them. Bounded: `trim` forgets all once it has grown too large.

    New tokens are only numbered while a batch is read, and worked out together afterwards: plain words, four in five,
    by C loops over all of them and NumPy over their letters, the rest one by one.
    """

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self.codes = _Numbers()
        self.table: NDArray[np.int32] = np.zeros((len(FIELDS), 0), np.int32)
        self.grades: NDArray[np.int8] = np.zeros(0, np.int8)
        self.more: dict[int, list[int]] = {}
        self._words = _Numbers()
        self._spoken: NDArray[np.int32] = np.zeros(0, np.int32)
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
        if self.codes.fresh:
            self.table = _extended(self.table, len(self.codes), self._rows(self.codes.taken()))
        return found

    def _rows(self, fresh: list[str]) -> NDArray[np.int32]:
        """The columns of new tokens, which have the last numbers."""
        first = len(self.codes) - len(fresh)
        sizes = list(map(len, fresh))
        self._characters += sum(sizes)
        bares = [token.rstrip(".,!?:;") for token in fresh]
        plain = [bare.isalpha() and bare.isascii() for bare in bares]
        words = [bare.lower() for bare in compress(bares, plain)]
        odd = [place for place, kind in enumerate(plain) if not kind]
        pieces = [_PIECE.findall(fresh[place].lower()) for place in odd]
        numbers = np.fromiter(map(self._words.__getitem__, words), np.intp, len(words))
        parts = [list(map(self._words.__getitem__, own)) for own in pieces]
        self._grade()
        rows = np.zeros((len(FIELDS), len(fresh)), np.int32)
        own = np.flatnonzero(plain)
        count = self._spoken[numbers]
        size, bare = np.array(sizes)[own], np.fromiter(map(len, words), np.intp, len(words))
        ends = np.zeros(len(own), bool)
        for place in np.flatnonzero(size > bare).tolist():
            token = fresh[own[place]]
            ends[place] = "." in token or "!" in token or "?" in token
        road = [token.startswith(_ROADS) for token in compress(fresh, plain)]
        ones, none = np.ones(len(own), np.int32), np.zeros(len(own), np.int32)
        rows[:, own] = np.stack(
            [
                size,
                bare,
                ones,
                count,
                count >= 3,
                count < 2,
                ones,
                none,
                ends,
                none,
                none,
                none,
                road,
                none,
                numbers,
                none,
            ]
        )
        for place, found in zip(odd, parts, strict=True):
            if len(found) > 1:
                self.more[first + place] = found[1:]
            rows[:, place] = self._odd(fresh[place], found)
        return rows

    def _odd(self, token: str, pieces: list[int]) -> tuple[int, ...]:
        ascii_only = token.isascii()
        cleaned = token.translate(_NO_PUNCTUATION) if ascii_only else _PUNCTUATION.sub("", token)
        spoken = cleaned != ""
        count = int(self._spoken[pieces[0]]) if len(pieces) == 1 else syllables(token)
        digits = 0 if cleaned.isalpha() else len(_DIGIT.findall(token))
        head, tail, broken = spoken, False, "." in token or "!" in token or "?" in token
        if broken:
            parts = _BREAK.split(token)
            head, tail = bool(_WORD.search(parts[0])), bool(_WORD.search(parts[-1]))
        return (
            len(token), len(cleaned), spoken, count, count >= 3,
            spoken and (count if ascii_only else syllables(cleaned)) < 2, head, tail, broken,
            digits, digits > 0 and bool(_DIGIT.match(token[-1])), "+" in token and bool(_PLUS.search(token)),
            token.startswith(_ROADS), "@" in token and bool(EMAIL.search(token)),
            pieces[0] if pieces else -1, len(pieces) > 1,
        )  # fmt: skip

    def _grade(self) -> None:
        """Count the syllables of new distinct words, and grade them."""
        fresh = self._words.taken()
        if not fresh:
            return
        count = np.fromiter(map(_known().get, fresh, repeat(-1)), np.int32, len(fresh))
        plain = np.fromiter((word.isalpha() and word.isascii() for word in fresh), bool, len(fresh))
        for place in np.flatnonzero(~plain).tolist():
            count[place] = syllables(fresh[place])
        unknown = np.flatnonzero((count < 0) & plain)
        count[unknown] = _counted([fresh[place] for place in unknown.tolist()])
        easy = np.fromiter(map(_easy().__contains__, fresh), bool, len(fresh))
        grades = np.where(easy, 0, np.clip(count, 1, 3)).astype(np.int8)
        self._spoken = _extended(self._spoken, len(self._words), count)
        self.grades = _extended(self.grades, len(self._words), grades)


def _counted(words: list[str]) -> NDArray[np.int32]:
    """`_spoken` of many lower-case ASCII words that the list does not know: runs of vowels, and the rules for a last e."""
    if not words:
        return np.zeros(0, np.int32)
    letters = np.frombuffer(("\n" + "\n".join(words) + "\n").encode("ascii"), np.uint8)
    vowel = _IS_VOWEL[letters]
    starts = vowel[1:] & ~vowel[:-1]
    gaps = np.flatnonzero(letters == _GAP)
    count = np.add.reduceat(starts, gaps[:-1], dtype=np.int32)
    end = gaps[1:] - 1
    silent = letters[end] == _E
    third = np.maximum(end - 2, 0)
    spoken = silent & (letters[end - 1] == _L) & (np.diff(gaps) > 3) & ~vowel[third]
    found: NDArray[np.int32] = np.maximum(count - silent + spoken, 1).astype(np.int32)
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


class _Numbers(dict[str, int]):
    """A number for each text, in order of its first appearance; `fresh` are those not yet taken."""

    def __init__(self) -> None:
        super().__init__()
        self.fresh: list[str] = []

    def __missing__(self, text: str) -> int:
        number = self[text] = len(self)
        self.fresh.append(text)
        return number

    def taken(self) -> list[str]:
        """The new texts; afterwards there are none."""
        found, self.fresh = self.fresh, []
        return found
