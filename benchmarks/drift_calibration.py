"""How often does a window without drift alarm, and how soon is a shift found? Ours beside the usual defaults.

Rows are the turns of TWEETSUMM: a customer's text and the agent's answer, grouped by conversation, so that the rows of
a conversation resemble one another. For every window the conversations are dealt anew: some become the reference, others the
window. No drift is possible, so every alarm is false. "independent" takes one row of each conversation, "clustered" all.

    ks p<.05   two-sample Kolmogorov-Smirnov on each numeric column, any below 0.05
    psi >.1    population stability index over deciles of the reference, any above 0.1
    ours       compare(): the alarm, effect floors included; in brackets the test alone, floors left out

    OMP_NUM_THREADS=1 python benchmarks/drift_calibration.py --windows 2000
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import ks_2samp

from sluicegate.drift import ALPHA, Moments, Profile, compare, profile_rows

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("SLUICE_SHARED_DATA", ROOT.parent / "shared" / "data")) / "tweetsumm"
Rows = NDArray[np.intp]


def pairs() -> list[dict[str, str]]:
    """All (customer, agent) turns, with the number of their conversation as group."""
    rows = []
    lines = [line for name in ("train", "test") for line in (DATA / f"{name}.jsonl").read_text("utf-8").splitlines()]
    for number, line in enumerate(lines):
        for asked, answered in pairwise(json.loads(line)["turns"]):
            if (asked["role"], answered["role"]) == ("customer", "agent"):
                rows.append({"prompt": asked["text"], "response": answered["text"], "group": str(number)})
    return rows


def turns() -> tuple[Profile, NDArray[np.intp]]:
    """All turns profiled once, and the conversation of each."""
    every = profile_rows(pairs())
    return every, np.unique(every.blocks, return_inverse=True)[1]


def part(every: Profile, rows: Rows) -> Profile:
    """The profile of some of the rows."""
    order = rows[np.argsort(every.blocks[rows], kind="stable")]
    numbers = {name: values[order] for name, values in every.numbers.items()}
    return Profile(
        len(rows),
        {name: Moments.of(values) for name, values in numbers.items()},
        {},
        numbers,
        {name: values[order] for name, values in every.labels.items()},
        every.blocks[order],
    )


def dealt(
    conversation: NDArray[np.intp], size: int, reference: int, clustered: bool, random: np.random.Generator
) -> tuple[Rows, Rows]:
    """Rows of the reference and of the window, from different conversations."""
    place = random.permutation(conversation.max() + 1)[conversation]
    order = np.lexsort([random.random(len(place)), place])
    if not clustered:
        order = order[np.unique(place[order], return_index=True)[1]]
    turn = place[order]
    end = int(np.searchsorted(turn, turn[min(size, len(turn) - 1) - 1], side="right"))
    rest = order[end:]
    return rest[:reference], order[:end]


def naive_ks(reference: Profile, window: Profile) -> bool:
    """Any numeric column below p = 0.05."""
    return any(ks_2samp(reference.numbers[name], window.numbers[name]).pvalue < 0.05 for name in reference.numbers)


def naive_psi(reference: Profile, window: Profile) -> bool:
    """Any numeric column above 0.1, over deciles of the reference."""
    return any(_psi(reference.numbers[name], window.numbers[name]) > 0.1 for name in reference.numbers)


def _psi(reference: NDArray[np.float64], window: NDArray[np.float64]) -> float:
    edges = np.unique(np.quantile(reference, np.linspace(0.1, 0.9, 9)))
    counts = [np.bincount(np.searchsorted(edges, values), minlength=len(edges) + 1) for values in (reference, window)]
    left, right = (np.maximum(count / count.sum(), 1e-4) for count in counts)
    return float(((right - left) * np.log(right / left)).sum())


def measure(
    every: Profile, conversation: NDArray[np.intp], size: int, clustered: bool, windows: int, seed: int
) -> Sequence[float]:
    """Shares of windows that alarm: KS, PSI, ours, ours without floors; and seconds of ours a window."""
    random = np.random.default_rng([seed, size, clustered])
    reference = 400 if not clustered else 1500
    alarms = np.zeros(4)
    seconds = 0.0
    for turn in range(windows):
        left, right = (part(every, rows) for rows in dealt(conversation, size, reference, clustered, random))
        alarms[:2] += naive_ks(left, right), naive_psi(left, right)
        started = time.perf_counter()
        scores = compare(left, right, seed=turn)
        seconds += time.perf_counter() - started
        alarms[2:] += any(score.alarm for score in scores), any((score.p or 0) <= ALPHA for score in scores)
    return [*(alarms / windows), seconds / windows]


def main() -> None:
    """Parse the command line and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--windows", type=int, default=2000)
    parser.add_argument("--sizes", type=int, nargs="+", default=[50, 100, 200, 500])
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    every, conversation = turns()
    error = (ALPHA * (1 - ALPHA) / asked.windows) ** 0.5
    print(f"{every.rows} rows of {conversation.max() + 1} conversations; {asked.windows} windows without drift each")
    print(f"promised {ALPHA:.1%}, standard error of a share that large {error:.1%}")
    print("rows        window   ks p<.05   psi >.1   ours (test alone)   s/window")
    for clustered in (False, True):
        for size in asked.sizes:
            ks, psi, ours, test, seconds = measure(every, conversation, size, clustered, asked.windows, asked.seed)
            kind = "clustered" if clustered else "independent"
            print(
                f"{kind:11} {size:6}   {ks:8.1%}   {psi:7.1%}   {ours:5.1%} ({test:.1%})        {seconds:8.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
