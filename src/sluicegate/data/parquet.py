"""Parquet: a file or a folder of *.parquet files; turns may be a list of {role, text} structs. No options."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from sluicegate.config import SourceSpec
from sluicegate.data import rows
from sluicegate.errors import DataError
from sluicegate.records import Example


def read(name: str, spec: SourceSpec, root: Path) -> rows.SourceRows:
    """Read a Parquet source; only the columns that `fields` names are loaded.

    Raises:
        DataError: missing, empty, not Parquet, a column is absent, or a cell is null or not text (row from 1 is named).
        ConfigError: the `fields` or `options` of the source are wrong.
    """
    rows.check_options(name, spec, ())
    fields = rows.fields_of(name, spec)
    parts = [(path, rows.read_bytes(path)) for path in rows.source_files(name, spec, root, ".parquet")]
    found: list[tuple[str, Example]] = []
    for path, data in parts:
        for number, record in enumerate(_records(path, data, fields), start=1):
            where = f"{path}, row {number}"
            found.append((where, rows.make_example(name, record, fields, where, f"{path.stem}-{number}")))
    return rows.SourceRows(rows.unique_ids(found, name), rows.digest_parts(parts), tuple(path for path, _ in parts))


def _records(path: Path, data: bytes, fields: rows.Fields) -> list[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(io.BytesIO(data))
        missing = [column for column in fields.columns if column not in table.schema_arrow.names]
        if missing:
            known = ", ".join(table.schema_arrow.names[:12])
            raise DataError(f"{path}: column {missing[0]!r} is missing.", hint=f"The table has: {known}.")
        records: list[dict[str, Any]] = table.read(columns=fields.columns).to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: not a readable Parquet file: {error}") from error
    return records
