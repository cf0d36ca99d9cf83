"""chrF: character n-gram F-score, equal to `sacrebleu`, divided by 100; a reference is counted once.

Source: M. Popović, "chrF: character n-gram F-score for automatic MT evaluation", WMT 2015, as in sacrebleu: n-grams of
1 to 6 characters without white space, beta 2, no word n-grams, averages over the orders that both texts have.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

from sluicegate.errors import EvidenceError

ORDERS = 6
FACTOR = 4.0  # beta 2, squared


def chrf(source: str, output: str, references: Sequence[str]) -> float:
    """chrF2 (6-grams of characters, beta 2, no word n-grams) in [0, 1], higher is better; the best reference counts.

    Sentence level, so the mean over a set is not the corpus chrF: see `corpus_chrf`. 0 when the output or every
    reference is blank.

    Example:
        >>> chrf("", "refund issued", ["refund issued"])
        1.0
    """
    if not output.strip():
        return 0.0
    return max(
        (_score(_statistics(output, reference)) for reference in references if reference.strip()),
        default=0.0,
    )


def corpus_chrf(outputs: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """chrF2 of a whole set in [0, 1], higher is better: counts against each row's best reference are added up first.

    Blank references are left out, and so is a row without any other.

    Raises:
        EvidenceError: the set is empty, or outputs and references differ in number.

    Example:
        >>> corpus_chrf(["refund issued", "ok"], [["refund issued"], ["ok", "no"]])
        1.0
    """
    if not outputs or len(outputs) != len(references):
        raise EvidenceError("corpus chrF needs at least one output and as many rows of references.")
    totals = [0] * (3 * ORDERS)
    for output, row in zip(outputs, references, strict=True):
        rows = [_statistics(output, reference) for reference in row if reference.strip()]
        if rows:
            best = max(rows, key=lambda counts: _score(counts))
            totals = [total + count for total, count in zip(totals, best, strict=True)]
    return _score(totals)


@lru_cache(maxsize=2048)
def _grams(text: str) -> tuple[tuple[int, Counter[str]], ...]:
    dense = "".join(text.split())
    sizes = [max(len(dense) - size, 0) for size in range(ORDERS)]
    return tuple(
        (count, Counter([dense[start : start + size + 1] for start in range(count)]))
        for size, count in enumerate(sizes)
    )


def _statistics(output: str, reference: str) -> list[int]:
    """For each order: n-grams of the output (none where the reference has none), of the reference, of both."""
    statistics = []
    for (mine, found), (theirs, wanted) in zip(_grams(output), _grams(reference), strict=True):
        small, large = (found, wanted) if len(found) <= len(wanted) else (wanted, found)
        hits = sum([min(count, large[gram]) for gram, count in small.items() if gram in large])
        statistics += [mine if theirs else 0, theirs, hits]
    return statistics


def _score(statistics: Sequence[int]) -> float:
    precision = recall = 0.0
    orders = 0
    for order in range(ORDERS):
        mine, theirs, hits = statistics[3 * order : 3 * order + 3]
        if mine and theirs:
            precision, recall, orders = precision + hits / mine, recall + hits / theirs, orders + 1
    if not precision + recall:
        return 0.0
    precision, recall = precision / orders, recall / orders
    return min(1.0, (1 + FACTOR) * precision * recall / (FACTOR * precision + recall))
