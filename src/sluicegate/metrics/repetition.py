"""Whether an answer says the same again: the share of its n-grams that occurred before."""

from __future__ import annotations

from collections.abc import Sequence

SIZE = 4


def repetition(source: str, output: str, references: Sequence[str] = ()) -> float:
    """Share of lower-case 4-grams of words that repeat an earlier one: [0, 1], lower is better.

    0 when there are fewer than four words; 1 (the worst) when the output is blank. Source:
    seq-rep-4 of S. Welleck et al., "Neural text generation with unlikelihood training", ICLR 2020.

    Example:
        >>> repetition("", "it is late now " * 5)
        0.7647058823529411
    """
    return repeated_share(output, SIZE) if output.strip() else 1.0


def repeated_share(text: str, size: int) -> float:
    """Share of n-grams of `size` words that repeat an earlier one; 0 when the text has none.

    Example:
        >>> repeated_share("no no no yes", 1)
        0.5
    """
    words = text.lower().split()
    grams = list(zip(*(words[start:] for start in range(size)), strict=False))
    return 1 - len(set(grams)) / len(grams) if grams else 0.0
