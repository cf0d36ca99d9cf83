"""Several processes promote at once: each epoch has one winner, and the others are told in our
words.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from scenes import entered, new_project, verdict

from faults import Child, in_child
from sluicegate.ledger import Ledger
from sluicegate.project import Project
from sluicegate.releasing import bootstrap, judge, promote, verify
from soak_scale import scaled

pytestmark = pytest.mark.timeout(7200)

CANDIDATES = 5
PER_LEDGER = 50
LOSERS = {"StaleEpochError", "NotApprovedError"}


def _prepare(project: Project) -> list[str]:
    releases = [entered(project, number) for number in range(1, CANDIDATES + 1)]
    bootstrap(project, releases[0], actor="ann")
    return releases


def _allow(project: Project, racers: list[str]) -> int:
    """Give each racer its verdict against the champion of now, and return the epoch."""
    for release in racers:
        judge(project, verdict(project, release), actor="gate")
    champion = Ledger(project.ledger_url).champion()
    assert champion is not None
    return champion.epoch


def _start(project: Project, release: str, line: tuple[int, int]) -> int:
    """Wait at the starting line (a pipe until nobody holds its other end), then promote; the epoch
    won.
    """
    os.close(line[1])
    os.read(line[0], 1)
    entry = promote(project, release, actor=f"racer {release[:6]}").entry
    assert entry is not None
    return entry.epoch


def _serving(project: Project) -> tuple[str, int]:
    champion = Ledger(project.ledger_url).champion()
    assert champion is not None
    return champion.release, champion.epoch


def test_races_have_one_winner(fresh_ledger: Callable[[], str], quick_path: Path) -> None:
    """Two to four processes with good verdicts: one promotes, the others get a typed error, and the
    ledger is whole.
    """
    chance, told = random.Random(5), Counter[str]()
    races = scaled(20, 1000)
    for number in range(races):
        if number % PER_LEDGER == 0:
            fresh_ledger()
            project = new_project(quick_path / str(number))
            releases = in_child(partial(_prepare, project)).value
        serving, _ = in_child(partial(_serving, project)).value
        racers = chance.sample(
            [release for release in releases if release != serving], chance.randint(2, 4)
        )
        epoch = in_child(partial(_allow, project, racers)).value
        line = os.pipe()
        children = [Child(partial(_start, project, release, line)) for release in racers]
        for end in line:
            os.close(end)
        outcomes = [child.wait() for child in children]
        winners = [racers[place] for place, outcome in enumerate(outcomes) if outcome.end == "done"]
        assert len(winners) == 1, f"race {number}: {outcomes}"
        assert {outcome.value for outcome in outcomes if outcome.end != "done"} <= LOSERS, (
            f"race {number}: {outcomes}"
        )
        assert in_child(partial(_serving, project)).value == (winners[0], epoch + 1)
        told.update(str(outcome.value) for outcome in outcomes if outcome.end != "done")
        if number % PER_LEDGER == PER_LEDGER - 1 or number == races - 1:
            assert in_child(partial(verify, project)).end == "done"
    print(f"{races} races: the losers were told {dict(told)}")
