"""How often does a window without drift alarm? Ours beside the usual defaults, on the same windows.

Rows are the turns of TWEETSUMM: a customer's text and the agent's answer, grouped by conversation,
so that the rows of a conversation resemble one another. For every window the conversations are
dealt anew: some become the reference, others the window. No drift is possible, so every alarm is
false. "independent" takes one row of each conversation, "clustered" all.

    ks p<.05     two-sample Kolmogorov-Smirnov on each numeric column, any below 0.05
    psi >.1      population stability index over deciles of the reference, any above 0.1
    ours         compare(): the alarm, effect floors included; in brackets the test alone, floors
    left out whylogs      calculate_drift_scores() of whylogs 1.6.4, any column of category DRIFT;
    the first --few windows evidently    DataDriftPreset(): any column; in brackets "dataset drift",
    half of the columns; the first --few windows

whylogs and Evidently are measured where they are installed. Evidently is no extra of this project,
since it brings its own web server; it adds its column with
    pip install --target /tmp/evidently --no-deps evidently plotly statsmodels patsy litestar
    polyfactory msgspec ... PYTHONPATH=/tmp/evidently OMP_NUM_THREADS=1 python
    benchmarks/drift_calibration.py --windows 2000
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import os
import sys
import time
import types
import warnings
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import ks_2samp

from sluicegate.drift import ALPHA, Moments, Profile, compare, profile_rows

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("SLUICE_SHARED_DATA", ROOT.parent / "shared" / "data")) / "tweetsumm"
Rows = NDArray[np.intp]


def pairs() -> list[dict[str, str]]:
    """All (customer, agent) turns, with the number of their conversation as group."""
    rows = []
    lines = [
        line
        for name in ("train", "test")
        for line in (DATA / f"{name}.jsonl").read_text("utf-8").splitlines()
    ]
    for number, line in enumerate(lines):
        for asked, answered in pairwise(json.loads(line)["turns"]):
            if (asked["role"], answered["role"]) == ("customer", "agent"):
                rows.append(
                    {"prompt": asked["text"], "response": answered["text"], "group": str(number)}
                )
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
        {name: dict(Counter(every.labels[name][order].tolist())) for name in every.labels},
        numbers,
        {name: values[order] for name, values in every.labels.items()},
        every.blocks[order],
    )


def dealt(
    conversation: NDArray[np.intp],
    size: int,
    reference: int,
    clustered: bool,
    random: np.random.Generator,
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


def numeric(profile: Profile) -> list[str]:
    """The numeric columns that hold values."""
    return [name for name, moments in profile.moments.items() if moments.n]


def known(profile: Profile, name: str) -> NDArray[np.float64]:
    """A column without its nulls."""
    values = profile.numbers[name]
    return values[~np.isnan(values)]


def naive_ks(reference: Profile, window: Profile) -> bool:
    """Any numeric column below p = 0.05."""
    return any(
        ks_2samp(known(reference, name), known(window, name), method="asymp").pvalue < 0.05
        for name in numeric(reference)
    )


def naive_psi(reference: Profile, window: Profile) -> bool:
    """Any numeric column above 0.1, over deciles of the reference."""
    return any(
        _psi(known(reference, name), known(window, name)) > 0.1 for name in numeric(reference)
    )


def _psi(reference: NDArray[np.float64], window: NDArray[np.float64]) -> float:
    edges = np.unique(np.quantile(reference, np.linspace(0.1, 0.9, 9)))
    counts = [
        np.bincount(np.searchsorted(edges, values), minlength=len(edges) + 1)
        for values in (reference, window)
    ]
    left, right = (np.maximum(count / count.sum(), 1e-4) for count in counts)
    return float(((right - left) * np.log(right / left)).sum())


def frame(profile: Profile) -> pd.DataFrame:
    """All columns as others want them."""
    numbers = {name: profile.numbers[name] for name in numeric(profile)}
    return pd.DataFrame(
        numbers | {name: values.astype(str) for name, values in profile.labels.items()}
    )


def whylogs_default() -> Callable[[Profile, Profile], tuple[bool, bool]] | None:
    """Does any column have the category DRIFT? None where whylogs is not installed."""
    from sluicegate.drift import langkit_door

    if not langkit_door.installed():
        return None
    logs = langkit_door.whylogs()
    sys.modules.setdefault(
        "IPython", types.ModuleType("IPython")
    )  # wanted by whylogs' notebook display only
    for name, attribute in (
        ("IPython.core", ""),
        ("IPython.core.display", "HTML"),
        ("IPython.display", "HTML"),
    ):
        module = sys.modules.setdefault(name, types.ModuleType(name))
        if attribute:
            setattr(module, attribute, object)
    scores_of = importlib.import_module(
        "whylogs.viz.drift.column_drift_algorithms"
    ).calculate_drift_scores

    def alarm(reference: Profile, window: Profile) -> tuple[bool, bool]:
        views = [logs.log(pandas=frame(profile)).view() for profile in (window, reference)]
        found = scores_of(target_view=views[0], reference_view=views[1], with_thresholds=True)
        drifted = [
            score for score in found.values() if score and score["drift_category"] == "DRIFT"
        ]
        return bool(drifted), False

    return alarm


def evidently_default() -> Callable[[Profile, Profile], tuple[bool, bool]] | None:
    """Does any column drift, and do half of them? None where Evidently is not installed."""
    if importlib.util.find_spec("evidently") is None:
        return None
    evidently = importlib.import_module("evidently")
    preset = importlib.import_module("evidently.presets").DataDriftPreset

    def alarm(reference: Profile, window: Profile) -> tuple[bool, bool]:
        data = evidently.DataDefinition(
            numerical_columns=numeric(reference), categorical_columns=list(reference.labels)
        )
        sides = [
            evidently.Dataset.from_pandas(frame(profile), data) for profile in (window, reference)
        ]
        found = evidently.Report([preset()]).run(*sides).dict()["metrics"]
        counted = next(
            one["value"] for one in found if one["metric_name"].startswith("DriftedColumnsCount")
        )
        return counted["count"] > 0, counted["share"] >= 0.5

    return alarm


def measure(
    every: Profile,
    conversation: NDArray[np.intp],
    size: int,
    clustered: bool,
    windows: int,
    few: int,
    seed: int,
) -> str:
    """One row of the table: shares of windows that alarm, and seconds of ours a window."""
    random = np.random.default_rng([seed, size, clustered])
    reference = 400 if not clustered else 1500
    others = {"whylogs": whylogs_default(), "evidently": evidently_default()}
    alarms = np.zeros(4)
    theirs = {name: np.zeros(2) for name, alarm in others.items() if alarm}
    seconds = 0.0
    for turn in range(windows):
        left, right = (
            part(every, rows) for rows in dealt(conversation, size, reference, clustered, random)
        )
        alarms[:2] += naive_ks(left, right), naive_psi(left, right)
        started = time.process_time()
        scores = compare(left, right, seed=turn)
        seconds += time.process_time() - started
        alarms[2:] += (
            any(score.alarm for score in scores),
            any((score.p or 0) <= ALPHA for score in scores),
        )
        for name in theirs if turn < few else ():
            theirs[name] += others[name](left, right)  # type: ignore[misc]
    ks, psi, ours, test = alarms / windows
    shown = {name: counts / min(few, windows) for name, counts in theirs.items()}
    whylogs = f"{shown['whylogs'][0]:8.1%}" if "whylogs" in shown else "       -"
    evidently = (
        "{:7.1%} ({:.1%})".format(*shown["evidently"]) if "evidently" in shown else "      -"
    )
    kind = "clustered" if clustered else "independent"
    cells = (
        f"{kind:11} {size:6}   {ks:8.1%}   {psi:7.1%}   {ours:5.2%} ({test:.2%})   {whylogs}  "
        f" {evidently}"
    )
    return f"{cells}   {seconds / windows:8.3f}"


def main() -> None:
    """Parse the command line and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--windows", type=int, default=2000)
    parser.add_argument(
        "--few",
        type=int,
        default=50,
        help="windows for whylogs and Evidently, which take seconds each",
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[50, 100, 200, 500])
    parser.add_argument("--kinds", nargs="+", default=["independent", "clustered"])
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    every, conversation = turns()
    error = (ALPHA * (1 - ALPHA) / asked.windows) ** 0.5
    print(
        f"{every.rows} rows of {conversation.max() + 1} conversations; {asked.windows} windows "
        "without drift each"
    )
    print(
        f"promised {ALPHA:.1%}, standard error of a share that large {error:.1%}; whylogs, "
        f"evidently: {asked.few}"
    )
    print(
        "rows        window   ks p<.05   psi >.1   ours (test alone)    whylogs   evidently       "
        "  cpu s/window"
    )
    for kind in asked.kinds:
        for size in asked.sizes:
            clustered = kind == "clustered"
            print(
                measure(every, conversation, size, clustered, asked.windows, asked.few, asked.seed),
                flush=True,
            )


if __name__ == "__main__":
    main()
