"""The power fails at any moment while four threads write: no acknowledged row is lost, none is
there twice.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from power_cut import SYNCED, WRITE, power_cuts, recorded

from sluicegate.errors import SluiceError
from sluicegate.traffic import TrafficLog, TrafficRow
from soak_scale import scaled

pytestmark = pytest.mark.timeout(7200)
NOW = datetime(2026, 5, 1, tzinfo=UTC)
WRITER = """
import os, sys, threading
from datetime import UTC, datetime
import sqlalchemy as sa
from sluicegate.traffic import TrafficLog, TrafficRow

folder, writes, mode = sys.argv[1], int(sys.argv[2]), sys.argv[3]
sa.event.listen(sa.pool.Pool, "connect", lambda raw, _: raw.execute("PRAGMA wal_autocheckpoint=150"))
log = TrafficLog(f"sqlite:///{folder}/traffic.db")
told = os.open(f"{folder}/acknowledged", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
if mode == "careless":
    sa.event.listen(sa.pool.Pool, "checkout", lambda raw, *_: raw.execute("PRAGMA synchronous=NORMAL"))

def write(name):
    for number in range(writes):
        keys = [f"{name}-{number}-{part}" for part in range(1 + number % 3)]
        now = datetime(2026, 5, 1, tzinfo=UTC)
        log.write([TrafficRow(key, now, f"question {key} " * 40, f"answer {key}") for key in keys])
        os.write(told, ("".join(f"{key}\\n" for key in keys)).encode())

threads = [threading.Thread(target=write, args=(name,)) for name in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
os._exit(0)  # the last moment, too, is one without an orderly end
"""


class Found:
    """What the cuts of one run left."""

    def __init__(self) -> None:
        self.ends: Counter[str] = Counter()

    def check(self, place: Path, told: bytes) -> None:
        """Open what is left as the next process would."""
        acknowledged = told.decode().split()
        log = TrafficLog(f"sqlite:///{place / 'traffic.db'}")
        try:
            rows = list(log.window())
            sound = log.count() == len(rows) and self.sound(place)
            log.write([TrafficRow("after the cut", NOW, "p", "r")])
        except SluiceError as error:
            self.ends[type(error).__name__] += 1
            return
        finally:
            log.close()
        keys = Counter(row.key for row in rows)
        self.ends["cuts"] += 1
        self.ends["acknowledged"] += len(acknowledged)
        self.ends["lost"] += len(set(acknowledged) - keys.keys())
        self.ends["doubled"] += sum(count > 1 for count in keys.values())
        self.ends["damaged"] += not sound or any(
            row.prompt != f"question {row.key} " * 40 for row in rows
        )

    @staticmethod
    def sound(place: Path) -> bool:
        engine = sa.create_engine(f"sqlite:///{place / 'traffic.db'}")
        with engine.connect() as connection:
            found = connection.exec_driver_sql("PRAGMA integrity_check").scalar()
        engine.dispose()
        return bool(found == "ok")


def cut(tmp_path: Path, mode: str, cuts: int) -> Counter[str]:
    """Record one run of the writer and cut the power in it so often."""
    folder = tmp_path / "written"
    folder.mkdir()
    program = [sys.executable, "-c", WRITER, str(folder), str(scaled(60, 150)), mode]
    steps = recorded(folder, program, tmp_path / "log", tmp_path, PATH=os.environ.get("PATH", ""))
    kinds = Counter(step.kind for step in steps)
    assert kinds[WRITE] > 500
    found = Found()
    power_cuts(steps, folder, "acknowledged", tmp_path, cuts, found.check)
    print(f"{mode}: {kinds[WRITE]} writes, {kinds[SYNCED]} syncs; {dict(found.ends)}")
    return found.ends


def test_no_acknowledged_row_is_lost_in_a_power_cut(tmp_path: Path) -> None:
    """Whatever of the unsynced writes reached the disk: every acknowledged row is there once and
    the file is sound.
    """
    cuts = scaled(40, 300)
    ends = cut(tmp_path, "careful", cuts)
    assert ends["cuts"] == cuts, ends
    assert ends["acknowledged"] > cuts * 20
    assert (ends["lost"], ends["doubled"], ends["damaged"]) == (0, 0, 0), ends


def test_the_same_cuts_find_a_log_that_does_not_sync(tmp_path: Path) -> None:
    """The proof can fail: with synchronous=NORMAL, as many set it, the same power cuts lose
    acknowledged rows.
    """
    ends = cut(tmp_path, "careless", scaled(15, 100))
    assert ends["lost"] > 0, ends
