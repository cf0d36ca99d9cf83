"""A drift report over a day of traffic: seconds, peak memory, and what 24 hourly profiles save.

Rows are the turns of TWEETSUMM over and over, each conversation under a new name every time.
Measured in processes of their own: checking and reporting the day from its rows, at several sizes
(is memory flat?); and merging the day from 24 stored hourly profiles instead.

    OMP_NUM_THREADS=1 python benchmarks/drift_report.py --rows 100000
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from drift_calibration import pairs

from sluicegate.cards.drift_report import DriftPage, drift_report_html
from sluicegate.drift import merge, read_profile, write_profile
from sluicegate.monitoring import (
    Row,
    check_profile,
    check_rows,
    golden_represents_traffic,
    likely_cause,
    moved_columns,
    profile_reference,
    profile_traffic,
    samples,
)

HOURS = 24


def traffic(count: int, start: int = 0) -> Iterator[Row]:
    """`count` rows from the `start`-th on, without a copy of them all."""
    rows = pairs()
    return (
        {
            **rows[place % len(rows)],
            "group": f"{place // len(rows)}-{rows[place % len(rows)]['group']}",
        }
        for place in range(start, start + count)
    )


def report(folder: Path, count: int) -> dict[str, float]:
    """Check `count` rows and write the page."""
    started, spent = time.perf_counter(), time.process_time()
    path = folder / "reference.parquet"
    found, window = check_rows(traffic(count), path)
    assert window is not None
    reference = read_profile(path)
    moved = moved_columns(found, reference, window)
    missing = golden_represents_traffic(window, reference)[1]
    shown = samples(moved, reference, window, traffic(1500), traffic(count))
    page = DriftPage(found, likely_cause(moved), moved, shown, missing, reference.rows)
    (folder / "drift.html").write_text(drift_report_html(page))
    return measured(started, spent)


def merged(folder: Path, count: int) -> dict[str, float]:
    """Merge the stored hours and compare the day."""
    started, spent = time.perf_counter(), time.process_time()
    day = merge(read_profile(folder / f"{hour}.parquet") for hour in range(HOURS))
    assert day.rows == count // HOURS * HOURS
    check_profile(day, read_profile(folder / "reference.parquet"))
    return measured(started, spent)


def measured(started: float, spent: float) -> dict[str, float]:
    """Seconds by the clock and of the processor since then, and the process's peak memory in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "seconds": time.perf_counter() - started,
        "cpu": time.process_time() - spent,
        "peak": peak,
    }


def apart(what: str, folder: Path, count: int) -> dict[str, float]:
    """The same in a process of its own."""
    command = [
        sys.executable,
        __file__,
        "--rows",
        str(count),
        "--folder",
        str(folder),
        "--only",
        what,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


def main() -> None:
    """Parse the command line and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--only", choices=["report", "merged"], help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.only:
        print(
            json.dumps({"report": report, "merged": merged}[asked.only](asked.folder, asked.rows))
        )
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        profile_reference(list(islice(traffic(1500), 1500)), folder / "reference.parquet")
        print("rows      seconds   cpu s   rows/cpu s   peak MiB")
        for count in (asked.rows // 10, asked.rows // 2, asked.rows):
            found = apart("report", folder, count)
            speed = count / found["cpu"]
            print(
                f"{count:7}   {found['seconds']:7.1f}   {found['cpu']:5.1f}   {speed:10.0f}   "
                f"{found['peak']:8.0f}",
                flush=True,
            )
        each = asked.rows // HOURS
        for hour in range(HOURS):
            hourly = profile_traffic(traffic(each, hour * each))
            assert hourly is not None
            write_profile(folder / f"{hour}.parquet", hourly)
        found = apart("merged", folder, asked.rows)
        print(
            f"{HOURS} hours merged and compared: {found['seconds']:.1f} s, cpu {found['cpu']:.1f} "
            f"s, {found['peak']:.0f} MiB"
        )


if __name__ == "__main__":
    main()
