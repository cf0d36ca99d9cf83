"""JSON Lines: one object per line, UTF-8. `path` is a file or a folder of *.jsonl files. No options."""

from __future__ import annotations

from pathlib import Path

from sluicegate.config import SourceSpec
from sluicegate.data import rows
from sluicegate.records import Example


def read(name: str, spec: SourceSpec, root: Path) -> rows.SourceRows:
    """Read a JSON Lines source.

    Raises:
        DataError: missing, empty or malformed; the message names file, line and field.
        ConfigError: the `fields` or `options` of the source are wrong.
    """
    rows.check_options(name, spec, ())
    fields = rows.fields_of(name, spec)
    parts = [(path, rows.read_bytes(path)) for path in rows.source_files(name, spec, root, ".jsonl")]
    found: list[tuple[str, Example]] = []
    for path, data in parts:
        for number, record in rows.json_lines(path, data):
            where = f"{path}, line {number}"
            found.append((where, rows.make_example(name, record, fields, where, f"{path.stem}-{number}")))
    return rows.SourceRows(rows.unique_ids(found, name), rows.digest_parts(parts), tuple(path for path, _ in parts))
