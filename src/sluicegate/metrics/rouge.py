"""ROUGE-1, -2, -L and -Lsum F1, equal to `rouge_score` 0.1.2 unstemmed, in every script.

Source: C.-Y. Lin, "ROUGE: a package for automatic evaluation of summaries", WAS 2004. Tokens are
runs of a-z and 0-9 in the lower-cased text. The variants called `..._unicode` see every script:
runs of letters, marks and digits after NFKC and case folding, and single characters in scripts
without spaces. With several references the best F1 counts. The longest common subsequence is
bit-parallel: H. Hyyrö, "Bit-parallel LCS-length computation revisited", AWOCA 2004.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache

import regex

Words = tuple[str, ...]
Tokens = Callable[[str], Words]

_TOKEN = re.compile(r"[a-z0-9]+")
_SCRIPTS = ("Han", "Hiragana", "Katakana", "Thai", "Lao", "Khmer", "Myanmar", "Tibetan")
_UNSPACED = "".join(rf"\p{{{script}}}" for script in _SCRIPTS)
_ANY_TOKEN = regex.compile(rf"(?V1)[{_UNSPACED}]\p{{M}}*|[[\p{{L}}\p{{M}}\p{{N}}]--[{_UNSPACED}]]+")


@lru_cache(maxsize=8192)
def _latin(text: str) -> Words:
    return tuple(_TOKEN.findall(text.lower()))


@lru_cache(maxsize=8192)
def _unicode(text: str) -> Words:
    return tuple(_ANY_TOKEN.findall(unicodedata.normalize("NFKC", text).casefold()))


def rouge1(source: str, output: str, references: Sequence[str]) -> float | None:
    """Unigram F1 in [0, 1], higher is better; 0 when the output or every reference is blank.

    None where it sees nothing: no reference has a token, or the output has words and none is one.

    Example:
        >>> rouge1("", "the parcel is late", ["the parcel arrived late", "unrelated"])
        0.75
        >>> rouge1("", "退款已到账", ["退款已到账"]) is None
        True
    """
    return _overlap(output, references, 1, _latin)


def rouge2(source: str, output: str, references: Sequence[str]) -> float | None:
    """Bigram F1 in [0, 1], higher is better; 0 when the output has fewer than two words.

    None where no reference has two words, or where `rouge1` is None.

    Example:
        >>> rouge2("", "one two three", ["one two four"])
        0.5
    """
    return _overlap(output, references, 2, _latin)


def rouge_l(source: str, output: str, references: Sequence[str]) -> float | None:
    """Longest-common-subsequence F1 in [0, 1], higher is better; 0 and None as `rouge1`.

    Example:
        >>> rouge_l("", "a b c d", ["a x c d"])
        0.75
    """
    return _sequence(output, references, _latin)


def rouge_lsum(source: str, output: str, references: Sequence[str]) -> float | None:
    """Summary-level ROUGE-L F1 in [0, 1], higher is better; 0 and None as `rouge1`.

    Each line is a sentence, as in `rouge_score`: for every line of the reference the words of its
    longest common subsequences with the lines of the output are united. Texts of one line score as
    ROUGE-L.

    Example:
        >>> rouge_lsum("", "the order is late\\nAna waits", ["Ana waits\\nthe order is late"])
        1.0
    """
    return _summary(output, references, _latin)


def rouge1_unicode(source: str, output: str, references: Sequence[str]) -> float | None:
    """`rouge1` in every script.

    Example:
        >>> rouge1_unicode("", "退款已到账", ["退款已到"])
        0.888888888888889
    """
    return _overlap(output, references, 1, _unicode)


def rouge2_unicode(source: str, output: str, references: Sequence[str]) -> float | None:
    """`rouge2` in every script.

    Example:
        >>> rouge2_unicode("", "заказ уже в пути", ["заказ в пути"])
        0.4
    """
    return _overlap(output, references, 2, _unicode)


def rouge_l_unicode(source: str, output: str, references: Sequence[str]) -> float | None:
    """`rouge_l` in every script.

    Example:
        >>> rouge_l_unicode("", "заказ уже в пути", ["заказ в пути"])
        0.8571428571428571
    """
    return _sequence(output, references, _unicode)


def rouge_lsum_unicode(source: str, output: str, references: Sequence[str]) -> float | None:
    """`rouge_lsum` in every script.

    Example:
        >>> rouge_lsum_unicode("", "退款已到\\n谢谢", ["谢谢\\n退款已到"])
        1.0
    """
    return _summary(output, references, _unicode)


def _best(
    output: str,
    references: Sequence[str],
    tokens: Tokens,
    compare: Callable[[str, str], float],
    least: int = 1,
) -> float | None:
    """The best `compare`; 0 where a side is blank, None where the metric sees nothing of one.

    A reference of fewer than `least` tokens is not seen. An output without any word (punctuation,
    emoji) is seen, and bad.
    """
    real = [reference for reference in references if reference.strip()]
    if not output.strip() or not real:
        return 0.0
    seen = [reference for reference in real if len(tokens(reference)) >= least]
    if not seen or (not tokens(output) and any(one.isalnum() for one in output)):
        return None
    return max(compare(output, reference) for reference in seen)


def _overlap(output: str, references: Sequence[str], size: int, tokens: Tokens) -> float | None:
    def compare(output: str, reference: str) -> float:
        found, count = _ngrams(tokens, output, size)
        wanted, all_wanted = _ngrams(tokens, reference, size)
        hits = sum(min(found[gram], wanted[gram]) for gram in found.keys() & wanted.keys())
        return _f1(hits, count, all_wanted)

    return _best(output, references, tokens, compare, size)


@lru_cache(maxsize=8192)
def _ngrams(tokens: Tokens, text: str, size: int) -> tuple[Counter[Words], int]:
    """How often each n-gram occurs, and how many there are."""
    words = tokens(text)
    found = Counter(zip(*(words[start:] for start in range(size)), strict=False))
    return found, max(len(words) - size + 1, 0)


def _f1(hits: int, output_size: int, reference_size: int) -> float:
    precision, recall = hits / max(output_size, 1), hits / max(reference_size, 1)
    return 2 * precision * recall / (precision + recall) if hits else 0.0


def _sequence(output: str, references: Sequence[str], tokens: Tokens) -> float | None:
    def compare(output: str, reference: str) -> float:
        left, right = tokens(output), tokens(reference)
        return _f1(_common(left, right), len(left), len(right))

    return _best(output, references, tokens, compare)


def _summary(output: str, references: Sequence[str], tokens: Tokens) -> float | None:
    return _best(
        output,
        references,
        tokens,
        lambda output, reference: _summary_f1(_lines(tokens, output), _lines(tokens, reference)),
    )


@lru_cache(maxsize=8192)
def _lines(tokens: Tokens, text: str) -> tuple[Words, ...]:
    return tuple(tokens(line) for line in text.split("\n") if line)


def _summary_f1(
    output: tuple[tuple[str, ...], ...], reference: tuple[tuple[str, ...], ...]
) -> float:
    if len(output) == len(reference) == 1:
        return _f1(_common(output[0], reference[0]), len(output[0]), len(reference[0]))
    left = Counter(word for line in output for word in line)
    size, wanted, hits = left.total(), sum(map(len, reference)), 0
    for line in reference:
        for place in sorted(frozenset().union(*(_places(line, other) for other in output))):
            if left[line[place]]:  # no more of a word than the output has
                left[line[place]] -= 1
                hits += 1
    return _f1(hits, size, wanted)


def _places(left: tuple[str, ...], right: tuple[str, ...]) -> frozenset[int]:
    """Places in `left` of one longest common subsequence, the one that `rouge_score` finds.

    A bit that is 0 in the row of a prefix of `right` says that the subsequence grows at that place
    of `left`.
    """
    if not left or not right:
        return frozenset()
    rows = _rows(left, right)
    places = []
    i, j = len(left), len(right)
    while i and j:
        if left[i - 1] == right[j - 1]:
            places.append(i - 1)
            i, j = i - 1, j - 1
        elif rows[j - 1] >> (i - 1) & 1:
            i -= 1
        else:
            j -= 1
    return frozenset(places)


@lru_cache(maxsize=8192)
def _common(left: tuple[str, ...], right: tuple[str, ...]) -> int:
    """Length of the longest common subsequence. ROUGE-L and ROUGE-Lsum ask for the same pairs."""
    if not left or not right:
        return 0
    return len(left) - _rows(left, right)[-1].bit_count()


def _rows(left: tuple[str, ...], right: tuple[str, ...]) -> list[int]:
    """After each word of `right` the row of the table, one bit for each word of `left`."""
    positions = _positions(left)
    full = (1 << len(left)) - 1
    row, rows = full, []
    for word in right:
        if matched := row & positions.get(word, 0):  # nothing changes otherwise
            row = ((row + matched) | (row - matched)) & full
        rows.append(row)
    return rows


@lru_cache(maxsize=8192)
def _positions(words: tuple[str, ...]) -> dict[str, int]:
    """The places of each word, as bits."""
    found: dict[str, int] = {}
    for index, word in enumerate(words):
        found[word] = found.get(word, 0) | (1 << index)
    return found
