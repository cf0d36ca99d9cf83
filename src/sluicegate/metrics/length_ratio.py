"""Whether the answer is about as long as a person would write it."""

from __future__ import annotations

from collections.abc import Sequence


def length_ratio(source: str, output: str, references: Sequence[str]) -> float:
    """Shorter over longer length in words, by the nearest reference: [0, 1], higher is better.

    1 means as long as a reference; 0.5 means half as long *or* twice as long, so rambling and
    clipping both cost. 0 when the output or every reference is empty.

    Example:
        >>> length_ratio("", "four words are here", ["two words"])
        0.5
    """
    size = len(output.split())
    sizes = [len(reference.split()) for reference in references]
    return max(
        (min(size, other) / max(size, other) for other in sizes if size and other), default=0.0
    )
