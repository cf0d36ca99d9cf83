"""The traffic log: rows per second with group commit against one commit a row, and the memory of a
large window.

    python benchmarks/traffic.py [--seconds 5] [--rows 100000] [--folder DIR]

Every row is acknowledged only when it is on the disk (`synchronous=FULL`), so the numbers are about
DIR's disk (default: a new folder beside this file). "one commit a row" is the same log and the same
rows with nothing shared; "sqlite3 alone" is the smallest program that does it, with four columns
and one index of the log's eleven and four. Each line is measured in turn, twice; the better one
counts, as other work on the machine only slows it down. Memory is the growth of the process's peak
over a window a tenth as long.
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sluicegate.traffic import TrafficLog, TrafficRow

NOW = datetime(2026, 5, 1, tzinfo=UTC)
PROMPT, RESPONSE = (
    "How do I change the address of my order? " * 10,
    "You can change it until it is sent. " * 6,
)
MEASURE = """
import resource, sys
from pathlib import Path
from sluicegate.traffic import TrafficLog
log, last, place = TrafficLog(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
rows = log.export(Path(place), last=last) if place else sum(1 for _ in log.window(last=last))
assert rows == last, rows
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def row(number: int = 0) -> TrafficRow:
    """A row of a usual size (about 650 characters of text) with a key of its own."""
    return TrafficRow(
        "",
        NOW + timedelta(milliseconds=number),
        PROMPT,
        RESPONSE,
        "d" * 64,
        "c1",
        0.8,
        90,
        60,
        "ann",
    )


def rate(writers: Sequence[Callable[[], None]], seconds: float) -> float:
    """Rows per second of all writers together, each in a thread of its own, one row a call."""
    counts = [0] * len(writers)
    end = time.perf_counter() + seconds

    def work(place: int, write: Callable[[], None]) -> None:
        while time.perf_counter() < end:
            write()
            counts[place] += 1

    threads = [threading.Thread(target=work, args=item) for item in enumerate(writers)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.perf_counter() - start)


def together(folder: Path, threads: int) -> list[Callable[[], None]]:
    """Writers that share one log, and so its commits."""
    log = TrafficLog(f"sqlite:///{folder / 'traffic.db'}")
    log.write([row()])
    return [lambda: log.write([row()]) and None] * threads


def alone(folder: Path, threads: int) -> list[Callable[[], None]]:
    """Writers that share the file and nothing else: a log, a connection and a commit each."""
    logs = [TrafficLog(f"sqlite:///{folder / 'traffic.db'}") for _ in range(threads)]
    for log in logs:
        log.write([row()])
    return [lambda log=log: log.write([row()]) and None for log in logs]  # type: ignore[misc]


def plain(folder: Path, _: int) -> list[Callable[[], None]]:
    """Python's own sqlite3, one connection, one row a commit."""
    connection = sqlite3.connect(folder / "plain.db", isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE t (key TEXT UNIQUE, time INTEGER, prompt TEXT, response TEXT)")

    def write() -> None:
        fresh = row()
        values = (fresh.key, fresh.time.timestamp(), fresh.prompt, fresh.response)
        connection.execute("INSERT INTO t VALUES (?, ?, ?, ?)", values)

    return [write]


def fsyncs(folder: Path) -> float:
    """Writes of 4 KiB with an fsync each, per second: what the disk itself allows."""
    handle = os.open(folder / "probe", os.O_WRONLY | os.O_CREAT)
    start, done = time.perf_counter(), 0
    while time.perf_counter() - start < 1:
        os.pwrite(handle, bytes(4096), done * 4096)
        os.fdatasync(handle)
        done += 1
    os.close(handle)
    return done / (time.perf_counter() - start)


def memory(url: str, rows: int, place: str) -> tuple[float, float]:
    """Peak MiB of a process that reads (or exports) so many rows, and its seconds."""
    start = time.perf_counter()
    command = [sys.executable, "-c", MEASURE, url, str(rows), place]
    found = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return float(found), time.perf_counter() - start


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, default=Path(__file__).parent)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        print(f"fdatasync of 4 KiB: {fsyncs(folder):.0f} a second")
        cases = [("sqlite3 alone, one commit a row", plain, 1), ("log, one commit a row", alone, 1)]
        cases += [(f"log, one commit a row, {count} threads", alone, count) for count in (8, 32)]
        cases += [
            (f"log, group commit, {count} threads", together, count) for count in (1, 8, 32, 64)
        ]
        for label, make, threads in cases:
            found = 0.0
            for attempt in range(2):
                place = folder / f"{make.__name__}_{threads}_{attempt}"
                place.mkdir()
                found = max(found, rate(make(place, threads), arguments.seconds))
            print(f"{label:40} {found:8.0f} rows/s")
        url = f"sqlite:///{folder / 'window.db'}"
        start = time.perf_counter()
        TrafficLog(url).write(row(number) for number in range(arguments.rows))
        print(
            f"one call with {arguments.rows} rows "
            f"{arguments.rows / (time.perf_counter() - start):17.0f} rows/s"
        )
        for what, place in (("window", ""), ("export", str(folder / "out.parquet"))):
            small, _ = memory(url, arguments.rows // 10, place)
            large, seconds = memory(url, arguments.rows, place)
            print(
                f"{what} of {arguments.rows} rows: peak {large:.0f} MiB, {large - small:+.1f} MiB "
                "over a tenth of it, "
                f"{arguments.rows / seconds:.0f} rows/s with the start of the process"
            )


if __name__ == "__main__":
    main()
