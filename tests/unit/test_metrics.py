"""Metrics: right numbers, stable identity, strict names."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest
from rouge_score.rouge_scorer import RougeScorer

from sluicegate.errors import ConfigError, EvidenceError
from sluicegate.metrics import METRICS, Metric, directions, find_metric, metrics_digest, score_one
from sluicegate.metrics.chrf import chrf
from sluicegate.metrics.copied_facts import copied_facts, copied_names, copied_numbers
from sluicegate.metrics.length_ratio import length_ratio
from sluicegate.metrics.rouge import rouge1, rouge2, rouge_l


def test_rouge_equals_the_reference_implementation() -> None:
    """ROUGE-1, -2 and -L with several references equal rouge_score to 1e-9 on random and on odd
    texts.
    """
    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"])
    chance = random.Random(7)
    words = ["the", "Parcel", "is", "late,", "don't", "é", "24/7", "\u0130stanbul", "--", "refund"]
    odd = ["", "!!!", "a", "A a A", "日本", "x" * 50, "one-two three_four"]
    texts = odd + [" ".join(chance.choices(words, k=chance.randrange(1, 60))) for _ in range(80)]
    for output in texts:
        references = chance.sample(texts, 2)
        expected = scorer.score_multi(references, output)
        found = {"rouge1": rouge1, "rouge2": rouge2, "rougeL": rouge_l}
        for name, function in found.items():
            score = function("", output, references)
            assert (score or 0.0) == pytest.approx(expected[name].fmeasure, abs=1e-9), (
                name,
                output,
            )


def test_chrf_equals_sacrebleu() -> None:
    """chrF is sacrebleu's sentence chrF2 over 100, the best of several references."""
    from sacrebleu import sentence_chrf

    references = ["the parcel is late", "a refund was sent to Ana"]
    assert (
        chrf("", "the refund is late", references)
        == sentence_chrf("the refund is late", references).score / 100
    )
    assert chrf("", "a refund was sent to Ana", references) == 1.0


@pytest.mark.parametrize(
    ("source", "output", "share"),
    [
        ("order 1,299.00 on 14:20", "1299 at 14:20", 1.0),
        ("order 12", "order 1", 0.0),
        ("flight QN418", "flight QN 418 and 419", 0.5),
        ("it took two days", "It took 2 days", 1.0),
        ("nothing here", "no number at all", 1.0),
        ("nothing here", "", 0.0),
        ("cost 20.00", "cost 20", 1.0),
        ("at 09 and 0", "at 9 and 00", 1.0),
        ("3.10.2", "version 3.10.2 of 3.1", 0.5),
    ],
)
def test_copied_numbers(source: str, output: str, share: float) -> None:
    """A number counts as copied when it is the same number in the source, however it is written,
    and only then.
    """
    assert copied_numbers(source, output) == share


@pytest.mark.parametrize(
    ("source", "output", "share"),
    [
        ("i live in porto", "The customer lives in Porto.", 1.0),
        ("i live in porto", "The customer lives in Lisbon.", 0.0),
        ("Marta's bag", "Bag of Marta. I think so. OK", 1.0),
        ("bag", "Everything opens. Sentences: Capital\nLetters", 1.0),
        ("Quillon Air", "He flew with Quillon Airlines", 0.5),
        ("O\u2019Neil called", "It was O'Neil", 1.0),
    ],
)
def test_copied_names(source: str, output: str, share: float) -> None:
    """A capitalised word inside a sentence must occur in the source; the first word of a sentence
    is not judged.
    """
    assert copied_names(source, output) == share


def test_invented_facts_cost() -> None:
    """Inventing one number or name among copied ones lowers the joint score."""
    source = "Customer: order 55 for Ana is late\nAgent: it ships Friday"
    assert copied_facts(source, "Ana waits for 55 until Friday, says Ana") == 1.0
    assert copied_facts(source, "The order 56 of Ana ships on Friday") == pytest.approx(2 / 3)


def test_length_ratio_is_symmetric() -> None:
    """Half as long and twice as long cost the same; the nearest reference counts."""
    assert (
        length_ratio("", "a b", ["a b c d"])
        == length_ratio("", "a b c d e f g h", ["a b c d"])
        == 0.5
    )
    assert length_ratio("", "a b", ["a b c d", "x y"]) == 1.0


def test_digest_is_stable_and_distinguishes() -> None:
    """The digest ignores the order of names and changes with the set of metrics."""
    assert metrics_digest(["rouge1", "chrf"]) == metrics_digest(["chrf", "rouge1"])
    assert (
        metrics_digest(["rouge1"])
        != metrics_digest(["rouge2"])
        != metrics_digest(["rouge1", "rouge2"])
    )
    assert directions(list(METRICS))["copied_facts"] == "higher"


def test_own_metric_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`module:function` is scored like a row of the table, and editing its file changes the digest."""
    file = tmp_path / "house_metric.py"
    file.write_text("def shout(source, output, references):\n    return float(output.isupper())\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    metric = find_metric("house_metric:shout")
    assert score_one(metric, "", "HELLO", ["x"]) == 1.0
    before = metrics_digest(["house_metric:shout"])
    file.write_text(file.read_text() + "# changed\n")
    assert metrics_digest(["house_metric:shout"]) != before
    monkeypatch.delitem(sys.modules, "house_metric")


@pytest.mark.parametrize(
    "name", ["rogue1", "no_such_module:f", "json:nothing", ":x", "json:__doc__"]
)
def test_unknown_metric(name: str) -> None:
    """An unknown metric is a configuration error that names it."""
    with pytest.raises(ConfigError, match="metric"):
        find_metric(name)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -0.5, 1.5])
def test_score_out_of_range(value: float) -> None:
    """A metric that returns NaN, infinity or a value out of its range is unusable, not clipped."""

    def broken(source: str, output: str, references: object) -> float:
        return value

    with pytest.raises(EvidenceError, match="outside"):
        score_one(Metric("broken", "higher", "", (0.0, 1.0), broken), "s", "o", ["r"])
