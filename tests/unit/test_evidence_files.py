"""Evidence files: Parquet that any tool reads, whole or refused, and the digest that the same
values always had.
"""

from __future__ import annotations

import json
import math
import random
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
import evidence_file
from sluicegate.errors import EvidenceError, IntegrityError
from sluicegate.evaluation import read_evidence, write_evidence
from sluicegate.evaluation.files import ROWS_AT_ONCE
from sluicegate.hashing import digest_value
from sluicegate.records import Evidence, JudgeUse, ScoredExample, Summary
from soak_scale import scaled


def made(count: int = 5) -> Evidence:
    """Evidence with slices, a judge's reasons, and text of all kinds."""
    rows = tuple(
        ScoredExample(
            f"e{n:05}", f"g{n // 2}", f"answer {n} \u00fc \u202e \U0001f600\n\x00",
            {"rouge1": n / count, "judge:clear": 0.5},
            0.25, 100 + n, n, finished=n % 2 == 0, slices={"industry": "bank",
            **({"tier": ""} if n % 2 else {})},
            reasons={"judge:clear": "so"} if n % 3 else {},
        )
        for n in range(count)
    )  # fmt: skip
    summaries = {name: Summary(0.4, 0.3, 0.5, count, count) for name in ("rouge1", "judge:clear")}
    return Evidence(
        "r",
        "g",
        "m",
        rows,
        summaries,
        {"latency_p50": 0.25},
        {"clear": JudgeUse("d" * 64, count, 0)},
    )


def as_before(evidence: Evidence) -> dict[str, Any]:
    """What was hashed before rows were streamed."""
    value = asdict(evidence)
    for name in ("judges", "unscored"):
        if not value[name]:
            del value[name]
    assert not value.pop("set_scores")  # not there yet
    for row in value["rows"]:
        for name in ("slices", "reasons", "first_token"):
            if not row[name]:
                del row[name]
        for name in ("fields", "failure", "answered_by", "critical", "repeats"):  # not yet
            assert not row.pop(name)
    return value


@pytest.mark.parametrize("count", [1, 5, ROWS_AT_ONCE, 2 * ROWS_AT_ONCE + 1])
def test_round_trip(tmp_path: Path, count: int) -> None:
    """What is written is read back equal, with its digest, for one row and for several batches of
    them.
    """
    write_evidence(tmp_path / "e.parquet", made(count))
    found = read_evidence(tmp_path / "e.parquet")
    assert found == made(count)
    assert found.digest == made(count).digest


def test_digest_is_the_one_it_was() -> None:
    """Streaming the rows through the hash gives the digest of the whole JSON, with and without
    judges and slices.
    """
    for evidence in (made(), replace(made(), judges={}), replace(made(), rows=())):
        assert (
            evidence.digest == digest_value(as_before(evidence)) == digest_value(evidence.content())
        )
    bare = replace(made(), rows=tuple(replace(row, slices={}, reasons={}) for row in made().rows))
    assert bare.digest == digest_value(as_before(bare))


def test_times_of_first_tokens(tmp_path: Path) -> None:
    """They are kept where they are known, 0 too, as part of the digest; an evidence without any has
    no column for them.
    """
    rows = [
        replace(row, first_token=time)
        for row, time in zip(made().rows, (0.5, None, 0.0, 0.25, None), strict=True)
    ]
    timed = replace(made(), rows=tuple(rows))
    assert ["first_token" in row.content() for row in timed.rows] == [
        True,
        False,
        True,
        True,
        False,
    ]
    assert timed.digest == digest_value(timed.content()) != made().digest
    write_evidence(tmp_path / "e.parquet", timed)
    assert read_evidence(tmp_path / "e.parquet") == timed
    broken = replace(timed, rows=(replace(rows[0], first_token=math.nan), *rows[1:]))
    with pytest.raises(EvidenceError, match="first_token is nan"):
        write_evidence(tmp_path / "e.parquet", broken)


def test_any_tool_reads_the_rows(tmp_path: Path) -> None:
    """pandas sees a row per example, scores, slices and reasons as columns; the rest is in the
    schema's metadata.
    """
    write_evidence(tmp_path / "e.parquet", made())
    table = pd.read_parquet(tmp_path / "e.parquet")
    assert list(table.columns) == [
        "id", "group", "output", "seconds", "prompt_tokens", "completion_tokens", "finished",
        "score.rouge1",
        "score.judge:clear", "slice.industry", "slice.tier", "reason.judge:clear",
    ]  # fmt: skip
    assert table["score.rouge1"].mean() == pytest.approx(0.4)
    head = json.loads(pq.read_schema(tmp_path / "e.parquet").metadata[b"sluicegate.evidence"])
    assert (head["digest"], head["judges"]["clear"]["scored"]) == (made().digest, 5)


def test_no_flipped_bit_is_believed(tmp_path: Path) -> None:
    """Whatever bit is flipped or byte is cut off: refused, or, where nothing means that bit, read
    as it was.
    """
    path, chance, refused = tmp_path / "e.parquet", random.Random(5), 0
    write_evidence(path, made(200))
    sound, truth = path.read_bytes(), made(200)
    for attempt in range(scaled(150, 5000)):
        data = bytearray(sound)
        if attempt % 10 == 0:
            data = data[: chance.randrange(len(data))]
        else:
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        path.write_bytes(bytes(data))
        try:
            assert read_evidence(path) == truth
        except (EvidenceError, IntegrityError):
            refused += 1
    assert refused > 0.8 * scaled(150, 5000)


@pytest.mark.parametrize(
    ("column", "kind", "error"),
    [("finished", None, "column is missing"), ("extra", "x", "column is unknown"),
     ("seconds", "soon", "double was expected"), ("score.", "x", "column is unknown"),
     ("slice.industry", 3, "string was expected")],
)  # fmt: skip
def test_another_shape_is_refused(tmp_path: Path, column: str, kind: object, error: str) -> None:
    """A column that is missing, unknown or of another type is named."""
    path = tmp_path / "e.parquet"
    write_evidence(path, made())
    table = pq.read_table(path)
    if column in table.schema.names:
        table = table.drop_columns([column])
    if kind is not None:
        table = table.append_column(column, [[kind] * 5])
    pq.write_table(table, path)
    with pytest.raises(EvidenceError, match=error):
        read_evidence(path)


def test_a_file_of_something_else(tmp_path: Path) -> None:
    """Another Parquet file, JSON of former times and no file at all are no evidence; each says what
    to do.
    """
    path = tmp_path / "e.parquet"
    pd.DataFrame({"id": ["a"]}).to_parquet(path)
    with pytest.raises(IntegrityError, match="not an evidence file"):
        read_evidence(path)
    path.write_text(json.dumps({**made().content(), "digest": made().digest}))
    with pytest.raises(IntegrityError, match="cannot be read") as caught:
        read_evidence(path)
    assert "evaluate" in caught.value.hint
    with pytest.raises(IntegrityError, match="is missing"):
        read_evidence(tmp_path / "none.parquet")


@pytest.mark.parametrize(
    "judges",
    [
        {"clear": JudgeUse("d", 4, 1)},  # a fifth
        {"clear": JudgeUse("d", 4, 0)},
        {"clear": JudgeUse("d", 5, 0), "other": JudgeUse("d", 5, 0)},
    ],
)
def test_scores_of_a_judge_that_failed_are_refused(
    tmp_path: Path, judges: dict[str, JudgeUse]
) -> None:
    """A judge has scores for all rows with at most a tenth failed, or it has failed rows and no
    scores; anything between is neither written nor read.
    """
    broken = replace(made(), judges=judges)
    with pytest.raises(EvidenceError, match="do not match"):
        write_evidence(tmp_path / "e.parquet", broken)
    write_evidence(tmp_path / "e.parquet", made())
    side = evidence_file.load(tmp_path / "e.parquet") | {
        "judges": {name: asdict(use) for name, use in judges.items()}
    }
    evidence_file.save(tmp_path / "e.parquet", side | {"digest": broken.digest})
    with pytest.raises(EvidenceError, match="do not match"):
        read_evidence(tmp_path / "e.parquet")


def test_broken_text_leaves_the_old_file(tmp_path: Path) -> None:
    """Text that is not Unicode cannot be written: the error says so, and the file that was there
    stays.
    """
    path = tmp_path / "e.parquet"
    write_evidence(path, made())
    before = path.read_bytes()
    rows = (replace(made().rows[0], output="half a pair \ud83d"), *made().rows[1:])
    with pytest.raises(EvidenceError, match="cannot be written"):
        write_evidence(path, replace(made(), rows=rows))
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["e.parquet"]
