"""Scores of a whole set at once, beside the means of its rows: what papers report.

No gate rule can pair them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from sluicegate.metrics.bleu import corpus_bleu
from sluicegate.metrics.chrf import corpus_chrf
from sluicegate.metrics.perplexity import HIGHEST_PERPLEXITY

WHOLE: dict[str, Callable[[Sequence[str], Sequence[Sequence[str]]], float]] = {
    "bleu": corpus_bleu,
    "chrf": corpus_chrf,
}


def corpus_scores(
    scores: Mapping[str, Sequence[float]],
    outputs: Sequence[str],
    references: Sequence[Sequence[str]],
) -> dict[str, float]:
    """`corpus_bleu`, `corpus_chrf` and `corpus_perplexity:FOLDER` for those of the row metrics that
    were evaluated.

    Perplexity weighs each row by its tokens, which costs no second pass through the model; blank
    outputs have none and do not count. Perplexities that were cut to 1e9 in a row count as that.

    Args:
        scores: metric to scores, one a row.
        outputs, references: as scored.

    Example:
        >>> corpus_scores({"bleu": [1.0], "rouge1": [1.0]}, ["it came on time today"],
        ...     [["it came on time today"]])
        {'corpus_bleu': 1.0}
    """
    found = {f"corpus_{name}": WHOLE[name](outputs, references) for name in scores if name in WHOLE}
    for name, values in scores.items():
        kind, _, folder = name.partition(":")
        if kind == "perplexity" and folder:
            found[f"corpus_{name}"] = _perplexity(values, outputs, folder)
    return found


def _perplexity(values: Sequence[float], outputs: Sequence[str], folder: str) -> float:
    from sluicegate.metrics.likelihood import open_likelihood

    counts = open_likelihood(folder).token_counts(
        [output if output.strip() else "" for output in outputs]
    )
    tokens = sum(counts)
    if not tokens:
        return HIGHEST_PERPLEXITY
    return math.exp(
        math.fsum(count * math.log(value) for value, count in zip(values, counts, strict=True))
        / tokens
    )
