"""The twelve light metrics against LangKit's: same texts, one run, one core; values compared, rows
a second as ratio.

Both compute prompt and response of every row. LangKit's share is its own functions alone, without
whylogs' profile. Ours is timed twice: in a fresh process, where the word lists are not read yet and
every word is new, and again on the same texts. The two take turns, so that a busy machine slows
both; seconds are processor seconds.

    OMP_NUM_THREADS=1 python benchmarks/light_metrics.py --rows 917
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import time
import warnings
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("SLUICE_SHARED_DATA", ROOT.parent / "shared" / "data")) / "tweetsumm"


def tweetsumm(count: int) -> tuple[list[str], list[str]]:
    """Conversations (prompts) and their first summaries (responses)."""
    rows = [
        json.loads(line)
        for name in ("train", "test")
        for line in (DATA / f"{name}.jsonl").read_text().splitlines()
    ]
    prompts = [
        "\n".join(f"{turn['role'].capitalize()}: {turn['text']}" for turn in row["turns"])
        for row in rows
    ]
    return prompts[:count], [row["summaries"][0] for row in rows][:count]


def langkit_functions() -> dict[str, Callable[[dict[str, list[str]]], list[object]]]:
    """LangKit's functions by column name, as its `light_metrics` registers them."""
    from sluicegate.drift import langkit_door

    langkit_door.whylogs()
    importlib.import_module("langkit.light_metrics").init()
    registered = importlib.import_module("whylogs.experimental.core.udf_schema")._multicolumn_udfs[
        ""
    ]
    return {name: function for group in registered for name, function in group.udfs.items()}


def main() -> None:
    """Parse the command line and print the comparison."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=917)
    parser.add_argument(
        "--turns", type=int, default=4, help="in how many pieces the two take turns"
    )
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    prompts, responses = tweetsumm(asked.rows)
    functions = langkit_functions()

    from sluicegate.drift.light import light_metrics

    cold = warm = theirs = 0.0
    unequal = 0
    step = -(-len(prompts) // asked.turns)
    for start in range(0, len(prompts), step):
        piece = {
            "prompt": prompts[start : start + step],
            "response": responses[start : start + step],
        }
        started = time.process_time()
        wanted = {name: list(function(piece)) for name, function in functions.items()}
        theirs += time.process_time() - started
        started = time.process_time()
        found = {side: light_metrics(texts) for side, texts in piece.items()}
        cold += time.process_time() - started
        started = time.process_time()
        for texts in piece.values():
            light_metrics(texts)
        warm += time.process_time() - started
        unequal += _unequal(wanted, found)
    rows = len(prompts)
    words = sum(len(text.split()) for text in [*prompts, *responses]) / rows
    print(f"rows              {rows}, {words:.0f} words each")
    print(f"langkit           {rows / theirs:.0f} rows/s")
    print(f"sluicegate        {rows / warm:.0f} rows/s; {rows / cold:.0f} when every word is new")
    print(f"ratio             {theirs / warm:.1f}; {theirs / cold:.1f} when every word is new")
    print(f"unequal values    {unequal} of {rows * len(functions)}")


def _unequal(
    wanted: dict[str, list[object]], found: dict[str, tuple[dict[str, list[float]], list[object]]]
) -> int:
    count = 0
    for name, values in wanted.items():
        side, metric = name.split(".", 1)
        numbers, groups = found[side]
        ours = (
            [group[0] if group else None for group in groups]
            if metric == "has_patterns"
            else numbers[metric]
        )  # type: ignore[index]
        count += sum(a != b for a, b in zip(values, ours, strict=True))
    return count


if __name__ == "__main__":
    main()
