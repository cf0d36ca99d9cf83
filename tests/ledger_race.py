"""Three processes race for the champion of one ledger: the same check for every database."""

from __future__ import annotations

import multiprocessing
from typing import Any

from sluicegate.errors import SluiceError, StaleEpochError
from sluicegate.ledger import Ledger


def one_winner_per_epoch(place: str) -> None:
    """Let three processes open the fresh ledger at `place` and race for ten epochs; fail unless
    each has one winner.
    """
    context = multiprocessing.get_context("spawn")
    gate, results = context.Barrier(3), context.Queue()
    racers = [
        context.Process(target=_race, args=(place, gate, results, number)) for number in (1, 2, 3)
    ]
    for racer in racers:
        racer.start()
    wins = [results.get(timeout=60) for _ in racers]
    for racer in racers:
        racer.join(timeout=60)
    ledger = Ledger(place)
    moves = ledger.entries("promote")
    assert sum(wins) == len(moves) <= 10
    assert [entry.epoch for entry in moves] == list(range(1, len(moves) + 1))
    ledger.verify()


def _race(place: str, gate: Any, results: Any, number: int) -> None:
    gate.wait()
    wins = 0
    for epoch in range(10):
        try:
            Ledger(place).move_champion(
                f"{number}" * 64, number, epoch, "promote", f"racer {number}", {}
            )
            wins += 1
        except StaleEpochError:
            pass
        except SluiceError as error:
            results.put(f"{type(error).__name__}: {error}")
            return
    results.put(wins)
