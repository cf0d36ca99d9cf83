"""Digests: canonical JSON for values, raw bytes for files, names plus bytes for folders."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any, BinaryIO

from sluicegate.errors import EnvironmentFailure, IntegrityError

_CHUNK = 1 << 20


def canonical_json(value: Any) -> str:
    """Return the one JSON text of `value`: sorted keys, no spaces, no NaN.

    Raises:
        ValueError: a float is NaN or infinite.

    Example:
        >>> canonical_json({"b": 1, "a": [1.5, None]})
        '{"a":[1.5,null],"b":1}'
    """
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def as_json(value: Any) -> Any:
    """A value as JSON holds it: dataclasses and mappings as objects, sequences as lists, what is
    left as text.

    Example:
        >>> as_json({1: (Path("a"), None)})
        {'1': ['a', None]}
    """
    if is_dataclass(value) and not isinstance(value, type):
        return {one.name: as_json(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): as_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_json(item) for item in value]
    return value if isinstance(value, (int, float, bool, type(None))) else str(value)


def digest_bytes(data: bytes) -> str:
    """SHA-256 of `data` in lower-case hexadecimal (64 characters)."""
    return hashlib.sha256(data).hexdigest()


def digest_value(value: Any) -> str:
    """SHA-256 of the canonical JSON of a value or dataclass."""
    return digest_bytes(canonical_json(value).encode("utf-8", "surrogatepass"))


def digest_with_rows(head: Mapping[str, Any], name: str, rows: Iterable[Any]) -> str:
    """The digest of `{**head, name: [*rows]}`, made row by row: a long list is never one text.

    Example:
        >>> whole = digest_value({"a": 1, "m": [{"b": 3}, 4], "z": 2})
        >>> digest_with_rows({"a": 1, "z": 2}, "m", [{"b": 3}, 4]) == whole
        True
    """
    hasher = hashlib.sha256()
    for piece in json_with_rows(head, name, rows):
        hasher.update(piece)
    return hasher.hexdigest()


def json_with_rows(head: Mapping[str, Any], name: str, rows: Iterable[Any]) -> Iterator[bytes]:
    """The canonical JSON of `{**head, name: [*rows]}` in pieces."""
    for place, key in enumerate(sorted({*head, name})):
        yield _bytes(("," if place else "{") + canonical_json(key) + ":")
        if key != name:
            yield _bytes(canonical_json(head[key]))
            continue
        yield b"["
        for number, row in enumerate(rows):
            yield _bytes(("," if number else "") + canonical_json(row))
        yield b"]"
    yield b"}"


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def digest_file(path: Path) -> str:
    """SHA-256 of a file's bytes, read in 1 MiB pieces."""
    hasher = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            hasher.update(chunk)
    return hasher.hexdigest()


def digest_folder(folder: Path) -> str:
    """SHA-256 over the sorted (relative name, file digest) pairs below `folder`.

    Raises:
        IntegrityError: the folder holds a symbolic link or something that is not a plain file.
    """
    names: dict[str, str] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise IntegrityError(f"{path}: neither a plain file nor a folder")
        if path.is_file():
            names[path.relative_to(folder).as_posix()] = digest_file(path)
    return digest_value(names)


def write_atomic(path: Path, data: bytes | str, *, mode: int = 0o644) -> None:
    """Write `data` to `path` so that a reader or a power cut sees the old bytes or the new, never a
    mixture.

    Raises:
        EnvironmentFailure: the disk is full or the folder cannot be written; no partial file stays.
    """
    raw = data.encode("utf-8") if isinstance(data, str) else data
    with atomic_file(path, mode=mode) as stream:
        stream.write(raw)


@contextmanager
def atomic_file(path: Path, *, mode: int = 0o644) -> Iterator[BinaryIO]:
    """A file to write to that takes the place of `path`, with `mode`, when the block ends; after an
    error the old one stays.

    Raises:
        EnvironmentFailure: the disk is full or the folder cannot be written; no partial file stays.
    """
    temporary = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, mode)
        os.replace(temporary, path)
        temporary = ""
        sync_folder(path.parent)
    except OSError as error:
        raise EnvironmentFailure(
            f"cannot write {path}: {error.strerror or error}",
            hint="Free disk space or fix permissions, then run again.",
        ) from error
    finally:
        if temporary and os.path.exists(temporary):
            os.unlink(temporary)


def sync_folder(folder: Path) -> None:
    """Make a rename inside `folder` durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_json(path: Path, value: Any) -> None:
    """Write a value or dataclass as indented, key-sorted JSON, atomically."""
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    write_atomic(
        path,
        json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n",
    )


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object written by `write_json`.

    Raises:
        IntegrityError: the file is absent, not JSON, or not an object.
    """
    try:
        value = json.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise IntegrityError(
            f"{path} is missing.", hint="Run `sluice release` to make it."
        ) from error
    except (OSError, ValueError) as error:
        raise IntegrityError(f"{path} cannot be read: {error}") from error
    if not isinstance(value, Mapping):
        raise IntegrityError(f"{path}: a JSON object was expected.")
    return dict(value)
