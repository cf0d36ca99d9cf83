"""A batch of texts taken apart into tokens and words, as arrays over all of its characters.

No Python runs for a token, except for those with letters beyond ASCII and words of more than
sixteen letters, once for each distinct one of a batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from string import ascii_lowercase
from string import digits as string_digits
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sluicegate.drift.light import characters as kind
from sluicegate.drift.light.characters import Bytes, among, classified
from sluicegate.drift.light.lexicon import LONGEST, Places, Words, numbered, stretches
from sluicegate.drift.light.tokens import pieces_of, syllables, without_punctuation

Flags = NDArray[np.bool_]
Counts = NDArray[np.signedinteger[Any]]

_ROADS = ("St", "Road", "Rd", "Ave", "Boulevard", "Blvd", "Dr", "Court", "Ct", "Lane", "Ln", "Sq")
_IS_ROAD = among("".join({name[0].lower() for name in _ROADS}))
_BEFORE_AT = among(ascii_lowercase + string_digits + "._+-'")
_PLUS, _AT = b"+@"


class Scan(NamedTuple):
    """What is counted of a batch. One value per token, unless it says otherwise.

    Attributes:
        bounds: per text the number of its first token, and last the number of all tokens.
        characters, letters, syllables: how many.
        monosyllable: has a letter and fewer than two syllables.
        head, tail: is there a letter before the first and after the last sentence end inside the
            token.
        broken: the numbers of the tokens that hold a sentence end.
        words: numbers of the words, with syllables and lists by number (`lexicon.Words`).
        owner: per word of `words`, the text it is in.
        numbers, roads, email: per text, could it hold a long number, a postal or an email address.
    """

    bounds: Places
    characters: Places
    letters: Counts
    syllables: Counts
    monosyllable: Flags
    head: Flags
    tail: Flags
    broken: Places
    words: Words
    owner: Places
    numbers: Flags
    roads: Flags
    email: Flags


class _Read(NamedTuple):
    syllables: int
    monosyllable: bool
    words: list[str]


class _Tokens:
    """The tokens of joined texts: where they begin and end, and sums over their characters."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.text = "\n" + "\n".join(texts) + "\n" * (LONGEST + 1)
        self.kinds, self.letters = classified(self.text)
        space = self.has(kind.SPACE)
        edges = np.flatnonzero(space[1:] != space[:-1]) + 1
        self.starts, self.ends = edges[::2], edges[1::2]
        lengths = np.fromiter(map(len, texts), np.intp, len(texts))
        self.texts = np.cumsum(lengths + 1) - lengths
        self.bounds = np.append(np.searchsorted(self.starts, self.texts), len(self.starts))

    def has(self, kinds: int) -> Flags:
        """Per character: is it of one of these kinds."""
        found: Flags = (self.kinds & np.uint8(kinds)) != 0
        return found

    def sums(self, flags: Flags) -> tuple[Counts, Counts]:
        """How many of the characters are flagged up to each one, and in each token."""
        total: Counts = np.cumsum(flags, dtype=np.int32 if len(flags) < 2**31 else np.int64)
        return total, total[self.ends - 1] - total[self.starts - 1]

    def of(self, places: Places) -> Places:
        """The numbers of the tokens in which these characters are."""
        found: Places = np.searchsorted(self.starts, places, "right") - 1
        return found

    def flagged(self, places: Places) -> Flags:
        """Per text: is one of these characters in it."""
        found = np.zeros(len(self.texts), bool)
        found[np.searchsorted(self.texts, places, "right") - 1] = True
        return found

    def token(self, number: int) -> str:
        return self.text[self.starts[number] : self.ends[number]]


def scan(texts: Sequence[str]) -> Scan:
    """Take the texts apart; at least one."""
    tokens = _Tokens(texts)
    seen, letters = tokens.sums(tokens.has(kind.WORD))
    _, digits = tokens.sums(tokens.has(kind.DIGIT))
    head, tail, broken = _sentence_ends(tokens, seen, letters)
    count, monosyllable, words, owner = _words(tokens, letters, digits)
    numbers, roads, email = _candidates(tokens, digits)
    return Scan(
        tokens.bounds, tokens.ends - tokens.starts, letters, count, monosyllable, head, tail,
        broken,
        words, owner, numbers, roads, email,
    )  # fmt: skip


def _sentence_ends(tokens: _Tokens, seen: Counts, letters: Counts) -> tuple[Flags, Flags, Places]:
    head, tail = letters > 0, np.zeros(len(letters), bool)
    places = np.flatnonzero(tokens.has(kind.BREAK))
    owner = tokens.of(places)
    opens = np.diff(owner, prepend=-1) > 0
    first, last = places[opens], places[np.diff(owner, append=len(letters)) > 0]
    broken = owner[opens]
    head[broken] = seen[first] > seen[tokens.starts[broken] - 1]
    tail[broken] = seen[tokens.ends[broken] - 1] > seen[last]
    return head, tail, broken


def _words(tokens: _Tokens, letters: Counts, digits: Counts) -> tuple[Counts, Flags, Words, Places]:
    """Per token its syllables and whether it has one; the words searched for difficult ones."""
    inside = tokens.has(kind.PIECE)
    foreign = tokens.of(np.flatnonzero(tokens.has(kind.FOREIGN)))
    foreign = foreign[np.diff(foreign, prepend=-1) > 0]
    inside[stretches(tokens.starts[foreign], (tokens.ends - tokens.starts)[foreign])] = False
    edges = np.flatnonzero(inside[1:] != inside[:-1]) + 1
    starts, sizes = edges[::2], edges[1::2] - edges[::2]
    inside[1:] &= ~inside[:-1]
    before, held = tokens.sums(inside)
    # A token of one piece has that word's syllables, one of several ("re-fund") those of its
    # letters together.
    alone, several = (
        np.flatnonzero(held == 1),
        np.flatnonzero((held > 1) & (digits == 0) & (letters > 0)),
    )
    bare = letters[several].astype(np.intp)
    read = _read_all([tokens.token(number) for number in foreign.tolist()])
    words = numbered(
        np.concatenate(
            [tokens.letters, _without_punctuation(tokens, several), np.zeros(LONGEST, np.uint8)]
        ),
        np.append(starts, len(tokens.letters) + np.cumsum(bare) - bare),
        np.append(sizes, bare),
        [word for token in read for word in token.words],
    )
    pieces, together, others = np.split(words.numbers, [len(starts), len(starts) + len(several)])
    count = np.zeros(len(letters), np.int32)
    count[alone] = words.syllables[pieces[before[tokens.starts[alone] - 1]]]
    count[several] = words.syllables[together]
    monosyllable = (letters > 0) & (count < 2)
    count[foreign] = [token.syllables for token in read]
    monosyllable[foreign] = [token.monosyllable for token in read]
    held_by_text = np.diff(np.append(before[tokens.texts - 1], len(starts)))
    owner = np.append(
        np.repeat(np.arange(len(tokens.texts)), held_by_text),
        np.repeat(
            np.searchsorted(tokens.bounds, foreign, "right") - 1,
            [len(token.words) for token in read],
        ),
    )
    return count, monosyllable, words._replace(numbers=np.append(pieces, others)), owner


def _without_punctuation(tokens: _Tokens, numbers: Places) -> Bytes:
    """The letters, digits and underscores of these tokens, one token after the other."""
    places = stretches(tokens.starts[numbers], (tokens.ends - tokens.starts)[numbers])
    kept: Bytes = tokens.letters[places[(tokens.kinds[places] & kind.WORD) != 0]]
    return kept


def _read_all(strings: list[str]) -> list[_Read]:
    """Tokens with letters beyond ASCII, counted by Python, each distinct one once."""
    read = {token: _read(token) for token in dict.fromkeys(strings)}
    return [read[token] for token in strings]


def _read(token: str) -> _Read:
    cleaned = without_punctuation(token)
    words = [word.translate(kind.QUOTES) for word in pieces_of(token)]
    return _Read(syllables(token), cleaned != "" and syllables(cleaned) < 2, words)


def _candidates(tokens: _Tokens, digits: Counts) -> tuple[Flags, Flags, Flags]:
    """Per text: could it hold a long number, a postal or an email address?"""
    letters, kinds, starts = tokens.letters, tokens.kinds, tokens.starts
    padded = np.append(digits, [0, 0])
    near = starts[np.flatnonzero(padded[:-2] + padded[1:-1] + padded[2:] >= 9)]
    plus = np.flatnonzero(letters == _PLUS)
    plus = plus[(kinds[plus + 1] & (kind.DIGIT | kind.SPACE)) != 0]
    at = np.flatnonzero(letters == _AT)
    at = at[_BEFORE_AT[letters[at - 1]]]
    houses = np.flatnonzero(kinds[tokens.ends - 1] & kind.DIGIT)
    roads = [house for ahead in (2, 3) for house in _before_road(tokens, houses, ahead)]
    return (
        tokens.flagged(np.append(near, plus)),
        tokens.flagged(starts[np.array(roads, np.intp)]),
        tokens.flagged(at),
    )


def _before_road(tokens: _Tokens, houses: Places, ahead: int) -> list[int]:
    """Those of the tokens that have the name of a kind of road so many tokens ahead."""
    houses = houses[houses < len(tokens.starts) - ahead]
    begins = tokens.starts[houses + ahead]
    near = _IS_ROAD[tokens.letters[begins]]
    return [
        house
        for house, begin in zip(houses[near].tolist(), begins[near].tolist(), strict=True)
        if tokens.text.startswith(_ROADS, begin)
    ]
