"""chrF: character n-gram F-score as sacrebleu computes it, divided by 100."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any


@lru_cache(maxsize=1)
def _scorer() -> Any:
    from sacrebleu.metrics import CHRF

    return CHRF()


def chrf(source: str, output: str, references: Sequence[str]) -> float:
    """chrF2 (6-grams of characters, beta 2, no word n-grams) in [0, 1], higher is better; the best reference counts.

    Source: M. Popović, "chrF: character n-gram F-score for automatic MT evaluation", WMT 2015. Sentence level, so
    the mean over a set is not the corpus chrF. 0 when the output or every reference is blank.

    Example:
        >>> chrf("", "refund issued", ["refund issued"])
        1.0
    """
    usable = [reference for reference in references if reference.strip()]
    if not output.strip() or not usable:
        return 0.0
    return min(1.0, float(_scorer().sentence_score(output, usable).score) / 100.0)
