"""SIGKILL at random moments of a promotion; and a reader who watches ten thousand of them."""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from pathlib import Path
from statistics import median

import pytest
from scenes import Stage, freeze_time, quick_folder, result

from faults import Child, in_child
from sluicegate.ledger import Ledger
from soak_scale import scaled

pytestmark = pytest.mark.timeout(7200)


def test_random_kills_during_a_promotion() -> None:
    """Killed at any moment, a promotion with MLflow has happened whole or not at all, and a re-run
    ends in the same head.
    """
    chance, ends = random.Random(11), Counter[str]()
    with quick_folder() as folder:
        stage = Stage(folder)
        scene = next(scene for scene in stage.scenes if scene.name == "promote")

        def run() -> float:
            freeze_time()
            start = time.perf_counter()
            scene.action()
            return time.perf_counter() - start

        def promoted() -> float:
            stage.set_up(scene)
            return float(in_child(run).value)

        usual = median(promoted() for _ in range(5))
        wanted = in_child(lambda: result(stage.project)).value
        for number in range(scaled(25, 1000)):
            stage.set_up(scene)
            child = Child(run)
            time.sleep(chance.random() * usual * 1.1)
            child.kill()
            ends[child.wait().end] += 1
            middle = in_child(lambda: result(stage.project))
            assert middle.end == "done", f"kill {number}: {middle.text}"
            assert middle.value["champion"].epoch in (1, 2)
            ends[f"champion of epoch {middle.value['champion'].epoch}"] += 1
            again = in_child(run)
            assert again.end == "done", f"kill {number}: {again.text}"
            assert in_child(lambda: result(stage.project)).value == wanted, f"kill {number}"
    print(f"random kills: {dict(ends)}, a promotion takes {usual:.3f} s")
    assert ends["killed"] > scaled(25, 1000) / 2


def test_a_reader_sees_one_champion_and_no_epoch_fall(ledger_url: str, quick_path: Path) -> None:
    """Through all promotions of another process a reader always finds exactly one champion, its
    epoch never lower.
    """
    moves, done = scaled(300, 2000 if "postgresql" in ledger_url else 10_000), quick_path / "done"

    def promote_all() -> None:
        ledger = Ledger(ledger_url)
        for epoch in range(1, moves):
            ledger.move_champion(f"{epoch % 10}" * 64, epoch + 1, epoch, "promote", "ann", {})
        done.touch()

    in_child(lambda: Ledger(ledger_url).move_champion("0" * 64, 1, 0, "bootstrap", "ann", {}))
    writer = Child(promote_all)
    ledger, polls, changes, last = Ledger(ledger_url), 0, 0, 1
    try:
        while not done.exists():
            champion = ledger.champion()  # two rows would be an IntegrityError
            assert champion is not None
            assert champion.epoch >= last
            assert champion.version == champion.epoch
            assert (
                champion.release
                == ("0" if champion.epoch == 1 else f"{(champion.epoch - 1) % 10}") * 64
            )
            changes += champion.epoch > last
            last, polls = champion.epoch, polls + 1
            os.sched_yield()
    finally:
        end = writer.wait()
    assert end.end == "done", end.text
    final = ledger.champion()
    assert final is not None
    assert final.epoch == moves
    ledger.verify()
    print(f"reader: {polls} polls during {moves} promotions, {changes} changes seen")
    assert changes > min(50, moves // 10)
