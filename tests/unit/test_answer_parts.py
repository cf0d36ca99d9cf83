"""The other parts of an answer, failed rows and critical rows, from a source's columns to the
evidence.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sluicegate.config import PrepareParams, SourceSpec
from sluicegate.data import preparing
from sluicegate.data.examples import read_examples, write_examples
from sluicegate.data.rows import fields_of, make_example
from sluicegate.errors import ConfigError, DataError
from sluicegate.evaluation import evaluate, read_evidence, write_evidence
from sluicegate.hashing import digest_value
from sluicegate.metrics import METRICS, Metric, metrics_digest
from sluicegate.records import Evidence, Example, Generation

FIELDS: dict[str, Any] = {
    "inputs": {"question": "q"},
    "reference": "a",
    "expected": {"contexts": "gold", "tool_calls": "calls"},
    "critical": "must",
}
ROW: dict[str, Any] = {"q": "why?", "a": "so", "gold": ["kb-1"], "calls": None, "must": False}


def read(**cells: Any) -> Example:
    spec = SourceSpec(kind="jsonl", path="x", fields=FIELDS)
    return make_example("s", {**ROW, **cells}, fields_of("s", spec), "x.jsonl, line 1", "1")


def same(source: str, output: str, references: Any) -> float:
    """1 where the JSON is the same."""
    return float(output == references[0])


SAME = Metric("same", "higher", "0 or 1", (0.0, 1.0), same, reads="contexts")


def scored(golden: list[Example], outputs: list[Generation]) -> Evidence:
    METRICS["same"] = SAME
    try:
        return evaluate("r", golden, "g", outputs, ["same", "exact_match"])
    finally:
        del METRICS["same"]


def said(**parts: Any) -> Generation:
    return Generation("so", 10, 4, 0.5, True, **parts)


@pytest.mark.parametrize(
    ("cell", "kept"),
    [
        (["kb-1", {"text": "a", "id": 2}], '["kb-1",{"id":2,"text":"a"}]'),
        ('[{"name": "refund"}]', '[{"name":"refund"}]'),
        ({"name": "refund"}, '[{"name":"refund"}]'),
        ("kb-1", '["kb-1"]'),
        ([], "[]"),
        (7, "[7]"),
    ],
)
def test_a_cell_becomes_a_list_as_json(cell: Any, kept: str) -> None:
    """Lists, JSON in a text and single values all become canonical JSON lists; that none is
    expected can be said too.
    """
    assert read(calls=cell).expected == {"contexts": '["kb-1"]', "tool_calls": kept}


def test_a_cell_that_says_nothing_expects_nothing() -> None:
    """Null and blank cells give a row that does not say what is right."""
    assert read(gold="", calls=None).expected == {}


@pytest.mark.parametrize("cell", ["[1,", float("nan"), {1, 2}])
def test_what_is_not_json_is_refused(cell: Any) -> None:
    """The message names line and column."""
    with pytest.raises(DataError, match="line 1: field gold"):
        read(gold=cell)


@pytest.mark.parametrize(
    ("cell", "critical"),
    [(True, True), ("YES", True), (1, True), ("", False), (None, False), ("no", False)],
)
def test_critical_rows_are_marked(cell: Any, critical: bool) -> None:
    """By the usual ways to write yes and no."""
    assert read(must=cell).critical is critical


@pytest.mark.parametrize("cell", ["perhaps", 2, []])
def test_neither_yes_nor_no_is_refused(cell: Any) -> None:
    """Nothing is guessed."""
    with pytest.raises(DataError, match="neither yes nor no"):
        read(must=cell)


@pytest.mark.parametrize(
    "expected", [{"answers": "a"}, {"contexts": ""}, {"contexts": 1}, "gold", ["gold"]]
)
def test_a_wrong_section_is_a_configuration_error(expected: Any) -> None:
    """Unknown parts and what is no column are told at the source."""
    spec = SourceSpec(kind="jsonl", path="x", fields={**FIELDS, "expected": expected})
    with pytest.raises(ConfigError, match=r"expected: columns were expected"):
        fields_of("s", spec)


def test_prepared_rows_keep_both_and_others_their_bytes(tmp_path: Path) -> None:
    """Rows come back as they were written; a row without either is written as ever."""
    rows = [read(must=True), replace(read(gold=None), id="2")]
    write_examples(tmp_path / "e.jsonl", rows)
    assert read_examples(tmp_path / "e.jsonl") == rows
    first, second = map(json.loads, (tmp_path / "e.jsonl").read_text().splitlines())
    assert (first["critical"], first["expected"]) == (True, {"contexts": '["kb-1"]'})
    assert set(second) == {"id", "group", "inputs", "reference", "source"}


@pytest.mark.parametrize("value", [False, 1, "true", {}])
def test_a_damaged_mark_is_refused(tmp_path: Path, value: Any) -> None:
    """A prepared file says nothing of rows that are not critical."""
    row = {"id": "1", "group": "g", "inputs": {"q": "w"}, "reference": ["a"], "source": "s"}
    (tmp_path / "e.jsonl").write_text(json.dumps({**row, "critical": value}) + "\n")
    with pytest.raises(DataError, match="critical"):
        read_examples(tmp_path / "e.jsonl")


def test_expected_parts_are_redacted_and_stay_json() -> None:
    """A mail in an argument goes, a long number that is no text stays a number."""
    call = {"name": "send", "arguments": {"to": "lin@example.org", "n": 4111111111111111}}
    rows = [replace(read(calls=call), id=str(n), group=str(n)) for n in range(2)]
    rows[1] = replace(rows[1], inputs={"question": "what else?"})
    params = PrepareParams(minimum_golden=1, golden_fraction=1)
    found = preparing.prepare({"s": ("golden", rows)}, params, trains=False).golden[0]
    arguments = json.loads(found.expected["tool_calls"])[0]["arguments"]
    assert arguments == {"to": "[EMAIL]", "n": 4111111111111111}


def test_a_metric_reads_its_part() -> None:
    """Its output and references are the JSON of that part; an answer that lacks it has an empty
    list.
    """
    golden = [replace(read(), id=str(n)) for n in range(3)]
    parts: list[dict[str, str]] = [{"contexts": '["kb-1"]'}, {}, {"contexts": "[]"}]
    rows = scored(golden, [said(fields=part) for part in parts]).rows
    assert [row.scores["same"] for row in rows] == [1.0, 0.0, 0.0]
    assert [row.fields for row in rows] == parts


def test_a_row_that_does_not_say_what_is_right_gives_no_score() -> None:
    """The metric then has no scores at all, and the reason names row and part."""
    golden = [read(), replace(read(gold=None), id="2")]
    evidence = scored(golden, [said(fields={"contexts": '["kb-1"]'})] * 2)
    assert set(evidence.summaries) == {"exact_match"}
    assert evidence.unscored["same"].rows == 1
    assert "example 2 does not say which contexts" in evidence.unscored["same"].reason


def test_a_failed_row_has_the_worst_scores() -> None:
    """Whatever it answered before it failed, and although nothing was expected of it."""
    golden = [read(), replace(read(gold=None), id="2")]
    right = {"contexts": '["kb-1"]'}
    evidence = scored(golden, [said(fields=right), said(fields=right, failure="ValueError: no")])
    assert [row.scores for row in evidence.rows] == [
        {"same": 1.0, "exact_match": 1.0},
        {"same": 0.0, "exact_match": 0.0},
    ]
    assert [row.failure for row in evidence.rows] == ["", "ValueError: no"]


def test_evidence_keeps_them(tmp_path: Path) -> None:
    """Parts, failures, who answered and which rows are critical come back from the file and count
    in the digest, but only where a row has any.
    """
    golden = [read(must=True), replace(read(), id="2")]
    evidence = scored(
        golden, [said(fields={"contexts": "[]"}, answered_by="m1 fp_9"), said(failure="timed out")]
    )
    write_evidence(tmp_path / "e.parquet", evidence)
    assert read_evidence(tmp_path / "e.parquet") == evidence
    bare = scored([read()], [said()]).rows[0].content()
    assert not {"fields", "failure", "answered_by", "critical"} & set(bare)
    digests = {digest_value(row.content()) for row in evidence.rows}
    assert len({*digests, digest_value(bare)}) == 3


def test_what_a_metric_reads_counts_in_its_digest() -> None:
    """And leaves the digest of those that read the text as it was."""
    try:
        METRICS["same"] = SAME
        first = metrics_digest(["same"])
        METRICS["same"] = replace(SAME, reads="tool_calls")
        assert metrics_digest(["same"]) != first
    finally:
        del METRICS["same"]
