"""Likely tokens of one place in an answer, by their text."""

from __future__ import annotations

import math
from collections.abc import Iterable


def likely_tokens(pairs: Iterable[tuple[str, float]]) -> dict[str, float]:
    """Text to log probability; probabilities of tokens with equal text (half letters, say) are added.

    Example:
        >>> likely_tokens([("7", -0.5), ("8", -1.5), ("7", -0.5)]).keys()
        dict_keys(['7', '8'])
        >>> round(likely_tokens([("7", -1.0), ("7", -1.0)])["7"], 3)
        -0.307
    """
    likely: dict[str, float] = {}
    for text, chance in pairs:
        before = likely.get(text)
        if before is not None:
            high, low = max(before, chance), min(before, chance)
            chance = high + math.log1p(math.exp(low - high))
        likely[text] = chance
    return likely
