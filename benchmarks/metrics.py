"""Metrics against the packages that define them, on the same rows in one run: seconds of
the processor, ratio, largest difference.

    python benchmarks/metrics.py tweetsumm/train.jsonl [--rows 110] [--repeat 3] [--only
    rouge,meteor]

110 openings of dialogues stand for summaries, each against three human ones. Each side runs once to
warm up (tokenisers, weights), then its caches of texts are emptied before every timed run; the best
of the runs counts. `again` is our time when the references were seen before, as in a comparison of
a candidate with a champion. Processor time does not depend on what else the machine does; run it
with OMP_NUM_THREADS=1.
"""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import math
import string
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sluicegate.metrics import METRICS, score_many
from sluicegate.metrics.bertscore import default_layer
from sluicegate.metrics.encoder import encoder_folder, open_encoder

Rows = list[tuple[str, list[str]]]
Scorer = Callable[[Rows], list[float]]


def read_rows(file: Path, count: int) -> Rows:
    """The first `count` dialogues with three summaries: (their first 40 words, the summaries)."""
    rows: Rows = []
    for line in file.read_text("utf-8").splitlines():
        row = json.loads(line)
        summaries = [
            " ".join(text) if isinstance(text, list) else text for text in row["summaries"]
        ]
        if len(summaries) >= 3 and len(rows) < count:
            rows.append(
                (
                    " ".join(" ".join(turn["text"] for turn in row["turns"]).split()[:40]),
                    summaries[:3],
                )
            )
    return rows


def forget() -> None:
    """Empty our caches of texts; models and stems stay."""
    for name in ("meteor", "rouge"):
        for value in vars(importlib.import_module(f"sluicegate.metrics.{name}")).values():
            if hasattr(value, "cache_clear") and value.__name__ != "_stemmer":
                value.cache_clear()
    opened = open_encoder()
    opened._kept.clear()
    opened._numbers = 0


def ours(*names: str) -> Scorer:
    """Our scores of the named metrics, one list."""

    def run(rows: Rows) -> list[float]:
        texts = (
            [""] * len(rows),
            [output for output, _ in rows],
            [references for _, references in rows],
        )
        found = [value for name in names for value in score_many(METRICS[name], *texts)]
        return [value for value in found if value is not None]

    return run


def rouge_score(rows: Rows) -> list[float]:
    """Package rouge-score: three kinds in one pass, the best reference."""
    from rouge_score.rouge_scorer import RougeScorer

    kinds = ["rouge1", "rouge2", "rougeL", "rougeLsum"]
    scorer = RougeScorer(kinds)
    found = [scorer.score_multi(references, output) for output, references in rows]
    return [one[kind].fmeasure for kind in kinds for one in found]


def nltk_meteor(rows: Rows) -> list[float]:
    """Package nltk, with a WordNet without synonyms."""
    from nltk.tokenize import wordpunct_tokenize
    from nltk.translate.meteor_score import meteor_score

    class NoSynonyms:
        def synsets(self, word: str) -> list[object]:
            return []

    return [
        meteor_score(
            [wordpunct_tokenize(text) for text in references],
            wordpunct_tokenize(output),
            wordnet=NoSynonyms(),
        )
        for output, references in rows
    ]


class BertScore:
    """Package bert-score on the same encoder and layer, its model loaded once."""

    def __init__(self) -> None:
        from bert_score.utils import get_model
        from transformers import AutoTokenizer

        folder = str(encoder_folder())
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = get_model(folder, default_layer(open_encoder()))
        self.weights = dict.fromkeys(range(len(self.tokenizer)), 1.0)
        self.weights[self.tokenizer.cls_token_id] = self.weights[self.tokenizer.sep_token_id] = 0.0

    def __call__(self, rows: Rows) -> list[float]:
        from bert_score.utils import bert_cos_score_idf

        pairs = [(output, text) for output, references in rows for text in references]
        outputs, references = [output for output, _ in pairs], [text for _, text in pairs]
        scores = bert_cos_score_idf(
            self.model,
            references,
            outputs,
            self.tokenizer,
            self.weights,
            device="cpu",
            batch_size=64,
        )
        best = iter(scores[:, 2].tolist())
        return [max(next(best) for _ in references) for _, references in rows]


@cache
def plain_model() -> Any:
    """The encoder as transformers runs it."""
    from transformers import AutoModel

    return AutoModel.from_pretrained(str(encoder_folder())).eval()


def transcribed_moverscore(rows: Rows) -> list[float]:
    """moverscore_v2.py of moverscore 1.0.3: each pair encoded and solved alone over both texts, by
    pyemd.
    """
    from pyemd import emd_with_flow

    opened, model = open_encoder(), plain_model()
    tokenizer, marks = opened.tokenizer, set(string.punctuation)

    def rarity(texts: Sequence[str]) -> dict[int, float]:
        counts = Counter(one for text in texts for one in set(tokenizer(text)["input_ids"]))
        return {one: math.log((len(texts) + 1) / (count + 1)) for one, count in counts.items()}

    def embed(text: str, weights: dict[int, float]) -> tuple[torch.Tensor, np.ndarray]:
        ids = tokenizer(text, return_tensors="pt", truncation=True, max_length=opened.limit)
        with torch.no_grad():
            states = model(**ids, output_hidden_states=True).hidden_states[-1][0]
        one = ids["input_ids"][0].tolist()
        idf = np.array([weights[token] for token in one])
        out = [
            k
            for k, word in enumerate(tokenizer.convert_ids_to_tokens(one))
            if "##" in word or word in marks
        ]
        states[out], idf[out] = 0, 0
        return states, idf

    mine = rarity([output for output, _ in rows])
    theirs = rarity([text for _, references in rows for text in references])

    def pair(reference: str, output: str) -> float:
        (left, left_idf), (right, right_idf) = embed(reference, theirs), embed(output, mine)
        raw = torch.cat([left, right]).double()
        raw = raw / (raw.norm(dim=-1, keepdim=True) + 1e-30)
        distances = (2 - 2 * raw @ raw.T).clamp_min(0).sqrt().numpy()
        c1, c2 = np.zeros(len(raw)), np.zeros(len(raw))
        c1[: len(left)], c2[len(left) :] = left_idf / left_idf.sum(), right_idf / right_idf.sum()
        _, flow = emd_with_flow(c1, c2, np.ascontiguousarray(distances))
        return 1 - float(np.sum(np.array(flow) * distances))

    return [max(pair(text, output) for text in references) for output, references in rows]


def best_time(
    scorer: Scorer, rows: Rows, repeat: int, before: Callable[[], None]
) -> tuple[float, list[float]]:
    """Least seconds of the processor of `repeat` runs, and the scores; `before` runs untimed before
    each.
    """
    seconds, scores = math.inf, []
    for _ in range(repeat):
        before()
        start = time.process_time()
        scores = scorer(rows)
        seconds = min(seconds, time.process_time() - start)
    return seconds, scores


def main() -> None:
    """Print one line a metric."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--rows", type=int, default=110)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--only", default="")
    asked = parser.parse_args()
    logging.disable(logging.WARNING)
    rows = read_rows(asked.data, asked.rows)
    peers: dict[str, tuple[str, Scorer, Callable[[], Any]]] = {
        "rouge": (
            "rouge-score",
            ours("rouge1", "rouge2", "rougeL", "rougeLsum"),
            lambda: rouge_score,
        ),
        "meteor": ("nltk", ours("meteor"), lambda: nltk_meteor),
        "bertscore": ("bert-score", ours("bertscore"), BertScore),
        "moverscore": ("transcription", ours("moverscore"), lambda: transcribed_moverscore),
    }
    print(
        f"{len(rows)} rows of 3 references, best of {asked.repeat}, {torch.get_num_threads()} "
        "threads"
    )
    print(
        "| metric | peer | peer, s | ours, first sight, s | ours again, s | ratio | ratio again | "
        "largest difference |\n" + "|---" * 8 + "|"
    )
    for name, (package, mine, make) in peers.items():
        if asked.only and name not in asked.only.split(","):
            continue
        theirs: Scorer = make()
        theirs(rows[:4])
        mine(rows[:4])
        slow, expected = best_time(theirs, rows, asked.repeat, lambda: None)
        fast, found = best_time(mine, rows, asked.repeat, forget)
        shifted = [(f"{output} ok", references) for output, references in rows]
        again, _ = best_time(mine, shifted, 1, lambda: None)
        apart = max(abs(left - right) for left, right in zip(expected, found, strict=True))
        print(
            f"| {name} | {package} | {slow:.3f} | {fast:.3f} | {again:.3f} | {slow / fast:.1f} | "
            f"{slow / again:.1f} |"
            f" {apart:.1e} |"
        )


if __name__ == "__main__":
    main()
