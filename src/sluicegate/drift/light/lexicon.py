"""Numbers for the words of a batch, and by number their syllables and grades.

A word of at most sixteen bytes is two 64-bit numbers, exactly. The listed words stand in one hash
table, built once; what else a batch has is forgotten with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from string import ascii_lowercase, digits
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sluicegate.drift.light.characters import Bytes, among
from sluicegate.drift.light.tokens import known, syllables, word_list

Places = NDArray[np.intp]
Keys = NDArray[np.uint64]

LONGEST = 16
_BITS = 17
_FRONT, _BACK = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F)
_FIRST = np.array([(1 << 8 * count) - 1 for count in range(9)], np.uint64)
_IS_VOWEL, _IS_LETTER, _IS_DIGIT = map(among, ("aeiouy", ascii_lowercase, digits))
_E, _L = b"el"


class Words(NamedTuple):
    """Numbers of words; by number, the syllables and whether Dale and Chall call it easy."""

    numbers: Places
    syllables: NDArray[np.int32]
    easy: NDArray[np.bool_]


class _Lexicon(NamedTuple):
    slots: NDArray[np.int32]
    front: Keys
    back: Keys
    syllables: NDArray[np.int32]
    easy: NDArray[np.bool_]


def numbered(letters: Bytes, starts: Places, sizes: Places, others: Sequence[str]) -> Words:
    """Equal numbers for equal words: stretches of `letters`, and after them `others`.

    Args:
        letters: bytes in lower case, `LONGEST` or more after the beginning of the last word.
        starts: where each word begins.
        sizes: how many bytes it has, one or more.
        others: words in lower case, of any characters.
    """
    short = [place for place, word in enumerate(others) if word.isascii() and len(word) <= LONGEST]
    added, begins, lengths = _laid_out([others[place] for place in short])
    fits = np.flatnonzero(sizes <= LONGEST)
    words = _short(
        np.concatenate([letters, added]),
        np.append(starts[fits], len(letters) + begins),
        np.append(sizes[fits], lengths),
    )
    numbers = np.full(len(starts) + len(others), -1)
    numbers[np.append(fits, len(starts) + np.array(short, np.intp))] = words.numbers
    rest: dict[str, int] = {}
    for place in np.flatnonzero(numbers < 0).tolist():
        if place < len(starts):
            word = letters[starts[place] : starts[place] + sizes[place]].tobytes().decode("ascii")
        else:
            word = others[place - len(starts)]
        numbers[place] = len(words.syllables) + rest.setdefault(word, len(rest))
    count = np.array([syllables(word) for word in rest], np.int32)
    return Words(
        numbers, np.append(words.syllables, count), np.append(words.easy, np.zeros(len(rest), bool))
    )


def _short(letters: Bytes, starts: Places, sizes: Places) -> Words:
    """`numbered` for words of at most `LONGEST` bytes."""
    lexicon = _lexicon()
    front, back = _keys(letters, starts, sizes)
    mixed = _mixed(front, back)
    numbers = _found(lexicon, front, back, mixed)
    new = np.flatnonzero(numbers < 0)
    first, which = distinct(front[new], back[new], mixed[new])
    numbers[new] = len(lexicon.front) + which
    own = new[first]
    count = np.append(lexicon.syllables, counted(letters, starts[own], sizes[own]))
    return Words(numbers, count, np.append(lexicon.easy, np.zeros(len(own), bool)))


def _laid_out(words: list[str]) -> tuple[Bytes, Places, Places]:
    """Words in one array of bytes; where each of them begins, and its size."""
    letters = np.frombuffer(("\n".join(words) + "\n" * LONGEST).encode("ascii"), np.uint8)
    sizes = np.fromiter(map(len, words), np.intp, len(words))
    return letters, np.cumsum(sizes + 1) - sizes - 1, sizes


def stretches(starts: Places, sizes: Places) -> Places:
    """The places of several stretches, one after the other.

    Example:
        >>> stretches(np.array([5, 0]), np.array([2, 3])).tolist()
        [5, 6, 0, 1, 2]
    """
    places: Places = np.arange(sizes.sum()) + np.repeat(starts - (np.cumsum(sizes) - sizes), sizes)
    return places


def distinct(front: Keys, back: Keys, mixed: Keys) -> tuple[Places, Places]:
    """One place of each distinct pair of keys, and for every pair the number of its like.

    `mixed` is any number that equal pairs share. Where unequal ones share it too, the pairs
    themselves are sorted.

    Example:
        >>> first, which = distinct(*np.array([[7, 9, 7], [0, 0, 0], [1, 1, 1]], np.uint64))
        >>> len(first), which[0] == which[2], which[0] == which[1]
        (2, np.True_, np.False_)
    """
    order = np.argsort(mixed)
    new = _changes(front[order], back[order])
    if np.any(new[1:] & (np.diff(mixed[order]) == 0)):
        order = np.lexsort((back, front))
        new = _changes(front[order], back[order])
    which = np.empty(len(order), np.intp)
    which[order] = np.cumsum(new) - 1
    return order[new], which


def _changes(front: Keys, back: Keys) -> NDArray[np.bool_]:
    new = np.ones(len(front), bool)
    new[1:] = (front[1:] != front[:-1]) | (back[1:] != back[:-1])
    return new


def counted(letters: Bytes, starts: Places, sizes: Places) -> NDArray[np.int32]:
    """Syllables of unlisted lower-case words: runs of vowels, and the rules for a last e."""
    if not len(starts):
        return np.zeros(0, np.int32)
    text = letters[stretches(starts, sizes + 1)]
    gaps = np.cumsum(sizes + 1) - 1
    text[gaps] = ord("\n")
    first = gaps - sizes
    vowel = _IS_VOWEL[text]
    begins = vowel.copy()
    begins[1:] &= ~vowel[:-1]
    count = np.add.reduceat(begins, first, dtype=np.int32)
    last = gaps - 1
    silent = text[last] == _E
    sounded = silent & (text[last - 1] == _L) & (sizes > 2) & ~vowel[last - 2]
    found: NDArray[np.int32] = np.maximum(count - silent + sounded, 1).astype(np.int32)
    plain = np.add.reduceat(_IS_LETTER[text], first, dtype=np.intp) == sizes
    found[np.add.reduceat(_IS_DIGIT[text], first, dtype=np.intp) > 0] = 0
    for place in np.flatnonzero(~plain & (found > 0)).tolist():
        found[place] = syllables(text[first[place] : gaps[place]].tobytes().decode("ascii"))
    return found


def _keys(letters: Bytes, starts: Places, sizes: Places) -> tuple[Keys, Keys]:
    """The first eight bytes of each word as one number and the next eight as another."""
    # One eight-byte number from every place on, aligned or not; nothing is copied.
    eights: Keys = np.ndarray((len(letters) - 7,), "<u8", buffer=letters, strides=(1,))
    front = eights[starts] & _FIRST[np.minimum(sizes, 8)]
    back = np.zeros(len(starts), np.uint64)
    long = np.flatnonzero(sizes > 8)
    back[long] = eights[starts[long] + 8] & _FIRST[sizes[long] - 8]
    return front, back


def _mixed(front: Keys, back: Keys) -> Keys:
    return (front ^ (back * _BACK)) * _FRONT


def _found(lexicon: _Lexicon, front: Keys, back: Keys, mixed: Keys) -> Places:
    """The words' numbers in the lists, -1 for those that are not there."""
    slot = (mixed >> np.uint64(64 - _BITS)).astype(np.intp)
    numbers = lexicon.slots[slot].astype(np.intp)
    other = np.flatnonzero(
        (numbers >= 0) & ((lexicon.front[numbers] != front) | (lexicon.back[numbers] != back))
    )
    while len(other):
        slot[other] = (slot[other] + 1) & (len(lexicon.slots) - 1)
        number = lexicon.slots[slot[other]]
        numbers[other] = number
        unequal = (lexicon.front[number] != front[other]) | (lexicon.back[number] != back[other])
        other = other[(number >= 0) & unequal]
    return numbers


@cache
def _lexicon() -> _Lexicon:
    """The words of both lists in one table, so that `_found` finds them."""
    listed, easy = known(), word_list("easy.txt")
    words = [word for word in listed if len(word) <= LONGEST]
    more = [word for word in easy if word not in listed]
    letters, starts, sizes = _laid_out(words + more)
    count = [listed[word] if word.isalpha() else syllables(word) for word in words]
    front, back = _keys(letters, starts, sizes)
    slot = (_mixed(front, back) >> np.uint64(64 - _BITS)).astype(np.intp)
    slots = np.full(1 << _BITS, -1, np.int32)
    left = np.arange(len(sizes))
    while len(left):
        free = left[slots[slot[left]] < 0]
        slots[slot[free]] = free
        left = left[slots[slot[left]] != left]
        slot[left] = (slot[left] + 1) & (len(slots) - 1)
    own = np.append(
        np.array(count, np.int32), counted(letters, starts[len(words) :], sizes[len(words) :])
    )
    plain = frozenset(easy)
    return _Lexicon(
        slots,
        front,
        back,
        own,
        np.fromiter((word in plain for word in words + more), bool, len(sizes)),
    )
