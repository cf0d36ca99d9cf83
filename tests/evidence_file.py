"""Evidence files as plain values, to damage them: what Parquet cannot hold as it is, is held as
text.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

HEAD = b"sluicegate.evidence"
PARTS = {"scores": "score", "slices": "slice", "reasons": "reason"}
KINDS = {
    "seconds": pa.float64(), "first_token": pa.float64(), "prompt_tokens": pa.int64(), "completion_tokens": pa.int64(),
    "finished": pa.bool_(),
}  # fmt: skip


def load(path: Path) -> dict[str, Any]:
    """What the file holds, as `Evidence.content()` says it, with the recorded digest."""
    table = pq.read_table(path)
    rows = []
    for record in table.to_pylist():
        row = {name: value for name, value in record.items() if "." not in name}
        for part, prefix in PARTS.items():
            found = {
                name.removeprefix(f"{prefix}."): value
                for name, value in record.items()
                if name.startswith(f"{prefix}.") and value is not None
            }
            if found or part == "scores":
                row[part] = found
        rows.append(row)
    return {**json.loads(table.schema.metadata[HEAD]), "rows": rows}


def save(path: Path, side: dict[str, Any]) -> None:
    """Write `side`, however damaged, as an evidence file."""
    rows = side.get("rows")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        table = pa.table({"rows": [json.dumps(rows)]})
    else:
        flat = [_flat(row) for row in rows]
        names = list(dict.fromkeys(name for row in flat for name in row)) or ["id"]
        table = pa.table({name: _array(name, [row.get(name) for row in flat]) for name in names})
    head = json.dumps({name: value for name, value in side.items() if name != "rows"})
    pq.write_table(table.replace_schema_metadata({HEAD: head.encode()}), path)


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    flat = {name: value for name, value in row.items() if name not in PARTS}
    for part, prefix in PARTS.items():
        value = row.get(part)
        if isinstance(value, dict):
            flat |= {f"{prefix}.{name}": item for name, item in value.items()}
        elif value is not None:
            flat[part] = value
    return flat


def _array(name: str, values: list[Any]) -> pa.Array:
    kind = KINDS.get(name, pa.float64() if name.startswith("score.") else pa.string())
    try:
        return pa.array(values, type=kind)
    except (pa.ArrowException, TypeError):
        return pa.array(
            [None if value is None else json.dumps(value) for value in values], type=pa.string()
        )
