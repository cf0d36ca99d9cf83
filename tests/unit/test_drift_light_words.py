"""The words and characters of the light metrics, taken from arrays, against the definitions for one
of them.
"""

from __future__ import annotations

import random
import re
import string
from collections.abc import Sequence

import numpy as np

from sluicegate.drift.light import characters, light_metrics
from sluicegate.drift.light.lexicon import LONGEST, Words, distinct, numbered
from sluicegate.drift.light.tokens import known, syllables, word_list


def numbers_of(words: Sequence[str]) -> Words:
    """The words as stretches of one array, and once more as strings of their own."""
    letters = np.frombuffer(("\n".join(words) + "\n" * (LONGEST + 1)).encode("ascii"), np.uint8)
    sizes = np.array([len(word) for word in words], np.intp)
    return numbered(letters, np.cumsum(sizes + 1) - sizes - 1, sizes, words)


def assert_by_the_rules(words: Sequence[str]) -> None:
    """Each word, however given, has one number of its own, its syllables, and is easy if it is on
    that list.
    """
    found, easy = numbers_of(words), frozenset(word_list("easy.txt"))
    numbers = found.numbers[: len(words)]
    assert found.numbers[len(words) :].tolist() == numbers.tolist()
    pairs = set(zip(words, numbers.tolist(), strict=True))
    assert len(pairs) == len(set(words)) == len(set(numbers.tolist()))
    assert found.syllables[numbers].tolist() == [syllables(word) for word in words]
    assert found.easy[numbers].tolist() == [word in easy for word in words]


def test_every_listed_word_is_found() -> None:
    """All words of both lists, in any order and repeated, have the syllables and the grade that the
    rules give them.
    """
    words = [*known(), *word_list("easy.txt")]
    assert len(words) > 9_000
    assert_by_the_rules(words)
    random.Random(1).shuffle(words)
    assert_by_the_rules(words * 2)


def test_words_beside_the_lists_are_told_apart() -> None:
    """Words of one letter to thirty that differ in any letter, and listed ones with a letter more
    or less, are separate.
    """
    chance = random.Random(2)
    made = ["".join(chance.choices("aely'=_1z", k=chance.randrange(1, 31))) for _ in range(5_000)]
    made += [
        base[:at] + letter + base[at + 1 :]
        for base in ("e" * 8, "l" * 16, "a" * 24)
        for at in range(len(base))
        for letter in "xy"
    ]
    near = [word + chance.choice(string.ascii_lowercase) for word in known()] + [
        word[:-1] for word in known() if word[1:]
    ]
    assert_by_the_rules(made + near)


def test_words_beyond_ascii_have_numbers_too() -> None:
    """A word of other letters is the same word each time, and none that resembles it."""
    words = ["naïve", "naive", "naïve", "日本語", "don\x02t", "don't", "the", "é" * 40]
    found = numbered(np.zeros(LONGEST, np.uint8), np.zeros(0, np.intp), np.zeros(0, np.intp), words)
    assert len(set(found.numbers.tolist())) == 7
    assert found.numbers[0] == found.numbers[2]
    assert found.syllables[found.numbers].tolist() == [syllables(word) for word in words]
    assert found.easy[found.numbers].tolist() == [
        False,
        False,
        False,
        False,
        False,
        True,
        True,
        False,
    ]


def test_equal_sums_do_not_make_words_equal() -> None:
    """Where all words share one hash, they are still told apart by their letters."""
    chance = np.random.default_rng(4)
    front, back = chance.integers(0, 9, (2, 500), dtype=np.uint64)
    for mixed in (np.zeros(500, np.uint64), front % 3):
        first, which = distinct(front, back, mixed)
        pairs = list(zip(front.tolist(), back.tolist(), strict=True))
        assert [pairs[first[number]] for number in which.tolist()] == pairs
        assert len(first) == len(set(pairs))


def test_kinds_are_those_of_split_and_of_the_expressions() -> None:
    """A character is a space, a digit, of a word or of a piece exactly if str.split, \\d, \\w and
    textstat say so.
    """
    codes = [*range(0x3100), *random.Random(5).sample(range(0x3100, 0x110000), 5_000)]
    kinds, letters = characters.classified("".join(map(chr, codes)))
    for code, kind, letter in zip(codes, kinds.tolist(), letters.tolist(), strict=True):
        own = chr(code)
        assert bool(kind & characters.SPACE) == (not own.split())
        assert bool(kind & characters.DIGIT) == bool(re.match(r"\d", own))
        assert bool(kind & characters.WORD) == bool(re.match(r"\w", own))
        assert bool(kind & characters.PIECE) == bool(re.match(r"[\w\='‘’]", own))
        assert bool(kind & characters.BREAK) == (own in ".!?")
        assert bool(kind & characters.FOREIGN) == (
            code > 127 and (re.match(r"\w", own) is not None or own.lower() != own)
        )
        assert letter == (ord(own.lower()) if code < 128 else {"‘": 1, "’": 2}.get(own, 0))


def test_syllables_of_a_text_are_those_of_its_tokens() -> None:
    """On 3,000 texts of listed words, changed and joined, the three counts of syllables add up
    token by token.
    """
    chance = random.Random(6)
    words = [
        *known(),
        *word_list("easy.txt"),
        "naïve",
        "don’t",
        "B2B",
        "…",
        "--",
        "_",
        "supercalifragilistic",
    ]
    ends = ["", "", "", ".", ",", "!", "'s", "’s", "-the", "/or", "_", "’", "ß", "2", "e"]
    texts = [
        " ".join(
            chance.choice(["", "", "(", "“", "#"]) + chance.choice(words) + chance.choice(ends)
            for _ in range(chance.randrange(12))
        )
        for _ in range(3_000)
    ]
    numbers, _ = light_metrics(texts)
    counts = [[syllables(token) for token in text.split()] for text in texts]
    assert numbers["syllable_count"].tolist() == [float(sum(own)) for own in counts]
    assert numbers["polysyllable_count"].tolist() == [
        float(sum(count >= 3 for count in own)) for own in counts
    ]
    letters = [[token for token in text.split() if re.search(r"\w", token)] for text in texts]
    assert numbers["monosyllable_count"].tolist() == [
        float(sum(syllables(token) < 2 for token in own)) for own in letters
    ]
