"""How fast a hosted model is asked: token buckets for its limits."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

BURST = 0.1
"""Share of a minute's allowance that may go out at once."""


@dataclass(slots=True)
class TokenBucket:
    """At most `per_minute` units in any 60 seconds; 0 is no limit. A unit is a request or a token.

    It holds a tenth of a minute's allowance and fills at nine tenths of the rate, so that burst and
    refill together stay within the limit. What is larger than the bucket waits until it is full and
    leaves it in debt.

    Example:
        >>> bucket = TokenBucket(60, clock=lambda: 0.0)
        >>> [bucket.take(1) for _ in range(7)] == [0, 0, 0, 0, 0, 0, 1 / 0.9]
        True
    """

    per_minute: int
    clock: Callable[[], float] = time.monotonic
    _level: float = field(init=False)
    _then: float = field(init=False)

    def __post_init__(self) -> None:
        self._level = self._most
        self._then = self.clock()

    @property
    def _most(self) -> float:
        return max(1.0, self.per_minute * BURST)

    def take(self, units: float) -> float:
        """Seconds to wait before `units` may be used; 0 means that they were taken."""
        if not self.per_minute:
            return 0.0
        # a limit of one a minute leaves nothing to refill with beside a burst of one
        rate = max(self.per_minute - self._most, self.per_minute / 2) / 60
        now = self.clock()
        self._level = min(self._most, self._level + (now - self._then) * rate)
        self._then = now
        short = min(units, self._most) - self._level
        if short > 1e-9:
            return short / rate
        self._level -= units
        return 0.0

    def give_back(self, units: float) -> None:
        """Return units that were taken and not used; a negative number takes more."""
        if self.per_minute:
            self._level = min(self._most, self._level + units)
