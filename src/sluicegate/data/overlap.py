"""Train/golden contamination: has the model been trained on what it will be judged by?

Two views: the share of a golden row's n-grams in the training rows (copied passages), and the
similarity of whole rows by MinHash (rewritten copies). Only inputs are compared: short references
repeat rightly.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from sluicegate.data.duplicates import SHINGLE, NearIndex, shingles, words
from sluicegate.errors import DataError
from sluicegate.records import Example


@dataclass(frozen=True, slots=True)
class Overlap:
    """`golden` shares `share` of its n-grams with training rows, most with `train` (Jaccard)."""

    golden: str
    train: str
    share: float
    similarity: float


def find_overlaps(
    train: Sequence[Example], golden: Sequence[Example], *, ngram: int, share: float, near: float
) -> list[Overlap]:
    """Return the golden rows that are contaminated, worst first.

    Args:
        train: rows that the model may learn from, validation included.
        golden: rows that it will be judged by.
        ngram: words per n-gram (a text with fewer words is one n-gram).
        share: limit in (0, 1] for the share of a golden row's n-grams found in `train`.
        near: limit in (0, 1] for the Jaccard similarity of 3-word shingles.

    Either side empty: no overlap.
    """
    owners: dict[str, list[int]] = {}
    index = NearIndex(near)
    for number, row in enumerate(train):
        tokens = words(row)
        for piece in shingles(tokens, ngram):
            owners.setdefault(piece, []).append(number)
        index.add(number, shingles(tokens, SHINGLE))
    found = []
    for row in golden:
        tokens = words(row)
        pieces = shingles(tokens, ngram)
        hits = [piece for piece in pieces if piece in owners]
        portion = len(hits) / len(pieces) if pieces else 0.0
        by_row = Counter(number for piece in hits for number in owners[piece])
        nearest = max(
            index.matches(shingles(tokens, SHINGLE)),
            key=lambda item: (item[1], -item[0]),
            default=None,
        )
        if nearest is None and (portion < share or not hits):
            continue
        partner = (
            nearest[0]
            if nearest is not None
            else min(by_row, key=lambda number: (-by_row[number], number))
        )
        found.append(
            Overlap(row.id, train[partner].id, portion, nearest[1] if nearest is not None else 0.0)
        )
    return sorted(found, key=lambda item: (-max(item.share, item.similarity), item.golden))


def refuse_overlaps(overlaps: Sequence[Overlap], *, shown: int = 10) -> None:
    """Stop the line where there is any overlap.

    Raises:
        DataError: lists the first `shown` pairs.
    """
    if not overlaps:
        return
    pairs = "".join(
        f"\n  golden {item.golden} ~ train {item.train}"
        f" ({item.share:.0%} of its n-grams, similarity {item.similarity:.2f})"
        for item in overlaps[:shown]
    )
    more = f"\n  and {len(overlaps) - shown} more" if len(overlaps) > shown else ""
    raise DataError(
        f"{len(overlaps)} golden row(s) overlap with training or development rows:{pairs}{more}",
        hint="Remove one of each pair, or give both the same group. "
        "Limits: prepare.overlap_share and prepare.near_duplicate in params.yaml.",
    )
