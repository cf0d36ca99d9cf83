"""Answers that are JSON: is it JSON at all, has it the right form, are the fields right?

JSON is what RFC 8259 says, the whole answer and nothing around it: a fence or a word before it is
what breaks the program that reads the answer. Schemas are JSON Schema (https://json-schema.org), by
the package jsonschema.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial, wraps
from pathlib import Path
from typing import Any

from sluicegate.errors import ConfigError
from sluicegate.hashing import digest_value
from sluicegate.metrics.base import Metric

NOT_JSON = object()
"""What a text that is no JSON is read as."""


def parsed(text: str) -> Any:
    """The value of a JSON text; `NOT_JSON` where it is none, NaN and Infinity included.

    Example:
        >>> parsed(' {"a": [1]} '), parsed("NaN") is NOT_JSON
        ({'a': [1]}, True)
    """
    try:
        return json.loads(text, parse_constant=_refused)
    except (ValueError, RecursionError):
        return NOT_JSON


def listed(text: str) -> list[Any]:
    """The items of a JSON list, none where the text is no JSON; another value is the only item."""
    value = parsed(text)
    return value if isinstance(value, list) else [] if value is NOT_JSON else [value]


def _refused(constant: str) -> Any:
    raise ValueError(constant)


def json_valid(source: str, output: str, references: Sequence[str]) -> float:
    """1 when the answer is JSON, else 0; higher is better.

    Example:
        >>> json_valid("", '{"a": 1}', []), json_valid("", 'Sure: {"a": 1}', [])
        (1.0, 0.0)
    """
    return float(parsed(output) is not NOT_JSON)


def field_match(source: str, output: str, references: Sequence[str]) -> float | None:
    """The share of the reference's fields that the answer has with the same value, in [0, 1].

    Fields are told apart by their path, through objects and lists (`items[0].price`). Texts are the
    same without regard to case and outer space, numbers by value. What the answer has besides does
    not count. An answer that is no JSON scores 0; with several references the best one counts.

    None where no reference is a JSON object or list with a field in it.

    Example:
        >>> field_match("", '{"name": "ana", "order": {"id": 7}}',
        ...     ['{"name": "Ana", "order": {"id": 8}}'])
        0.5
    """
    wanted = [list(_fields(value)) for value in map(parsed, references) if _holds(value)]
    found = dict(_fields(parsed(output)))
    missing = object()
    shares = [
        sum(found.get(path, missing) == value for path, value in fields) / len(fields)
        for fields in wanted
        if fields
    ]
    return max(shares, default=None)


def _holds(value: Any) -> bool:
    return isinstance(value, dict | list)


def _fields(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[Any, Any]]:
    """(path, value) of all that holds nothing else; an empty object or list is a value."""
    if not value or not _holds(value):
        yield path, value.strip().casefold() if isinstance(value, str) else value
        return
    for key, part in value.items() if isinstance(value, dict) else enumerate(value):
        yield from _fields(part, (*path, key))


def json_schema(source: str, output: str, references: Sequence[str], *, path: str) -> float:
    """1 when the answer is JSON of the schema in the file `path`, else 0; higher is better.

    Raises:
        ConfigError: the file is missing, no JSON Schema, or refers to what is not in it.
    """
    value = parsed(output)
    return float(value is not NOT_JSON and _validator(path, _schema(path))(value))


def json_schema_of(path: str) -> Metric:
    """The metric `json_schema:FILE`, for `metrics.with_model`; the file counts in its digest."""
    score: Any = wraps(json_schema)(partial(json_schema, path=path))
    return Metric(
        f"json_schema:{path}", "higher", "0 or 1", (0.0, 1.0), score,
        needs_reference=False, package="jsonschema", identity=lambda: digest_value(_schema(path)),
    )  # fmt: skip


def _schema(path: str) -> str:
    try:
        return Path(path).read_text("utf-8")
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"json_schema: {path} cannot be read: {error}", hint="Name a JSON Schema file."
        ) from error


@lru_cache(maxsize=32)
def _validator(path: str, text: str) -> Callable[[Any], bool]:
    """Whether a value has the form that the file says; nothing is fetched."""
    import jsonschema
    import referencing
    import referencing.exceptions

    schema, wrong = parsed(text), "it is no JSON object"
    if isinstance(schema, dict):
        kind = jsonschema.validators.validator_for(schema, jsonschema.Draft202012Validator)
        fault = next(kind(kind.META_SCHEMA).iter_errors(schema), None)
        wrong = fault.message if fault else ""
    if wrong:
        raise ConfigError(
            f"json_schema: {path} is no JSON Schema: {wrong}", hint="See https://json-schema.org."
        )
    validator = kind(schema, registry=referencing.Registry())

    def valid(value: Any) -> bool:
        try:
            return bool(validator.is_valid(value))
        except referencing.exceptions.Unresolvable as error:
            raise ConfigError(
                f"json_schema: {path} refers to {error.ref}, which is not in it.",
                hint="Put it under $defs of the same file: nothing is fetched.",
            ) from error

    return valid


_OBJECT = ("", '{"order":{"id":7}}', '{"order":{"id":7}}')
JSON_ANSWERS = (
    Metric(
        "json_valid", "higher", "0 or 1", (0.0, 1.0), json_valid,
        needs_reference=False, best=_OBJECT,
    ),
    Metric("field_match", "higher", "share of fields", (0.0, 1.0), field_match, best=_OBJECT),
)  # fmt: skip
