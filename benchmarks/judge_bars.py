"""How often which judge passes its calibration, by Monte Carlo.

    python benchmarks/judge_bars.py --runs 1000                       # simulated raters
    python benchmarks/judge_bars.py --runs 1000 --data summeval.json  # and real ones, resampled

Simulated: pairs of which the longer answer is better in 60 % and half are close (most words in
common), and answers with a level of five. A rater is right in 90 % of pairs, or one level off in 20
% of scores. Real: the three experts' consistency scores of SummEval (Fabbri et al. 2021), drawn
with replacement; pairs are two summaries, the preference is the sign of each expert's difference.
Every check of the calibration is asked but for known-bad answers and repetition, which the
simulated judges pass. Exit code 1 where a bar is missed.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sluicegate.config import CalibrationParams
from sluicegate.judges import Criterion, JudgeRow, measuring
from sluicegate.judges.agreement import mean_interval
from sluicegate.judges.checks import checks_of, uses_of
from sluicegate.judges.labels import TURNED, LabelledRow

Array = NDArray[np.float64]
Chance = np.random.Generator
PAIRS = Criterion("better", "pairwise", "Which answer is better?", ("judge",), (0, 1))
SCORES = Criterion("clear", "direct", "Is it clear?", ("judge",), (1, 5))
PARAMS = CalibrationParams()
STEP, TOP = 0.25, 4


@dataclass(frozen=True)
class World:
    """Rows with their truth in [0, 1], the labels of `raters`, and what a judge could go by."""

    truth: Array
    labels: Array
    longer: Array
    hard: NDArray[np.bool_]
    candidate: Array
    words: NDArray[np.int64]


Judge = Callable[[World, Chance], Array]


def pairs(count: int, raters: int, chance: Chance, right: float = 0.9) -> World:
    truth = chance.integers(0, 2, count).astype(float)
    longer = np.where(chance.random(count) < 0.6, truth, 1 - truth)
    labels = np.where(chance.random((raters, count)) < right, truth, 1 - truth)
    turned = chance.integers(0, 2, count).astype(float)
    hard = chance.permutation(count) < count / 2
    return World(truth, labels, longer, hard, turned, chance.integers(8, 16, count))


def scores(count: int, raters: int, chance: Chance) -> World:
    truth = chance.integers(0, TOP + 1, count) * STEP
    labels = np.array([near(truth, 0.8, chance) for _ in range(raters)])
    words = chance.integers(5, 60, count) + (20 * truth).astype(int)
    longer = (words > np.median(words)).astype(float)
    hard = chance.permutation(count) < count / 2
    return World(truth, labels, longer, hard, chance.integers(0, 2, count).astype(float), words)


def near(truth: Array, right: float, chance: Chance) -> Array:
    """The truth in so many rows, else a level beside it."""
    off = np.where(chance.random(len(truth)) < 0.5, STEP, -STEP)
    off = np.where((truth + off > 1) | (truth + off < 0), -off, off)
    return np.where(chance.random(len(truth)) < right, truth, truth + off)


def any_level(world: World, chance: Chance) -> Array:
    return chance.integers(0, TOP + 1, len(world.truth)) * STEP


def right_pairs(share: float) -> Judge:
    return lambda world, chance: np.where(
        chance.random(len(world.truth)) < share, world.truth, 1 - world.truth
    )


def right_scores(share: float) -> Judge:
    """Gives the true level in so many rows, else one of the four others."""

    def judge(world: World, chance: Chance) -> Array:
        count = len(world.truth)
        other = (world.truth / STEP + chance.integers(1, TOP + 1, count)) % (TOP + 1) * STEP
        return np.where(chance.random(count) < share, world.truth, other)

    return judge


def partly(first: Judge, second: Judge, share: float) -> Judge:
    return lambda world, chance: np.where(
        chance.random(len(world.truth)) < share, first(world, chance), second(world, chance)
    )


def by_difficulty(easy: Judge, hard: Judge) -> Judge:
    return lambda world, chance: np.where(world.hard, hard(world, chance), easy(world, chance))


def length_level(world: World, chance: Chance) -> Array:
    order = np.argsort(np.argsort(world.words))
    return np.floor(order * (TOP + 1) / len(order)) * STEP


def raised(judge: Judge, whom: Callable[[World], Array]) -> Judge:
    """One level more for some, up to the top."""
    return lambda world, chance: np.minimum(judge(world, chance) + STEP * whom(world), 1.0)


def sides(world: World) -> Array:
    """1 where the candidate's answer is `output`."""
    return 1.0 - world.candidate


def everyone(world: World) -> Array:
    return np.ones(len(world.truth))


# name, judge, uses that it should pass for (None: shown, no bar)
PAIR_JUDGES: tuple[tuple[str, Judge, str | None], ...] = (
    ("right in 90 %", right_pairs(0.9), "comparative"),
    ("right in 80 %", right_pairs(0.8), None),
    ("right in 60 %", right_pairs(0.6), ""),
    ("a coin", right_pairs(0.5), ""),
    ("right on the easy half, else a coin", by_difficulty(right_pairs(1.0), right_pairs(0.5)), ""),
    ("the longer", lambda world, chance: world.longer, ""),
    ("the longer in 60 %, else right in 90 %",
     partly(lambda world, chance: world.longer, right_pairs(0.9), 0.6), ""),
    ("the candidate", lambda world, chance: sides(world), ""),
    ("the candidate in half, else right in 90 %",
     partly(lambda world, chance: sides(world), right_pairs(0.9), 0.5), ""),
)  # fmt: skip
SCORE_JUDGES: tuple[tuple[str, Judge, str | None], ...] = (
    ("right in 90 %", right_scores(0.9), "absolute"),
    ("right in 80 %", right_scores(0.8), None),
    ("right in 60 %", right_scores(0.6), ""),
    ("any level", any_level, ""),
    ("right on the easy half, else any level", by_difficulty(right_scores(1.0), any_level), ""),
    ("by length", length_level, ""),
    ("right in 90 %, inflated by a level", raised(right_scores(0.9), everyone), "comparative only"),
    ("right in 90 %, a level more for one release", raised(right_scores(0.9), sides), ""),
)


def rows_of(world: World, criterion: Criterion, labels: Array, words: bool) -> list[LabelledRow]:
    """The world as a file of labels has it."""
    rows = []
    for place in range(len(world.truth)):
        mine = f"{place} " + "w " * int(world.words[place])
        if criterion.compares:
            alike = " ".join(f"s{one}" for one in range(8)) if world.hard[place] else ""
            texts = [f"{alike} b{place} {'x' * 9}", f"{alike} c{place}"]
            output, other = texts if world.longer[place] else texts[::-1]
            row = JudgeRow(f"{place}{TURNED * int(world.candidate[place])}", "s", output, (), other)
        else:
            row = JudgeRow(str(place), "s", mine if words else "")
        said = tuple(float(one) for one in labels[:, place])
        names = tuple(f"rater {one}" for one in range(len(said)))
        release = f"r{int(world.candidate[place])}" * (not criterion.compares)
        rows.append(LabelledRow(row, str(place), said, names, False, release))
    return rows


def uses(world: World, criterion: Criterion, labels: Array, said: Array) -> tuple[str, ...]:
    """For which use a judge that says this passes."""
    rows = rows_of(world, criterion, labels, True)
    data = measuring.sample(criterion, rows, [float(one) for one in said])
    never = mean_interval(np.zeros(len(rows)), data.groups)
    measured = {
        "position_bias": never,
        "self_consistency": mean_interval(never_wrong(rows), data.groups),
    }
    known = {"groups": len(rows), "rows": len(rows), "failed": 0, "sentinels": 10}
    return uses_of(checks_of(data, measured, (), known, PARAMS))


def never_wrong(rows: Sequence[LabelledRow]) -> Array:
    return np.ones(len(rows))


def share(found: Sequence[tuple[str, ...]], use: str) -> float:
    return sum(use in one for one in found) / len(found)


def simulated(form: str, judge: Judge, count: int, raters: int, runs: int) -> list[tuple[str, ...]]:
    make, criterion = (pairs, PAIRS) if form == "pairs" else (scores, SCORES)
    found = []
    for seed in range(runs):
        chance = np.random.default_rng([seed, count, raters])
        world = make(count, raters, chance)
        if raters == 1:  # right is what the one label says
            world = replace(world, truth=world.labels[0])
        found.append(uses(world, criterion, world.labels, judge(world, chance)))
    return found


def a_person(form: str, count: int, raters: int, runs: int) -> list[tuple[str, ...]]:
    """One rater more, held against the others as if it were the judge."""
    make, criterion = (pairs, PAIRS) if form == "pairs" else (scores, SCORES)
    found = []
    for seed in range(runs):
        world = make(count, raters + 1, np.random.default_rng([seed, count, raters]))
        found.append(uses(world, criterion, world.labels[1:], world.labels[0]))
    return found


def real_world(path: Path, form: str, count: int, chance: Chance) -> World:
    """Rows of SummEval, or pairs of them, with the three experts' labels."""
    found = json.loads(path.read_text("utf-8"))
    read = list(found.values()) if isinstance(found, dict) else found
    table = np.array([row["annotations"] for row in read], float).T
    words = np.array([len(row["claim"].split()) for row in read])
    flat, zero = np.zeros(count), np.zeros(count, bool)
    if form == "scores":
        chosen = chance.integers(0, len(read), count)
        labels = (table[:, chosen] - 1) / TOP
        return World(np.median(labels, axis=0), labels, flat, zero, flat, words[chosen])
    decided = np.abs(np.subtract.outer(np.median(table, axis=0), np.median(table, axis=0))) > 0
    firsts, seconds = np.nonzero(decided)
    drawn = chance.integers(0, len(firsts), count)
    one, two = firsts[drawn], seconds[drawn]
    labels = 0.5 + 0.5 * np.sign(table[:, one] - table[:, two])
    truth = (np.median(table, axis=0)[one] > np.median(table, axis=0)[two]).astype(float)
    longer = (words[one] > words[two]).astype(float)
    turned = chance.integers(0, 2, count).astype(float)
    return World(truth, labels, longer, chance.random(count) < 0.5, turned, words[one])


def on_real(
    path: Path, form: str, judge: Judge | None, count: int, raters: int, runs: int
) -> list[tuple[str, ...]]:
    """A judge, or (None) each expert in turn, held against `raters` of the experts."""
    criterion, found = PAIRS if form == "pairs" else SCORES, []
    for seed in range(runs):
        chance = np.random.default_rng([seed, count, raters])
        world = real_world(path, form, count, chance)
        order = np.roll(np.arange(3), seed)
        said = world.labels[order[0]] if judge is None else judge(world, chance)
        kept = world.labels[order[1 : raters + 1]] if judge is None else world.labels[:raters]
        found.append(uses(world, criterion, kept, said))
    return found


def told(found: Sequence[tuple[str, ...]], use: str) -> str:
    rate = share(found, use)
    return f"{100 * rate:.1f} ± {100 * math.sqrt(rate * (1 - rate) / len(found)):.1f} %"


def missed(found: Sequence[tuple[str, ...]], wanted: str | None, count: int) -> bool:
    """Whether a bar is missed: 90 % at 60 rows, 95 % from 100; 5 % for those to be refused."""
    noise = 2 * math.sqrt(0.05 * 0.95 / len(found))
    if wanted is None:
        return False
    if wanted in ("", "comparative only"):
        return share(found, "absolute" if wanted else "comparative") > 0.05 + noise
    return share(found, wanted) < (0.95 if count >= 100 else 0.9) - noise


Cell = tuple[list[tuple[str, ...]], str | None, int]


def table(title: str, lines: Sequence[tuple[str, Sequence[Cell]]], sizes: Sequence[int]) -> int:
    """Print one table; the number of bars missed."""
    heads = [f"{size} rows, {use}" for size in sizes for use in ("comparative", "absolute")]
    print(f"\n{title}\n\n| judge | {' | '.join(heads)} |\n|---|{'---:|' * len(heads)}")
    broken = 0
    for name, cells in lines:
        wrong = sum(missed(*cell) for cell in cells)
        broken += wrong
        figures = [told(found, use) for found, _, _ in cells for use in ("comparative", "absolute")]
        print(f"| {name}{' (MISSED)' if wrong else ''} | {' | '.join(figures)} |", flush=True)
    return broken


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--sizes", type=int, nargs="+", default=[60, 100])
    parser.add_argument("--raters", type=int, nargs="*", default=[1, 3], help="simulated")
    parser.add_argument("--experts", type=int, nargs="*", default=[1, 2], help="of the real ones")
    parser.add_argument("--forms", nargs="+", default=["pairs", "scores"])
    parser.add_argument("--data", type=Path, help="summeval.json with three annotations a row")
    chosen = parser.parse_args()
    start, broken, sizes, runs = time.monotonic(), 0, chosen.sizes, chosen.runs
    for form in chosen.forms:
        judges = PAIR_JUDGES if form == "pairs" else SCORE_JUDGES
        for raters in chosen.raters:
            lines: list[tuple[str, Sequence[Cell]]] = [
                (name, [(simulated(form, judge, n, raters, runs), wanted, n) for n in sizes])
                for name, judge, wanted in judges
            ]
            lines.append(("a person", [(a_person(form, n, raters, runs), None, n) for n in sizes]))
            broken += table(f"{form}, simulated, {raters} raters a row", lines, sizes)
        if chosen.data is not None:
            for raters in chosen.experts:
                real = [
                    (
                        name,
                        [
                            (on_real(chosen.data, form, judge, n, raters, runs), None, n)
                            for n in sizes
                        ],
                    )
                    for name, judge, _ in judges
                ]
                real.append(
                    (
                        "a person",
                        [
                            (on_real(chosen.data, form, None, n, raters, runs), None, n)
                            for n in sizes
                        ],
                    )
                )
                broken += table(f"{form}, SummEval's experts, {raters} a row", real, sizes)
    print(f"\n{runs} runs a cell, {time.monotonic() - start:.0f} s; {broken} bars missed")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
