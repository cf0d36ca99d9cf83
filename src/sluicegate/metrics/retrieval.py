"""Retrieval: are the gold documents among the contexts that the application used, and how early?

A document is a text or an object with `id` (or `text`); a gold document may have a `relevance`
above 0, else it has 1. Contexts come best first; one that comes again counts where it came first.
Sources: C. Manning et al., "Introduction to information retrieval", 2008, chapter 8 (recall,
reciprocal rank); K. Jaervelin, J. Kekaelaeinen, "Cumulated gain-based evaluation of IR techniques",
ACM TOIS 20, 2002 (nDCG, here with the logarithm to base 2 from rank 1, as trec_eval has it).
Contexts that are no JSON, which no application of ours gives, are none.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from functools import partial, wraps
from typing import Any

from sluicegate.errors import EvidenceError
from sluicegate.metrics.base import Metric
from sluicegate.metrics.json_answers import listed


def recall_at(source: str, output: str, references: Sequence[str], *, k: int) -> float | None:
    """The share of the gold documents among the first `k` contexts, in [0, 1].

    None where no document is expected.

    Example:
        >>> recall_at("", '["kb-7", "kb-1"]', ['["kb-1", "kb-2"]'], k=5)
        0.5
    """
    gains, gold = _gains(output, references)
    return sum(gain > 0 for gain in gains[:k]) / len(gold) if gold else None


def mrr(source: str, output: str, references: Sequence[str]) -> float | None:
    """1 over the rank of the first gold document, 0 where there is none; in [0, 1].

    None where no document is expected.

    Example:
        >>> mrr("", '["kb-7", {"id": "kb-1", "text": "..."}]', ['["kb-1"]'])
        0.5
    """
    gains, gold = _gains(output, references)
    first = next((rank for rank, gain in enumerate(gains, 1) if gain > 0), math.inf)
    return 1 / first if gold else None


def ndcg_at(source: str, output: str, references: Sequence[str], *, k: int) -> float | None:
    """Relevance found in the first `k` contexts, discounted by rank, over the most there can be.

    In [0, 1]; None where no document is expected.

    Example:
        >>> round(ndcg_at("", '["kb-7", "kb-1"]', ['["kb-1"]'], k=10), 3)
        0.631
    """
    gains, gold = _gains(output, references)
    return _discounted(gains[:k]) / _discounted(sorted(gold, reverse=True)[:k]) if gold else None


def _discounted(gains: Sequence[float]) -> float:
    return math.fsum(gain / math.log2(rank + 1) for rank, gain in enumerate(gains, 1))


def _gains(output: str, references: Sequence[str]) -> tuple[list[float], list[float]]:
    """The relevance of each context in turn, without repeats, and those of the gold documents."""
    gold = dict(_gold(one) for one in listed(references[0]))
    names = []
    for one in listed(output):
        known = _names(one)
        names.append(next((name for name in known if name in gold), "".join(known[:1])))
    return [gold.get(name, 0.0) for name in dict.fromkeys(names)], list(gold.values())


def _names(document: Any) -> list[str]:
    """What a document may be known by: its id, its text."""
    parts = [document.get("id"), document.get("text")] if isinstance(document, dict) else [document]
    return [str(part).strip() for part in parts if part is not None]


def _gold(document: Any) -> tuple[str, float]:
    names = _names(document)
    said = document.get("relevance", 1) if isinstance(document, dict) else 1
    sound = not isinstance(said, bool) and isinstance(said, int | float) and said > 0
    if not names or not sound:
        raise EvidenceError(
            f"this gold document has no id or a wrong relevance: {json.dumps(document):.80}",
            hint='Expected are texts or objects {"id": ..., "relevance": a number above 0}.',
        )
    return names[0], float(said)


def _at(name: str, unit: str, score: Any, **fixed: int) -> Metric:
    kept: Any = wraps(score)(partial(score, **fixed))
    best = '["kb-1"]'
    return Metric(name, "higher", unit, (0.0, 1.0), kept, reads="contexts", best=("", best, best))


RETRIEVAL = (
    _at("recall_at_1", "share of gold documents", recall_at, k=1),
    _at("recall_at_5", "share of gold documents", recall_at, k=5),
    _at("recall_at_10", "share of gold documents", recall_at, k=10),
    _at("mrr", "1 / rank", mrr),
    _at("ndcg_at_10", "discounted gain", ndcg_at, k=10),
)
