"""Exact match and token F1 of short answers, with the normalisation of SQuAD.

Source: P. Rajpurkar et al., "SQuAD: 100,000+ questions for machine comprehension of text", EMNLP
2016; the code is the official script of SQuAD 2.0, kept in
`transformers.data.metrics.squad_metrics`. Normalised means: lower case, without ASCII punctuation,
without the words a, an, the, one space between words. With several references the best one counts.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache

_ARTICLE = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


@lru_cache(maxsize=8192)
def _words(text: str) -> tuple[str, ...]:
    return tuple(_ARTICLE.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def exact_match(source: str, output: str, references: Sequence[str]) -> float | None:
    """1 when the normalised output is one of the normalised references, else 0; higher is better.

    0 when the output or every reference is blank; None when normalisation leaves nothing of any
    reference.

    Example:
        >>> exact_match("", "The Eiffel Tower!", ["Big Ben", "eiffel tower"])
        1.0
    """
    return _best(output, references, lambda found, wanted: float(found == wanted))


def token_f1(source: str, output: str, references: Sequence[str]) -> float | None:
    """F1 of the normalised words, each counted as often as it occurs: [0, 1], higher is better.

    0 when the output or every reference is blank. A reference of which normalisation leaves nothing
    does not count; None where there is no other (SQuAD 2.0 gives 1 to any output of which nothing
    is left either).

    Example:
        >>> token_f1("", "in the year 1889", ["1889"])
        0.5
    """
    return _best(output, references, _f1)


def _best(
    output: str,
    references: Sequence[str],
    compare: Callable[[tuple[str, ...], tuple[str, ...]], float],
) -> float | None:
    real = [reference for reference in references if reference.strip()]
    if not output.strip() or not real:
        return 0.0
    scores = [compare(_words(output), wanted) for wanted in map(_words, real) if wanted]
    return max(scores, default=None)


def _f1(found: tuple[str, ...], wanted: tuple[str, ...]) -> float:
    if not found:
        return 0.0
    return 2 * (Counter(found) & Counter(wanted)).total() / (len(found) + len(wanted))
