"""JSON Lines: one object per line, UTF-8. `path` is a file or a folder of *.jsonl. No options."""

from __future__ import annotations

from pathlib import Path

from sluicegate.config import SourceSpec
from sluicegate.data import rows
from sluicegate.data.lines import Faults, json_lines


def read(name: str, spec: SourceSpec, root: Path) -> rows.SourceRows:
    """Read a JSON Lines source.

    Raises:
        DataError: missing, empty or malformed; the message names file, line and field.
        ConfigError: the `fields` or `options` of the source are wrong.
    """
    rows.check_options(name, spec, ())
    fields, faults = rows.fields_of(name, spec), Faults()
    files = rows.source_files(name, spec, root, ".jsonl")
    parts = [(path, rows.read_bytes(path)) for path in files]
    records = (
        (f"{path}, line {number}", f"{path.stem}-{number}", record)
        for path, data in parts
        for number, record in json_lines(path, data, faults)
    )
    found = rows.make_examples(name, fields, records, faults)
    return rows.SourceRows(found, rows.digest_parts(parts), tuple(files))
