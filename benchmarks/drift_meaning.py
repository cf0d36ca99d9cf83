"""How often is a change of meaning found within three windows of 200 rows, with all detectors on?

Rows are turns of TWEETSUMM (a customer's text and the agent's answer) or, for "lead-2", its
conversations with the human summaries. For every run the conversations are dealt anew into a
reference of 600 rows (300 summaries) and windows of 200; then a share of the windows' rows is
changed:

    none            nothing: its alarms are false (with "summaries", of the other set of rows)
    hateful         prompts become hateful texts (HateCheck, Roettger et al. 2021, CC BY 4.0)
    injections      prompts become injections (deepset/prompt-injections)
    code            prompts become programming tasks (HumanEval)
    negated         answers say the opposite: `not` is put in or taken out
    SmolLM2         answers become those of SmolLM2-135M-Instruct to the same prompts
    lead-2          summaries become the first two sentences of the conversation

A window is compared by itself and with those before it, as `sluice monitor` does, until one alarms.
Texts are encoded once and kept in --cache. Without the file of HateCheck or of the answers
(`--answers`: JSON lines with group, prompt, response) these are left out.

    python benchmarks/drift_meaning.py --runs 100 --cache /tmp/vectors --hate test_suite_cases.csv
"""

from __future__ import annotations

import argparse
import csv
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from drift_calibration import DATA, Rows, pairs, part
from drift_shifts import texts as other_texts
from numpy.typing import NDArray

from sluicegate.drift import Embedded, Moments, Profile, block_numbers, embed, measured
from sluicegate.monitoring import check_profile, text_encoder

WINDOW = 200
Row = dict[str, str]
_AUXILIARY = re.compile(
    r"\b(is|are|was|were|am|can|could|will|would|should|has|have|had|do|does|did|must|may)\b", re.I
)
_DENIED = re.compile(r"\b(not|cannot|never|no)\b|n['’]t\b", re.I)
_WITHOUT = (
    (r"\bwon['’]t\b", "will"), (r"\bcan['’]t\b|\bcannot\b", "can"), (r"n['’]t\b", ""),
    (r"\b(not|never|no)\s+", ""),
)  # fmt: skip


class Kept:
    """The packaged encoder; vectors of texts seen before come from a folder."""

    def __init__(self, folder: Path) -> None:
        found = text_encoder("packaged")
        assert found is not None
        self._encoder, self._folder = found, folder
        self.identity, self.weights = found.identity, found.weights
        self._known: dict[str, NDArray[np.float32]] = {}
        for path in sorted(folder.glob("*.npy")):
            texts = json.loads(path.with_suffix(".json").read_text("utf-8"))
            self._known |= dict(zip(texts, np.load(path), strict=True))

    def vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """One vector for each text."""
        new = sorted({text for text in texts if text not in self._known})
        if new:
            made = self._encoder.vectors(new)
            path = self._folder / f"{len(list(self._folder.glob('*.npy'))):03}"
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path.with_suffix(".npy"), made)
            path.with_suffix(".json").write_text(json.dumps(new), "utf-8")
            self._known |= dict(zip(new, made, strict=True))
        return np.stack([self._known[text] for text in texts])


def whole(rows: Sequence[Row], encoder: Kept) -> Profile:
    """All rows, in their order, all of them with vectors."""
    numbers, labels = measured(rows)
    blocks = block_numbers(rows)
    asked, answered = ([row[side] for row in rows] for side in ("prompt", "response"))
    vectors = embed(encoder, asked, answered, blocks, 2**64 - 1)
    moments = {name: Moments.of(values) for name, values in numbers.items()}
    return Profile(len(rows), moments, {}, numbers, labels, blocks, embedded=vectors)


def taken(every: Profile, rows: Rows) -> Profile:
    """The profile of some rows."""
    assert every.embedded is not None
    order = rows[np.argsort(every.blocks[rows], kind="stable")]
    return replace(part(every, rows), embedded=every.embedded.taken(order))


def joined(first: Profile, second: Profile) -> Profile:
    """The rows of both, one after the other."""
    left, right = first.embedded, second.embedded
    assert left is not None
    assert right is not None

    def both(one: dict[str, NDArray], other: dict[str, NDArray]) -> dict[str, NDArray]:
        return {name: np.concatenate([one[name], other[name]]) for name in one}

    return Profile(
        first.rows + second.rows,
        first.moments,
        {},
        both(first.numbers, second.numbers),
        both(first.labels, second.labels),
        np.concatenate([first.blocks, second.blocks]),
        embedded=Embedded(
            left.encoder,
            np.concatenate([left.blocks, right.blocks]),
            both(left.vectors, right.vectors),
            both(left.numbers, right.numbers),
            left.cut,
        ),
    )


def negated(text: str) -> str:
    """The opposite, more or less."""
    if _DENIED.search(text):
        for pattern, instead in _WITHOUT:
            text = re.sub(pattern, instead, text, flags=re.I)
        return text
    found, count = _AUXILIARY.subn(lambda match: f"{match[0]} not", text)
    return found if count else re.sub(r"\b(please|we|I|you)\b", r"\1 do not", text, count=1)


def summaries() -> tuple[list[Row], list[Row]]:
    """Conversations with the first human summary, and with their first two sentences."""
    human, lead = [], []
    for name in ("train", "test"):
        for line in (DATA / f"{name}.jsonl").read_text("utf-8").splitlines():
            row = json.loads(line)
            if not row["summaries"]:
                continue
            asked = "\n".join(
                f"{turn['role'].capitalize()}: {turn['text']}" for turn in row["turns"]
            )
            first = re.split(r"(?<=[.!?])\s+", " ".join(turn["text"] for turn in row["turns"]))[:2]
            common = {"prompt": asked[:1500], "group": row["conversation_id"]}
            human.append(common | {"response": row["summaries"][0]})
            lead.append(common | {"response": " ".join(first)})
    return human, lead


@dataclass(frozen=True, slots=True)
class Change:
    """`rows`: what each row becomes (None: it stays out of the deal), and what share does."""

    share: float
    rows: Sequence[Row | None]


def changes(rows: list[Row], hate: Path | None, answers: Path | None) -> dict[str, Change]:
    """Those of the turns, by name."""
    random = np.random.default_rng(1)

    def asked(pool: Sequence[str]) -> list[Row]:
        return [row | {"prompt": str(random.choice(pool))} for row in rows]

    code, _, injected = other_texts()
    found = {"none": Change(0.0, rows)}
    if hate is not None:
        with hate.open(encoding="utf-8", newline="") as stream:
            cases = list(csv.DictReader(stream))
        hateful = asked([case["test_case"] for case in cases if case["label_gold"] == "hateful"])
        found |= {"hateful 10 %": Change(0.1, hateful), "hateful 5 %": Change(0.05, hateful)}
    found["injections 10 %"] = Change(0.1, asked(injected))
    found["code 10 %"] = Change(0.1, asked(code))
    opposite = [row | {"response": negated(row["response"])} for row in rows]
    found |= {"negated, all": Change(1.0, opposite), "negated 1/3": Change(1 / 3, opposite)}
    if answers is not None:
        lines = [json.loads(line) for line in answers.read_text("utf-8").splitlines()]
        by = {(line["group"], line["prompt"]): line["response"] for line in lines}
        texts = [by.get((row["group"], row["prompt"])) for row in rows]
        given = [
            row | {"response": text} if text else None
            for row, text in zip(rows, texts, strict=True)
        ]
        found["SmolLM2 1/3"] = Change(1 / 3, given)
    return found


def dealt(
    groups: NDArray[np.intp],
    change: Change,
    reference: int,
    windows_of: int,
    random: np.random.Generator,
) -> tuple[Rows, list[Rows]]:
    """Rows of the reference and of the windows; changed ones are counted on from `len(groups)`.

    Where only some rows have a change, their conversations are kept for it.
    """
    here = np.array([row is not None for row in change.rows])
    kept = np.zeros(len(groups), bool)
    if not here.all():
        kept = np.isin(groups, groups[here])
    place = random.permutation(groups.max() + 1)[groups]
    order = np.argsort(place, kind="stable")
    spare = random.permutation(np.flatnonzero(here & kept))
    order = order[~kept[order]]
    ends = [
        int(np.searchsorted(place[order], place[order][WINDOW * number - 1], side="right"))
        for number in range(1, windows_of + 1)
    ]
    windows = np.split(order[: ends[-1]], ends[:-1])
    for number, window in enumerate(windows):
        hit = random.random(len(window)) < change.share
        if kept.any():
            window[hit], spare = spare[: hit.sum()], spare[hit.sum() :]
        windows[number] = window + hit * len(groups)
    return order[ends[-1] :][:reference], windows


def measure(
    name: str,
    base: Profile,
    change: Change,
    encoder: Kept,
    reference: int,
    asked: argparse.Namespace,
) -> str:
    """One row of the table."""
    filled = [row or {"prompt": "-", "response": "-"} for row in change.rows]
    every = joined(base, replace(whole(filled, encoder), blocks=base.blocks))
    assert every.embedded is not None
    every = replace(every, embedded=replace(every.embedded, blocks=every.blocks))
    groups = np.unique(base.blocks, return_inverse=True)[1]
    first = within = 0
    runs, seed = asked.runs, asked.seed
    named: Counter[str] = Counter()
    for run in range(runs):
        random = np.random.default_rng([seed, run])
        known, windows = dealt(groups, change, reference, asked.windows, random)
        left, before = taken(every, known), []
        for number, rows in enumerate(windows):
            window = taken(every, rows)
            report = check_profile(window, left, recent=before)
            before.append(window)
            if report.status == "DRIFT":
                first += number == 0
                within += 1
                named.update(
                    {
                        f"{score.column} ({score.statistic.split()[0]})"
                        for score in report.scores
                        if score.alarm
                    }
                )
                break
    cells = []
    for count in (first, within):
        share = count / runs
        cells.append(f"{share:6.1%} ± {(share * (1 - share) / runs) ** 0.5:4.1%}")
    most = ", ".join(f"{column} {count}" for column, count in named.most_common(5)) or "-"
    return f"{name:16} {runs:5}   {cells[0]:>15}   {cells[1]:>15}   {most}"


def main() -> None:
    """Parse the command line and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--windows", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cache", type=Path, required=True, help="folder of vectors")
    parser.add_argument("--hate", type=Path, help="test_suite_cases.csv of HateCheck")
    parser.add_argument("--answers", type=Path, help="answers of another model")
    parser.add_argument("--only", nargs="*", default=[], help="names of changes")
    asked = parser.parse_args()
    encoder = Kept(asked.cache)
    human, lead = summaries()
    rows = pairs()
    kinds: list[tuple[list[Row], dict[str, Change], int]] = [
        (rows, changes(rows, asked.hate, asked.answers), 600),
        (human, {"none, summaries": Change(0.0, human), "lead-2 1/3": Change(1 / 3, lead)}, 300),
    ]
    print("change            runs   in the first      within three      named most often")
    for own, found, reference in kinds:
        wanted = {name: one for name, one in found.items() if name in (asked.only or found)}
        base = whole(own, encoder) if wanted else None
        for name, change in wanted.items():
            assert base is not None
            line = measure(name, base, change, encoder, reference, asked)
            print(line, flush=True)


if __name__ == "__main__":
    main()
