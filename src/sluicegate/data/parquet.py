"""Parquet: a file or a folder of *.parquet; turns may be a list of structs. No options."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from sluicegate.config import SourceSpec
from sluicegate.data import rows
from sluicegate.errors import DataError


def read(name: str, spec: SourceSpec, root: Path) -> rows.SourceRows:
    """Read a Parquet source; only the columns that `fields` names are loaded.

    Raises:
        DataError: missing, empty, not Parquet, a column is absent or there twice, or a cell is null
            or not text (rows are numbered from 1).
        ConfigError: the `fields` or `options` of the source are wrong.
    """
    rows.check_options(name, spec, ())
    fields = rows.fields_of(name, spec)
    files = rows.source_files(name, spec, root, ".parquet")
    parts = [(path, rows.read_bytes(path)) for path in files]
    records = (
        (f"{path}, row {number}", f"{path.stem}-{number}", record)
        for path, data in parts
        for number, record in enumerate(_records(path, data, fields), start=1)
    )
    found = rows.make_examples(name, fields, records)
    return rows.SourceRows(found, rows.digest_parts(parts), tuple(files))


def _records(path: Path, data: bytes, fields: rows.Fields) -> list[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(io.BytesIO(data))
        names = table.schema_arrow.names
        for column in fields.columns:
            if names.count(column) != 1:
                known = ", ".join(names[:12])
                state = "there twice" if column in names else "missing"
                raise DataError(
                    f"{path}: column {column!r} is {state}.", hint=f"The table has: {known}."
                )
        records: list[dict[str, Any]] = table.read(columns=fields.columns).to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: not a readable Parquet file: {error}") from error
    return records
