"""How long the command takes where nothing is to be done: `sluice --help`, and a release of an
unchanged project.

    python benchmarks/command_times.py [--project DIR] [--runs 5] [--flow]

Each command is a process of its own. The project (default: this one) must have been released
before; its steps' own times are printed beside the whole, so that one sees where the time goes.
`--flow` also measures `sluice release` on the servers of `sluice up`, which must be running. The
interpreter's bare start is printed as the yardstick.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path


def seconds(command: list[str], folder: Path, runs: int) -> list[float]:
    """Wall seconds of each run; a failing command stops the benchmark."""
    found = []
    for _ in range(runs):
        start = time.perf_counter()
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
        found.append(time.perf_counter() - start)
    return found


def main() -> None:
    """Measure and print one line a command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--project", type=Path, default=Path(__file__).parents[1])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--flow", action="store_true")
    arguments = parser.parse_args()
    sluice = [sys.executable, "-m", "sluicegate"]
    commands = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "sluice --help": [*sluice, "--help"],
        "dvc repro (nothing changed)": [sys.executable, "-m", "dvc", "repro", "--quiet"],
        "sluice release --no-server": [*sluice, "release", "--no-server", "--json"],
    }
    if arguments.flow:
        commands["sluice release (flow)"] = [*sluice, "release", "--json"]
    released = subprocess.run(
        commands["sluice release --no-server"],
        cwd=arguments.project,
        check=True,
        capture_output=True,
        text=True,
    )
    print(f"{'command':30} {'median':>8} {'min':>8} {'max':>8}   seconds, {arguments.runs} runs")
    for name, command in commands.items():
        found = seconds(command, arguments.project, arguments.runs)
        print(f"{name:30} {statistics.median(found):8.2f} {min(found):8.2f} {max(found):8.2f}")
    steps = json.loads(released.stdout)["timings"]
    print(
        "steps of the first run: "
        + ", ".join(f"{name} {value:.2f} s" for name, value in steps.items())
    )


if __name__ == "__main__":
    main()
