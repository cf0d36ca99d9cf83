"""What a run of the gate may spend, and what it spent."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from sluicegate.budget import Budget, Counts
from sluicegate.errors import UsageError
from sluicegate.line.pipeline.base_model import price as price_of_release
from sluicegate.line.run import Run
from sluicegate.records import Evidence


def opened(run: Run, budget: Budget) -> Budget:
    """The budget as this run's stages find it."""
    price = price_of_release(run)
    if budget.cost is not None and price is None:
        raise UsageError(
            "--max-cost needs prices, and params.yaml has none.",
            hint="Set release.price: {input: ..., output: ...}, money per million tokens.",
        )
    path = run.project.state / "gate" / f"budget-{os.getpid()}.json"
    prices = (price.input, price.output) if price else (0.0, 0.0)
    return replace(budget, started=time.time(), price=prices, path=path)


@contextmanager
def kept(budget: Budget) -> Iterator[Path]:
    """Where this run's stages count; gone afterwards."""
    assert budget.path is not None, "`opened` sets it"
    budget.save()
    try:
        yield budget.path
    finally:
        budget.path.unlink(missing_ok=True)


def counted(candidate: Evidence, champion: Evidence, spent: Counts) -> Counts:
    """All answers that the evidence holds and that this run did not generate came from the cache."""
    used = len(candidate.rows)
    if champion.release != candidate.release:
        used += len(champion.rows)
    return replace(spent, cached=max(0, used - spent.made))


def spent(spent: Counts, budget: Budget, seconds: float) -> dict[str, float | int | None]:
    """What the run cost; money only where there are prices."""
    return {
        "seconds": round(seconds, 3),
        "tokens": spent.tokens,
        "cost": spent.cost if any(budget.price) else None,
        "judge_calls": spent.judge_calls,
    }
