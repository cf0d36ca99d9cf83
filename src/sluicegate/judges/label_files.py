"""Files of labels: read strictly, written for people to fill in; equal sets are equal bytes.

A file has one line a label. Columns: `output` and `label`; `other` for a pairwise criterion; `id`,
`group`, `rater`, `source`, `reference` (or `references`, a list; in CSV `references.1`,
`references.2`, ...), `sentinel`, `judge`, `release`, and `inputs` (an object; in CSV `inputs.<name>`). Lines
of the same `id` are labels of several people for the same answer. A line without a label is one
that nobody has labelled yet; one whose `judge` is another criterion is not read.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sluicegate.errors import DataError
from sluicegate.hashing import digest_value
from sluicegate.judges.base import JudgeRow
from sluicegate.judges.criteria import METRIC, Criterion
from sluicegate.judges.labels import (
    TURNED,
    LabelledRow,
    Labels,
    label_value,
    same_answer,
    spoken_label,
)

COLUMNS = ("id", "group", "source", "output", "other", "reference", "references", "inputs",
"label", "rater", "sentinel",
           "judge", "release")  # fmt: skip
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_LARGEST_CELL = 16 * 1024 * 1024


def read_labels(
    path: Path, criterion: Criterion, fields: Mapping[str, str] | None = None
) -> Labels:
    """Read labels for `criterion` from a .jsonl, .json (a list) or .csv file.

    Args:
        criterion: says what a label may be: a number of its scale (claims: 0 to 1); pairwise
            `output`, `other` or `tie` (1 and 2 are read as the first two).
        fields: our column to the file's, where they differ, e.g. `{"source": "input"}`.

    Raises:
        DataError: missing, not UTF-8, malformed; a label that is none, an id with two different
            answers, a person who labelled a row twice. The message names file and line.
    """
    grouped: dict[str, LabelledRow] = {}
    blank = 0
    for where, row, found in _rows(path, criterion, fields or {}):
        sentinel = _flag(found["sentinel"], where)
        group = _text(found["group"], "group", where) or row.id
        if not sentinel and _text(found["label"], "label", where).strip() == "":
            blank += 1
            continue
        value = criterion.worst if sentinel else label_value(found["label"], criterion, where)
        rater = _text(found["rater"], "rater", where)
        release = _text(found["release"], "release", where)
        new = LabelledRow(row, group, (value,), (rater,), sentinel, release)
        grouped[row.id] = _joined(grouped[row.id], new, where) if row.id in grouped else new
    return Labels(tuple(grouped.values()), blank)


def read_rows(
    path: Path, criterion: Criterion, fields: Mapping[str, str] | None = None
) -> list[JudgeRow]:
    """The answers of such a file, each once, whether labelled or not.

    Raises:
        DataError: see `read_labels`.
    """
    found: dict[str, JudgeRow] = {}
    for where, row, _ in _rows(path, criterion, fields or {}):
        if found.setdefault(row.id, row) != row:
            raise DataError(
                f"{where}: the id {row.id!r} stands for two different answers.",
                hint="Give each its own id.",
            )
    return list(found.values())


def write_labels(rows: Sequence[LabelledRow], criterion: Criterion) -> str:
    """The rows as JSONL, one line a label, as `read_labels` reads them; equal sets, equal text."""
    lines = []
    for one in sorted(rows, key=lambda row: row.row.id):
        for rater, value in sorted(zip(one.raters, one.labels, strict=True)):
            record = _record(one.row, one.group, one.release)
            record |= (
                {"sentinel": True}
                if one.sentinel
                else {"label": spoken_label(value, criterion), "rater": rater}
            )
            lines.append(json.dumps(record, ensure_ascii=False, sort_keys=True))
    return "\n".join(lines) + "\n" if lines else ""


def blank_rows(
    rows: Sequence[tuple[JudgeRow, str, str]], criterion: Criterion, *, as_csv: bool
) -> str:
    """(row, group, release) as a file for people: the same columns, `label` and `rater` empty.

    In a pairwise file the digest of the row decides which answer stands first. In CSV a cell that a
    spreadsheet would run as a formula gets an apostrophe in front, which reading takes off again.
    """
    records = []
    for row, group, release in rows:
        if criterion.compares and int(digest_value([row.id, row.output, row.other])[:2], 16) % 2:
            row = replace(row, id=f"{row.id}{TURNED}", output=row.other, other=row.output)
        records.append({**_record(row, group, release), "label": "", "rater": ""})
    if not as_csv:
        return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    flat = [_flat(record) for record in records]
    names = list(dict.fromkeys(name for record in flat for name in record))
    buffer = io.StringIO()
    writer = csv.DictWriter(
        buffer, ["label", "rater", *(name for name in names if name not in ("label", "rater"))]
    )
    writer.writeheader()
    writer.writerows(flat)
    return buffer.getvalue()


def _rows(
    path: Path, criterion: Criterion, fields: Mapping[str, str]
) -> Iterator[tuple[str, JudgeRow, dict[str, Any]]]:
    """Where a line stands, its answer, and all its columns by our names."""
    names = {**{column: column for column in COLUMNS}, **_known(fields)}
    for where, record in _records(path):
        found = {ours: record.get(theirs) for ours, theirs in names.items()}
        about = _text(found["judge"], "judge", where).removeprefix(METRIC)
        if about in ("", criterion.name):
            found["inputs"] = _inputs(record, found["inputs"], where)
            found["references"] = found["references"] or _numbered(record)
            yield where, _row(found, criterion, where), found


def _records(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise DataError(
            f"{path} cannot be read: {error.strerror}.", hint="Name a .jsonl, .json or .csv file."
        ) from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text.", hint="Save it as UTF-8.") from error
    if path.suffix == ".csv":
        yield from _csv(path, text)
        return
    for number, value in _listed(path, text) if path.suffix == ".json" else _lines(path, text):
        if not isinstance(value, dict):
            raise DataError(f"{path}, row {number}: an object was expected.")
        yield f"{path}, row {number}", value


def _listed(path: Path, text: str) -> Iterator[tuple[int, Any]]:
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not JSON: {error}") from error
    if not isinstance(values, list):
        raise DataError(
            f"{path}: a list of objects was expected.",
            hint="Or use a .jsonl file with one object per line.",
        )
    yield from enumerate(values, start=1)


def _lines(path: Path, text: str) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except (ValueError, RecursionError) as error:
                raise DataError(f"{path}, line {number}: not JSON: {error}") from error


def _csv(path: Path, text: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    csv.field_size_limit(_LARGEST_CELL)
    delimiter = max(",;\t", key=text.partition("\n")[0].count)  # what spreadsheets write
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        for record in reader:
            where = f"{path}, line {reader.line_num}"
            if None in record or None in record.values():
                raise DataError(
                    f"{where}: more or fewer cells than the header has.",
                    hint="Quote cells with commas.",
                )
            yield where, {name: _unguarded(str(cell)) for name, cell in record.items()}
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: {error}") from error


def _known(fields: Mapping[str, str]) -> Mapping[str, str]:
    unknown = sorted(set(fields) - set(COLUMNS))
    if unknown:
        raise DataError(
            f"there is no column {', '.join(unknown)}.", hint=f"Columns: {', '.join(COLUMNS)}."
        )
    return fields


def _row(found: Mapping[str, Any], criterion: Criterion, where: str) -> JudgeRow:
    output, other = _text(found["output"], "output", where), _text(found["other"], "other", where)
    if criterion.compares and not other.strip():
        raise DataError(
            f"{where}: other is missing.",
            hint="A pairwise label is about two answers: output and other.",
        )
    if not output.strip():
        raise DataError(
            f"{where}: output is missing.", hint="Name its column, e.g. --fields output=answer."
        )
    source = _text(found["source"], "source", where)
    listed = found["references"] or ([found["reference"]] if found["reference"] else [])
    if isinstance(listed, str):
        listed = [listed]
    if not isinstance(listed, list):
        raise DataError(f"{where}: references: a list of texts was expected.")
    references = tuple(_text(one, "references", where) for one in listed)
    inputs: dict[str, str] = found["inputs"]
    given = {"source": source, "output": output, "reference": "".join(references), **inputs}
    lacking = [part for part in criterion.shows if not given.get(part, "").strip()]
    if lacking:
        raise DataError(
            f"{where}: {', '.join(lacking)} is missing; judge {criterion.name} is shown it."
        )
    name = _text(found["id"], "id", where) or digest_value([source, output, other, inputs])[:16]
    return JudgeRow(name, source, output, references, other if criterion.compares else "", inputs)


def _inputs(record: Mapping[str, Any], given: Any, where: str) -> dict[str, str]:
    flat = {
        name.removeprefix("inputs."): cell
        for name, cell in record.items()
        if name.startswith("inputs.")
    }
    if given and not isinstance(given, dict):
        raise DataError(f"{where}: inputs: an object was expected.")
    return {
        str(name): _text(cell, f"inputs.{name}", where)
        for name, cell in {**flat, **(given or {})}.items()
    }


def _numbered(record: Mapping[str, Any]) -> list[Any]:
    """The cells of `references.1`, `references.2`, ..."""
    cells: list[Any] = []
    while (cell := record.get(f"references.{len(cells) + 1}")) is not None:
        cells.append(cell)
    while cells and cells[-1] == "":
        cells.pop()
    return cells


def _text(value: Any, name: str, where: str) -> str:
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise DataError(f"{where}: {name}: text was expected.")
    return str(value)


def _flag(value: Any, where: str) -> bool:
    if value in (None, "", False, "false", "False", "0", 0):
        return False
    if value in (True, "true", "True", "1", 1):
        return True
    raise DataError(f"{where}: sentinel: true or false was expected.")


def _joined(before: LabelledRow, new: LabelledRow, where: str) -> LabelledRow:
    same_answer(before, new, where)
    if new.raters[0] in before.raters:
        raise DataError(
            f"{where}: {new.raters[0] or 'an unnamed person'} labelled {new.row.id!r} twice.",
            hint="Name the person in `rater`, or take out one of the lines.",
        )
    return replace(before, labels=before.labels + new.labels, raters=before.raters + new.raters)


def _record(row: JudgeRow, group: str, release: str) -> dict[str, Any]:
    found = {
        "id": row.id,
        "group": group,
        "source": row.source,
        "output": row.output,
        "other": row.other,
        "release": release,
    }
    listed = {"references": list(row.references), "inputs": dict(row.inputs)}
    return {name: value for name, value in {**found, **listed}.items() if value}


def _flat(record: Mapping[str, Any]) -> dict[str, str]:
    cells = {name: value for name, value in record.items() if name not in ("inputs", "references")}
    cells |= {f"inputs.{name}": value for name, value in record.get("inputs", {}).items()}
    references = record.get("references", [])
    if len(references) == 1:
        cells["reference"] = references[0]
    else:
        cells |= {f"references.{number}": text for number, text in enumerate(references, start=1)}
    return {name: _guarded(str(value)) for name, value in cells.items()}


def _guarded(cell: str) -> str:
    return f"'{cell}" if cell.lstrip("'").startswith(_FORMULA) else cell


def _unguarded(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and cell.lstrip("'").startswith(_FORMULA) else cell
