"""pass@k: how likely one of k programs passes, estimated from n; nothing is run here."""

from __future__ import annotations

import math
from collections.abc import Sequence

from sluicegate.errors import EvidenceError


def pass_at_k(tried: int, passed: int, k: int) -> float:
    """Unbiased estimate of the chance that one of `k` draws passes: [0, 1], higher is better.

    1 - C(tried - passed, k) / C(tried, k), as a product that cannot overflow. Source: M. Chen et
    al., "Evaluating large language models trained on code", 2021, equation 1 and figure 3.

    Raises:
        EvidenceError: `k` is not between 1 and `tried`, or `passed` not between 0 and `tried`.

    Example:
        >>> pass_at_k(10, 3, 1), pass_at_k(10, 3, 8)
        (0.30000000000000004, 1.0)
    """
    if not (1 <= k <= tried and 0 <= passed <= tried):
        raise EvidenceError(f"pass@{k} is undefined for {passed} of {tried} programs.")
    if tried - passed < k:
        return 1.0
    return -math.expm1(
        math.fsum(math.log1p(-k / size) for size in range(tried - passed + 1, tried + 1))
    )


def mean_pass_at_k(results: Sequence[tuple[int, int]], k: int) -> float:
    """Mean of `pass_at_k` over problems, each given as (tried, passed).

    Raises:
        EvidenceError: no problem, or one of which fewer than `k` programs were tried.

    Example:
        >>> mean_pass_at_k([(2, 1), (2, 2)], 1)
        0.75
    """
    if not results:
        raise EvidenceError("pass@k is undefined for zero problems.")
    return math.fsum(pass_at_k(tried, passed, k) for tried, passed in results) / len(results)
