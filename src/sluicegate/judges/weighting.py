"""A score weighted by token probabilities, as in G-Eval (arXiv:2303.16634, equation 1)."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from sluicegate.generating import Reply

_SCORE = re.compile(r'"score"\s*:\s*([0-9])')


def weighted_token(alternatives: Mapping[str, float], low: int, high: int) -> float | None:
    """The sum of p(s) * s over the scale, p renormalised; None when no score is among the tokens.

    `alternatives` maps tokens to log probabilities; tokens that differ in white space alone are one
    score.

    Example:
        >>> round(weighted_token({"4": math.log(0.6), " 5": math.log(0.2), "x": math.log(0.2)}, 1,
        ...     5), 6)
        4.25
    """
    return _mean(alternatives, "", "", low, high)


def first_place(reply: Reply) -> Mapping[str, float]:
    """The likely tokens at the first place that is not just white space; empty without one.

    Many tokenizers begin an answer with a space of its own.
    """
    return next(
        (
            tokens
            for tokens in reply.alternatives
            if max(tokens, key=lambda each: tokens[each]).strip()
        ),
        {},
    )


def score_place(reply: Reply, low: int, high: int) -> Mapping[str, float]:
    """The likely tokens at the first place that has a score of the scale; empty without one."""
    for tokens in reply.alternatives:
        if _mean(tokens, "", "", low, high) is not None:
            return tokens
    return {}


def likeliest(tokens: Mapping[str, float], low: int, high: int) -> int | None:
    """The score of the scale with the highest probability among `tokens`; None where there is none.

    Example:
        >>> likeliest({"9": -0.9, "1": -1.4, " 2": -1.9, "2": -2.5}, 1, 2)
        1
    """
    chances = [
        (chance, -int(token))
        for token, chance in tokens.items()
        if token.strip() in _digits(low, high)
    ]
    return -max(chances)[1] if chances else None


def _digits(low: int, high: int) -> frozenset[str]:
    return frozenset(str(score) for score in range(low, high + 1))


def weighted_score(reply: Reply, low: int, high: int) -> float | None:
    """The same where the reply's JSON says `"score": <digit>`; None when that is not found.

    The tokens are matched from the end, where the score is: the thoughts before it do not matter.
    """
    text = reply.text.rstrip()
    found = list(_SCORE.finditer(text))
    if not found or not reply.alternatives:
        return None
    target, end = found[-1].start(1), len(text)
    for tokens in reversed(reply.alternatives):
        fitting = [token for token in tokens if _fits(token, text, end)]
        if not fitting:
            if end == len(text):
                continue  # the token that ends the answer is not in its text
            return None
        token = max(fitting, key=lambda each: tokens[each])
        token = token.rstrip() if end == len(text) else token
        start = end - len(token)
        if start <= target:
            return _mean(
                tokens,
                token[: target - start].strip(),
                token[target - start + 1 :].strip(),
                low,
                high,
            )
        end = start
    return None


def _fits(token: str, text: str, end: int) -> bool:
    token = token.rstrip() if end == len(text) else token
    return bool(token) and text.endswith(token, 0, end)


def _mean(
    tokens: Mapping[str, float], before: str, after: str, low: int, high: int
) -> float | None:
    weights: dict[int, float] = {}
    for token, chance in tokens.items():
        core = token.strip()
        digit = core[len(before) : len(core) - len(after)]
        if core != f"{before}{digit}{after}" or len(digit) != 1 or digit not in "0123456789":
            continue
        if low <= int(digit) <= high and not math.isnan(chance):
            weights[int(digit)] = weights.get(int(digit), 0.0) + math.exp(min(chance, 0.0))
    total = math.fsum(weights.values())
    return (
        math.fsum(score * weight for score, weight in weights.items()) / total
        if total > 0
        else None
    )
