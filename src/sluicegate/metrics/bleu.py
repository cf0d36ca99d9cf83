"""BLEU-4 of one answer and of a whole set, equal to `sacrebleu` (tokeniser 13a, exponential smoothing), divided by 100.

Source: K. Papineni et al., "BLEU: a method for automatic evaluation of machine translation", ACL 2002; M. Post, "A call
for clarity in reporting BLEU scores", WMT 2018; smoothing 3 of B. Chen and C. Cherry, WMT 2014. sacrebleu's tokeniser
is used as it is; the n-grams of a reference are counted once, however many answers it is compared with.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from sluicegate.errors import EvidenceError

ORDERS = 4
_Counts = tuple[int, tuple[Counter[tuple[str, ...]], ...]]


def bleu(source: str, output: str, references: Sequence[str]) -> float:
    """Sentence BLEU in [0, 1], higher is better: n-grams of 1 to 4 words, all references together.

    A text of fewer than four words is scored by the orders that it has (sacrebleu's effective order). 0 when the output
    or every reference is blank, or when no word agrees. The mean over a set is not the BLEU of the set: see
    `corpus_bleu`.

    Example:
        >>> round(bleu("", "the refund was sent today", ["the refund was sent on Monday"]), 4)
        0.5475
    """
    usable = tuple(reference for reference in references if reference.strip())
    if not output.strip() or not usable:
        return 0.0
    return _score(_statistics(output, usable), effective=True)


def corpus_bleu(outputs: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """BLEU of a whole set in [0, 1], higher is better: the counts of all rows are added up before they are divided.

    Blank references are left out; a row without one adds its length to the output's side only.

    Raises:
        EvidenceError: the set is empty, or outputs and references differ in number.

    Example:
        >>> corpus_bleu(["the parcel arrived on time today"], [["the parcel arrived on time today", "it came"]])
        1.0
    """
    if not outputs or len(outputs) != len(references):
        raise EvidenceError("corpus BLEU needs at least one output and as many rows of references.")
    rows = [
        _statistics(output, tuple(reference for reference in row if reference.strip()))
        for output, row in zip(outputs, references, strict=True)
    ]
    return _score([sum(column) for column in zip(*rows, strict=True)], effective=False)


def _statistics(output: str, references: tuple[str, ...]) -> list[int]:
    """Length of the output, of the reference nearest to it, then hits and n-grams of each order."""
    length, found = _count(output)
    lengths, wanted = _merged(references)
    nearest = min(lengths, key=lambda other: (abs(other - length), other), default=0)
    hits = [
        sum([min(counts[gram], best[gram]) for gram in counts.keys() & best.keys()])
        for counts, best in zip(found, wanted, strict=True)
    ]
    return [length, nearest, *hits, *(max(length - size, 0) for size in range(ORDERS))]


def _score(statistics: Sequence[int], *, effective: bool) -> float:
    length, nearest, hits, totals = (
        statistics[0],
        statistics[1],
        statistics[2 : 2 + ORDERS],
        statistics[2 + ORDERS :],
    )
    if not any(hits):
        return 0.0
    smooth, logs = 1.0, []
    for hit, total in zip(hits, totals, strict=True):
        if not total:
            break
        if not hit:
            smooth *= 2
        logs.append(math.log(hit / total if hit else 1 / (smooth * total)))
    if len(logs) < ORDERS and not effective:
        return 0.0
    brevity = min(0.0, 1 - nearest / length)
    return min(1.0, math.exp(brevity + math.fsum(logs) / len(logs)))


@lru_cache(maxsize=1)
def _tokenizer() -> Any:
    from sacrebleu.metrics import BLEU

    return BLEU().tokenizer


@lru_cache(maxsize=4096)
def _count(text: str) -> _Counts:
    words = _tokenizer()(text.rstrip()).split()
    grams = (
        Counter(zip(*(words[start:] for start in range(size)), strict=False))
        for size in range(1, ORDERS + 1)
    )
    return len(words), tuple(grams)


@lru_cache(maxsize=4096)
def _merged(
    references: tuple[str, ...],
) -> tuple[tuple[int, ...], tuple[Counter[tuple[str, ...]], ...]]:
    """Lengths of the references, and of each n-gram the most often that any one of them has it."""
    counted = [_count(reference) for reference in references]
    merged = (
        [Counter(counts) for counts in counted[0][1]]
        if counted
        else [Counter() for _ in range(ORDERS)]
    )
    for _, grams in counted[1:]:
        for best, counts in zip(merged, grams, strict=True):
            for gram, count in counts.items():
                if count > best.get(gram, 0):
                    best[gram] = count
    return tuple(length for length, _ in counted), tuple(merged)
