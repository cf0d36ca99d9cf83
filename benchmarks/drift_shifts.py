"""How often is a shift found, in one window of 200 rows and within three?

Rows are turns of TWEETSUMM, dealt into reference and windows by conversation (`drift_calibration.py`); then the windows
are changed: prompts 30 % longer, 20 % of the prompts about something else (HumanEval), 10 % in German, 5 % injections
(both deepset/prompt-injections). "none" changes nothing: its alarms are false.

    OMP_NUM_THREADS=1 python benchmarks/drift_shifts.py --runs 200
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
from collections.abc import Callable

import numpy as np
from drift_calibration import DATA, pairs

from sluicegate.drift import compare, profile_rows

Row = dict[str, str]
Shift = Callable[[Row, np.random.Generator], Row]
_GERMAN = re.compile(r"\b(und|nicht|ich|der|die|das|ist|wie|eine?n?)\b")


def longer(row: Row, random: np.random.Generator) -> Row:
    """The prompt with 30 % more words, taken from its own."""
    words = row["prompt"].split() or ["so"]
    return row | {"prompt": " ".join([*words, *random.choice(words, size=round(0.3 * len(words)))])}


def mixed(texts: list[str], share: float) -> Shift:
    """A share of the prompts replaced by some of `texts`."""

    def change(row: Row, random: np.random.Generator) -> Row:
        return row | {"prompt": str(random.choice(texts))} if random.random() < share else row

    return change


def catalogue() -> dict[str, Shift]:
    """The shifts by name."""
    folder = DATA.parent
    with gzip.open(folder / "humaneval" / "HumanEval.jsonl.gz", "rt", encoding="utf-8") as stream:
        code = [json.loads(line)["prompt"] for line in stream]
    lines = (folder / "prompt_injection" / "deepset_prompt_injections.jsonl").read_text("utf-8").splitlines()
    prompts = [json.loads(line) for line in lines]
    german = [prompt["text"] for prompt in prompts if len(_GERMAN.findall(prompt["text"])) >= 2 and not prompt["label"]]
    injected = [prompt["text"] for prompt in prompts if prompt["label"]]
    return {
        "none": lambda row, _: row,
        "prompts 30 % longer": longer,
        "new topic 20 %": mixed(code, 0.2),
        "German 10 %": mixed(german, 0.1),
        "injections 5 %": mixed(injected, 0.05),
    }


def main() -> None:
    """Parse the command line and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--reference", type=int, default=1500)
    asked = parser.parse_args()
    rows = pairs()
    print(f"{asked.runs} runs, reference of {asked.reference} rows, windows of 200")
    print("shift                   found in one   within three   column named most often")
    for name, shift in catalogue().items():
        random = np.random.default_rng(0)
        first = third = 0
        named: dict[str, int] = {}
        for _ in range(asked.runs):
            groups = random.permutation(int(rows[-1]["group"]) + 1)
            place = np.array([groups[int(row["group"])] for row in rows])
            dealt = np.argsort(place, kind="stable")
            reference = profile_rows([rows[i] for i in dealt[: asked.reference]])
            alarms = []
            for start in range(asked.reference, asked.reference + 600, 200):
                window = profile_rows([shift(rows[i], random) for i in dealt[start : start + 200]])
                moved = [score for score in compare(reference, window) if score.alarm]
                alarms.append(bool(moved))
                for score in moved:
                    named[score.column] = named.get(score.column, 0) + 1
            first += alarms[0]
            third += any(alarms)
        most = max(named, key=lambda column: named[column], default="-")
        print(f"{name:22}  {first / asked.runs:12.0%}   {third / asked.runs:12.0%}   {most}", flush=True)


if __name__ == "__main__":
    main()
