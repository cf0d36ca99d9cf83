"""Where rows come from: a table of sources, one file each, and the way to the three sets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sluicegate.config import SourceSpec
from sluicegate.data import csv_file, huggingface, jsonl, parquet, tweetsumm
from sluicegate.data.examples import read_examples, write_examples
from sluicegate.data.preparing import Dropped, Prepared, prepare
from sluicegate.data.rows import SourceRows
from sluicegate.errors import ConfigError, did_you_mean
from sluicegate.hashing import digest_bytes
from sluicegate.own_code import own_code

NOTHING = digest_bytes(b"")
"""The digest of an optional source that is absent or empty."""
Reader = Callable[[str, SourceSpec, Path], SourceRows]


@dataclass(frozen=True, slots=True)
class Source:
    """A kind of source: what reads it, and whether `path` must be a file or folder that is here."""

    read: Reader
    needs_file: bool = True


SOURCES: dict[str, Source] = {
    "jsonl": Source(jsonl.read),
    "csv": Source(csv_file.read),
    "parquet": Source(parquet.read),
    "huggingface": Source(huggingface.read, needs_file=False),
    "tweetsumm": Source(tweetsumm.read),
}

__all__ = [
    "SOURCES",
    "Dropped",
    "Prepared",
    "Reader",
    "Source",
    "SourceRows",
    "find_source",
    "is_absent",
    "needs_file",
    "prepare",
    "read_examples",
    "read_source",
    "write_examples",
]


def read_source(name: str, spec: SourceSpec, root: Path) -> SourceRows:
    """Read the source `name` of registry/sources.yaml.

    Args:
        name: its name there; it becomes `Example.source`.
        spec: its entry; `kind` is a row of `SOURCES` or `module:function`, called like this one.
        root: the project root, which relative paths start from.

    Raises:
        DataError: a file is missing, empty or malformed; the message names file, line and field.
        ConfigError: the entry itself is wrong.
        MissingExtraError: the kind needs an optional package.
    """
    source = find_source(name, spec.kind)
    return SourceRows([], NOTHING, ()) if is_absent(spec, root) else source.read(name, spec, root)


def is_absent(spec: SourceSpec, root: Path) -> bool:
    """Is there nothing yet in a source that may be absent: no file, or an empty file or folder?"""
    path = root / spec.path
    if not spec.optional or not needs_file(spec.kind) or (path.is_file() and path.stat().st_size):
        return False
    return not (path.is_dir() and any(path.iterdir()))


def needs_file(kind: str) -> bool:
    """Whether `path` of such a source names a file or folder; a team's own reader needs one."""
    return kind not in SOURCES or SOURCES[kind].needs_file


def find_source(name: str, kind: str) -> Source:
    """The row of `SOURCES`, or the `module:function` that a source of `kind` is read with.

    Raises:
        ConfigError: there is none.
    """
    if kind in SOURCES:
        return SOURCES[kind]
    if ":" not in kind:
        raise ConfigError(
            f"registry/sources.yaml: {name}.kind: {kind!r} is unknown{did_you_mean(kind, SOURCES)}.",
            hint=f"Known: {', '.join(SOURCES)}, or module:function.",
        )
    return Source(own_code(kind, f"registry/sources.yaml: {name}.kind:"))
