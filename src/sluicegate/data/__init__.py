"""Where rows come from: a table of sources, one file each, and the way from raw rows to the three sets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sluicegate.config import SourceSpec
from sluicegate.data import csv_file, huggingface, jsonl, parquet, tweetsumm
from sluicegate.data.examples import read_examples, write_examples
from sluicegate.data.preparing import Dropped, Prepared, prepare
from sluicegate.data.rows import SourceRows
from sluicegate.errors import ConfigError
from sluicegate.hashing import digest_bytes

NOTHING = digest_bytes(b"")
"""The digest of an optional source that is absent or empty."""
Reader = Callable[[str, SourceSpec, Path], SourceRows]

SOURCES: dict[str, Reader] = {
    "jsonl": jsonl.read,
    "csv": csv_file.read,
    "parquet": parquet.read,
    "huggingface": huggingface.read,
    "tweetsumm": tweetsumm.read,
}

__all__ = [
    "SOURCES",
    "Dropped",
    "Prepared",
    "Reader",
    "SourceRows",
    "is_absent",
    "prepare",
    "read_examples",
    "read_source",
    "write_examples",
]


def read_source(name: str, spec: SourceSpec, root: Path) -> SourceRows:
    """Read the source `name` of registry/sources.yaml.

    Args:
        name: its name there; it becomes `Example.source`.
        spec: its entry; `kind` is a row of `SOURCES` or `module:function` with the same signature as this function.
        root: the project root, which relative paths start from.

    Raises:
        DataError: a file is missing, empty or malformed; the message names file, line and field.
        ConfigError: the entry itself is wrong.
        MissingExtraError: the kind needs an optional package.
    """
    reader = _reader(name, spec.kind)
    return SourceRows([], NOTHING, ()) if is_absent(spec, root) else reader(name, spec, root)


def is_absent(spec: SourceSpec, root: Path) -> bool:
    """Is there nothing yet in a source that may be absent: no file, an empty one, or an empty folder?"""
    path = root / spec.path
    if not spec.optional or spec.kind == "huggingface" or (path.is_file() and path.stat().st_size):
        return False
    return not (path.is_dir() and any(path.iterdir()))


def _reader(name: str, kind: str) -> Reader:
    if kind in SOURCES:
        return SOURCES[kind]
    if ":" not in kind:
        raise ConfigError(
            f"registry/sources.yaml: {name}.kind: {kind!r} is unknown.",
            hint=f"Known: {', '.join(SOURCES)}, or module:function.",
        )
    import importlib

    module, _, function = kind.partition(":")
    try:
        reader: Reader = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"registry/sources.yaml: {name}.kind: {kind!r} cannot be imported: {error}") from error
    return reader
