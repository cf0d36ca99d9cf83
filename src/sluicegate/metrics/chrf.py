"""chrF, the character n-gram F-score, by `sacrebleu`, over 100.

Source: M. Popović, "chrF: character n-gram F-score for automatic MT evaluation", WMT 2015: n-grams
of 1 to 6 characters without white space, beta 2, no word n-grams.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from sluicegate.metrics.bleu import reference_columns


def chrf(source: str, output: str, references: Sequence[str]) -> float:
    """chrF2 in [0, 1], higher is better, in every script; the best reference counts.

    Sentence level, so the mean over a set is not the corpus chrF: see `corpus_chrf`. 0 when the
    output or every reference is blank.

    Example:
        >>> chrf("", "refund issued", ["refund issued"])
        1.0
    """
    usable = [reference for reference in references if reference.strip()]
    if not output.strip() or not usable:
        return 0.0
    return min(1.0, float(_scorer().sentence_score(output, usable).score) / 100)


def corpus_chrf(outputs: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """chrF2 of a set in [0, 1], higher is better: counts against each best reference, added up.

    Blank references are left out, and so is a row without any other.

    Raises:
        EvidenceError: the set is empty, or outputs and references differ in number.

    Example:
        >>> corpus_chrf(["refund issued", "ok"], [["refund issued"], ["ok", "no"]])
        1.0
    """
    columns = reference_columns(outputs, references, "chrF")
    return min(1.0, float(_scorer().corpus_score(list(outputs), columns).score) / 100)


@cache
def _scorer() -> Any:
    from sacrebleu.metrics import CHRF

    return CHRF()
