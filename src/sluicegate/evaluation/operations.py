"""What answers cost: time, tokens and money, beside how good they are."""

from __future__ import annotations

import math
from collections.abc import Sequence

from sluicegate.errors import EvidenceError
from sluicegate.records import Generation


def operations(
    outputs: Sequence[Generation], price: tuple[float, float] | None = None
) -> dict[str, float]:
    """What the answers cost: seconds (p50, p95, p99 by linear interpolation), tokens, the shares
    cut short and empty.

    `tokens_per_second` is all new tokens over all seconds. Where every answer knows the time of its
    first token, there are `first_token_p50` and `first_token_p95`, seconds. With a `price` (money
    per million tokens of prompt and of answer) there is also `cost_per_1000`, the money that 1,000
    such answers cost. Everything is 0 for an empty sequence.

    Raises:
        EvidenceError: a time is negative or not finite.
    """
    seconds = sorted(output.seconds for output in outputs)
    first = sorted(output.first_token for output in outputs if output.first_token is not None)
    if any(not math.isfinite(value) or value < 0 for value in (*seconds, *first)):
        raise EvidenceError("a generation time is negative or not finite.")
    total, count = math.fsum(seconds), max(len(outputs), 1)
    new_tokens = sum(output.completion_tokens for output in outputs)
    prompt_tokens = sum(output.prompt_tokens for output in outputs)
    found = {
        "latency_p50": _quantile(seconds, 0.50),
        "latency_p95": _quantile(seconds, 0.95),
        "latency_p99": _quantile(seconds, 0.99),
        "tokens_per_second": new_tokens / total if total > 0 else 0.0,
        "output_tokens_mean": new_tokens / count,
        "prompt_tokens_mean": prompt_tokens / count,
        "words_mean": sum(len(output.text.split()) for output in outputs) / count,
        "cut_share": sum(not output.finished for output in outputs) / count,
        "empty_share": sum(not output.text.strip() for output in outputs) / count,
    }
    if first and len(first) == len(outputs):
        found |= {
            "first_token_p50": _quantile(first, 0.50),
            "first_token_p95": _quantile(first, 0.95),
        }
    if price is not None:
        found["cost_per_1000"] = (prompt_tokens * price[0] + new_tokens * price[1]) / count / 1000
    return found


def _quantile(ordered: Sequence[float], share: float) -> float:
    if not ordered:
        return 0.0
    position = share * (len(ordered) - 1)
    below = int(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)
