"""SIGKILL at random moments of a process in which eight threads write: what was acknowledged is
there, once.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sluicegate.traffic import Feedback, TrafficLog, TrafficRow
from soak_scale import scaled

pytestmark = pytest.mark.timeout(7200)
NOW = datetime(2026, 5, 1, tzinfo=UTC)
THREADS = 8


def row(key: str) -> TrafficRow:
    """The one row that has this key."""
    return TrafficRow(
        key,
        NOW,
        f"question {key} " * 20,
        f"answer {key}",
        user="ann",
        feedback=(Feedback(NOW, thumb=1),),
    )


def write_until_killed(url: str, pipe: int, life: int, again: list[str]) -> None:
    """Eight threads write new rows, one of them first what the process before may or may not have
    written.
    """
    log = TrafficLog(url)

    def write(name: int) -> None:
        number = 0
        if name == 0 and again:
            log.write(row(key) for key in again)
            for key in again:
                os.write(pipe, f"done {key}\n".encode())
        while True:
            key = f"{life}-{name}-{number}"
            os.write(pipe, f"sent {key}\n".encode())
            log.write([row(key)])
            os.write(pipe, f"done {key}\n".encode())
            number += 1

    for name in range(THREADS):
        threading.Thread(target=write, args=(name,), daemon=True).start()
    time.sleep(60)


def life(
    url: str, number: int, again: list[str], chance: random.Random
) -> tuple[set[str], set[str]]:
    """One process, killed while it opens the log or writes: the keys that it acknowledged, and
    those it only sent.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reading)
            write_until_killed(url, writing, number, again)
        finally:
            os._exit(1)  # whatever happens, this process never goes back into the test
    os.close(writing)
    text = b""
    if chance.random() < 0.8:
        while b"done " not in text and (more := os.read(reading, 4096)):
            text += more
    time.sleep(chance.random() * 0.06)
    os.kill(child, signal.SIGKILL)
    with os.fdopen(reading, "rb") as stream:
        lines = (text + stream.read()).decode().splitlines()
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), "the writer ended by itself"
    done = {line[5:] for line in lines if line.startswith("done ")}
    return done, {line[5:] for line in lines if line.startswith("sent ")} - done


def test_acknowledged_rows_survive_kills(tmp_path: Path) -> None:
    """Through all kills no acknowledged row is lost; what was sent without an answer and is sent
    again is no second row.
    """
    kills, chance = scaled(20, 1000), random.Random(3)
    url = f"sqlite:///{tmp_path / 'traffic.db'}"
    TrafficLog(f"sqlite:///{tmp_path / 'warm.db'}").write(
        [row("warm")]
    )  # what is imported now, no child waits for
    acknowledged, unsure, again = set[str](), set[str](), list[str]()
    for number in range(kills):
        done, open_ = life(url, number, again, chance)
        acknowledged |= done
        unsure = (unsure | open_) - acknowledged
        again = sorted(unsure)
    log = TrafficLog(url)
    log.write([row(key) for key in again])
    found = Counter(one.key for one in log.window())
    feedback = Counter(len(one.feedback) for one in log.window())
    print(
        f"{kills} kills, {len(acknowledged)} acknowledged, {len(again)} open at the end, "
        f"{len(found)} rows"
    )
    assert (
        len(acknowledged) > kills
    )  # or the kills came before anything was written, and showed nothing
    assert not (acknowledged | set(again)) - found.keys()
    assert set(found.values()) == {1}
    assert set(feedback) == {1}
    assert found.keys() <= acknowledged | set(again)
