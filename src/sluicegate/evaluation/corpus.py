"""Scores of a whole set at once, beside the means of its rows: what papers report.

No gate rule can pair them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sluicegate.metrics import find_metric


def corpus_scores(
    scores: Mapping[str, Sequence[float]],
    outputs: Sequence[str],
    references: Sequence[Sequence[str]],
) -> dict[str, float]:
    """`corpus_<name>` for those of the row metrics that have a score of the whole set
    (`Metric.whole`).

    Args:
        scores: metric to scores, one a row.
        outputs, references: as scored.

    Example:
        >>> said = "it came on time today"
        >>> corpus_scores({"bleu": [1.0], "rouge1": [1.0]}, [said], [[said]])
        {'corpus_bleu': 1.0}
    """
    found = {}
    for name, values in scores.items():
        if whole := find_metric(name).whole:
            found[f"corpus_{name}"] = whole(values, outputs, references)
    return found
