"""What a source says of the other parts of a right answer, and which rows are critical."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sluicegate.errors import ConfigError, DataError
from sluicegate.hashing import canonical_json

PARTS = ("contexts", "tool_calls")
"""The parts of an answer, besides its text, that a row may expect."""
_YES_NO = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False, "": False}


def expected_columns(value: Any, where: str) -> dict[str, str]:
    """Read `fields.expected` of a source: part to column.

    Raises:
        ConfigError: a part is unknown or its column is no name.
    """
    if not isinstance(value, Mapping) or not all(
        name in PARTS and isinstance(column, str) and column for name, column in value.items()
    ):
        raise ConfigError(
            f"{where}.expected: columns were expected for {' and '.join(PARTS)}, not {value!r}.",
            hint="Example: expected: {contexts: gold_documents, tool_calls: calls}",
        )
    return dict(value)


def expected_part(value: Any, field: str, where: str) -> str:
    """The list of documents or calls in a cell, as canonical JSON; empty where nothing is said.

    A text that is a JSON list or object is read as one; a single value is a list of one.

    Raises:
        DataError: the value is none that JSON has.

    Example:
        >>> expected_part("kb-7", "gold", "line 1"), expected_part("[]", "calls", "line 1")
        ('["kb-7"]', '[]')
    """
    if isinstance(value, str) and value.strip()[:1] in ("[", "{"):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{where}: field {field}: not valid JSON: {error}") from error
    if value is None or value == "":
        return ""
    try:
        return canonical_json(value if isinstance(value, list) else [value])
    except (TypeError, ValueError, RecursionError) as error:
        raise DataError(f"{where}: field {field}: {error}: no JSON value.") from error


def is_critical(value: Any, field: str, where: str) -> bool:
    """Whether a cell says yes: true, yes or 1; false, no, 0 and nothing say no.

    Raises:
        DataError: it says something else.

    Example:
        >>> is_critical("Yes", "must", "line 1"), is_critical(None, "must", "line 1")
        (True, False)
    """
    said = "" if value is None else str(value).strip().casefold()
    if said not in _YES_NO:
        raise DataError(
            f"{where}: field {field}: {value!r:.40} is neither yes nor no.",
            hint="Write true or false.",
        )
    return _YES_NO[said]
