"""Evidence on disk: one Parquet file, a row per example, read back only when whole, consistent and
finite.

Columns: id, group, output, seconds, prompt_tokens, completion_tokens, finished; `first_token`,
`failure`, `answered_by`, `critical`, `repeats` (JSON) where a row has them; `score.<metric>`, `slice.<column>`,
`reason.<judge>` and `field.<part of the answer>`; null where a row has nothing of the kind. All
that is not per example, and the digest of the whole, is JSON under the key `sluicegate.evidence` of
the schema's metadata. Any tool that reads Parquet reads the rows.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from sluicegate.errors import EvidenceError, IntegrityError
from sluicegate.hashing import atomic_file, canonical_json
from sluicegate.records import MOST_UNUSABLE, Evidence, Repeat, ScoredExample, judged_metric

if TYPE_CHECKING:
    import pyarrow as pa

SUFFIX = ".parquet"
HEAD = b"sluicegate.evidence"
ROWS_AT_ONCE = 5_000
_AGAIN = "Run `sluice stage evaluate` again."
_PLAIN = {
    "id": "string",
    "group": "string",
    "output": "string",
    "seconds": "double",
    "prompt_tokens": "int64",
    "completion_tokens": "int64",
    "finished": "bool",
}
_MAYBE = {
    "first_token": "double",
    "failure": "string",
    "answered_by": "string",
    "critical": "bool",
    "repeats": "string",
}
_PREFIXES = {"score.": "double", "slice.": "string", "reason.": "string", "field.": "string"}
_HELD = {"score": "scores", "slice": "slices", "reason": "reasons", "field": "fields"}


def write_evidence(path: Path, evidence: Evidence) -> None:
    """Write `evidence` with its digest, atomically, 5,000 rows at a time.

    Raises:
        EvidenceError: it is empty, inconsistent, a number is not finite, or a text is not valid
            Unicode; the file that was there stays.
        EnvironmentFailure: the disk refuses.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    _check(path, evidence)
    head = json.dumps(
        {**evidence.head(), "digest": evidence.digest}, ensure_ascii=False, allow_nan=False
    )
    schema = _schema(evidence).with_metadata({HEAD: head.encode("utf-8", "surrogatepass")})
    try:
        with (
            atomic_file(path, mode=0o600) as stream,  # it holds what people wrote
            pq.ParquetWriter(stream, schema, write_page_checksum=True) as writer,
        ):
            for start in range(0, len(evidence.rows), ROWS_AT_ONCE):
                writer.write_table(_table(evidence.rows[start : start + ROWS_AT_ONCE], schema))
    except (pa.ArrowException, UnicodeEncodeError, OverflowError) as error:
        raise EvidenceError(
            f"{path}: cannot be written: {error}", hint="Check the answers for broken text."
        ) from error


def read_evidence(path: Path) -> Evidence:
    """Read what `write_evidence` wrote.

    Raises:
        IntegrityError: absent, not Parquet, or not the content whose digest was recorded.
        EvidenceError: a field is missing, unknown or of the wrong type, a score is missing or not
            finite.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with path.open("rb") as stream:
            file = pq.ParquetFile(stream, page_checksum_verification=True)
            head = _head(path, file.schema_arrow)
            recorded = head.pop("digest", None)
            rows = tuple(_rows(path, file))
    except FileNotFoundError as error:
        raise IntegrityError(f"{path} is missing.", hint=_AGAIN) from error
    except (pa.ArrowException, OSError, ValueError) as error:
        raise IntegrityError(f"{path} cannot be read: {error}", hint=_AGAIN) from error
    try:
        empty = TypeAdapter(Evidence).validate_python(
            {**head, "rows": ()}, strict=False, extra="forbid"
        )
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise EvidenceError(f"{path}: {where}: {first['msg']}", hint=_AGAIN) from error
    evidence = Evidence(
        **{name: getattr(empty, name) for name in Evidence.__slots__ if name != "rows"}, rows=rows
    )
    _check(path, evidence)
    if evidence.digest != recorded:
        raise IntegrityError(f"{path}: its content is not what was recorded.", hint=_AGAIN)
    return evidence


def _schema(evidence: Evidence) -> pa.Schema:
    """Scores in the order of the summaries, all else by name."""
    import pyarrow as pa

    known = {name for name in _MAYBE if any(_known(getattr(row, name)) for row in evidence.rows)}
    columns = {
        **_PLAIN,
        **{name: kind for name, kind in _MAYBE.items() if name in known},
        **{f"score.{name}": "double" for name in evidence.summaries},
        **{
            f"{kind}.{name}": "string"
            for kind in ("slice", "reason", "field")
            for name in sorted(
                {name for row in evidence.rows for name in getattr(row, _HELD[kind])}
            )
        },
    }
    kinds = {"string": pa.string(), "double": pa.float64(), "int64": pa.int64(), "bool": pa.bool_()}
    return pa.schema(
        [pa.field(name, kinds[kind], nullable=_optional(name)) for name, kind in columns.items()]
    )


def _optional(name: str) -> bool:
    return name in _MAYBE or name.startswith(("slice.", "reason.", "field."))


def _known(value: Any) -> bool:
    """Whether a row says something, rather than that there is nothing of the kind."""
    return not (value is None or value is False or value in ("", ()))


def _table(rows: Sequence[ScoredExample], schema: pa.Schema) -> pa.Table:
    import pyarrow as pa

    def cell(row: ScoredExample, name: str) -> Any:
        kind, _, key = name.partition(".")
        if name in _PLAIN:
            return getattr(row, name)
        if name == "repeats":
            return canonical_json(row.content()[name]) if row.repeats else None
        if name in _MAYBE:
            return value if _known(value := getattr(row, name)) else None
        return getattr(row, _HELD[kind]).get(key)

    arrays = [
        pa.array([cell(row, field.name) for row in rows], type=field.type) for field in schema
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


def _head(path: Path, schema: pa.Schema) -> dict[str, Any]:
    """What the schema says of the whole, after a look at every column's name and type."""
    found = json.loads((schema.metadata or {}).get(HEAD, b"null"))
    if not isinstance(found, dict):
        raise IntegrityError(f"{path} is not an evidence file.", hint=_AGAIN)
    if missing := [name for name in _PLAIN if name not in schema.names]:
        raise EvidenceError(f"{path}: {missing[0]}: the column is missing.", hint=_AGAIN)
    for field in schema:
        prefix = field.name.partition(".")[0] + "."
        own = _PLAIN.get(field.name) or _MAYBE.get(field.name)
        wanted = own or (_PREFIXES.get(prefix) if len(field.name) > len(prefix) else None)
        if wanted is None:
            raise EvidenceError(f"{path}: {field.name}: the column is unknown.", hint=_AGAIN)
        if str(field.type) != wanted:
            raise EvidenceError(
                f"{path}: {field.name}: {wanted} was expected, not {field.type}.", hint=_AGAIN
            )
    return found


def _rows(path: Path, file: Any) -> Iterator[ScoredExample]:
    """The rows, `ROWS_AT_ONCE` in memory as columns at a time."""
    for batch in file.iter_batches(batch_size=ROWS_AT_ONCE):
        columns: dict[str, list[Any]] = dict(
            zip(batch.schema.names, (part.to_pylist() for part in batch), strict=True)
        )
        for name, values in columns.items():
            if not _optional(name) and None in values:
                raise EvidenceError(f"{path}: {name}: a value is missing.", hint=_AGAIN)
        parts = {
            prefix: [
                (name.removeprefix(prefix), columns[name])
                for name in columns
                if name.startswith(prefix)
            ]
            for prefix in _PREFIXES
        }
        own = [name for name in (*_PLAIN, *_MAYBE) if name in columns]
        if "repeats" in columns:
            columns["repeats"] = [_repeats(path, text) for text in columns["repeats"]]
        for place in range(batch.num_rows):
            scores, slices, reasons, fields = (
                {name: values[place] for name, values in part if values[place] is not None}
                for part in parts.values()
            )
            yield ScoredExample(
                **{name: found for name in own if (found := columns[name][place]) is not None},
                scores=scores,
                slices=slices,
                reasons=reasons,
                fields=fields,
            )


def _repeats(path: Path, text: str | None) -> tuple[Repeat, ...] | None:
    try:
        return tuple(Repeat(**one) for one in json.loads(text)) if text else None
    except (TypeError, ValueError) as error:
        raise EvidenceError(f"{path}: repeats: {error}", hint=_AGAIN) from error


def _check(path: Path, evidence: Evidence) -> None:
    names = set(evidence.summaries)
    ids = [row.id for row in evidence.rows]
    if not ids or not (names or evidence.unscored):
        raise EvidenceError(f"{path}: the evidence has no rows or no metrics.")
    if len(set(ids)) != len(ids):
        raise EvidenceError(f"{path}: an example id occurs twice.")
    times = len(evidence.rows[0].repeats)
    for row in evidence.rows:
        if len(row.repeats) != times or any(set(one.scores) != names for one in row.repeats):
            raise EvidenceError(f"{path}: example {row.id} was not repeated like the others.")
        if set(row.scores) != names:
            raise EvidenceError(f"{path}: example {row.id} lacks a score, or has one too many.")
        first = 0.0 if row.first_token is None else row.first_token
        _finite(
            path, f"example {row.id}", {**row.scores, "seconds": row.seconds, "first_token": first}
        )
    for name, summary in evidence.summaries.items():
        if summary.n != len(ids):
            raise EvidenceError(
                f"{path}: the mean of {name} covers {summary.n} of {len(ids)} rows."
            )
        _finite(path, name, {"mean": summary.mean, "low": summary.low, "high": summary.high})
    for name, summary in evidence.set_scores.items():
        _finite(path, name, {"mean": summary.mean, "low": summary.low, "high": summary.high})
    _finite(path, "operations", evidence.operations)
    for name, part in evidence.unscored.items():
        if name in names or not 0 < part.rows <= len(ids):
            raise EvidenceError(
                f"{path}: {name}: {part.rows} unscored rows do not match its scores."
            )
    for name, use in evidence.judges.items():
        if (
            use.failed < 0
            or use.scored + use.failed != evidence.answers
            or (judged_metric(name) not in names and not use.failed)
            or (judged_metric(name) in names and use.failed > MOST_UNUSABLE * evidence.answers)
        ):
            raise EvidenceError(
                f"{path}: {name}: {use.scored} rows scored and {use.failed} failed do not "
                "match its scores."
            )


def _finite(path: Path, where: str, numbers: Mapping[str, Any]) -> None:
    for name, number in numbers.items():
        if not math.isfinite(number):
            raise EvidenceError(f"{path}: {where}: {name} is {number}.")
