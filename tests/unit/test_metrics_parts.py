"""Metrics of the parts of answers and of JSON answers, each beside the package that people know."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import ir_measures
import jsonschema
import pandas as pd
import pytest

from sluicegate.errors import ConfigError, EvidenceError
from sluicegate.metrics import METRICS, find_metric, metrics_digest, score_one

SCHEMA = {
    "type": "object",
    "required": ["kind", "order"],
    "properties": {"kind": {"enum": ["refund", "delivery"]}, "order": {"type": "integer"}},
    "additionalProperties": False,
}


def score(name: str, output: Any, expected: Any) -> float | None:
    texts = [one if isinstance(one, str) else json.dumps(one) for one in (output, expected)]
    return score_one(find_metric(name), "", texts[0], [texts[1]])


@pytest.mark.parametrize("seed", range(30))
def test_retrieval_equals_ir_measures(seed: int) -> None:
    """Recall, reciprocal rank and nDCG with graded relevance, of rankings of every length."""
    chance = random.Random(seed)
    documents = [f"kb-{n}" for n in range(15)]
    gold = {name: chance.randint(1, 3) for name in chance.sample(documents, chance.randint(1, 8))}
    found = chance.sample(documents, chance.randint(1, 15))
    expected = [{"id": name, "relevance": gain} for name, gain in gold.items()]
    run = {"q": {name: -float(rank) for rank, name in enumerate(found)}}
    measures = {
        "recall_at_1": ir_measures.parse_measure("R@1"),
        "recall_at_5": ir_measures.parse_measure("R@5"),
        "recall_at_10": ir_measures.parse_measure("R@10"),
        "mrr": ir_measures.parse_measure("RR"),
        "ndcg_at_10": ir_measures.parse_measure("nDCG@10"),
    }
    theirs = ir_measures.calc_aggregate(list(measures.values()), {"q": gold}, run)
    for name, measure in measures.items():
        assert score(name, found, expected) == pytest.approx(theirs[measure], abs=1e-6), name


@pytest.mark.parametrize(
    ("contexts", "gold", "recall"),
    [
        (["kb-1", "kb-1", "kb-2"], ["kb-1", "kb-2"], 1.0),
        ([{"id": "kb-1", "text": "Refunds take 5 days."}], ["kb-1"], 1.0),
        ([{"id": "kb-1", "text": "Refunds take 5 days."}], ["Refunds take 5 days."], 1.0),
        ([{"text": " Refunds take 5 days. "}], ["Refunds take 5 days."], 1.0),
        ([{"id": 7}], [7], 1.0),
        (["x", "y", "z", "v", "w", "kb-1"], ["kb-1"], 0.0),
        ([], ["kb-1"], 0.0),
        ("not json", ["kb-1"], 0.0),
        ([{}, None, ["kb-1"]], ["kb-1"], 0.0),
        (["kb-1"], [], None),
    ],
)
def test_documents_are_told_by_id_or_text(contexts: Any, gold: Any, recall: float | None) -> None:
    """Repeats count once; what is no document is none; nothing expected is no score."""
    assert score("recall_at_5", contexts, gold) == recall


@pytest.mark.parametrize(
    "gold", [[{}], [{"id": "a", "relevance": 0}], [{"id": "a", "relevance": "x"}], [None]]
)
def test_wrong_gold_documents_stop(gold: Any) -> None:
    """They are the golden set's fault, not the candidate's."""
    with pytest.raises(EvidenceError, match="gold document"):
        score("mrr", ["a"], gold)


def call(name: str, **arguments: Any) -> dict[str, Any]:
    return {"name": name, "arguments": arguments}


@pytest.mark.parametrize(
    ("made", "expected", "scores"),
    [
        ([call("find", id=1)], [call("find", id=1)], (1, 1, 1)),
        ([call("find", b=2, a=1)], [call("find", a=1, b=2)], (1, 1, 1)),
        ([call("find", id=1.0)], [call("find", id=1)], (1, 1, 1)),
        ([call("find", id=2)], [call("find", id=1)], (1, 0, 0)),
        ([call("b"), call("a")], [call("a"), call("b")], (1, 1, 0)),
        ([call("a")], [call("a"), call("b")], (0, 0, 0)),
        ([call("a"), call("a"), call("b")], [call("a"), call("b"), call("b")], (0, 0, 0)),
        ([call("a", x=1), call("a", x=2)], [{"name": "a"}, call("a", x=1)], (1, 1, 0)),
        ([], [], (1, 1, 1)),
        ([call("a")], [], (0, 0, 0)),
        ([], [call("a")], (0, 0, 0)),
        (
            [{"id": "c1", "type": "function", "function": {"name": "a", "arguments": '{"x": 1}'}}],
            [call("a", x=1)],
            (1, 1, 1),
        ),
        ([{"name": "a", "arguments": "{broken"}], [call("a", x=1)], (1, 0, 0)),
        ([{"name": "a"}], [call("a")], (1, 1, 1)),
        (["a"], [call("a")], (0, 0, 0)),
        ([{"function": "a"}], [call("a")], (0, 0, 0)),
        ("a(x=1)", [call("a", x=1)], (0, 0, 0)),
    ],
)
def test_tool_calls(made: Any, expected: Any, scores: tuple[int, int, int]) -> None:
    """Names, names and arguments, and both in order; spellings of the same call do not matter."""
    names = ("tool_name_match", "tool_call_match", "tool_call_sequence")
    assert tuple(score(name, made, expected) for name in names) == scores


@pytest.mark.parametrize("ordered", [False, True])
def test_tool_calls_equal_mlflow(ordered: bool) -> None:
    """What MLflow's scorer says of sequences of different calls, exactly compared."""
    from mlflow.genai.scorers import ToolCallCorrectness
    from mlflow.genai.utils.type import FunctionCall

    theirs = ToolCallCorrectness(should_exact_match=True, should_consider_ordering=ordered)
    compare = theirs._evaluate_exact_ordered if ordered else theirs._evaluate_exact_unordered
    chance, name = random.Random(4), "tool_call_sequence" if ordered else "tool_call_match"
    seen = set()
    for _ in range(200):
        pool = [call(f"t{n}", x=n % 2, y=[n]) for n in range(3)]
        made, expected = chance.sample(pool, 2), chance.sample(pool, 2)
        given = [[FunctionCall(**one) for one in side] for side in (made, expected)]
        said = compare(*given, True).value == "yes"
        assert score(name, made, expected) == said
        seen.add(said)
    assert seen == {True, False}


def test_wrong_expected_calls_stop() -> None:
    """They are the golden set's fault."""
    with pytest.raises(EvidenceError, match="no name"):
        score("tool_call_match", [], [{"tool": "find"}])


@pytest.mark.parametrize(
    ("output", "valid"),
    [
        ('{"a": 1}', 1.0), (" [1, 2]\n", 1.0), ('"text"', 1.0), ("3", 1.0), ("NaN", 0.0),
        ('{"a": Infinity}', 0.0), ("```json\n{}\n```", 0.0), ('Sure! {"a": 1}', 0.0),
        ('{"a": 1,}', 0.0), ("[" * 100_000, 0.0), ("", 0.0),
    ],
)  # fmt: skip
def test_json_is_the_whole_answer(output: str, valid: float) -> None:
    """Fences, words, commas and numbers that are none are what breaks a parser."""
    assert score_one(METRICS["json_valid"], "", output, []) == valid


@pytest.mark.parametrize(
    ("output", "wanted", "share"),
    [
        ({"a": " ANA ", "b": 1.0}, {"a": "Ana", "b": 1}, 1.0),
        ({"a": "Ana", "c": 9}, {"a": "Ana", "b": 1}, 0.5),
        ({"items": [{"price": 1}, {"price": 2}]}, {"items": [{"price": 1}, {"price": 3}]}, 0.5),
        ({"items": []}, {"items": []}, 1.0),
        ({"items": [1]}, {"items": []}, 0.0),
        ({"a": None}, {"a": None}, 1.0),
        ({}, {"a": None}, 0.0),
        ({"a.b": 1}, {"a": {"b": 1}}, 0.0),
        ("Ana, 7", {"a": "Ana"}, 0.0),
        ({"a": 1}, "a text", None),
        ({"a": 1}, {}, 0.0),
    ],
)
def test_fields_match_by_name(output: Any, wanted: Any, share: float | None) -> None:
    """Through objects and lists; the best of several references counts."""
    assert score("field_match", output, wanted) == share


def test_fields_are_those_of_pandas() -> None:
    """The share that pandas' flattening of both objects gives."""
    chance = random.Random(2)

    def made(depth: int) -> dict[str, Any]:
        return {
            f"k{n}": made(depth - 1) if depth and chance.random() < 0.4 else chance.randint(0, 1)
            for n in range(chance.randint(1, 4))
        }

    for _ in range(100):
        output, wanted = made(3), made(3)
        flat = [pd.json_normalize(one).iloc[0].to_dict() for one in (output, wanted)]
        share = sum(flat[0].get(path) == value for path, value in flat[1].items()) / len(flat[1])
        assert score("field_match", output, wanted) == pytest.approx(share)


def schema_metric(folder: Path, schema: Any) -> Any:
    file = folder / "ticket.json"
    file.write_text(schema if isinstance(schema, str) else json.dumps(schema))
    return find_metric(f"json_schema:{file}")


@pytest.mark.parametrize(
    "value",
    [
        {"kind": "refund", "order": 7}, {"kind": "refund", "order": 7.0}, {"kind": "refund"},
        {"kind": "other", "order": 7}, {"kind": "refund", "order": 7, "more": 1}, [], None,
    ],
)  # fmt: skip
def test_a_schema_is_asked_as_jsonschema_asks_it(tmp_path: Path, value: Any) -> None:
    """And what is no JSON is not of the schema."""
    metric = schema_metric(tmp_path, SCHEMA)
    valid = jsonschema.Draft202012Validator(SCHEMA).is_valid(value)
    assert score_one(metric, "", json.dumps(value), []) == float(valid)
    assert score_one(metric, "", f"Here: {json.dumps(value)}", []) == 0.0


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ("{", "no JSON Schema"),
        ({"type": "thing"}, "no JSON Schema"),
        ({"$ref": "https://example.org/x.json"}, "refers to https://example.org/x.json"),
    ],
)
def test_a_wrong_schema_is_told(tmp_path: Path, schema: Any, message: str) -> None:
    """Nothing is fetched."""
    with pytest.raises(ConfigError, match=message):
        score_one(schema_metric(tmp_path, schema), "", "{}", [])


def test_the_schema_counts_in_the_digest(tmp_path: Path) -> None:
    """Another schema is another metric; an absent one is a configuration error."""
    name = schema_metric(tmp_path, SCHEMA).name
    before = metrics_digest([name])
    schema_metric(tmp_path, {**SCHEMA, "required": []})
    assert metrics_digest([name]) != before
    with pytest.raises(ConfigError, match=r"absent\.json"):
        metrics_digest(["json_schema:absent.json"])
