"""Evaluation: complete or refused, order-independent, cached, readable only when whole."""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import ttest_1samp

sys.path.insert(0, str(Path(__file__).parents[1]))
import evidence_file
from sluicegate.errors import ConfigError, EnvironmentFailure, EvidenceError, IntegrityError
from sluicegate.evaluation import (
    answer,
    evaluate,
    lead2,
    operations,
    read_evidence,
    summarise,
    write_evidence,
)
from sluicegate.evidence_key import evidence_key, mac
from sluicegate.gates import Policy, decide
from sluicegate.generating import Failure, Reply, Request
from sluicegate.hashing import canonical_json, digest_bytes
from sluicegate.models import Messages
from sluicegate.models.scripted import ScriptedModel, last_line
from sluicegate.records import (
    Decision,
    Evidence,
    Example,
    Generation,
    GenerationSettings,
    Verdict,
)

METRICS = ("rouge1", "rougeL", "copied_numbers")
UNSEEING = ("rouge1", "rouge2", "rougeL_unicode", "chrf")


def example(number: int, group: str | None = None) -> Example:
    """An example about order `number`."""
    text = f"Customer: order {number} is late.\nAgent: Sorry! It ships today. Anything else?"
    return Example(
        f"e{number:03}",
        group or f"g{number}",
        {"conversation": text},
        (f"Order {number} is late",),
        "test",
    )


def said(text: str, seconds: float = 0.5) -> Generation:
    """A finished answer of four tokens."""
    return Generation(text, 10, 4, seconds, True)


def made(count: int = 6) -> Evidence:
    """Evidence over `count` examples, every second answer with a wrong number."""
    golden = [example(number) for number in range(count)]
    return evaluate(
        "r", golden, "g", [said(f"Order {n + n % 2} is late") for n in range(count)], METRICS
    )


@dataclass
class Counting(ScriptedModel):
    """An echo that dies when told to."""

    answer: Callable[[Request], str | Reply | Failure] = last_line
    die_after: int = 10**9

    def _answer(self, request: Request, length: int) -> Reply | Failure:
        if len(self.asked) > self.die_after:
            raise KeyboardInterrupt
        return super()._answer(request, length)


def rendered(count: int) -> list[tuple[str, Messages]]:
    """Prompts of different lengths."""
    return [
        (f"e{n}", [{"role": "user", "content": f"{'word ' * (n % 7)}say {n}"}])
        for n in range(count)
    ]


def test_scores_and_means() -> None:
    """Each row keeps its answer and one score per metric; the summary is their mean."""
    evidence = made()
    assert [row.id for row in evidence.rows] == [f"e{n:03}" for n in range(6)]
    assert [row.scores["copied_numbers"] for row in evidence.rows] == [1, 0, 1, 0, 1, 0]
    assert evidence.summaries["copied_numbers"].mean == 0.5
    assert evidence.summaries["copied_numbers"].n == 6
    assert evidence.operations["tokens_per_second"] == 8.0


def test_order_does_not_matter() -> None:
    """Shuffled golden rows with their answers give the same evidence digest."""
    golden = [example(number) for number in range(9)]
    outputs = [said(f"Order {n % 4} is late") for n in range(9)]
    turned = evaluate("r", golden[::-1], "g", outputs[::-1], METRICS[::-1])
    assert turned.digest == evaluate("r", golden, "g", outputs, METRICS).digest


@pytest.mark.parametrize(
    ("golden", "outputs", "metrics", "message"),
    [
        ([], [], METRICS, "empty"),
        ([example(1)], [], METRICS, "0 answers"),
        ([example(1), example(1)], [said("a"), said("b")], METRICS, "twice"),
        ([example(1)], [said("a")], (), "metrics"),
        ([example(1)], [said("a")], ("rouge1", "rouge1"), "twice"),
        ([replace(example(1), reference=())], [said("a")], METRICS, "e001.*reference"),
        ([example(1)], [said("a", float("nan"))], METRICS, "finite"),
    ],
)
def test_unusable_is_refused(
    golden: list[Example], outputs: list[Generation], metrics: tuple[str, ...], message: str
) -> None:
    """Empty, incomplete, repeated or not finite: an error, never evidence."""
    with pytest.raises(EvidenceError, match=message):
        evaluate("r", golden, "g", outputs, metrics)


def test_unknown_metric_is_refused() -> None:
    """A misspelt metric stops the evaluation."""
    with pytest.raises(ConfigError):
        evaluate("r", [example(1)], "g", [said("a")], ["rouge9"])


def test_empty_answers_score_zero_and_are_counted() -> None:
    """A model that says nothing gets zeros and an empty share of 1, not an error and not a gap."""
    evidence = evaluate("r", [example(1), example(2)], "g", [said(""), said(" ")], METRICS)
    assert {score for row in evidence.rows for score in row.scores.values()} == {0.0}
    assert evidence.operations["empty_share"] == 1.0


def test_interval_is_students_t_without_clusters() -> None:
    """With one row a group the interval is the textbook t interval."""
    values = [0.1, 0.5, 0.4, 0.9, 0.3, 0.35]
    found = summarise(values, list("abcdef"), (-9, 9))
    low, high = ttest_1samp(values, 0).confidence_interval(0.95)
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))


def test_interval_widens_with_clusters() -> None:
    """Copying every row within its group adds no information: the interval must not shrink."""
    values = [0.1, 0.5, 0.4, 0.9, 0.3, 0.35]
    single, copied = (
        summarise(values, list("abcdef"), (0, 1)),
        summarise(values * 10, list("abcdef") * 10, (0, 1)),
    )
    assert copied.high - copied.low == pytest.approx(single.high - single.low)
    assert (copied.n, copied.groups) == (60, 6)


def test_one_group_says_nothing() -> None:
    """With a single group the interval is the whole range."""
    found = summarise([0.5, 0.6], ["a", "a"], (0, 1))
    assert (found.low, found.high, found.groups) == (0, 1, 1)


def test_operations() -> None:
    """Latency quantiles interpolate; no answers at all gives zeros."""
    found = operations([said("a b", seconds) for seconds in (1.0, 2.0, 3.0)])
    assert found["latency_p50"] == 2.0
    assert found["latency_p95"] == pytest.approx(2.9)
    assert set(operations([]).values()) == {0.0}


def test_time_to_the_first_token() -> None:
    """It is summed up where every answer knows it, and otherwise not at all: a part would be
    another set.
    """
    answers = [replace(said("a b"), first_token=seconds) for seconds in (0.1, 0.2, 0.3)]
    found = operations(answers)
    assert found["first_token_p50"] == 0.2
    assert found["first_token_p95"] == pytest.approx(0.29)
    for some in ([*answers, said("c")], [said("c")], []):
        assert not [name for name in operations(some) if name.startswith("first_token")]
    for wrong in (float("nan"), float("inf"), -0.1):
        with pytest.raises(EvidenceError, match="negative or not finite"):
            operations([replace(said("a"), first_token=wrong)])
    evidence = evaluate("r", [example(n) for n in range(3)], "g", answers, METRICS)
    assert [row.first_token for row in evidence.rows] == [0.1, 0.2, 0.3]


def test_lead2() -> None:
    """The baseline is the first two sentences without speaker labels, for every example."""
    assert [found.text for found in lead2([example(4), example(5)])] == [
        "order 4 is late. Sorry!",
        "order 5 is late. Sorry!",
    ]


def test_answers_are_cached(tmp_path: Path) -> None:
    """The same release asks the model once; another release, settings or messages ask again."""
    model, settings = Counting(), GenerationSettings()
    first = answer(model, rendered(10), settings, tmp_path, "release")
    assert [found.text.split()[-1] for found in first] == [str(n) for n in range(10)]
    assert answer(model, rendered(10)[::-1], settings, tmp_path, "release") == first[::-1]
    assert len(model.asked) == 10
    answer(model, rendered(10), settings, tmp_path, "other")
    answer(model, rendered(10), replace(settings, max_new_tokens=5), tmp_path, "release")
    assert len(model.asked) == 30


def test_killed_run_goes_on(tmp_path: Path) -> None:
    """A run stopped midway keeps every answer that came; the next one generates only the rest, with
    the same answers.
    """
    seen: list[tuple[int, int]] = []
    with pytest.raises(KeyboardInterrupt):
        answer(Counting(die_after=20), rendered(30), GenerationSettings(), tmp_path, "k")
    model = Counting()
    found = answer(
        model,
        rendered(30),
        GenerationSettings(),
        tmp_path,
        "k",
        lambda *pair: seen.append(pair),
    )
    assert len(model.asked) == 10
    assert (seen[0], seen[-1]) == ((20, 30), (30, 30))
    assert found == answer(Counting(), rendered(30), GenerationSettings(), tmp_path / "fresh", "k")


def test_damaged_cache_row_is_generated_again(tmp_path: Path) -> None:
    """An altered cache row is not believed."""
    first = answer(Counting(), rendered(3), GenerationSettings(), tmp_path, "k")
    with sqlite3.connect(tmp_path / "answers.db") as database:
        database.execute("UPDATE answers SET value = replace(value, 'say', 'sly')")
    model = Counting()
    assert answer(model, rendered(3), GenerationSettings(), tmp_path, "k") == first
    assert len(model.asked) == 3


def test_an_answer_of_another_version_is_generated_again(tmp_path: Path) -> None:
    """A whole row whose fields this version does not know is no answer, and no crash."""
    first = answer(Counting(), rendered(1), GenerationSettings(), tmp_path, "k")
    with sqlite3.connect(tmp_path / "answers.db") as database:
        ((key,),) = database.execute("SELECT key FROM answers").fetchall()
        for value in ('{"text": "old"}', '{"text": "new", "mood": 1}', "[]"):
            row = (value, digest_bytes(f"{key}\n{value}".encode()))
            database.execute("UPDATE answers SET value = ?, digest = ?", row)
            database.commit()
            assert answer(Counting(), rendered(1), GenerationSettings(), tmp_path, "k") == first


def test_an_answer_from_before_times_of_first_tokens_is_one(tmp_path: Path) -> None:
    """A row that was kept without that time is used as it is: nothing is generated again for it."""
    first = answer(Counting(), rendered(1), GenerationSettings(), tmp_path, "k")
    with sqlite3.connect(tmp_path / "answers.db") as database:
        ((key, value),) = database.execute("SELECT key, value FROM answers").fetchall()
        value = canonical_json(
            {name: part for name, part in json.loads(value).items() if name != "first_token"}
        )
        database.execute(
            "UPDATE answers SET value = ?, digest = ?",
            (value, mac(evidence_key(tmp_path.parent), f"{key}\n{value}")),
        )
    model = Counting()
    assert answer(model, rendered(1), GenerationSettings(), tmp_path, "k") == first
    assert not model.asked


def test_cache_that_is_no_database(tmp_path: Path) -> None:
    """A cache file of other bytes is an environment failure with a way out."""
    (tmp_path / "answers.db").write_bytes(b"not a database at all" * 99)
    with pytest.raises(EnvironmentFailure) as caught:
        answer(Counting(), rendered(3), GenerationSettings(), tmp_path, "k")
    assert "delete" in caught.value.hint


def test_trouble_of_the_backend_is_not_blamed_on_the_cache(tmp_path: Path) -> None:
    """An OSError of the model reaches the caller as it is: deleting the cache would not help."""

    class Unplugged(Counting):
        def _answer(self, request: Request, length: int) -> Reply | Failure:
            raise FileNotFoundError("weights")

    with pytest.raises(FileNotFoundError, match="weights"):
        answer(Unplugged(), rendered(3), GenerationSettings(), tmp_path, "k")


def test_repeated_id_in_prompts(tmp_path: Path) -> None:
    """Two prompts under one id are refused before anything is generated."""
    model = Counting()
    with pytest.raises(EvidenceError, match="twice"):
        answer(model, rendered(2) + rendered(1), GenerationSettings(), tmp_path, "k")
    assert not model.asked


def test_evidence_survives_the_disk(tmp_path: Path) -> None:
    """What is written is read back equal."""
    path = tmp_path / "evidence.parquet"
    write_evidence(path, made())
    assert read_evidence(path) == made()


@pytest.mark.parametrize(
    ("edit", "error"),
    [
        (lambda value: value["rows"][0]["scores"].update(rouge1=0.125), IntegrityError),
        (lambda value: value["rows"][0]["scores"].pop("rouge1"), EvidenceError),
        (lambda value: value["rows"].pop(), EvidenceError),
        (lambda value: value.update(rows=[]), EvidenceError),
        (lambda value: value.update(extra=1), EvidenceError),
        (lambda value: value.pop("golden"), EvidenceError),
        (lambda value: value["rows"][0].update(seconds="soon"), EvidenceError),
        (lambda value: value["rows"][0]["scores"].update(rouge1=float("nan")), EvidenceError),
        (lambda value: value.pop("digest"), IntegrityError),
    ],
)
def test_edited_evidence_is_refused(
    tmp_path: Path, edit: Callable[[dict[str, Any]], object], error: type[Exception]
) -> None:
    """Any edit to an evidence file is noticed."""
    path = tmp_path / "evidence.parquet"
    write_evidence(path, made())
    value = evidence_file.load(path)
    edit(value)
    evidence_file.save(path, value)
    with pytest.raises(error):
        read_evidence(path)


def test_not_finite_is_not_written(tmp_path: Path) -> None:
    """Evidence with NaN leaves no file."""
    broken = replace(made(), operations={"latency_p50": float("nan")})
    with pytest.raises(EvidenceError):
        write_evidence(tmp_path / "evidence.parquet", broken)
    assert not list(tmp_path.iterdir())


def test_what_a_metric_does_not_see_holds_its_rule(tmp_path: Path) -> None:
    """100 Chinese rows: ROUGE has no score for a perfect champion or for bananas, so its rule is
    HOLD, not 0 = 0.
    """
    golden = [
        Example(
            f"e{n:03}",
            f"g{n}",
            {"text": f"订单{n}"},
            (f"您的第{n}号订单已退款。".replace(str(n), "某"),),
            "t",
        )
        for n in range(100)
    ]
    right = evaluate("b" * 64, golden, "g", [said(row.reference[0]) for row in golden], UNSEEING)
    wrong = evaluate("c" * 64, golden, "g", [said("香蕉") for _ in golden], UNSEEING)
    assert set(wrong.summaries) == {"rougeL_unicode", "chrf"}
    assert {name: part.rows for name, part in wrong.unscored.items()} == {
        "rouge1": 100,
        "rouge2": 100,
    }
    assert "rouge1_unicode, chrf" in wrong.unscored["rouge1"].reason
    write_evidence(tmp_path / "e.parquet", wrong)
    assert read_evidence(tmp_path / "e.parquet") == wrong

    def judged(metric: str) -> Verdict:
        rule = {"name": "r", "kind": "not_worse_than_champion", "metric": metric, "margin": 0.1}
        rules = Policy.model_validate({"rules": [rule], "minimum_examples": 20})
        return decide(wrong, right, rules, facts={})

    blind = judged("rouge1")
    assert blind.decision is Decision.HOLD
    assert blind.rules[0].reason.startswith(
        "rouge1 has no score on 100 of 100 rows: it sees no word"
    )
    assert judged("rougeL_unicode").decision is Decision.REJECT
    assert judged("chrf").decision is Decision.REJECT


def test_one_row_without_a_score_is_told(tmp_path: Path) -> None:
    """One row that a metric does not see takes all its scores, and evidence of nothing else can
    still be kept.
    """
    golden = [example(1), replace(example(2), reference=("退款",))]
    mixed = evaluate("r", golden, "g", [said("Order 1 is late"), said("Order 2")], ("rouge1",))
    assert mixed.unscored["rouge1"].rows == 1
    assert "example e002" in mixed.unscored["rouge1"].reason
    write_evidence(tmp_path / "e.parquet", mixed)
    assert read_evidence(tmp_path / "e.parquet") == mixed
    assert evaluate("r", golden[:1], "g", [said("Order 1 is late")], ("rouge1",)).unscored == {}
