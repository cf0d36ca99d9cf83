"""From raw records (JSON objects, CSV lines, table rows) to examples; all faults are named."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sluicegate.chat import kept_turns
from sluicegate.config import SourceSpec
from sluicegate.data.expected import expected_columns, expected_part, is_critical
from sluicegate.data.lines import Faults
from sluicegate.data.turns import is_turn, keep_turns, render_turns, split_last
from sluicegate.errors import ConfigError, DataError, EnvironmentFailure
from sluicegate.hashing import digest_bytes, digest_value
from sluicegate.records import Example

Raw = tuple[str, str, Mapping[str, Any]]
"""Where a record is ("file, line 3"), the id it gets where it has none, and the record."""


@dataclass(frozen=True, slots=True)
class SourceRows:
    """The rows of a source, the digest of its bytes, its files, how many rows were skipped."""

    rows: list[Example]
    digest: str
    files: tuple[Path, ...]
    skipped: int = 0


@dataclass(frozen=True, slots=True)
class Fields:
    """Which column holds what.

    An empty `id` or `group` means: made from file and line, every row its own group. An empty
    `reference`: the rows have none. Where it names the column of an input, that holds a
    conversation whose last answer is the reference. `slices` are columns whose values say which
    parts of the whole a row belongs to, `expected` those of the other parts of a right answer, and
    `critical` that of whether a row has to be right. The inputs named in `turns` stay turns, for the
    `history` of a prompt.
    """

    id: str
    group: str
    inputs: Mapping[str, str]
    reference: str
    slices: tuple[str, ...] = ()
    expected: Mapping[str, str] = field(default_factory=dict)
    critical: str = ""
    turns: tuple[str, ...] = ()

    @property
    def columns(self) -> list[str]:
        """Every column that must exist, without repeats, in a stable order."""
        names = [self.id, self.group, *self.inputs.values(), self.reference, *self.slices]
        names += [*self.expected.values(), self.critical]
        return list(dict.fromkeys(name for name in names if name))


def fields_of(name: str, spec: SourceSpec) -> Fields:
    """Read the `fields` section of source `name`.

    Raises:
        ConfigError: a key is unknown, missing or not a column name.
    """
    where = f"registry/sources.yaml: {name}.fields"
    if unknown := set(spec.fields) - set(Fields.__slots__):
        known = f"Known: {', '.join(Fields.__slots__)}."
        raise ConfigError(f"{where}: unknown field {min(unknown)!r}.", hint=known)
    inputs = spec.fields.get("inputs")
    if not isinstance(inputs, dict) or not inputs:
        raise ConfigError(
            f"{where}.inputs is missing.", hint="Example: inputs: {conversation: turns}"
        )
    for key, value in {
        **{k: spec.fields.get(k, "") for k in ("id", "group", "reference", "critical")},
        **inputs,
    }.items():
        if not isinstance(value, str) or not isinstance(key, str):
            raise ConfigError(f"{where}.{key}: a column name was expected, not {value!r}.")
    if not all(inputs.values()):
        raise ConfigError(f"{where}: every input needs a column name.")
    if not spec.fields.get("reference") and spec.role != "golden":
        raise ConfigError(
            f"{where}.reference is missing.",
            hint="Only rows of role golden may do without; judges and text rules score them.",
        )
    slices = spec.fields.get("slices", [])
    if not isinstance(slices, list | tuple) or not all(
        isinstance(column, str) and column for column in slices
    ):
        raise ConfigError(
            f"{where}.slices: a list of column names was expected.",
            hint="Example: slices: [industry]",
        )
    return Fields(
        id=spec.fields.get("id", ""),
        group=spec.fields.get("group", ""),
        inputs=dict(inputs),
        reference=spec.fields.get("reference", ""),
        slices=tuple(dict.fromkeys(slices)),
        expected=expected_columns(spec.fields.get("expected", {}), where),
        critical=spec.fields.get("critical", ""),
        turns=_kept(spec.fields.get("turns", []), inputs, where),
    )


def _kept(turns: Any, inputs: Mapping[str, str], where: str) -> tuple[str, ...]:
    """The inputs that stay turns."""
    if not isinstance(turns, list | tuple) or not all(
        isinstance(name, str) and name in inputs for name in turns
    ):
        raise ConfigError(
            f"{where}.turns: a list of inputs was expected, not {turns!r:.60}.",
            hint=f"Inputs: {', '.join(inputs)}. Example: turns: [{next(iter(inputs))}]",
        )
    return tuple(turns)


def check_options(name: str, spec: SourceSpec, known: Iterable[str]) -> Mapping[str, Any]:
    """Return the options of source `name`.

    Raises:
        ConfigError: an option is not in `known`.
    """
    allowed = sorted(known)
    unknown = sorted(set(spec.options) - set(allowed))
    if unknown:
        raise ConfigError(
            f"registry/sources.yaml: {name}.options: unknown option {unknown[0]!r} "
            f"for kind {spec.kind}.",
            hint=f"Known: {', '.join(allowed) or 'none'}.",
        )
    return spec.options


def source_files(name: str, spec: SourceSpec, root: Path, suffix: str) -> list[Path]:
    """Return the file that `spec.path` names, or the sorted `*suffix` files of that folder.

    Raises:
        DataError: nothing is there.
    """
    path = root / spec.path
    files = sorted(path.glob(f"*{suffix}")) if path.is_dir() else [path] if path.is_file() else []
    if files:
        return files
    tracked = path.with_name(path.name + ".dvc").is_file()
    hint = (
        "Fetch it with `dvc pull`."
        if tracked
        else "Paths in sources.yaml are relative to the project root."
    )
    problem = f"holds no {suffix} file." if path.is_dir() else "is missing."
    raise DataError(f"source {name}: {path} {problem}", hint=hint)


def read_bytes(path: Path) -> bytes:
    """Read a whole file; these bytes are both parsed and hashed, so the digest is of what was used.

    Raises:
        EnvironmentFailure: the file cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise EnvironmentFailure(
            f"cannot read {path}: {error.strerror}", hint="Check permissions and disk."
        ) from error


def digest_parts(parts: Sequence[tuple[Path, bytes]]) -> str:
    """One file: SHA-256 of its bytes. Several: SHA-256 over the (name, digest) pairs."""
    if len(parts) == 1:
        return digest_bytes(parts[0][1])
    return digest_value({path.name: digest_bytes(data) for path, data in parts})


def make_examples(
    name: str, fields: Fields, records: Iterable[Raw], faults: Faults | None = None
) -> list[Example]:
    """Turn the records of source `name` into examples.

    Args:
        faults: what was wrong already; all of it is told together.

    Raises:
        DataError: there is no row, or rows cannot be used, or have the same id; the first 20 are
            named by file, line and field.
    """
    faults = faults or Faults()
    seen: dict[str, str] = {}
    found: list[Example] = []
    for where, fallback_id, record in records:
        with faults.collected():
            row = make_example(name, record, fields, where, fallback_id)
            if row.id in seen:
                raise DataError(
                    f"{where}: field id: {row.id!r} was already used in {seen[row.id]}.",
                    hint="Ids must be unique in a source.",
                )
            seen[row.id] = where
            found.append(row)
    faults.refuse()
    if not found:
        raise DataError(
            f"source {name} holds no rows.",
            hint="Take it out of registry/sources.yaml or fill it.",
        )
    return found


def make_example(
    source: str, record: Mapping[str, Any], fields: Fields, where: str, fallback_id: str
) -> Example:
    """Turn one raw record into an `Example`.

    Args:
        record: column name -> value; conversations are rendered with `render_turns`.
        where: "file, line 3", for messages.
        fallback_id: used where `fields.id` is empty.

    Raises:
        DataError: a column is missing, empty, or not text; the message names file, line and field.
    """
    for column in fields.columns:
        if column not in record:
            known = ", ".join(sorted(str(key) for key in record)[:12])
            raise DataError(f"{where}: field {column!r} is missing.", hint=f"The row has: {known}.")
    row_id = _name(record[fields.id], fields.id, where) if fields.id else fallback_id
    group = (
        _name(record[fields.group], fields.group, where) if fields.group else f"{source}/{row_id}"
    )
    values, reference = dict(record), record.get(fields.reference) if fields.reference else ()
    if fields.reference in fields.inputs.values():
        values[fields.reference], reference = split_last(reference, fields.reference, where)
    inputs = {
        variable: _turns(values[column], column, where)
        if variable in fields.turns
        else _input(values[column], column, where)
        for variable, column in fields.inputs.items()
    }
    if not any(text.strip() for text in inputs.values()):
        column = next(iter(fields.inputs.values()))
        raise DataError(f"{where}: field {column}: empty text.", hint="Fill it or remove the row.")
    references = _references(reference, fields.reference, where) if fields.reference else ()
    slices = {column: _label(record[column], column, where) for column in fields.slices}
    expected = {
        part: found
        for part, column in fields.expected.items()
        if (found := expected_part(record[column], column, where))
    }
    critical = bool(fields.critical) and is_critical(
        record[fields.critical], fields.critical, where
    )
    return Example(row_id, group, inputs, references, source, slices, expected, critical)


def _turns(value: Any, field: str, where: str) -> str:
    kept = keep_turns(value, field, where)
    for turn in kept_turns(kept) or ():
        _string(turn["content"], field, where)
    return kept


def _input(value: Any, field: str, where: str) -> str:
    """A conversation rendered, or a text, which may be blank where another input is not."""
    if isinstance(value, list) and (not value or any(map(is_turn, value))):
        return render_turns(value, field, where)
    return "" if value == "" else _content(value, field, where, blank=True)


def _content(value: Any, field: str, where: str, *, blank: bool = False) -> str:
    """A text as it is; numbers, truth values and structures as JSON writes them."""
    if isinstance(value, dict | list | int | float) and (
        value or not isinstance(value, dict | list)
    ):
        try:
            value = json.dumps(value, ensure_ascii=False, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise DataError(f"{where}: field {field}: {error}: no JSON value.") from error
    return _string(value, field, where, blank=blank)


def _string(value: Any, field: str, where: str, *, blank: bool = False) -> str:
    if not isinstance(value, str):
        kind = "nothing" if value is None else f"{type(value).__name__} {value!r:.40}"
        raise DataError(f"{where}: field {field}: text was expected, not {kind}.")
    text = value.replace("\r\n", "\n").replace("\r", "\n")
    if not blank and not text.strip():
        raise DataError(f"{where}: field {field}: empty text.", hint="Fill it or remove the row.")
    if "\x00" in text or any("\ud800" <= char <= "\udfff" for char in text):
        raise DataError(
            f"{where}: field {field}: contains a NUL or half of a surrogate pair, which is not "
            "text."
        )
    return text


def _name(value: Any, field: str, where: str) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    name = _string(value, field, where).strip()
    if "\n" in name:
        raise DataError(f"{where}: field {field}: a line break in an identifier.")
    return name


def _label(value: Any, field: str, where: str) -> str:
    """A slice's value as text; numbers and yes/no are written as JSON writes them."""
    if isinstance(value, float) and not math.isfinite(value):
        raise DataError(f"{where}: field {field}: {value} is no value.")
    return json.dumps(value) if isinstance(value, bool | float) else _name(value, field, where)


def _references(value: Any, field: str, where: str) -> tuple[str, ...]:
    values = list(value) if isinstance(value, list | tuple) else [value]
    if not values:
        raise DataError(f"{where}: field {field}: no reference.")
    many = isinstance(value, list | tuple)
    texts = [
        _content(text, f"{field}[{index}]" if many else field, where)
        for index, text in enumerate(values)
    ]
    return tuple(dict.fromkeys(texts))
