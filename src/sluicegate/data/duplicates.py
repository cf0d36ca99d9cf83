"""Exact and near duplicates: MinHash candidates (Broder, 1997), decided by Jaccard similarity."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sluicegate.chat import as_read
from sluicegate.records import Example

SHINGLE = 3
PERMUTATIONS = 128
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Duplicate:
    """`row` repeats `kept`; `similarity`: 1.0 for equal words, else Jaccard of 3-word shingles."""

    row: Example
    kept: Example
    similarity: float


def words(row: Example) -> list[str]:
    """The words of all inputs, normalised (NFKC) and case-folded; punctuation is dropped."""
    text = "\n".join(text for _, text in sorted(as_read(row.inputs).items()))
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def shingles(tokens: Sequence[str], size: int) -> frozenset[str]:
    """The set of `size`-word sequences; a shorter text is one shingle, an empty one has none.

    Example:
        >>> sorted(shingles(["a", "b", "c"], 2))
        ['a b', 'b c']
    """
    if not tokens:
        return frozenset()
    last = max(len(tokens) - size, 0)
    return frozenset(" ".join(tokens[index : index + size]) for index in range(last + 1))


def similarity(left: frozenset[str], right: frozenset[str]) -> float:
    """Jaccard similarity in [0, 1]; 0 where either is empty."""
    return len(left & right) / len(left | right) if left and right else 0.0


def remove_duplicates(
    rows: Sequence[Example], threshold: float
) -> tuple[list[Example], list[Duplicate]]:
    """Keep the first of each family of duplicates by (id, source), whatever the order of `rows`.

    Args:
        threshold: Jaccard similarity in (0, 1] from which a row counts as a near duplicate.
    """
    ordered = sorted(rows, key=lambda row: (row.id, row.source))
    exact: dict[str, Example] = {}
    kept: list[Example] = []
    removed: list[Duplicate] = []
    index = NearIndex(threshold)
    for row in ordered:
        tokens = words(row)
        text = (
            " ".join(tokens)
            if tokens
            else "\n".join(row.inputs[name] for name in sorted(row.inputs))
        )
        key = hashlib.sha256(text.encode("utf-8")).hexdigest()
        if key in exact:
            removed.append(Duplicate(row, exact[key], 1.0))
            continue
        pieces = shingles(tokens, SHINGLE)
        match = max(index.matches(pieces), key=lambda item: (item[1], -item[0]), default=None)
        if match is not None:
            removed.append(Duplicate(row, kept[match[0]], match[1]))
            continue
        exact[key] = row
        index.add(len(kept), pieces)
        kept.append(row)
    return kept, removed


class NearIndex:
    """Locality-sensitive index of shingle sets: "who is at least `threshold` similar?"

    The bands are tuned below `threshold`: pairs at the threshold are found with probability 0.99 or
    so, then confirmed by the exact similarity. Hashing is seeded.
    """

    def __init__(self, threshold: float) -> None:
        from datasketch import MinHashLSH

        self._threshold = threshold
        self._index = MinHashLSH(threshold=max(threshold - 0.25, 0.1), num_perm=PERMUTATIONS)
        self._sets: dict[int, frozenset[str]] = {}

    def add(self, key: int, pieces: frozenset[str]) -> None:
        """Store `pieces` under `key`; an empty set is never found."""
        if pieces:
            self._sets[key] = pieces
            self._index.insert(key, _minhash(pieces))

    def matches(self, pieces: frozenset[str]) -> Iterator[tuple[int, float]]:
        """Yield (key, exact similarity) of each stored set at or over the threshold, sorted."""
        candidates = sorted(self._index.query(_minhash(pieces))) if pieces and self._sets else []
        for key in candidates:
            score = similarity(pieces, self._sets[key])
            if score >= self._threshold:
                yield key, score


def _minhash(pieces: frozenset[str]) -> object:
    from datasketch import MinHash

    sketch = MinHash(num_perm=PERMUTATIONS, seed=1)
    sketch.update_batch([piece.encode("utf-8") for piece in sorted(pieces)])
    return sketch
