"""CSV with a header line.

Options: `delimiter` (","), `encoding` (utf-8), `reference_separator` (several references in a cell).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sluicegate.config import SourceSpec
from sluicegate.data import rows
from sluicegate.errors import ConfigError, DataError
from sluicegate.records import Example

_LARGEST_CELL = 16 * 1024 * 1024


def read(name: str, spec: SourceSpec, root: Path) -> rows.SourceRows:
    """Read a CSV source; line numbers in messages are those of the record's first line in the file.

    Raises:
        DataError: missing, empty, not decodable, a ragged line, an empty cell in a used column.
        ConfigError: the `fields` or `options` of the source are wrong.
    """
    options = rows.check_options(name, spec, ("delimiter", "encoding", "reference_separator"))
    delimiter, separator = str(options.get("delimiter", ",")), str(options.get("reference_separator", ""))
    if len(delimiter) != 1:
        raise ConfigError(f"registry/sources.yaml: {name}.options.delimiter: one character was expected.")
    fields = rows.fields_of(name, spec)
    parts = [(path, rows.read_bytes(path)) for path in rows.source_files(name, spec, root, ".csv")]
    found: list[tuple[str, Example]] = []
    for path, data in parts:
        text = _decode(path, data, str(options.get("encoding", "utf-8")), name)
        for number, record in _records(path, text, delimiter, fields):
            where = f"{path}, line {number}"
            if separator:
                cell = record[fields.reference]
                record[fields.reference] = [part for part in cell.split(separator) if part.strip()]
            found.append((where, rows.make_example(name, record, fields, where, f"{path.stem}-{number}")))
    return rows.SourceRows(rows.unique_ids(found, name), rows.digest_parts(parts), tuple(path for path, _ in parts))


def _decode(path: Path, data: bytes, encoding: str, name: str) -> str:
    try:
        return data.decode("utf-8-sig" if encoding.lower().replace("_", "-") in ("utf-8", "utf8") else encoding)
    except LookupError as error:
        raise ConfigError(f"registry/sources.yaml: {name}.options.encoding: {encoding!r} is unknown.") from error
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}, line {line}: not {encoding} text.", hint="Set options.encoding, for example cp1252."
        ) from error


def _records(path: Path, text: str, delimiter: str, fields: rows.Fields) -> Iterator[tuple[int, dict[str, Any]]]:
    csv.field_size_limit(_LARGEST_CELL)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    header: list[str] | None = None
    while True:
        first_line = reader.line_num + 1
        where = f"{path}, line {first_line}"
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise DataError(f"{where}: not valid CSV: {error}", hint="Look for an unclosed quotation mark.") from error
        if not cells:
            continue
        if header is None:
            header = _header(cells, where, fields)
        elif len(cells) != len(header):
            raise DataError(f"{where}: {len(cells)} cells, but the header has {len(header)} columns.")
        else:
            yield first_line, dict(zip(header, cells, strict=True))


def _header(cells: list[str], where: str, fields: rows.Fields) -> list[str]:
    header = [cell.strip() for cell in cells]
    if len(set(header)) != len(header):
        raise DataError(f"{where}: a column name appears twice in the header.")
    for column in fields.columns:
        if column not in header:
            known = ", ".join(header[:12])
            raise DataError(f"{where}: column {column!r} is missing.", hint=f"The header has: {known}.")
    return header
