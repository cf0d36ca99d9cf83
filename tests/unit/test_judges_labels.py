"""Labels: what people wrote is read strictly, put together row by row, and goes out and in without
a change.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from labelled_pairs import DIRECT, PAIRWISE, pairs, scored
from sluicegate.errors import DataError
from sluicegate.judges import Criterion, JudgeRow
from sluicegate.judges.label_files import blank_rows, read_labels, read_rows, write_labels
from sluicegate.judges.labels import Labels, label_value, merged

LLMBAR = Path(os.environ.get("SLUICE_SHARED_DATA", "")) / "llmbar"
ROW = {"id": "a", "source": "task", "output": "An answer.", "label": 4, "rater": "ana"}


def jsonl(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def test_lines_of_one_row_are_labels_of_several_people(tmp_path: Path) -> None:
    """Two people on one answer make one row with the mean of their labels, in [0, 1]; unlabelled
    lines are counted.
    """
    path = jsonl(
        tmp_path / "l.jsonl",
        ROW,
        {**ROW, "rater": "ben", "label": "2"},
        {**ROW, "id": "b", "label": ""},
    )
    found = read_labels(path, DIRECT)
    assert found.unlabelled == 1
    assert [(row.row.id, row.labels, row.raters, row.group) for row in found.rows] == [
        ("a", (0.75, 0.25), ("ana", "ben"), "a")
    ]
    assert found.rows[0].human == 0.5


@pytest.mark.parametrize(
    ("said", "value"),
    [
        ("output", 1.0),
        ("other", 0.0),
        ("tie", 0.5),
        (1, 1.0),
        ("2", 0.0),
        ("Output", 1.0),
        (0.5, 0.5),
        ("2.0", 0.0),
    ],
)
def test_preferences(said: object, value: float) -> None:
    """A preference is named, or 1 and 2 for the first and the second answer."""
    assert label_value(said, PAIRWISE) == value


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ("pairwise", "3"),
        ("pairwise", "better"),
        ("pairwise", "nan"),
        ("direct", "0"),
        ("direct", "6"),
        ("direct", "good"),
        ("direct", "nan"),
        ("direct", "inf"),
    ],
)
def test_a_label_outside_the_scale_is_refused(tmp_path: Path, form: str, said: str) -> None:
    """What is no label of this criterion is an error that names file and line, never a number."""
    criterion = PAIRWISE if form == "pairwise" else DIRECT
    first = "1" if form == "pairwise" else 4
    rows = (
        {**ROW, "other": "Another.", "label": first},
        {**ROW, "id": "b", "other": "X", "label": said},
    )
    path = jsonl(tmp_path / "l.jsonl", *rows)
    with pytest.raises(DataError, match=r"l\.jsonl, row 2"):
        read_labels(path, criterion)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([ROW, {**ROW, "rater": "ben", "output": "Another."}], "two different answers"),
        ([ROW, ROW], "labelled 'a' twice"),
        ([{**ROW, "output": " "}], "output is missing"),
        ([{**ROW, "source": ""}], "source is missing"),
        ([{**ROW, "inputs": "x"}], "inputs: an object"),
        ([{**ROW, "references": 3}], "references: a list"),
        ([{**ROW, "label": True}], "label: text was expected"),
        ([{**ROW, "sentinel": "perhaps"}], "sentinel: true or false"),
        (["text"], "an object was expected"),
    ],
)
def test_wrong_rows_are_refused(tmp_path: Path, rows: list[object], said: str) -> None:
    """A row that is not what it should be stops the import and says so."""
    with pytest.raises(DataError, match=said):
        read_labels(jsonl(tmp_path / "l.jsonl", *rows), DIRECT)


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("no.jsonl", None, "cannot be read"),
        ("l.jsonl", b"{", "not JSON"),
        ("l.jsonl", b"\xff\xfe", "not UTF-8"),
        ("l.json", b"[", "not JSON"),
        ("l.json", b"[" * 200_000, "not JSON"),
        ("l.json", b"5", "a list of objects"),
        ("l.json", b"null", "a list of objects"),
        ("l.csv", b"output,label\nyes,1,2\n", "more or fewer cells"),
        ("l.csv", b'output,label\n"yes,1\n', "line"),
    ],
)
def test_broken_files_are_refused(tmp_path: Path, name: str, data: bytes | None, said: str) -> None:
    """A file that cannot be read as what its name says is an error with the place."""
    if data is not None:
        (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=said):
        read_labels(tmp_path / name, DIRECT)


def test_columns_of_other_names(tmp_path: Path) -> None:
    """A set made elsewhere is read by saying what its columns are called; without ids rows are
    named by content.
    """
    rows = [{"input": "task", "output_1": "One.", "output_2": "Two.", "label": 2}]
    path = tmp_path / "natural.json"
    path.write_text(json.dumps(rows), "utf-8")
    columns = {"source": "input", "output": "output_1", "other": "output_2"}
    found = read_labels(path, PAIRWISE, columns).rows[0]
    assert (found.row.source, found.row.output, found.row.other, found.labels) == (
        "task",
        "One.",
        "Two.",
        (0.0,),
    )
    assert found.row.id == read_labels(path, PAIRWISE, columns).rows[0].row.id
    with pytest.raises(DataError, match="no column answer"):
        read_labels(path, PAIRWISE, {"answer": "output_1"})


def test_lines_about_another_judge_are_not_read(tmp_path: Path) -> None:
    """A file with labels for several judges gives each its own."""
    path = jsonl(
        tmp_path / "l.jsonl",
        {**ROW, "judge": "judge:clear"},
        {**ROW, "id": "b", "judge": "harm", "label": 99},
    )
    assert [row.row.id for row in read_labels(path, DIRECT).rows] == ["a"]


@pytest.mark.parametrize("criterion", [PAIRWISE, DIRECT])
def test_labels_survive_a_round(tmp_path: Path, criterion: Criterion) -> None:
    """What is written is read back equal, sentinels included, and equal sets are equal bytes."""
    labels = (pairs(9) if criterion is PAIRWISE else scored(9))[0]
    rows = (*labels.rows[1:], replace(labels.rows[0], sentinel=True, labels=(0.0,), raters=("",)))
    path = tmp_path / "l.jsonl"
    path.write_text(write_labels(rows, criterion), "utf-8")
    found = read_labels(path, criterion)
    assert found.digest == Labels(rows).digest
    assert write_labels(tuple(reversed(found.rows)), criterion) == path.read_text("utf-8")
    assert write_labels((), criterion) == ""


@pytest.mark.parametrize("ending", [".csv", ".jsonl"])
def test_rows_go_out_to_people_and_come_back(tmp_path: Path, ending: str) -> None:
    """Answers with commas, line ends, quotes and formulas come back as they were once `label` is
    filled in.
    """
    nasty = ["=SUM(1,2)", "'=x", 'a,b\n"c"', "-1", "@me", "+", "'quoted'", "plain", "é 👩‍🚀"]
    rows = [
        (
            JudgeRow(f"r{n}", f"{text} task", text, (f"{text} ref",), "", {"q": text}),
            f"g{n % 3}",
            "",
        )
        for n, text in enumerate(nasty)
    ]
    path = tmp_path / f"rows{ending}"
    path.write_bytes(blank_rows(rows, DIRECT, as_csv=ending == ".csv").encode())
    assert read_labels(path, DIRECT).rows == ()
    assert read_labels(path, DIRECT).unlabelled == len(nasty)
    assert read_rows(path, DIRECT) == [row for row, *_ in rows]
    text = path.read_bytes().decode()
    if ending == ".csv":
        filled = text.replace("\r\n,,r", "\r\n5,ana,r")
        cells = [cell for cell in text.replace("\r\n", ",").split(",") if cell]
        assert not [cell for cell in cells if cell.strip('"')[:1] in "=+@"]
    else:
        filled = text.replace('"label": "", "rater": ""', '"label": 5, "rater": "ana"')
    path.write_bytes(filled.encode())
    found = read_labels(path, DIRECT)
    assert [row.row for row in found.rows] == [row for row, *_ in rows]
    assert {row.labels for row in found.rows} == {(1.0,)}
    assert [row.group for row in found.rows] == [group for _, group, _ in rows]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_labels_from_any_spreadsheet_are_read(tmp_path: Path, delimiter: str) -> None:
    """Where a comma is part of numbers, spreadsheets part cells by semicolons."""
    path = tmp_path / "l.csv"
    rows = (("source", "output", "label"), ("q", '"yes, of course"', "4"))
    text = "\r\n".join(delimiter.join(row) for row in rows)
    path.write_text(f"\ufeff{text}\r\n", "utf-8")
    [found] = read_labels(path, DIRECT).rows
    assert (found.row.output, found.labels) == ("yes, of course", (0.75,))


@pytest.mark.parametrize("as_csv", [True, False])
def test_every_reference_goes_out_and_comes_back(tmp_path: Path, as_csv: bool) -> None:
    """A row with several references keeps them all, beside rows with one and with none."""
    right = [("one", "=two", "three"), ("only",), (), ("a", "b")]
    rows = [(JudgeRow(f"r{n}", "task", "answer", given), "g", "") for n, given in enumerate(right)]
    path = tmp_path / ("rows.csv" if as_csv else "rows.jsonl")
    path.write_bytes(blank_rows(rows, DIRECT, as_csv=as_csv).encode())
    assert [row.references for row in read_rows(path, DIRECT)] == right


def test_the_place_of_an_answer_tells_nothing(tmp_path: Path) -> None:
    """In a pairwise file about half of the pairs are turned, by their digest, and a turned pair has
    another id.
    """
    rows = [(row.row, row.group, "") for row in pairs(200)[0].rows]
    path = tmp_path / "rows.jsonl"
    path.write_text(blank_rows(rows, PAIRWISE, as_csv=False), "utf-8")
    found = read_rows(path, PAIRWISE)
    turned = [new for (old, *_), new in zip(rows, found, strict=True) if new.output == old.other]
    assert 70 < len(turned) < 130
    assert all(row.id.endswith("-turned") for row in turned)
    assert path.read_text("utf-8") == blank_rows(rows, PAIRWISE, as_csv=False)


def test_merging(tmp_path: Path) -> None:
    """Labels of new people and rows are added, a person's second thought replaces the first, other
    answers are refused.
    """
    one = read_labels(jsonl(tmp_path / "1.jsonl", ROW), DIRECT)
    more = [{**ROW, "label": 5}, {**ROW, "rater": "ben", "label": 1}, {**ROW, "id": "b"}]
    together, added, changed = merged(one, read_labels(jsonl(tmp_path / "2.jsonl", *more), DIRECT))
    assert (added, changed, len(together.rows)) == (2, 1, 2)
    assert together.rows[0].labels == (1.0, 0.0)
    assert merged(together, together)[1:] == (0, 0)
    with pytest.raises(DataError, match="two different answers"):
        merged(one, read_labels(jsonl(tmp_path / "3.jsonl", {**ROW, "output": "Another."}), DIRECT))


@pytest.mark.skipif(not LLMBAR.is_dir(), reason="SLUICE_SHARED_DATA names no folder with llmbar")
def test_llmbar_is_read_whole() -> None:
    """All 280 pairs of LLMBar are read, each with the label that it came with, 139 of them for the
    first answer.
    """
    columns = {"source": "input", "output": "output_1", "other": "output_2"}
    files = ("Natural", "Adversarial_Neighbor", "Adversarial_Manual")
    rows = [
        row
        for name in files
        for row in read_labels(LLMBAR / f"{name}.json", PAIRWISE, columns).rows
    ]
    assert len({row.row.id for row in rows}) == 280
    assert sum(row.human for row in rows) == 139
