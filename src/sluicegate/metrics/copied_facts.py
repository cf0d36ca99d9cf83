"""Faithfulness that needs no judge: do the numbers, names and links of the answer occur in what the
model was given?

A small model that has learned the frame of a good summary still invents order numbers and cities;
ROUGE hardly notices. These scores do. They see neither a number that is copied but said of the
wrong thing, nor a name in lower case, nor the first word of a sentence (there every word has a
capital).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

_ENDINGS = (
    "com|net|org|info|biz|io|co|ai|app|dev|shop|store|site|online|xyz|top|click|link|live|me|"
    "ru|cn|de|fr|nl|uk|us|eu|example"
)
_LINK = re.compile(
    r"(?i)(?:https?://|www\.)[^\s<>\"'()\[\]]+"
    rf"|(?<![@\w.-])(?:[a-z0-9-]{{1,63}}\.){{1,8}}(?:{_ENDINGS})(?![\w-])(?:/[^\s<>\"'()]*)?"
)
_SCHEME = re.compile(r"^(?:https?://)?(?:www\.)?")
_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")
_WORD = re.compile(r"[^\W\d_]+(?:['\u2019-][^\W\d_]+)*")
_OPENING = re.compile(r"(?:^|[.!?:;\n\"\u201c\u201d(\[*\u2022>-])\s*$")
_POSSESSIVE = re.compile(r"'s?$")
_SPELLED = (
    *(
        "zero",
        "one",
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eight",
        "nine",
        "ten",
        "eleven",
        "twelve",
    ),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty"),
)
_PRONOUN = {"i", "i'm", "i've", "i'll", "i'd", "ok"}


def copied_numbers(source: str, output: str, references: Sequence[str] = ()) -> float:
    """Share of the numbers in `output` that occur in `source`: [0, 1], higher is better; 1 when
    there are none.

    `1,299.00` equals `1299`; `two` in the source allows `2`; the digits of a code such as QN418
    count as a number. 0 when the output is blank.

    Example:
        >>> copied_numbers("flight QN 418, two bags", "2 bags on QN418 for 90 euro")
        0.6666666666666666
    """
    return _share(_numbers(output), _numbers(source) | _spelled(source), output)


def copied_names(source: str, output: str, references: Sequence[str] = ()) -> float:
    """Share of the capitalised names in `output` whose word occurs in `source`, in any case: [0,
    1], higher is better.

    1 when there are none, 0 when the output is blank. Each word of a name counts by itself.

    Example:
        >>> copied_names("my bag is in porto", "The bag is in Porto, says Marta.")
        0.5
    """
    return _share(_names(output), _words(source), output)


def copied_facts(source: str, output: str, references: Sequence[str] = ()) -> float:
    """Share of numbers and names together, each distinct one once: [0, 1], higher is better; 1 when
    there are none.

    Example:
        >>> copied_facts("Order 55 for Ana", "The order 56 of Ana")
        0.5
    """
    known = _numbers(source) | _spelled(source) | _words(source)
    return _share(_numbers(output) | _names(output), known, output)


def copied_links(source: str, output: str, references: Sequence[str] = ()) -> float:
    """1 when every web address in `output` occurs in `source`, else 0; 1 when there are none.

    Scheme, `www.`, case and a full stop or slash at the end do not count; an address without a
    scheme is seen by a common ending of host names. 0 when the output is blank.

    Example:
        >>> copied_links("See shop.com/help", "It is on https://www.shop.com/help.")
        1.0
        >>> copied_links("See shop.com/help", "Log in at shop-help.com.")
        0.0
    """
    return float(bool(output.strip()) and _links(output) <= _links(source))


@lru_cache(maxsize=8192)
def _links(text: str) -> frozenset[str]:
    found = _LINK.findall(text)
    return frozenset(_SCHEME.sub("", link.lower()).rstrip("/.,;:!?") for link in found)


def _share(facts: frozenset[str], known: frozenset[str], output: str) -> float:
    if not output.strip():
        return 0.0
    return len(facts & known) / len(facts) if facts else 1.0


@lru_cache(maxsize=8192)
def _numbers(text: str) -> frozenset[str]:
    return frozenset(_plain(number) for number in _NUMBER.findall(text))


def _plain(number: str) -> str:
    """`1,299.00` and `1299` are one number; `14:20` and `3.10.2` stay as they are."""
    bare = re.sub(r",(?=\d{3}(?!\d))", "", number)
    if re.fullmatch(r"\d+\.\d+", bare):
        bare = bare.rstrip("0").rstrip(".")
    return bare.lstrip("0") or "0"


@lru_cache(maxsize=8192)
def _spelled(text: str) -> frozenset[str]:
    words = _words(text)
    return frozenset(str(value) for value, word in enumerate(_SPELLED) if word in words)


@lru_cache(maxsize=8192)
def _words(text: str) -> frozenset[str]:
    return frozenset(part for word in _WORD.findall(text) for part in _forms(word))


def _forms(word: str) -> tuple[str, ...]:
    plain = _lowered(word)
    return (plain, _POSSESSIVE.sub("", plain), *re.split(r"[-']", plain))


def _lowered(word: str) -> str:
    return word.lower().replace("\u2019", "'")


@lru_cache(maxsize=8192)
def _names(text: str) -> frozenset[str]:
    names: set[str] = set()
    for match in _WORD.finditer(text):
        word = match.group()
        if not word[0].isupper() or _lowered(word) in _PRONOUN:
            continue
        if not _OPENING.search(text, max(0, match.start() - 8), match.start()):
            names.add(_POSSESSIVE.sub("", _lowered(word)))
    return frozenset(names)
