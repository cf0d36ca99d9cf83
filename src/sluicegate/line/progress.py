"""Progress of stages for a person, on stderr, and in a log where one listens."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from sluicegate.pace import Pace

_LISTENER: ContextVar[Callable[[str], object] | None] = ContextVar("listener", default=None)


@contextmanager
def told_to(listener: Callable[[str], object]) -> Iterator[None]:
    """Inside the block `listener` gets each line that a step, or a stage that it runs, says."""
    token = _LISTENER.set(listener)
    try:
        yield
    finally:
        _LISTENER.reset(token)


def listening() -> Callable[[str], object] | None:
    """Who gets what is said here, beside stderr; None for nobody."""
    return _LISTENER.get()


def say(text: str) -> None:
    """One progress line for a person, on stderr."""
    print(text, file=sys.stderr, flush=True)
    if listener := listening():
        listener(text)


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
