"""Sentiment of an answer: the compound score of VADER."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from sluicegate.metrics.base import optional

LONGEST = 10_000  # words; VADER's time grows with their square


def sentiment(source: str, output: str, references: Sequence[str] = ()) -> float:
    """Compound score of `vaderSentiment`: -1 most negative to 1 most positive. English only.

    It describes: a summary of a complaint is rightly negative. -1 (the worst) when the output is
    blank; words after the first 10,000 do not count. Source: C. Hutto and E. Gilbert, "VADER: a
    parsimonious rule-based model for sentiment analysis", ICWSM 2014.

    Raises:
        MissingExtraError: vaderSentiment is not installed.

    Example:
        >>> sentiment("", "Great, thanks!")
        0.807
    """
    if not output.strip():
        return -1.0
    words = output.split()
    text = output if len(words) <= LONGEST else " ".join(words[:LONGEST])
    return float(_analyser().polarity_scores(text)["compound"])


@lru_cache(maxsize=1)
def _analyser() -> Any:
    return optional("vaderSentiment.vaderSentiment", "vaderSentiment").SentimentIntensityAnalyzer()
