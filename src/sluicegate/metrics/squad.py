"""Exact match and token F1 of short answers, with the normalisation of SQuAD.

Source: P. Rajpurkar et al., "SQuAD: 100,000+ questions for machine comprehension of text", EMNLP 2016; the code is the
official script of SQuAD 2.0, kept in `transformers.data.metrics.squad_metrics`. Normalised means: lower case, without
ASCII punctuation, without the words a, an, the, one space between words. With several references the best one counts.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

_ARTICLE = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


@lru_cache(maxsize=8192)
def _words(text: str) -> tuple[str, ...]:
    return tuple(_ARTICLE.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def exact_match(source: str, output: str, references: Sequence[str]) -> float:
    """1 when the normalised output is one of the normalised references, else 0; higher is better.

    0 when the output or every reference is blank.

    Example:
        >>> exact_match("", "The Eiffel Tower!", ["Big Ben", "eiffel tower"])
        1.0
    """
    if not output.strip():
        return 0.0
    return float(
        any(_words(output) == _words(reference) for reference in references if reference.strip())
    )


def token_f1(source: str, output: str, references: Sequence[str]) -> float:
    """F1 of the normalised words, each counted as often as it occurs: [0, 1], higher is better.

    0 when the output or every reference is blank. Where nothing of a text is left by normalisation, the score is 1
    when nothing of the other is left either, else 0, as in SQuAD 2.0.

    Example:
        >>> token_f1("", "in the year 1889", ["1889"])
        0.5
    """
    if not output.strip():
        return 0.0
    return max(
        (_f1(_words(output), _words(reference)) for reference in references if reference.strip()),
        default=0.0,
    )


def _f1(found: tuple[str, ...], wanted: tuple[str, ...]) -> float:
    if not found or not wanted:
        return float(found == wanted)
    return 2 * (Counter(found) & Counter(wanted)).total() / (len(found) + len(wanted))
