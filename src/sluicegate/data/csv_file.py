"""CSV with a header line.

Options: `delimiter` (without it: the one of `,`, `;` and tab that the header has most of),
`encoding` (utf-8), `reference_separator` (several references in a cell).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sluicegate.config import SourceSpec
from sluicegate.data import rows
from sluicegate.data.lines import Faults
from sluicegate.errors import ConfigError, DataError

_LARGEST_CELL = 16 * 1024 * 1024


def read(name: str, spec: SourceSpec, root: Path) -> rows.SourceRows:
    """Read a CSV source; line numbers in messages are those of the record's first line in the file.

    Raises:
        DataError: missing, empty, not decodable, a ragged line, an empty cell in a used column.
        ConfigError: the `fields` or `options` of the source are wrong.
    """
    options = rows.check_options(name, spec, ("delimiter", "encoding", "reference_separator"))
    delimiter = options.get("delimiter")
    if delimiter is not None and (not isinstance(delimiter, str) or len(delimiter) != 1):
        raise ConfigError(
            f"registry/sources.yaml: {name}.options.delimiter: expected one character."
        )
    separator = str(options.get("reference_separator", ""))
    encoding = str(options.get("encoding", "utf-8"))
    fields, faults = rows.fields_of(name, spec), Faults()
    files = rows.source_files(name, spec, root, ".csv")
    parts = [(path, rows.read_bytes(path)) for path in files]

    def records() -> Iterator[rows.Raw]:
        for path, data in parts:
            text = _decode(path, data, encoding, name)
            for number, record in _records(path, text, delimiter, fields, faults):
                if separator and fields.reference:
                    cells = record[fields.reference].split(separator)
                    record[fields.reference] = [cell.strip() for cell in cells if cell.strip()]
                yield f"{path}, line {number}", f"{path.stem}-{number}", record

    found = rows.make_examples(name, fields, records(), faults)
    return rows.SourceRows(found, rows.digest_parts(parts), tuple(files))


def _decode(path: Path, data: bytes, encoding: str, name: str) -> str:
    try:
        return data.decode(
            "utf-8-sig" if encoding.lower().replace("_", "-") in ("utf-8", "utf8") else encoding
        )
    except LookupError as error:
        raise ConfigError(
            f"registry/sources.yaml: {name}.options.encoding: {encoding!r} is unknown."
        ) from error
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}, line {line}: not {encoding} text.",
            hint="Set options.encoding, for example cp1252.",
        ) from error


def _records(
    path: Path, text: str, delimiter: str | None, fields: rows.Fields, faults: Faults
) -> Iterator[tuple[int, dict[str, Any]]]:
    csv.field_size_limit(_LARGEST_CELL)
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=delimiter or delimiter_of(text), strict=True
    )
    header: list[str] | None = None
    while True:
        first_line = reader.line_num + 1
        where = f"{path}, line {first_line}"
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:  # where the next line begins is not known
            hint = "Look for an unclosed quotation mark."
            faults.add(DataError(f"{where}: not valid CSV: {error}", hint=hint))
            return
        if not cells:
            continue
        if header is None:
            header = _header(cells, where, fields)
        elif len(cells) == len(header):
            yield first_line, dict(zip(header, cells, strict=True))
        else:
            problem = f"{len(cells)} cells, but the header has {len(header)} columns."
            faults.add(DataError(f"{where}: {problem}"))


def delimiter_of(text: str) -> str:
    """The delimiter of CSV text: of `,`, `;` and tab, the one that its first line has most of.

    Example:
        >>> delimiter_of("id;text, or not;label")
        ';'
    """
    header = text.lstrip().partition("\n")[0]
    return max(",;\t", key=header.count)


def _header(cells: list[str], where: str, fields: rows.Fields) -> list[str]:
    header = [cell.strip() for cell in cells]
    if len(set(header)) != len(header):
        raise DataError(f"{where}: a column name appears twice in the header.")
    for column in fields.columns:
        if column not in header:
            known = ", ".join(header[:12])
            raise DataError(
                f"{where}: column {column!r} is missing.", hint=f"The header has: {known}."
            )
    return header
