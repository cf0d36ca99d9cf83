"""Perplexity, bits per byte and pass@k: equal to their definitions and to transformers' own loss."""

from __future__ import annotations

import gzip
import json
import math
import sys
from collections.abc import Sequence
from fractions import Fraction
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import torch
from metric_texts import generated, shared, summaries

sys.path.insert(0, str(Path(__file__).parents[1]))
from sluicegate.errors import EvidenceError, ModelError
from sluicegate.metrics import find_metric, metrics_digest, score_many, score_one
from sluicegate.metrics.likelihood import CausalLikelihood, open_likelihood
from sluicegate.metrics.pass_at_k import mean_pass_at_k, pass_at_k
from sluicegate.metrics.perplexity import bits_per_byte, corpus_perplexity, perplexities
from tiny_model import build_tiny_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small random language model with a context of 512 tokens."""
    return build_tiny_model(tmp_path_factory.mktemp("model") / "tiny", context=512)


@pytest.mark.parametrize("kind", ["generated", "tweetsumm"])
def test_perplexity_equals_transformers(folder: Path, kind: str) -> None:
    """Perplexity is exp of the loss that transformers 5 computes of the text with a start token
    before it.
    """
    assert version("transformers").startswith("5.")
    model = open_likelihood(str(folder))
    texts = (
        list(generated())
        if kind == "generated"
        else [text for _, output, more in summaries() for text in (output, *more)]
    )
    texts = [text for text in texts if text.strip()]
    found, bits = perplexities(model, texts), bits_per_byte(model, texts)
    compared = 0
    for text, value, bpb in zip(texts, found, bits, strict=True):
        ids = [
            model.tokenizer.bos_token_id,
            *model.tokenizer(text, add_special_tokens=False)["input_ids"],
        ]
        if len(ids) > model.context:
            continue
        with torch.inference_mode():
            loss = float(model.model(torch.tensor([ids]), labels=torch.tensor([ids])).loss.double())
        assert math.log(value) == pytest.approx(loss, abs=2e-6), text[:80]
        assert bpb == pytest.approx(
            loss * (len(ids) - 1) / math.log(2) / len(text.encode()), rel=1e-6
        )
        compared += 1
    assert compared >= 0.95 * len(texts)


def test_long_text_is_read_in_windows(folder: Path) -> None:
    """A text longer than the context is predicted token by token, each once, with half a context
    before it.
    """
    model = open_likelihood(str(folder))
    short = CausalLikelihood(model.tokenizer, model.model, 64, model.start)
    text = "the parcel is late and the customer waits " * 20
    ids = model.tokenizer(text, add_special_tokens=False)["input_ids"]
    (nats, tokens), (whole, _) = short.log_likelihoods([text])[0], model.log_likelihoods([text])[0]
    assert tokens == len(ids) > 128
    assert nats != whole
    assert nats == pytest.approx(whole, rel=0.05)


def test_named_with_a_folder(folder: Path) -> None:
    """`perplexity:FOLDER` scores a set as it scores its rows, blanks worst, and is identified by
    the model's files.
    """
    metric = find_metric(f"perplexity:{folder}")
    outputs = ["the parcel is late", " ", "refund"]
    found = score_many(metric, [""] * 3, outputs, [[]] * 3)
    assert found[1] == metric.worst
    assert found == pytest.approx(
        [score_one(metric, "", output, []) for output in outputs], rel=1e-5
    )
    assert metrics_digest([metric.name]) != metrics_digest([f"bits_per_byte:{folder}"])
    with pytest.raises(ModelError, match="no language model"):
        score_one(find_metric("perplexity:no/such"), "", "text", [])


class Broken:
    """A model that gives each text the same answer."""

    def __init__(self, value: float) -> None:
        self.value = value

    def log_likelihoods(self, texts: Sequence[str]) -> list[tuple[float, int]]:
        return [(self.value, 2)] * len(texts)


def test_a_model_passed_in() -> None:
    """Any model that gives log-likelihoods can be passed in; what is none is refused and never a
    number.
    """
    half = Broken(2 * math.log(0.5))
    assert perplexities(half, ["ab", ""]) == pytest.approx([2.0, 1e9])
    assert bits_per_byte(half, ["ab"]) == pytest.approx([1.0])
    assert corpus_perplexity(half, ["ab", "cd", ""]) == pytest.approx(2.0)
    for value in (float("nan"), float("-inf"), 1.0):
        with pytest.raises(EvidenceError):
            perplexities(Broken(value), ["ab"])
    with pytest.raises(EvidenceError):
        corpus_perplexity(half, [""])


def official(tried: int, passed: int, k: int) -> float:
    """estimator() of human_eval/evaluation.py (openai/human-eval, 6d43fb9)."""
    if tried - passed < k:
        return 1.0
    return float(1.0 - np.prod(1.0 - k / np.arange(tried - passed + 1, tried + 1)))


def test_pass_at_k_equals_human_eval() -> None:
    """pass@k equals human-eval's estimator and the exact fraction, where a small chance is kept to
    1e-12 of itself.
    """
    for tried in range(1, 25):
        for passed in range(tried + 1):
            for k in range(1, tried + 1):
                exact = 1 - Fraction(math.comb(tried - passed, k), math.comb(tried, k))
                assert pass_at_k(tried, passed, k) == pytest.approx(float(exact), abs=1e-12)
                assert pass_at_k(tried, passed, k) == pytest.approx(
                    official(tried, passed, k), abs=1e-9
                )
    assert pass_at_k(10**6, 1, 1) == pytest.approx(1e-6, rel=1e-12)


def test_pass_at_k_of_human_eval_problems() -> None:
    """Over the 164 problems of HumanEval the mean is human-eval's, whatever passed."""
    with gzip.open(shared("humaneval/HumanEval.jsonl.gz"), "rt", encoding="utf-8") as lines:
        problems = [json.loads(line) for line in lines]
    results = [(20, sum(map(ord, problem["task_id"])) % 21) for problem in problems]
    for k in (1, 5, 20):
        assert mean_pass_at_k(results, k) == pytest.approx(
            np.mean([official(*one, k) for one in results]), abs=1e-6
        )


@pytest.mark.parametrize(
    ("tried", "passed", "k"), [(0, 0, 1), (5, 6, 1), (5, -1, 1), (5, 1, 0), (5, 1, 6)]
)
def test_pass_at_k_of_too_little(tried: int, passed: int, k: int) -> None:
    """Fewer programs than k, or counts that cannot be, are an error and never a number."""
    with pytest.raises(EvidenceError):
        pass_at_k(tried, passed, k)
    with pytest.raises(EvidenceError):
        mean_pass_at_k([], 1)
