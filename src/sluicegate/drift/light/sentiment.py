"""Sentiment as VADER computes it (Hutto and Gilbert 2014; vaderSentiment 3.3.2), only faster.

Same lexicon, same rules, same order of operations, so the same compound score to its four decimals.
"""

from __future__ import annotations

import math
import string
from collections.abc import Sequence
from functools import cache
from heapq import heappop, heappush
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sluicegate.drift.light.tokens import word_list

_BOOST, _CAPITALS, _NEGATION = 0.293, 0.733, -0.74
_DAMPING = (1.0, 0.95, 0.9)
_KEPT, _LONG = 200_000, 100


class _Words(NamedTuple):
    lexicon: dict[str, float]
    scored: frozenset[str]
    emoji: dict[str, str]
    negations: frozenset[str]
    boosters: dict[str, float]
    idioms: dict[str, float]
    parts: frozenset[str]


@cache
def _words() -> _Words:
    modifiers = [line.split("\t") for line in word_list("modifiers.txt")]
    lexicon = {
        word: float(mean) for word, mean in (line.split("\t") for line in word_list("vader.txt"))
    }
    boosters = {
        words: _BOOST if way == "up" else -_BOOST
        for kind, words, way in modifiers
        if kind == "booster"
    }
    idioms = {words: float(value) for kind, words, value in modifiers if kind == "idiom"}
    return _Words(
        lexicon,
        frozenset(lexicon.keys() - boosters.keys()),
        dict(line.split("\t") for line in word_list("emoji.txt")),
        frozenset(words for kind, words, _ in modifiers if kind == "negation"),
        boosters,
        idioms,
        frozenset(
            word for phrase in (*idioms, *boosters) if " " in phrase for word in phrase.split()
        ),
    )


def vader_sentiment(texts: Sequence[str | None]) -> NDArray[np.float64]:
    """Compound sentiment of each text, -1 (negative) to 1 (positive); 0 for empty, NaN for missing.

    Example:
        >>> vader_sentiment(["The support was great!", "not good", None]).tolist()
        [0.7959, -0.3412, nan]
    """
    return np.array([math.nan if text is None else _compound(text) for text in texts], np.float64)


def _bare(token: str) -> str:
    stripped = token.strip(string.punctuation)
    return token if len(stripped) <= 2 else stripped


class _Lowered(dict[str, str]):
    """Token to its lower-case word without punctuation; forgets all when it has grown too large."""

    def __missing__(self, token: str) -> str:
        if len(self) >= _KEPT:
            self.clear()
        lower = _bare(token).lower()
        if len(token) <= _LONG:
            self[token] = lower
        return lower


_LOWERED = _Lowered()


def _compound(text: str) -> float:
    words = _words()
    text = text.strip() if words.emoji.keys().isdisjoint(text) else _described(text, words.emoji)
    tokens = text.split()
    lows = list(map(_LOWERED.__getitem__, tokens))
    scored = words.scored
    hits = [i for i, low in enumerate(lows) if low in scored]
    if not hits:
        return 0.0
    mixed = 0 < sum(map(str.isupper, tokens)) < len(tokens)
    found = []
    for i in hits:
        if not (lows[i] == "kind" and i < len(lows) - 1 and lows[i + 1] == "of"):
            found.append((i, _valence(tokens, lows, i, mixed, words)))
    scores = _contrasted(found, lows)
    total = float(sum(scores))
    if total:
        total = total + _emphasis(text) if total > 0 else total - _emphasis(text)
    return round(max(-1.0, min(1.0, total / math.sqrt(total * total + 15))), 4)


def _described(text: str, emoji: dict[str, str]) -> str:
    """Emoji become their descriptions."""
    parts = []
    spaced = True
    for character in text:
        description = emoji.get(character)
        if description is None:
            parts.append(character)
            spaced = character == " "
        else:
            parts.append(description if spaced else " " + description)
            spaced = False
    return "".join(parts).strip()


def _valence(tokens: list[str], lows: list[str], i: int, mixed: bool, words: _Words) -> float:
    low = lows[i]
    value = words.lexicon[low]
    if low == "no" and i != len(lows) - 1 and lows[i + 1] in words.lexicon:
        value = 0.0
    before = [*lows[max(0, i - 3) : i][::-1], "", "", ""]
    if "no" in before[:2] or (before[2] == "no" and before[0] in ("or", "nor")):
        value = words.lexicon[low] * _NEGATION
    if mixed and tokens[i].isupper():
        value += _CAPITALS if value > 0 else -_CAPITALS
    for back in range(min(3, i)):
        if before[back] in words.lexicon:
            continue
        value += _boost(_bare(tokens[i - back - 1]), value, mixed, words.boosters) * _DAMPING[back]
        value = _negated(value, before, back, words.negations)
        if back == 2:
            value = _idiom(value, lows, i, words)
    if before[0] == "least" and "least" not in words.lexicon and before[1] not in ("at", "very"):
        value *= _NEGATION
    return value


def _boost(item: str, value: float, mixed: bool, boosters: dict[str, float]) -> float:
    scalar = boosters.get(item.lower(), 0.0)
    if scalar:
        if value < 0:
            scalar = -scalar
        if mixed and item.isupper():
            scalar += _CAPITALS if value > 0 else -_CAPITALS
    return scalar


def _negated(value: float, before: list[str], back: int, negations: frozenset[str]) -> float:
    word = before[back]
    if back == 1:
        if word == "never" and before[0] in ("so", "this"):
            return value * 1.25
        if word == "without" and before[0] == "doubt":
            return value
    if back == 2:
        if (word == "never" and before[1] in ("so", "this")) or before[0] in ("so", "this"):
            return value * 1.25
        if word == "without" and "doubt" in before[:2]:
            return value
    return value * _NEGATION if word in negations or "n't" in word else value


def _idiom(value: float, lows: list[str], i: int, words: _Words) -> float:
    if words.parts.isdisjoint(lows[i - 3 : i + 3]):
        return value
    three, two, one, zero = lows[i - 3 : i + 1]
    for phrase in (
        f"{one} {zero}",
        f"{two} {one} {zero}",
        f"{two} {one}",
        f"{three} {two} {one}",
        f"{three} {two}",
    ):
        if phrase in words.idioms:
            value = words.idioms[phrase]
            break
    for end in (i + 2, i + 3):
        if end <= len(lows):
            value = words.idioms.get(" ".join(lows[i:end]), value)
    for phrase in (f"{three} {two} {one}", f"{three} {two}", f"{two} {one}"):
        value += words.boosters.get(phrase, 0.0)
    return value


def _contrasted(found: list[tuple[int, float]], lows: list[str]) -> list[float]:
    """Halve what precedes the first "but", raise what follows, as VADER finds equal values."""
    scores = [value for _, value in found]
    if "but" not in lows:
        return scores
    but = lows.index("but")
    equal: dict[float, list[int]] = {}
    for k, value in enumerate(scores):
        equal.setdefault(value, []).append(k)
    for k in range(len(scores)):
        same = equal[scores[k]]
        first = same[0]
        place = found[first][0]
        if place != but:
            heappop(same)
            scores[first] *= 0.5 if place < but else 1.5
            heappush(equal.setdefault(scores[first], []), first)
    return scores


def _emphasis(text: str) -> float:
    questions = text.count("?")
    return min(text.count("!"), 4) * 0.292 + (
        0 if questions < 2 else questions * 0.18 if questions <= 3 else 0.96
    )
