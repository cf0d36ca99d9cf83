"""The traffic log as a Parquet file, written a row group at a time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sluicegate.hashing import atomic_file
from sluicegate.traffic.rows import TrafficRow, row_bytes

if TYPE_CHECKING:
    import pyarrow as pa

_GROUP_ROWS = 5_000
_GROUP_BYTES = 16 << 20


def write_rows(path: Path, rows: Iterable[TrafficRow]) -> int:
    """Write `rows` to `path`, whole or not at all, in little memory; how many.

    Columns are the fields of `TrafficRow`; times are in UTC to the microsecond, `user` and `by` are
    hashes.

    Raises:
        EnvironmentFailure: the disk refuses; no partial file stays.
    """
    with atomic_file(path, mode=0o600) as stream:  # it holds what people wrote
        return _write(stream, rows)


def _write(stream: Any, rows: Iterable[TrafficRow]) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = _schema()
    written = 0
    with pq.ParquetWriter(stream, schema, compression="zstd") as writer:
        group, size = list[dict[str, Any]](), 0
        for row in rows:
            group.append({**asdict(row), "inputs": list(row.inputs.items())})
            size += row_bytes(row)
            if len(group) >= _GROUP_ROWS or size >= _GROUP_BYTES:
                writer.write_table(pa.Table.from_pylist(group, schema))
                written += len(group)
                group, size = [], 0
        if group or not written:
            writer.write_table(pa.Table.from_pylist(group, schema))
    return written + len(group)


def _schema() -> pa.Schema:
    import pyarrow as pa

    time, text = pa.timestamp("us", tz="UTC"), pa.string()
    feedback = [
        *(("time", time), ("thumb", pa.int8()), ("score", pa.float64())),
        *((name, text) for name in ("correction", "label", "by")),
    ]
    return pa.schema(
        [
            *(("key", text), ("time", time)),
            *((name, text) for name in ("prompt", "response", "release", "group")),
            *(("latency", pa.float64()), ("prompt_tokens", pa.int32())),
            *(("completion_tokens", pa.int32()), ("user", text)),
            *(("inputs", pa.map_(text, text)), ("feedback", pa.list_(pa.struct(feedback)))),
        ]
    )
