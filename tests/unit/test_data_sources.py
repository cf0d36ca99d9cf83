"""Sources: rows come in whole, and what is wrong is named by file, line and field."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from sluicegate.config import SourceSpec
from sluicegate.data import SOURCES, read_source
from sluicegate.errors import ConfigError, DataError, SluiceError

TURNS = [{"role": "customer", "text": "my bag\nis lost"}, {"role": "agent", "text": "Found it 🙂"}]
FIELDS: dict[str, Any] = {
    "id": "id",
    "group": "group",
    "inputs": {"conversation": "turns"},
    "reference": "summaries",
}
ROW: dict[str, Any] = {
    "id": "r1",
    "group": "g1",
    "turns": TURNS,
    "summaries": ["Bag found.", "It was lost."],
}


def spec(kind: str, path: Path, fields: dict[str, Any] | None = None, **options: Any) -> SourceSpec:
    """A source entry as sources.yaml would give it."""
    return SourceSpec(
        kind=kind, path=str(path), fields=FIELDS if fields is None else fields, options=options
    )


def jsonl(folder: Path, *lines: Any) -> SourceSpec:
    """A JSON Lines source of objects or raw lines."""
    path = folder / "rows.jsonl"
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_text("\n".join(texts) + "\n", "utf-8")
    return spec("jsonl", path)


def test_turns_are_rendered_and_references_kept(tmp_path: Path) -> None:
    """A list of turns becomes one line per speaker, and every reference stays."""
    found = read_source("s", jsonl(tmp_path, ROW, {**ROW, "id": 7, "summaries": "One."}), tmp_path)
    assert found.rows[0].inputs == {"conversation": "Customer: my bag is lost\nAgent: Found it 🙂"}
    assert found.rows[0].reference == ("Bag found.", "It was lost.")
    assert (found.rows[1].id, found.rows[1].reference, found.rows[1].source) == (
        "7",
        ("One.",),
        "s",
    )


def test_digest_is_of_the_bytes(tmp_path: Path) -> None:
    """One changed byte, even white space, gives another digest; the same bytes the same."""
    first = read_source("s", jsonl(tmp_path, ROW), tmp_path).digest
    assert read_source("s", jsonl(tmp_path, ROW), tmp_path).digest == first
    assert read_source("s", jsonl(tmp_path, json.dumps(ROW) + " "), tmp_path).digest != first


def test_a_line_separator_inside_a_text_is_no_new_line(tmp_path: Path) -> None:
    """U+2028 inside a JSON string does not end the line."""
    row = {**ROW, "summaries": ["a\u2028b"]}
    assert (
        len(read_source("s", jsonl(tmp_path, json.dumps(row, ensure_ascii=False)), tmp_path).rows)
        == 1
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"id": "r2"', "line 2: not valid JSON"),
        ("[1]", "line 2: a JSON object was expected"),
        ('{"id": NaN}', "line 2: not valid JSON: NaN"),
        ('{"id": "a", "id": "b"}', "line 2: not valid JSON: key 'id' appears twice"),
        ("[" * 100_000, "line 2:"),
        ({**ROW, "id": "r1"}, "field id: 'r1' was already used in .*line 1"),
        ({"id": "r2", "group": "g", "summaries": ["x"]}, "line 2: field 'turns' is missing"),
        ({**ROW, "id": "r2", "summaries": ["  "]}, r"line 2: field summaries\[0\]: empty text"),
        ({**ROW, "id": "r2", "summaries": []}, "line 2: field summaries: no reference"),
        (
            {**ROW, "id": "r2", "summaries": [4]},
            r"line 2: field summaries\[0\]: text was expected, not int 4",
        ),
        ({**ROW, "id": "r2", "turns": []}, "line 2: field turns: no turns"),
        (
            {**ROW, "id": "r2", "turns": [{"role": "ghost", "text": "x"}]},
            r"field turns\[0\].role: 'ghost' is unknown",
        ),
        ({**ROW, "id": "r2", "turns": [{"role": "agent"}]}, r"field turns\[0\]: a turn needs"),
        ({**ROW, "id": 1.5}, "line 2: field id: text was expected, not float"),
        ({**ROW, "id": True}, "line 2: field id: text was expected, not bool"),
        ({**ROW, "id": "\ud800"}, "line 2: field id: holds a NUL or half"),
        ({**ROW, "id": None}, "line 2: field id: text was expected, not nothing"),
    ],
)
def test_a_bad_json_line_is_named(tmp_path: Path, line: Any, message: str) -> None:
    """Whatever is wrong with line 2, the error names file, line and field and exits with 2."""
    with pytest.raises(DataError, match=message) as caught:
        read_source("s", jsonl(tmp_path, ROW, line), tmp_path)
    assert "rows.jsonl, line" in str(caught.value)
    assert caught.value.exit_code == 2


def test_bytes_that_are_not_utf8_name_the_line(tmp_path: Path) -> None:
    """A Latin-1 file is refused with the line of the first bad byte."""
    (tmp_path / "rows.jsonl").write_bytes(json.dumps(ROW).encode() + b'\n{"id": "\xe9"}\n')
    with pytest.raises(DataError, match="line 2: not UTF-8"):
        read_source("s", spec("jsonl", tmp_path / "rows.jsonl"), tmp_path)


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet", "tweetsumm"])
def test_a_missing_or_empty_file_is_refused(tmp_path: Path, kind: str) -> None:
    """Every file kind refuses a path that is not there and a file of no bytes."""
    path = tmp_path / "rows.any"
    with pytest.raises(DataError, match="is missing"):
        read_source("s", spec(kind, path), tmp_path)
    path.write_bytes(b"")
    with pytest.raises(DataError):
        read_source("s", spec(kind, path), tmp_path)


def test_a_file_under_dvc_says_how_to_fetch_it(tmp_path: Path) -> None:
    """Where only the .dvc file is there, the hint is `dvc pull`."""
    (tmp_path / "rows.jsonl.dvc").write_text("outs: []")
    with pytest.raises(DataError) as caught:
        read_source("s", spec("jsonl", tmp_path / "rows.jsonl"), tmp_path)
    assert "dvc pull" in caught.value.hint


@pytest.mark.parametrize(
    "entry",
    [
        SourceSpec(kind="xml", path="x"),
        SourceSpec(kind="no.such:reader", path="x"),
        SourceSpec(
            kind="jsonl", path="x", fields={"inputs": {"a": "b"}, "reference": "c", "extra": "d"}
        ),
        SourceSpec(kind="jsonl", path="x", fields={"reference": "c"}),
        SourceSpec(kind="jsonl", path="x", fields={"inputs": {"a": 3}, "reference": "c"}),
        SourceSpec(kind="jsonl", path="x", fields=FIELDS, options={"delimiter": ";"}),
        SourceSpec(kind="tweetsumm", path="x", options={"limit": "many"}),
        SourceSpec(kind="csv", path="x", fields=FIELDS, options={"delimiter": "||"}),
    ],
)
def test_a_wrong_entry_is_a_configuration_error(tmp_path: Path, entry: SourceSpec) -> None:
    """A mistake in sources.yaml names the entry, before any file is read."""
    with pytest.raises(ConfigError, match=r"sources\.yaml: s"):
        read_source("s", entry, tmp_path)


def test_a_reader_of_ones_own_is_taken_by_name(tmp_path: Path) -> None:
    """`module:function` is called like a built-in kind."""
    entry = jsonl(tmp_path, ROW).model_copy(update={"kind": "sluicegate.data.jsonl:read"})
    assert read_source("s", entry, tmp_path).rows[0].id == "r1"


CSV_FIELDS = {"id": "id", "inputs": {"text": "body"}, "reference": "sum"}


def test_csv_reads_quotes_encodings_and_several_references(tmp_path: Path) -> None:
    """Quoted line breaks, a byte order mark, another delimiter and several references in one cell are read."""
    (tmp_path / "rows.csv").write_bytes('\ufeffid;body;sum\n1;"two\nlines";a || b\n'.encode())
    entry = spec("csv", tmp_path / "rows.csv", CSV_FIELDS, delimiter=";", reference_separator="||")
    row = read_source("s", entry, tmp_path).rows[0]
    assert (row.inputs["text"], row.reference, row.group) == ("two\nlines", ("a", "b"), "s/1")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,body,sum\n1,a,b\n2,a\n", "line 3: 2 cells"),
        ("id,body,sum\n1,a,b\n2,,b\n", "line 3: field body: empty text"),
        ('id,body,sum\n1,"a,b\n', "line 2: not valid CSV"),
        ("id,body\n1,a\n", "line 1: column 'sum' is missing"),
        ("id,id,body,sum\n1,1,a,b\n", "appears twice"),
        ('id,body,sum\n1,"x\ny",b\n1,a,b\n', "line 4: field id: '1' was already used in .*line 2"),
        ("id,body,sum\n", "holds no rows"),
    ],
)
def test_a_bad_csv_line_is_named(tmp_path: Path, text: str, message: str) -> None:
    """Ragged, empty, unclosed, headless and repeated lines are refused by line number in the file."""
    (tmp_path / "rows.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        read_source("s", spec("csv", tmp_path / "rows.csv", CSV_FIELDS), tmp_path)


def test_parquet_reads_structs_and_names_a_null(tmp_path: Path) -> None:
    """Lists of structs are turns; a null cell names its row; a column that is absent is named."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "rows.parquet"
    pq.write_table(pa.Table.from_pylist([ROW]), path)
    assert read_source("s", spec("parquet", path), tmp_path).rows[0].reference == (
        "Bag found.",
        "It was lost.",
    )
    pq.write_table(pa.Table.from_pylist([ROW, {**ROW, "id": None}]), path)
    with pytest.raises(DataError, match="row 2: field id"):
        read_source("s", spec("parquet", path), tmp_path)
    pq.write_table(pa.table({"id": ["a"]}), path)
    with pytest.raises(DataError, match="column 'group' is missing"):
        read_source("s", spec("parquet", path), tmp_path)


def test_every_kind_gives_the_same_rows(tmp_path: Path) -> None:
    """JSON Lines, CSV and Parquet of the same table give the same examples."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = [{"id": f"r{n}", "body": f"text {n}", "sum": f"short {n}"} for n in range(5)]
    jsonl(tmp_path, *table)
    pq.write_table(pa.Table.from_pylist(table), tmp_path / "rows.parquet")
    with (tmp_path / "rows.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, ["id", "body", "sum"])
        writer.writeheader()
        writer.writerows(table)
    found = [
        read_source("s", spec(k, tmp_path / f"rows.{k}", CSV_FIELDS), tmp_path).rows
        for k in ("jsonl", "csv", "parquet")
    ]
    assert found[0] == found[1] == found[2]


OFFICIAL = {
    "conversation_id": "c1",
    "tweet_ids_sentence_offset": [
        {"tweet_id": 11, "sentence_offsets": ["[0, 6]", "[7, 11]"]},
        {"tweet_id": 12, "sentence_offsets": ["[6, 20]"]},
    ],
    "annotations": [
        {"extractive": [], "abstractive": ["Bag lost.", "Agent looks."]},
        {"extractive": []},
    ],
}


def official(folder: Path, tweets: str, **options: Any) -> SourceSpec:
    """The official release of one conversation, with a twcs.csv of `tweets`."""
    (folder / "final.jsonl").write_text(json.dumps(OFFICIAL) + "\n")
    (folder / "twcs.csv").write_text("tweet_id,author_id,inbound,created_at,text\n" + tweets)
    return spec("tweetsumm", folder / "final.jsonl", {}, **options)


def test_the_official_tweetsumm_release_is_joined_with_the_tweets(tmp_path: Path) -> None:
    """Sentence offsets cut the tweets, `inbound` decides the speaker, sentences of a summary are joined."""
    entry = official(
        tmp_path,
        '11,u,True,d,"My bag is lost"\n12,a,False,d,"@115 We are looking"\n',
        twcs="twcs.csv",
    )
    row = read_source("t", entry, tmp_path).rows[0]
    assert row.inputs["conversation"] == "Customer: My bag is l\nAgent: e are looking"
    assert (row.id, row.reference) == ("c1", ("Bag lost. Agent looks.",))


def test_a_tweet_without_text_is_no_turn(tmp_path: Path) -> None:
    """A turn of white space disappears; a turn whose text is not text is still refused."""
    record = {
        "conversation_id": "c1",
        "turns": [*TURNS, {"role": "agent", "text": " "}],
        "summaries": ["S."],
    }
    entry = jsonl(tmp_path, record).model_copy(update={"kind": "tweetsumm", "fields": {}})
    assert read_source("t", entry, tmp_path).rows[0].inputs["conversation"].count("\n") == 1
    jsonl(tmp_path, {**record, "turns": [{"role": "agent", "text": None}]})
    with pytest.raises(DataError, match=r"turns\[0\].text: text was expected, not nothing"):
        read_source("t", entry, tmp_path)


def test_a_tweet_that_is_absent_is_named_or_skipped_on_request(tmp_path: Path) -> None:
    """Nothing is left out in silence: an error by default, a count with skip_incomplete."""
    with pytest.raises(DataError, match="line 1: tweet 12 is not in"):
        read_source(
            "t", official(tmp_path, "11,u,True,d,My bag is lost\n", twcs="twcs.csv"), tmp_path
        )
    entry = official(
        tmp_path, "11,u,True,d,My bag is lost\n", twcs="twcs.csv", skip_incomplete=True
    )
    with (tmp_path / "final.jsonl").open("a") as stream:
        stream.write(
            json.dumps({"conversation_id": "c2", "turns": TURNS, "summaries": ["Fine."]}) + "\n"
        )
    found = read_source("t", entry, tmp_path)
    assert ([row.id for row in found.rows], found.skipped) == (["c2"], 1)


def test_the_official_release_without_tweets_says_where_they_are(tmp_path: Path) -> None:
    """Without `twcs` the error says what to download."""
    with pytest.raises(ConfigError) as caught:
        read_source("t", official(tmp_path, ""), tmp_path)
    assert "twcs.csv" in caught.value.hint


def test_the_limit_is_a_stable_choice(tmp_path: Path) -> None:
    """A limit picks by hash of the id: a larger one contains a smaller one."""
    lines = [{"conversation_id": f"c{n}", "turns": TURNS, "summaries": ["S."]} for n in range(20)]
    entry = jsonl(tmp_path, *lines).model_copy(update={"kind": "tweetsumm", "fields": {}})
    few, more = (
        {
            row.id
            for row in read_source(
                "t", entry.model_copy(update={"options": {"limit": n}}), tmp_path
            ).rows
        }
        for n in (5, 9)
    )
    assert (len(few), len(more)) == (5, 9)
    assert few < more


def test_a_saved_hugging_face_dataset_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A local dataset gives rows; a split that is not there is a clear error."""
    datasets = pytest.importorskip("datasets")
    datasets.Dataset.from_list([ROW]).save_to_disk(str(tmp_path / "one"))
    found = read_source("h", spec("huggingface", Path("one")), tmp_path)
    assert found.rows[0].reference == ("Bag found.", "It was lost.")
    datasets.DatasetDict({"train": datasets.Dataset.from_list([ROW])}).save_to_disk(
        str(tmp_path / "many")
    )
    with pytest.raises(SluiceError, match="split test"):
        read_source("h", spec("huggingface", Path("many"), None, split="test"), tmp_path)


def test_the_table_names_the_documented_kinds() -> None:
    """The five kinds of the issue are there."""
    assert set(SOURCES) >= {"jsonl", "csv", "parquet", "huggingface", "tweetsumm"}
