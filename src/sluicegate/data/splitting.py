"""Which groups are held out: a stable hash decides, so adding data moves no group."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable


def position(group: str, salt: str) -> float:
    """Place of `group` in [0, 1): the first 8 bytes of SHA-256(salt, NUL, group).

    Example:
        >>> 0 <= position("acc-1", "golden") < 1
        True
        >>> position("acc-1", "golden") == position("acc-1", "validation")
        False
    """
    digest = hashlib.sha256(f"{salt}\x00{group}".encode("utf-8", "surrogatepass")).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) / 2**53


def held_out(groups: Iterable[str], fraction: float, salt: str) -> frozenset[str]:
    """Return the groups to hold out: position below `fraction`, at least one and never all.

    Args:
        fraction: expected share in [0, 1]; 0 holds nothing out.
        salt: another salt gives an independent choice.

    Empty `groups` or fewer than two: the empty set (nothing can be held out).

    Example:
        >>> len(held_out(["a", "b", "c"], 0.0001, "golden"))
        1
    """
    ranked = sorted(set(groups), key=lambda group: (position(group, salt), group))
    if fraction <= 0 or len(ranked) < 2:
        return frozenset()
    chosen = sum(position(group, salt) < fraction for group in ranked)
    return frozenset(ranked[: min(max(chosen, 1), len(ranked) - 1)])
