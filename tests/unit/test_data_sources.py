"""Sources: rows come in whole, and what is wrong is named by file, line and field."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from sluicegate.config import SourceSpec, TuneParams
from sluicegate.data import read_examples, read_source, write_examples
from sluicegate.errors import ConfigError, DataError, SluiceError
from sluicegate.yaml_file import load

CASES = Path(__file__).parents[1] / "cases"
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
    assert found.rows[0].inputs == {"conversation": "Customer: my bag\nis lost\nAgent: Found it 🙂"}
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
            {**ROW, "id": "r2", "summaries": [None]},
            r"line 2: field summaries\[0\]: text was expected, not nothing",
        ),
        ({**ROW, "id": "r2", "turns": []}, "line 2: field turns: no turns"),
        (
            {**ROW, "id": "r2", "turns": [{"role": "ghost", "text": "x"}]},
            r"field turns\[0\].role: 'ghost' is unknown",
        ),
        ({**ROW, "id": "r2", "turns": [{"role": "agent"}]}, r"field turns\[0\]: a turn needs"),
        ({**ROW, "id": 1.5}, "line 2: field id: text was expected, not float"),
        ({**ROW, "id": True}, "line 2: field id: text was expected, not bool"),
        ({**ROW, "id": "\ud800"}, "line 2: field id: contains a NUL or half"),
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
    """Quoted line breaks, a byte order mark, another delimiter and several references in one cell
    are read.
    """
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
    """Sentence offsets cut the tweets, `inbound` decides the speaker, sentences of a summary are
    joined.
    """
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
    assert read_source("t", entry, tmp_path).rows[0].inputs["conversation"].count("\n") == 2
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


MESSAGES = {"id": "id", "inputs": {"chat": "messages"}, "reference": "messages"}
CHAT = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "2 + 2?"}]


@pytest.mark.parametrize(
    ("turns", "chat", "answer"),
    [
        ([*CHAT, {"role": "assistant", "content": "4"}], "Customer: 2 + 2?", "4"),
        (
            [{"from": "human", "value": "def f():\n\treturn 1"}, {"from": "gpt", "value": "  x"}],
            "Customer: def f():\n\treturn 1",
            "  x",
        ),
        (
            [
                {"role": "user", "content": [{"type": "text", "text": "Weather?"}]},
                {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [{"function": {"name": "w", "arguments": {"c": "Oslo"}}}],
                },
                {"role": "tool", "content": "9 degrees"},
                {"role": "assistant", "content": [{"type": "text", "text": "Cold."}]},
            ],
            'Customer: Weather?\nAgent: [w {"c": "Oslo"}]\nTool: 9 degrees',
            "Cold.",
        ),
    ],
    ids=["messages", "ShareGPT", "tools and parts"],
)
def test_a_conversation_with_its_answer_is_read(
    tmp_path: Path, turns: list[Any], chat: str, answer: str
) -> None:
    """Where one column holds both, the last answer is the reference, and only what precedes is the
    input.
    """
    entry = jsonl(tmp_path, {"id": "1", "messages": turns})
    row = read_source("s", entry.model_copy(update={"fields": MESSAGES}), tmp_path).rows[0]
    assert row.inputs["chat"].removeprefix("System: Be brief.\n") == chat
    assert row.reference == (answer,)


@pytest.mark.parametrize(
    ("turns", "message"),
    [
        ([*CHAT, CHAT[1]], "the last turn is no answer"),
        ([CHAT[1], {"role": "assistant", "content": "x", "tool_calls": [{}]}], "is no answer"),
        ("text", "a conversation with an answer was expected"),
        (
            [
                {"role": "user", "content": [{"type": "image_url", "image_url": "x"}]},
                {"role": "assistant", "content": "A cat."},
            ],
            r"messages\[0\]: a part of kind 'image_url', which is no text",
        ),
        ([CHAT[1], {"role": "assistant", "content": ""}], r"messages\[1\].content: empty text"),
    ],
)
def test_a_conversation_whose_text_is_not_certain_is_refused(
    tmp_path: Path, turns: Any, message: str
) -> None:
    """No answer, an answer that calls a tool, an image: the row is named, never guessed at."""
    entry = jsonl(tmp_path, {"id": "1", "messages": turns})
    with pytest.raises(DataError, match=message):
        read_source("s", entry.model_copy(update={"fields": MESSAGES}), tmp_path)


def test_alpaca_rows_may_have_a_blank_input(tmp_path: Path) -> None:
    """One of several inputs may be blank, all of them may not; what was written can be read again."""
    fields = {"inputs": {"task": "instruction", "text": "input"}, "reference": "output"}
    row = {"instruction": "Sum up.", "input": "", "output": "x"}
    entry = jsonl(tmp_path, row).model_copy(update={"fields": fields})
    found = read_source("s", entry, tmp_path).rows
    assert found[0].inputs == {"task": "Sum up.", "text": ""}
    write_examples(tmp_path / "prepared.jsonl", found)
    assert read_examples(tmp_path / "prepared.jsonl") == found
    jsonl(tmp_path, {**row, "instruction": " "})
    with pytest.raises(DataError, match="field instruction: empty text"):
        read_source("s", entry, tmp_path)


@pytest.mark.parametrize(
    ("value", "references"),
    [
        (3, ("3",)),
        ([0, 1], ("0", "1")),
        (True, ("true",)),
        ({"city": "Ōsaka", "n": [1]}, ('{"city": "Ōsaka", "n": [1]}',)),
        ([{"a": 1}, {"a": 2}], ('{"a": 1}', '{"a": 2}')),
    ],
)
def test_references_may_be_labels_and_structures(
    tmp_path: Path, value: Any, references: tuple[str, ...]
) -> None:
    """Numbers, truth values and structures are the text that JSON writes for them."""
    entry = jsonl(tmp_path, {**ROW, "summaries": value})
    assert read_source("s", entry, tmp_path).rows[0].reference == references


def test_golden_rows_may_have_no_reference(tmp_path: Path) -> None:
    """A source for judges names no reference; rows that are trained on need one."""
    fields = {"id": "id", "inputs": {"text": "q"}}
    entry = jsonl(tmp_path, {"id": "1", "q": "?"})
    golden = entry.model_copy(update={"fields": fields, "role": "golden"})
    found = read_source("s", golden, tmp_path).rows
    assert found[0].reference == ()
    write_examples(tmp_path / "golden.jsonl", found)
    assert read_examples(tmp_path / "golden.jsonl") == found
    with pytest.raises(ConfigError, match="reference is missing"):
        read_source("s", golden.model_copy(update={"role": "pool"}), tmp_path)


def test_indentation_is_content(tmp_path: Path) -> None:
    """Leading white space of a field, which is code, is kept."""
    entry = SourceSpec(
        kind="jsonl",
        path=str(CASES / "codeindent.jsonl"),
        fields={"inputs": {"q": "q"}, "reference": "a"},
    )
    row = read_source("s", entry, tmp_path).rows[0]
    assert (row.inputs["q"], row.reference) == ("    def f():\n\treturn 1\n", ("  x",))


def test_a_byte_order_mark_is_no_part_of_the_first_row(tmp_path: Path) -> None:
    """A file that a Windows editor saved is read."""
    entry = SourceSpec(
        kind="jsonl",
        path=str(CASES / "bom.jsonl"),
        fields={"inputs": {"q": "prompt"}, "reference": "response"},
    )
    assert read_source("s", entry, tmp_path).rows[0].inputs == {"q": "Hi"}


def test_all_bad_lines_are_told(tmp_path: Path) -> None:
    """The first 20 of a file are named at once, the others counted, whatever is wrong with each."""
    bad = ["{", {**ROW, "id": "r1"}, {**ROW, "id": None}, *[{"id": f"x{n}"} for n in range(22)]]
    with pytest.raises(DataError) as caught:
        read_source("s", jsonl(tmp_path, ROW, *bad), tmp_path)
    message = str(caught.value)
    assert message.startswith("25 rows cannot be used:")
    for words in ("line 2: not valid JSON", "line 3: field id: 'r1'", "line 4: field id: text"):
        assert words in message
    assert message.count("rows.jsonl, line ") == 21  # one message names two lines
    assert message.endswith("and 5 more")
    (tmp_path / "rows.csv").write_text("id,body,sum\n1,a\n2,,b\n3,a,b\n")
    with pytest.raises(DataError, match=r"2 rows[\s\S]*line 2: 2 cells[\s\S]*line 3: field body"):
        read_source("s", spec("csv", tmp_path / "rows.csv", CSV_FIELDS), tmp_path)


def test_a_column_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    """Parquet may hold a name twice; which of the two is meant is not guessed."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = [pa.array([text]) for text in ("1", "a", "b", "c")]
    table = pa.Table.from_arrays(columns, names=["id", "body", "sum", "sum"])
    pq.write_table(table, tmp_path / "rows.parquet")
    with pytest.raises(DataError, match="column 'sum' is there twice"):
        read_source("s", spec("parquet", tmp_path / "rows.parquet", CSV_FIELDS), tmp_path)


def test_a_slice_is_a_number(tmp_path: Path) -> None:
    """NaN and infinity, which Parquet can hold, are no slice."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    row = {"id": "1", "body": "a", "sum": "b", "part": float("nan")}
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "rows.parquet")
    entry = spec("parquet", tmp_path / "rows.parquet", {**CSV_FIELDS, "slices": ["part"]})
    with pytest.raises(DataError, match="row 1: field part: nan is no value"):
        read_source("s", entry, tmp_path)


@pytest.mark.parametrize("text", ["id;body;sum\n1;a, b, c;d\n", "id\tbody\tsum\n1\ta, b, c\td\n"])
def test_the_delimiter_is_seen_in_the_header(tmp_path: Path, text: str) -> None:
    """Without the option, semicolons and tabs of spreadsheets are read as they are meant."""
    (tmp_path / "rows.csv").write_text(text)
    row = read_source("s", spec("csv", tmp_path / "rows.csv", CSV_FIELDS), tmp_path).rows[0]
    assert (row.inputs["text"], row.reference) == ("a, b, c", ("d",))


@pytest.mark.parametrize("number", [".inf", "-.inf", ".nan"])
def test_numbers_of_the_configuration_are_finite(tmp_path: Path, number: str) -> None:
    """YAML knows infinity; no setting does."""
    path = tmp_path / "tune.yaml"
    path.write_text(f"learning_rate: {number}\n")
    with pytest.raises(ConfigError, match="learning_rate"):
        load(path, TuneParams)
