"""Progress of stages for a person, on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable


def say(text: str) -> None:
    """One progress line for a person, on stderr."""
    print(text, file=sys.stderr, flush=True)


def counter(label: str, *, every: float = 2.0) -> Callable[[int, int], None]:
    """A `progress(done, total)` callback that prints at most every `every` seconds, with the time left."""
    start = time.monotonic()
    last = [start - every]

    def report(done: int, total: int) -> None:
        now = time.monotonic()
        if done < total and now - last[0] < every:
            return
        last[0] = now
        left = (now - start) / done * (total - done) if done else 0.0
        say(f"  {label} {done}/{total}, {left:.0f} s left")

    return report
