"""Slices and costs on their way from a source's columns and a price to the gate."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
import evidence_file
from sluicegate.config import Params, SourcesFile, SourceSpec
from sluicegate.data import jsonl
from sluicegate.data.examples import read_examples, write_examples
from sluicegate.data.rows import fields_of, make_example
from sluicegate.errors import ConfigError, DataError
from sluicegate.evaluation import evaluate, read_evidence, write_evidence
from sluicegate.gates import Policy, decide
from sluicegate.hashing import digest_value
from sluicegate.records import Decision, Evidence, Example, Generation
from sluicegate.yaml_file import load

ROOT = Path(__file__).parents[2]
FIELDS: dict[str, Any] = {"inputs": {"question": "q"}, "reference": "a"}
RELEASE = {"name": "n", "model": "b", "prompt": "p"}
RECORD = {
    "q": "why?",
    "a": "so.",
    "industry": " airline ",
    "vip": True,
    "tier": 2,
    "share": 0.5,
    "empty": "",
    "none": None,
}


def spec(**fields: Any) -> SourceSpec:
    return SourceSpec(kind="jsonl", path="x", fields={**FIELDS, **fields})


def example(slices: list[str]) -> Example:
    return make_example("s", RECORD, fields_of("s", spec(slices=slices)), "x.jsonl, line 1", "1")


def golden(slices: bool = True) -> list[Example]:
    names = [{"industry": "gym" if place % 2 else "bank"} if slices else {} for place in range(30)]
    question = {"q": "why?"}
    return [
        Example(f"e{i:02d}", f"g{i}", question, ("so it is",), "s", name)
        for i, name in enumerate(names)
    ]


def scored(slices: bool = True, **more: Any) -> Evidence:
    outputs = [Generation("so it is", 100, 20, 0.1, True)] * 30
    return evaluate("r" * 64, golden(slices), "g" * 64, outputs, ["rougeL"], **more)


def test_columns_become_slices_as_text() -> None:
    """Text is trimmed, numbers and yes/no are written as JSON writes them; without `slices` there
    are none.
    """
    found = example(["industry", "vip", "tier", "share"]).slices
    assert found == {"industry": "airline", "vip": "true", "tier": "2", "share": "0.5"}
    assert example([]).slices == {}


@pytest.mark.parametrize("column", ["empty", "none", "absent"])
def test_a_row_without_its_slice_is_refused(column: str) -> None:
    """An empty, null or missing value names file, line and column."""
    with pytest.raises(DataError, match=rf"line 1.*{column}"):
        example([column])


@pytest.mark.parametrize("slices", ["industry", [1], [""], {"industry": "x"}, None])
def test_a_wrong_list_of_slices_is_refused(slices: Any) -> None:
    """Anything but a list of column names is an error of the source's configuration."""
    with pytest.raises(ConfigError, match="slices"):
        fields_of("s", spec(slices=slices))


def test_prepared_rows_keep_their_slices(tmp_path: Path) -> None:
    """Rows come back as they were written, and rows without slices have the bytes that they always
    had.
    """
    write_examples(tmp_path / "with.jsonl", golden())
    assert read_examples(tmp_path / "with.jsonl") == golden()
    write_examples(tmp_path / "without.jsonl", golden(slices=False))
    assert read_examples(tmp_path / "without.jsonl") == golden(slices=False)
    assert "slices" not in (tmp_path / "without.jsonl").read_text()


@pytest.mark.parametrize("value", [{}, {"industry": ""}, {"industry": 1}, ["gym"], "gym", None])
def test_damaged_slices_in_prepared_rows_are_refused(tmp_path: Path, value: Any) -> None:
    """A `slices` field that is not text by column names file, line and field."""
    row = {
        "id": "1",
        "group": "g",
        "inputs": {"q": "w"},
        "reference": ["a"],
        "source": "s",
        "slices": value,
    }
    (tmp_path / "rows.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(DataError, match=r"line 1: field slices"):
        read_examples(tmp_path / "rows.jsonl")


def test_evidence_carries_slices_and_older_files_still_read(tmp_path: Path) -> None:
    """Slices come through the file; evidence without any is hashed and written as before there were
    slices.
    """
    write_evidence(tmp_path / "new.parquet", scored())
    assert read_evidence(tmp_path / "new.parquet") == scored()
    assert {row.slices["industry"] for row in scored().rows} == {"gym", "bank"}
    plain = scored(slices=False)
    write_evidence(tmp_path / "old.parquet", plain)
    stored = evidence_file.load(tmp_path / "old.parquet")
    assert all("slices" not in row for row in stored["rows"])
    assert stored.pop("digest") == digest_value(stored) == plain.digest
    assert read_evidence(tmp_path / "old.parquet") == plain


def test_a_price_gives_the_cost_of_a_thousand_answers() -> None:
    """100 tokens in and 20 out at 0.5 and 2 a million are 0.09 for 1,000 answers; without a price
    nothing is said.
    """
    assert scored(price=(0.5, 2.0)).operations["cost_per_1000"] == pytest.approx(0.09)
    assert "cost_per_1000" not in scored().operations


@pytest.mark.parametrize(
    ("price", "decision"), [((0.5, 2.0), "PROMOTE"), ((1.0, 2.0), "REJECT"), (None, "HOLD")]
)
def test_a_budget_for_costs(price: tuple[float, float] | None, decision: str) -> None:
    """A release within its budget passes, a dearer one is rejected, and an unknown cost holds."""
    rule = {"name": "cheap", "kind": "at_most", "metric": "cost_per_1000", "threshold": 0.1}
    found = decide(scored(price=price), None, Policy.model_validate({"rules": [rule]}), facts={})
    assert found.decision is Decision(decision)


@pytest.mark.parametrize(
    "price", [{"input": -1, "output": 1}, {"input": float("nan"), "output": 1}, {"input": 1}, 3]
)
def test_wrong_prices_are_refused(price: Any) -> None:
    """A price is two finite numbers of 0 or more."""
    with pytest.raises(ValueError, match="price"):
        Params.model_validate(
            {"release": {**RELEASE, "price": price}, "evaluate": {"metrics": ["rougeL"]}}
        )


def test_the_sample_says_industry_and_intent() -> None:
    """Every row of the shipped sources has both slices."""
    for name, source in load(ROOT / "registry" / "sources.yaml", SourcesFile).sources.items():
        if source.optional:
            continue
        rows = jsonl.read(name, source, ROOT).rows
        assert all(
            set(row.slices) == {"industry", "intent"} and all(row.slices.values()) for row in rows
        )
