"""Scores of whole sets beside the means of rows."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import sacrebleu

sys.path.insert(0, str(Path(__file__).parents[1]))
from sluicegate.evaluation import evaluate, operations
from sluicegate.evaluation.corpus import corpus_scores
from sluicegate.metrics.likelihood import open_likelihood
from sluicegate.metrics.perplexity import corpus_perplexity, perplexities
from sluicegate.records import Example, Generation
from tiny_model import build_tiny_model

OUTPUTS = ["the parcel came late today", "a refund of 20 euro was sent", ""]
WANTED = [
    ["the parcel came very late", "it was late"],
    ["a refund of 20 euro was sent"],
    ["nothing was said"],
]


def test_whole_set_scores_are_operations_of_the_evidence() -> None:
    """Evaluating bleu and chrf by row also gives sacrebleu's score of the set, and no other metric
    adds one.
    """
    golden = [
        Example(str(n), str(n), {"text": "t"}, tuple(row), "s") for n, row in enumerate(WANTED)
    ]
    said = [Generation(text, 1, 1, float(n), True) for n, text in enumerate(OUTPUTS)]
    found = evaluate("r" * 64, golden, "g" * 64, said, ["bleu", "chrf", "rouge1"]).operations
    columns = [[row[place] if place < len(row) else None for row in WANTED] for place in (0, 1)]
    assert found["corpus_bleu"] == pytest.approx(
        sacrebleu.corpus_bleu(OUTPUTS, columns).score / 100, abs=1e-6
    )
    assert found["corpus_chrf"] == pytest.approx(
        sacrebleu.corpus_chrf(OUTPUTS, columns).score / 100, abs=1e-6
    )
    assert not {name for name in found if name.startswith("corpus_")} - {
        "corpus_bleu",
        "corpus_chrf",
    }
    plain = evaluate("r" * 64, golden, "g" * 64, said, ["rouge1"]).operations
    assert plain == operations(said)


def test_perplexity_of_the_set_needs_no_second_pass(tmp_path: Path) -> None:
    """Weighing rows by their tokens gives what the model gives for the whole set, long and blank
    texts included.
    """
    folder = str(build_tiny_model(tmp_path / "tiny", context=64))
    model, outputs = open_likelihood(folder), [*OUTPUTS, " ".join(["late parcel"] * 80)]
    name = f"perplexity:{folder}"
    found = corpus_scores({name: perplexities(model, outputs)}, outputs, [["x"]] * 4)
    assert found == {f"corpus_{name}": pytest.approx(corpus_perplexity(model, outputs), rel=1e-9)}
    assert corpus_scores({name: [1e9]}, [" "], [["x"]]) == {f"corpus_{name}": 1e9}


def test_latency_p99() -> None:
    """The slowest hundredth has a name of its own, interpolated between neighbours."""
    found = operations([Generation("x", 1, 1, float(seconds), True) for seconds in range(101)])
    assert (found["latency_p50"], found["latency_p95"], found["latency_p99"]) == (50.0, 95.0, 99.0)
