"""From one raw record (JSON object, CSV line, table row) to one `Example`, with errors that name file, line, field."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sluicegate.config import SourceSpec
from sluicegate.errors import ConfigError, DataError, EnvironmentFailure
from sluicegate.hashing import digest_bytes, digest_value
from sluicegate.records import Example

SPEAKERS = {"customer": "Customer", "user": "Customer", "agent": "Agent", "assistant": "Agent", "system": "System"}


@dataclass(frozen=True, slots=True)
class SourceRows:
    """The rows of one source, the digest of its bytes, its files, and how many rows were skipped on request."""

    rows: list[Example]
    digest: str
    files: tuple[Path, ...]
    skipped: int = 0


@dataclass(frozen=True, slots=True)
class Fields:
    """Which column holds what. An empty `id` or `group` means: made from file and line, every row its own group.

    `slices` are columns whose values say which parts of the whole a row belongs to.
    """

    id: str
    group: str
    inputs: Mapping[str, str]
    reference: str
    slices: tuple[str, ...] = ()

    @property
    def columns(self) -> list[str]:
        """Every column that must exist, without repeats, in a stable order."""
        names = [self.id, self.group, *self.inputs.values(), self.reference, *self.slices]
        return list(dict.fromkeys(name for name in names if name))


def fields_of(name: str, spec: SourceSpec) -> Fields:
    """Read the `fields` section of source `name`.

    Raises:
        ConfigError: a key is unknown, missing or not a column name.
    """
    where = f"registry/sources.yaml: {name}.fields"
    unknown = set(spec.fields) - {"id", "group", "inputs", "reference", "slices"}
    if unknown:
        known = "Known: id, group, inputs, reference, slices."
        raise ConfigError(f"{where}: unknown field {min(unknown)!r}.", hint=known)
    inputs = spec.fields.get("inputs")
    if not isinstance(inputs, dict) or not inputs:
        raise ConfigError(f"{where}.inputs is missing.", hint="Example: inputs: {conversation: turns}")
    for key, value in {**{k: spec.fields.get(k, "") for k in ("id", "group", "reference")}, **inputs}.items():
        if not isinstance(value, str) or not isinstance(key, str):
            raise ConfigError(f"{where}.{key}: a column name was expected, not {value!r}.")
    if not spec.fields.get("reference") or not all(inputs.values()):
        raise ConfigError(f"{where}: reference and every input need a column name.")
    slices = spec.fields.get("slices", [])
    if not isinstance(slices, list | tuple) or not all(isinstance(column, str) and column for column in slices):
        raise ConfigError(f"{where}.slices: a list of column names was expected.", hint="Example: slices: [industry]")
    names = spec.fields.get("id", ""), spec.fields.get("group", "")
    return Fields(*names, dict(inputs), spec.fields["reference"], tuple(dict.fromkeys(slices)))


def check_options(name: str, spec: SourceSpec, known: Iterable[str]) -> Mapping[str, Any]:
    """Return the options of source `name`.

    Raises:
        ConfigError: an option is not in `known`.
    """
    allowed = sorted(known)
    unknown = sorted(set(spec.options) - set(allowed))
    if unknown:
        raise ConfigError(
            f"registry/sources.yaml: {name}.options: unknown option {unknown[0]!r} for kind {spec.kind}.",
            hint=f"Known: {', '.join(allowed) or 'none'}.",
        )
    return spec.options


def source_files(name: str, spec: SourceSpec, root: Path, suffix: str) -> list[Path]:
    """Return the file that `spec.path` names, or the `*suffix` files of the folder that it names, sorted.

    Raises:
        DataError: nothing is there.
    """
    path = root / spec.path
    files = sorted(path.glob(f"*{suffix}")) if path.is_dir() else [path] if path.is_file() else []
    if files:
        return files
    tracked = path.with_name(path.name + ".dvc").is_file()
    hint = "Fetch it with `dvc pull`." if tracked else "Paths in sources.yaml are relative to the project root."
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
        raise EnvironmentFailure(f"cannot read {path}: {error.strerror}", hint="Check permissions and disk.") from error


def digest_parts(parts: Sequence[tuple[Path, bytes]]) -> str:
    """One file: SHA-256 of its bytes. Several: SHA-256 over the (name, digest) pairs."""
    if len(parts) == 1:
        return digest_bytes(parts[0][1])
    return digest_value({path.name: digest_bytes(data) for path, data in parts})


def json_lines(path: Path, data: bytes) -> Iterable[tuple[int, dict[str, Any]]]:
    """Yield (line number from 1, object) for each non-blank line of JSON Lines bytes.

    Raises:
        DataError: a line is not UTF-8, not a JSON object, repeats a key or holds NaN or Infinity.
    """
    for number, raw in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        if not raw.strip():
            continue
        where = f"{path}, line {number}"
        try:
            record = json.loads(raw.decode("utf-8"), parse_constant=_no_constant, object_pairs_hook=_unique_keys)
        except UnicodeDecodeError as error:
            raise DataError(f"{where}: not UTF-8 text (byte {error.start + 1}).", hint="Save it as UTF-8.") from error
        except RecursionError as error:
            raise DataError(f"{where}: nested too deeply to be a row.") from error
        except ValueError as error:
            raise DataError(f"{where}: not valid JSON: {error}", hint="One JSON object per line.") from error
        if not isinstance(record, dict):
            raise DataError(f"{where}: a JSON object was expected, not {type(record).__name__}.")
        yield number, record


def make_example(source: str, record: Mapping[str, Any], fields: Fields, where: str, fallback_id: str) -> Example:
    """Turn one raw record into an `Example`.

    Args:
        source: name of the source, kept in the row.
        record: column name -> value; turns [{role, text}] are rendered with `render_turns`.
        fields: which column holds what.
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
    group = _name(record[fields.group], fields.group, where) if fields.group else f"{source}/{row_id}"
    inputs = {variable: _text(record[column], column, where) for variable, column in fields.inputs.items()}
    references = _references(record[fields.reference], fields.reference, where)
    slices = {column: _label(record[column], column, where) for column in fields.slices}
    return Example(row_id, group, inputs, references, source, slices)


def unique_ids(rows: Sequence[tuple[str, Example]], name: str) -> list[Example]:
    """Return the examples of (where, example) pairs.

    Raises:
        DataError: there is no row, or two rows have the same id (both places are named).
    """
    if not rows:
        raise DataError(f"source {name} holds no rows.", hint="Take it out of registry/sources.yaml or fill it.")
    seen: dict[str, str] = {}
    for where, row in rows:
        if row.id in seen:
            raise DataError(
                f"{where}: field id: {row.id!r} was already used in {seen[row.id]}.",
                hint="Ids must be unique in a source.",
            )
        seen[row.id] = where
    return [row for _, row in rows]


def render_turns(turns: Sequence[Any], field: str, where: str) -> str:
    """Render a conversation as one "Speaker: text" line per turn; line breaks inside a turn become spaces.

    Raises:
        DataError: there is no turn, or a turn lacks a known `role` or a non-empty `text`.

    Example:
        >>> turns = [{"role": "customer", "text": "my bag"}, {"role": "agent", "text": "Got it."}]
        >>> print(render_turns(turns, "turns", "chat.jsonl, line 1"))
        Customer: my bag
        Agent: Got it.
    """
    if not turns:
        raise DataError(f"{where}: field {field}: no turns.")
    lines = []
    for index, turn in enumerate(turns):
        spot = f"{field}[{index}]"
        if not isinstance(turn, Mapping) or "role" not in turn or "text" not in turn:
            raise DataError(f"{where}: field {spot}: a turn needs `role` and `text`.")
        role = turn["role"]
        if not isinstance(role, str) or role.strip().lower() not in SPEAKERS:
            known = ", ".join(SPEAKERS)
            raise DataError(f"{where}: field {spot}.role: {role!r} is unknown.", hint=f"Known roles: {known}.")
        text = " ".join(_string(turn["text"], f"{spot}.text", where).split())
        lines.append(f"{SPEAKERS[role.strip().lower()]}: {text}")
    return "\n".join(lines)


def _text(value: Any, field: str, where: str) -> str:
    if isinstance(value, list):
        return render_turns(value, field, where)
    return _string(value, field, where)


def _string(value: Any, field: str, where: str) -> str:
    if not isinstance(value, str):
        kind = "nothing" if value is None else f"{type(value).__name__} {value!r:.40}"
        raise DataError(f"{where}: field {field}: text was expected, not {kind}.")
    text = value.replace("\r\n", "\n").replace("\r", "\n").strip()
    if not text:
        raise DataError(f"{where}: field {field}: empty text.", hint="Fill it or remove the row.")
    if "\x00" in text or any("\ud800" <= char <= "\udfff" for char in text):
        raise DataError(f"{where}: field {field}: holds a NUL or half of a surrogate pair: not text.")
    return text


def _name(value: Any, field: str, where: str) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    name = _string(value, field, where)
    if "\n" in name:
        raise DataError(f"{where}: field {field}: a line break in an identifier.")
    return name


def _label(value: Any, field: str, where: str) -> str:
    """A slice's value as text; numbers and yes/no are written as JSON writes them."""
    return json.dumps(value) if isinstance(value, bool | float) else _name(value, field, where)


def _references(value: Any, field: str, where: str) -> tuple[str, ...]:
    values = list(value) if isinstance(value, list | tuple) else [value]
    if not values:
        raise DataError(f"{where}: field {field}: no reference.")
    texts = [_string(text, f"{field}[{index}]", where) for index, text in enumerate(values)]
    return tuple(dict.fromkeys(texts))


def _no_constant(token: str) -> Any:
    raise ValueError(f"{token} is not a number that a row may hold")


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) != len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"key {next(key for key in keys if keys.count(key) > 1)!r} appears twice")
    return record
