"""How often is a shift found, in one window of 200 rows and within three?

Rows are turns of TWEETSUMM (a customer's text and the agent's answer), dealt into reference and
windows by conversation (`drift_calibration.py`); then the windows are changed:

    length +30 %       prompts get 30 % more words, taken from their own
    new topic 20 %     of the prompts become programming tasks (HumanEval)
    language 10 %      of the prompts become German questions (deepset/prompt-injections, those that
    are none) sentiment 0.3 sd   more of the angrier prompts, drawn so that the mean VADER score is
    0.3 standard deviations lower toxicity x3        three times as many prompts that insult or
    swear (4.6 % of all, by our own word list) swearing x3        three times as many prompts that
    swear (1.5 % of all, `sluicegate.metrics.profanity`) injection 5 %      of the prompts become
    injections (deepset/prompt-injections)

"none" changes nothing: its alarms are false. A window is compared by itself and together with those
before it, as `monitoring.check_rows(..., recent=...)` does; "alone" leaves the latter out.

    OMP_NUM_THREADS=1 python benchmarks/drift_shifts.py --runs 200
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from drift_calibration import DATA, Rows, pairs, part
from numpy.typing import NDArray
from scipy.optimize import brentq

from sluicegate.drift import Profile, profile_rows
from sluicegate.metrics.profanity import profanity
from sluicegate.monitoring import check_profile

WINDOW = 200
_GERMAN = re.compile(r"\b(und|nicht|ich|der|die|das|ist|wie|eine?n?)\b")


@dataclass(frozen=True, slots=True)
class Shift:
    """`changed`: every row after the change; `pick`: which rows of a window are taken from there,
    and which rows.
    """

    changed: Profile
    pick: Callable[[Rows, Rows, np.random.Generator], tuple[Rows, NDArray[np.bool_]]]


def texts() -> tuple[list[str], list[str], list[str]]:
    """Programming tasks, German questions and injections."""
    folder = DATA.parent
    with gzip.open(folder / "humaneval" / "HumanEval.jsonl.gz", "rt", encoding="utf-8") as stream:
        code = [json.loads(line)["prompt"] for line in stream]
    lines = (
        (folder / "prompt_injection" / "deepset_prompt_injections.jsonl")
        .read_text("utf-8")
        .splitlines()
    )
    prompts = [json.loads(line) for line in lines]
    german = [
        prompt["text"]
        for prompt in prompts
        if len(_GERMAN.findall(prompt["text"])) >= 2 and not prompt["label"]
    ]
    return code, german, [prompt["text"] for prompt in prompts if prompt["label"]]


def catalogue(rows: list[dict[str, str]], every: Profile) -> dict[str, Shift]:
    """The shifts by name. The rows are in the order of the profile."""
    random = np.random.default_rng(1)
    code, german, injected = texts()

    def replaced(pool: list[str]) -> Profile:
        return profile_rows([row | {"prompt": str(random.choice(pool))} for row in rows])

    def longer(row: dict[str, str]) -> dict[str, str]:
        words = row["prompt"].split() or ["so"]
        return row | {
            "prompt": " ".join([*words, *random.choice(words, size=round(0.3 * len(words)))])
        }

    swearing = np.array(
        [bool(row["prompt"].strip()) and profanity("", row["prompt"]) > 0 for row in rows]
    )
    hostile = every.numbers["prompt.hostile_words"] > 0
    sentiment = every.numbers["prompt.vader_sentiment"]

    def share(
        of: float,
    ) -> Callable[[Rows, Rows, np.random.Generator], tuple[Rows, NDArray[np.bool_]]]:
        return lambda window, rest, random: (window, random.random(len(window)) < of)

    def angrier(
        window: Rows, rest: Rows, random: np.random.Generator
    ) -> tuple[Rows, NDArray[np.bool_]]:
        values = sentiment[rest]
        goal = values.mean() - 0.3 * values.std()
        tilt = brentq(lambda k: np.average(values, weights=np.exp(-k * values)) - goal, 0, 10)
        weights = np.exp(-tilt * values)
        return random.choice(rest, len(window), replace=False, p=weights / weights.sum()), np.zeros(
            len(window), bool
        )

    def ruder(
        rude: NDArray[np.bool_],
    ) -> Callable[[Rows, Rows, np.random.Generator], tuple[Rows, NDArray[np.bool_]]]:
        def pick(
            window: Rows, rest: Rows, random: np.random.Generator
        ) -> tuple[Rows, NDArray[np.bool_]]:
            more = random.random(len(window)) < 2 * rude.mean()
            return np.where(more, random.choice(rest[rude[rest]], len(window)), window), np.zeros(
                len(window), bool
            )

        return pick

    return {
        "none": Shift(every, share(0.0)),
        "length +30 %": Shift(profile_rows([longer(row) for row in rows]), share(1.0)),
        "new topic 20 %": Shift(replaced(code), share(0.2)),
        "language 10 %": Shift(replaced(german), share(0.1)),
        "sentiment 0.3 sd": Shift(every, angrier),
        "toxicity x3": Shift(every, ruder(hostile)),
        "swearing x3": Shift(every, ruder(swearing)),
        "injection 5 %": Shift(replaced(injected), share(0.05)),
    }


def window_of(every: Profile, changed: Profile, rows: Rows, taken: NDArray[np.bool_]) -> Profile:
    """The profile of `rows`, those in `taken` as they are after the change."""
    mixed = Profile(
        every.rows,
        {},
        {},
        {name: np.append(values, changed.numbers[name]) for name, values in every.numbers.items()},
        {name: np.append(values, changed.labels[name]) for name, values in every.labels.items()},
        np.append(every.blocks, every.blocks),
    )
    return part(mixed, rows + taken * every.rows)


def main() -> None:
    """Parse the command line and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--reference", type=int, default=1500)
    parser.add_argument("--only", nargs="*", default=[], help="names of shifts")
    asked = parser.parse_args()
    rows = pairs()
    blocks = profile_rows(rows).blocks
    order = np.argsort([profile_rows([row]).blocks[0] for row in rows], kind="stable")
    rows = [rows[i] for i in order]
    every = profile_rows(rows)
    assert every.blocks.tolist() == blocks.tolist()
    conversation = np.unique(every.blocks, return_inverse=True)[1]
    print(f"{asked.runs} runs, reference of {asked.reference} rows, windows of {WINDOW}")
    print(
        "shift               found in one   within three, alone   with those before   columns "
        "named most often"
    )
    for name, shift in catalogue(rows, every).items():
        if asked.only and name not in asked.only:
            continue
        random = np.random.default_rng(0)
        found = np.zeros(3)
        named: Counter[str] = Counter()
        for _ in range(asked.runs):
            dealt = np.argsort(
                random.permutation(conversation.max() + 1)[conversation], kind="stable"
            )
            reference, rest = part(every, dealt[: asked.reference]), dealt[asked.reference :]
            windows: list[Profile] = []
            alone, together = [], []
            for turn in range(3):
                chosen, taken = shift.pick(rest[turn * WINDOW : (turn + 1) * WINDOW], rest, random)
                window = window_of(every, shift.changed, chosen, taken)
                alone.append(check_profile(window, reference).status == "DRIFT")
                report = (
                    check_profile(window, reference, recent=windows)
                    if windows
                    else check_profile(window, reference)
                )
                together.append(report.status == "DRIFT")
                named.update({score.column for score in report.scores if score.alarm})
                windows.append(window)
            found += alone[0], any(alone), any(together)
        most = ", ".join(f"{column} {count}" for column, count in named.most_common(3)) or "-"
        one, three, both = found / asked.runs
        print(f"{name:18}  {one:12.1%}   {three:19.1%}   {both:17.1%}   {most}", flush=True)


if __name__ == "__main__":
    main()
