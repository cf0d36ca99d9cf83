"""YAML files that people edit, and other people send: parsed strictly and within bounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from sluicegate.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

Schema = TypeVar("Schema", bound=BaseModel)
MAX_YAML_BYTES = 4_000_000
MAX_YAML_DEPTH = 64
MAX_YAML_VALUES = 200_000
"""Values in one file, each alias counted with all that it stands for."""
_IN_WORDS = {
    "missing": "this field is missing",
    "model_type": "fields with their values were expected",
}
"""Kinds of faults that Pydantic names in words of Python's."""


class Strict(BaseModel):
    """Base of all file schemas: frozen, no unknown field, no infinite number."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    gone: ClassVar[Mapping[str, str]] = {}
    """Fields of an earlier version, and what stands in their place; `sluice upgrade` takes them
    out."""


def load(path: Path, schema: type[Schema]) -> Schema:
    """Read a YAML file into `schema`.

    Raises:
        ConfigError: missing, malformed, or a field is unknown, missing or of the wrong type; all
            that is wrong is told, one line each.
    """
    value = read_yaml(path)
    try:
        return schema.model_validate(value)
    except ValidationError as error:
        faults = error.errors()
        places = {found["loc"][:-1] for found in faults}
        told = [
            f"{path}: {_problem(schema, found)}"
            for found in faults
            if found["type"] != "too_short" or found["loc"] not in places
        ]
        raise ConfigError(
            "\n".join(dict.fromkeys(told)),
            hint="The comments of the shipped file list the fields.",
        ) from error


def _problem(schema: type[BaseModel], found: ErrorDetails) -> str:
    """One fault in words: the field, and what is wrong with it."""
    place = found["loc"]
    said = _IN_WORDS.get(found["type"], found["msg"].removeprefix("Value error, "))
    if found["type"] == "extra_forbidden":
        said = _unknown(str(place[-1]), _schemas_at(schema, place[:-1]))
    elif found["type"] == "string_type" and (pair := _split_name(found["input"])):
        said = f"a space after the colon makes this a mapping; write and quote it: '{pair}'"
    field = ".".join(str(part) for part in place) or "the whole file"
    return f"{field}: {said}"


def _split_name(value: Any) -> str:
    """`module:function` of a mapping that `module: function` was read as; else empty."""
    if isinstance(value, dict) and len(value) == 1:
        ((module, function),) = value.items()
        if isinstance(module, str) and isinstance(function, str):
            return f"{module}:{function}"
    return ""


def _unknown(name: str, schemas: Sequence[type[BaseModel]]) -> str:
    for one in schemas:
        if issubclass(one, Strict) and name in one.gone:
            return f"this field is gone: {one.gone[name]}; `sluice upgrade` takes it out"
    fields = {field for one in schemas for field in one.model_fields}
    return f"unknown field{did_you_mean(name, fields)}"


def _schemas_at(schema: type[BaseModel], place: Sequence[int | str]) -> list[type[BaseModel]]:
    """The schemas that may stand at `place`."""
    here = [schema]
    for part in place:
        inner = [
            model
            for one in here
            if part in one.model_fields
            for model in _schemas_in(one.model_fields[str(part)].annotation)
        ]
        here = inner or here  # the number of an entry, or a key that people choose
    return here


def _schemas_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in get_args(annotation) for model in _schemas_in(inner)]


def read_yaml(path: Path) -> Any:
    """Parse one YAML file (1.2, duplicate keys refused), of bounded size, depth and aliases.

    Raises:
        ConfigError: missing, malformed or out of bounds; the message names the line where it can.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        if path.stat().st_size > MAX_YAML_BYTES:
            raise ConfigError(
                f"{path} is larger than {MAX_YAML_BYTES:,} bytes.", hint="Is it the right file?"
            )
        text = path.read_text("utf-8")
        _check_depth(path, text)
        value = YAML(typ="safe", pure=True).load(text)  # the same with and without its C parser
        _count(value, {})
        return value
    except FileNotFoundError as error:
        raise ConfigError(f"{path} is missing.", hint="`sluice init` writes one.") from error
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read: {error.strerror}.", hint="Check its permissions."
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path} is not UTF-8 text.", hint="Save it as UTF-8 in your editor."
        ) from error
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark is not None else ""
        problem = getattr(error, "problem", None) or str(error)
        raise ConfigError(
            f"{path}{where}: not valid YAML: {problem}",
            hint="Look at this line and the one before: indentation, brackets, quotation marks.",
        ) from error
    except (OverflowError, RecursionError, ValueError) as error:
        raise ConfigError(f"{path}: not a file of settings: {error}") from error


def _check_depth(path: Path, text: str) -> None:
    """Stops at the first place that is nested too deep: a loader would recurse into all of it."""
    from ruamel.yaml import YAML
    from ruamel.yaml.events import CollectionEndEvent, CollectionStartEvent

    depth = 0
    for event in YAML(typ="safe", pure=True).parse(text):
        depth += isinstance(event, CollectionStartEvent)
        depth -= isinstance(event, CollectionEndEvent)
        if depth > MAX_YAML_DEPTH:
            line = event.start_mark.line + 1
            raise ConfigError(f"{path}, line {line}: nested more than {MAX_YAML_DEPTH} deep.")


def _count(value: Any, known: dict[int, int]) -> int:
    """How many values `value` stands for, aliases written out; each is walked through once."""
    parts = (
        [*value, *value.values()]
        if isinstance(value, dict)
        else value
        if isinstance(value, list)
        else ()
    )
    if not parts:
        return 1
    if id(value) not in known:
        known[id(value)] = MAX_YAML_VALUES  # one that holds itself never ends
        known[id(value)] = 1 + sum(_count(part, known) for part in parts)
    if known[id(value)] > MAX_YAML_VALUES:
        raise OverflowError(f"with its aliases it holds more than {MAX_YAML_VALUES:,} values")
    return known[id(value)]
