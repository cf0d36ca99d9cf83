"""What holds for every kind of source, present and future."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sluicegate.config import SourceSpec
from sluicegate.data import SOURCES, is_absent, read_source
from sluicegate.errors import ConfigError, DataError

FIELDS: dict[str, Any] = {
    "id": "id",
    "group": "group",
    "inputs": {"text": "body"},
    "reference": "sum",
    "slices": ["part"],
}
TABLE = [
    {"id": f"r{n}", "group": f"g{n // 2}", "body": f"  text {n}", "sum": f"sum {n}", "part": "a"}
    for n in range(5)
]


def _jsonl(path: Path, table: list[dict[str, str]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in table), "utf-8")


def _csv(path: Path, table: list[dict[str, str]]) -> None:
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(FIELDS) and list(TABLE[0]))
        writer.writeheader()
        writer.writerows(table)


def _parquet(path: Path, table: list[dict[str, str]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([(name, pa.string()) for name in TABLE[0]])
    pq.write_table(pa.Table.from_pylist(table, schema), path)


def _huggingface(path: Path, table: list[dict[str, str]]) -> None:
    datasets = pytest.importorskip("datasets")
    columns = {name: [row[name] for row in table] for name in TABLE[0]}
    datasets.Dataset.from_dict(columns).save_to_disk(str(path))


def _tweetsumm(path: Path, table: list[dict[str, str]]) -> None:
    _jsonl(path, [{**row, "summaries": row["sum"]} for row in table])


MADE: dict[str, Callable[[Path, list[dict[str, str]]], str | None]] = {
    "jsonl": _jsonl,
    "csv": _csv,
    "parquet": _parquet,
    "huggingface": _huggingface,
    "tweetsumm": _tweetsumm,
}
"""Makes a source of the kind that holds a table; returns its `path` where that is no file."""
KINDS = sorted(SOURCES)


def source(kind: str, folder: Path, table: list[dict[str, str]], **more: Any) -> SourceSpec:
    """A source of this kind that holds `table`."""
    path = folder / "rows"
    address = MADE[kind](path, table) or str(path)
    return SourceSpec(**{"kind": kind, "path": address, "fields": FIELDS, **more})


def test_every_kind_is_here() -> None:
    """A new row of the table comes with a way to make one for these tests."""
    assert MADE.keys() == SOURCES.keys()


@pytest.mark.parametrize("kind", KINDS)
def test_rows_come_in_whole(kind: str, tmp_path: Path) -> None:
    """Ids, groups, texts with their white space, references and slices are those that were written."""
    found = read_source("s", source(kind, tmp_path, TABLE), tmp_path)
    assert [
        (row.id, row.group, row.inputs["text"], row.reference, row.slices["part"], row.source)
        for row in found.rows
    ] == [(r["id"], r["group"], r["body"], (r["sum"],), r["part"], "s") for r in TABLE]


@pytest.mark.parametrize("kind", KINDS)
def test_the_digest_is_of_the_content(kind: str, tmp_path: Path) -> None:
    """Reading twice gives the same digest; one changed letter gives another."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one = source(kind, tmp_path / "a", TABLE)
    other = source(kind, tmp_path / "b", [*TABLE[:-1], {**TABLE[-1], "sum": "else"}])
    first = read_source("s", one, tmp_path).digest
    assert read_source("s", one, tmp_path).digest == first
    assert read_source("s", other, tmp_path).digest != first


@pytest.mark.parametrize("kind", KINDS)
def test_a_source_of_no_rows_is_refused(kind: str, tmp_path: Path) -> None:
    """No rows are an error with a hint, not an empty set."""
    with pytest.raises(DataError, match="holds no rows") as caught:
        read_source("s", source(kind, tmp_path, []), tmp_path)
    assert caught.value.hint


@pytest.mark.parametrize("kind", KINDS)
def test_an_id_used_twice_and_a_blank_text_are_told_together(kind: str, tmp_path: Path) -> None:
    """All rows that cannot be used are named, with field and place."""
    bad = [*TABLE, TABLE[0], {**TABLE[1], "id": "x", "body": " "}]
    with pytest.raises(DataError, match="2 rows cannot be used") as caught:
        read_source("s", source(kind, tmp_path, bad), tmp_path)
    assert "'r0' was already used" in str(caught.value)
    assert "field body: empty text" in str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
def test_a_column_that_is_not_there_is_named(kind: str, tmp_path: Path) -> None:
    """The message names the column."""
    fields = {**FIELDS, "slices": ["colour"]}
    with pytest.raises(DataError, match="colour"):
        read_source("s", source(kind, tmp_path, TABLE, fields=fields), tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_an_option_that_it_does_not_know_is_refused(kind: str, tmp_path: Path) -> None:
    """A misspelt option never passes in silence."""
    with pytest.raises(ConfigError, match="unknown option 'colour'"):
        read_source("s", source(kind, tmp_path, TABLE, options={"colour": 1}), tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_only_a_source_that_needs_a_file_may_be_absent(kind: str, tmp_path: Path) -> None:
    """An optional source without its file is empty; one that needs none is never taken for absent."""
    entry = SourceSpec(kind=kind, path="nowhere", fields=FIELDS, optional=True)
    assert is_absent(entry, tmp_path) == SOURCES[kind].needs_file
