"""BLEU-4 of an answer and of a set by `sacrebleu` (tokeniser 13a, exponential smoothing), over 100.

Source: K. Papineni et al., "BLEU: a method for automatic evaluation of machine translation", ACL
2002; M. Post, "A call for clarity in reporting BLEU scores", WMT 2018.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from sluicegate.errors import EvidenceError


def bleu(source: str, output: str, references: Sequence[str]) -> float:
    """Sentence BLEU in [0, 1], higher is better: n-grams of 1 to 4 words, all references together.

    A text of fewer than four words is scored by the orders that it has (sacrebleu's effective
    order). 0 when the output or every reference is blank, or when no word agrees. The mean over a
    set is not the BLEU of the set: see `corpus_bleu`.

    Example:
        >>> round(bleu("", "the refund was sent today", ["the refund was sent on Monday"]), 4)
        0.5475
    """
    usable = [reference for reference in references if reference.strip()]
    if not output.strip() or not usable:
        return 0.0
    return min(1.0, float(_scorer(True).sentence_score(output, usable).score) / 100)


def corpus_bleu(outputs: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """BLEU of a whole set in [0, 1], higher is better: the counts of all rows are added up first.

    Blank references are left out; a row without one adds its length to the output's side only.

    Raises:
        EvidenceError: the set is empty, or outputs and references differ in number.

    Example:
        >>> said = "the parcel arrived on time today"
        >>> corpus_bleu([said], [[said, "it came"]])
        1.0
    """
    columns = reference_columns(outputs, references, "BLEU")
    return min(1.0, float(_scorer(False).corpus_score(list(outputs), columns).score) / 100)


def reference_columns(
    outputs: Sequence[str], references: Sequence[Sequence[str]], name: str
) -> list[list[str | None]]:
    """References as sacrebleu takes them: the first of every row, the second of every row, ...

    Raises:
        EvidenceError: the set is empty, or outputs and references differ in number.
    """
    if not outputs or len(outputs) != len(references):
        raise EvidenceError(
            f"Corpus {name} needs at least one output and as many rows of references."
        )
    rows = [[text for text in row if text.strip()] for row in references]
    most = max(1, *map(len, rows))
    return [[row[place] if place < len(row) else None for row in rows] for place in range(most)]


@cache
def _scorer(sentence: bool) -> Any:
    from sacrebleu.metrics import BLEU

    return BLEU(effective_order=sentence, force=True)
