"""Progress of stages for a person, on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from sluicegate.pace import Pace


def say(text: str) -> None:
    """One progress line for a person, on stderr."""
    print(text, file=sys.stderr, flush=True)


def counter(label: str, *, every: float = 2.0) -> Callable[[int, int], None]:
    """A `progress(done, total)` callback that prints at most every `every` seconds, with the time
    left.
    """
    start, pace = time.monotonic(), Pace()
    last, ended = start - every, False

    def report(done: int, total: int) -> None:
        nonlocal last, ended
        now, left = time.monotonic(), pace.left(done, total)
        if ended or (done < total and now - last < every):
            return
        last, ended = now, done >= total
        passed = now - start
        if ended:
            say(f"  {label} {done}/{total} in {passed:.0f} s")
        else:
            say(f"  {label} {done}/{total}" + ("" if left is None else f", {left:.0f} s left"))

    return report
