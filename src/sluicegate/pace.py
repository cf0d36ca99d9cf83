"""How long work of many steps will still take."""

from __future__ import annotations

import time
from collections.abc import Callable


class Pace:
    """Seconds left, by the later half of what was seen.

    What comes before the first report (weights that are loaded, answers that were cached) says
    nothing about the rest and never counts.

    Example:
        >>> clock = iter([30.0, 31.0, 32.0])  # the first of ten steps took 30 s
        >>> pace = Pace(lambda: next(clock))
        >>> [pace.left(step, 10) for step in (1, 2, 3)]
        [None, 8.0, 7.0]
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: list[tuple[float, int]] = []

    def left(self, done: int, total: int) -> float | None:
        """Note that `done` of `total` steps are done; None while nothing can be said."""
        if not done:
            return None
        now = self._clock()
        self._seen.append((now, done))
        then, before = self._seen[(len(self._seen) - 1) // 2]
        return (now - then) / (done - before) * (total - done) if done > before else None
