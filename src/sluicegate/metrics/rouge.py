"""ROUGE-1, ROUGE-2 and ROUGE-L F1, equal to `rouge_score` 0.1.2 without stemming, several times faster.

Source: C.-Y. Lin, "ROUGE: a package for automatic evaluation of summaries", WAS 2004. Tokens are runs of a-z and 0-9
in the lower-cased text. With several references the best F1 counts. The longest common subsequence is bit-parallel:
H. Hyyrö, "Bit-parallel LCS-length computation revisited", AWOCA 2004.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

_TOKEN = re.compile(r"[a-z0-9]+")


@lru_cache(maxsize=8192)
def _tokens(text: str) -> tuple[str, ...]:
    return tuple(_TOKEN.findall(text.lower()))


@lru_cache(maxsize=8192)
def _ngrams(text: str, size: int) -> Counter[tuple[str, ...]]:
    words = _tokens(text)
    return Counter(zip(*(words[start:] for start in range(size)), strict=False))


def _f1(hits: int, output_size: int, reference_size: int) -> float:
    precision, recall = hits / max(output_size, 1), hits / max(reference_size, 1)
    return 2 * precision * recall / (precision + recall) if hits else 0.0


def _overlap(output: str, references: Sequence[str], size: int) -> float:
    found = _ngrams(output, size)
    best = 0.0
    for reference in references:
        wanted = _ngrams(reference, size)
        best = max(best, _f1((found & wanted).total(), found.total(), wanted.total()))
    return best


def rouge1(source: str, output: str, references: Sequence[str]) -> float:
    """Unigram F1 in [0, 1], higher is better; 0 when the output or every reference is empty.

    Example:
        >>> rouge1("", "the parcel is late", ["the parcel arrived late", "unrelated"])
        0.75
    """
    return _overlap(output, references, 1)


def rouge2(source: str, output: str, references: Sequence[str]) -> float:
    """Bigram F1 in [0, 1], higher is better; 0 when either side has fewer than two words.

    Example:
        >>> rouge2("", "one two three", ["one two four"])
        0.5
    """
    return _overlap(output, references, 2)


def rouge_l(source: str, output: str, references: Sequence[str]) -> float:
    """Longest-common-subsequence F1 in [0, 1], higher is better; 0 when the output or every reference is empty.

    Example:
        >>> rouge_l("", "a b c d", ["a x c d"])
        0.75
    """
    words = _tokens(output)
    return max((_f1(_common(words, other), len(words), len(other)) for other in map(_tokens, references)), default=0.0)


def _common(left: tuple[str, ...], right: tuple[str, ...]) -> int:
    """Length of the longest common subsequence: one big-integer step per word of `right`."""
    if not left or not right:
        return 0
    positions: dict[str, int] = {}
    for index, word in enumerate(left):
        positions[word] = positions.get(word, 0) | (1 << index)
    full = (1 << len(left)) - 1
    row = full
    for word in right:
        matched = row & positions.get(word, 0)
        row = ((row + matched) | (row - matched)) & full
    return len(left) - row.bit_count()
