"""LoRA adapters as sealed folders: verified before they are loaded, stored under their digest.

PEFT loads damaged adapters without a word (NaN, renamed or missing tensors, another base, any
alpha), so nothing reaches it that `verify_adapter` has not passed. An adapter is exactly two files,
`adapter_config.json` and `adapter_model.safetensors`.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path

from sluicegate.adapters.checks import (
    BASE_PREFIX,
    CONFIG,
    MAX_SCALE,
    WEIGHTS,
    base_shapes,
    check_config,
    check_sizes,
    check_structure,
    check_values,
)
from sluicegate.adapters.tensors import HINT
from sluicegate.errors import AdapterError, EnvironmentFailure, IntegrityError
from sluicegate.hashing import digest_folder, sync_folder

__all__ = [
    "BASE_PREFIX",
    "CONFIG",
    "MAX_SCALE",
    "WEIGHTS",
    "adapter_digest",
    "publish_adapter",
    "stored_adapter",
    "verify_adapter",
]


def adapter_digest(folder: Path) -> str:
    """Digest of an adapter folder (`hashing.digest_folder`): the name under which it is stored.

    Sizes and the header are looked at first: a file that is no adapter is not read through.

    Raises:
        AdapterError: the folder is absent, does not hold exactly the two files, or one of them is
            too large or has no sound header.
    """
    _check_files(folder)
    check_sizes(folder)
    try:
        return digest_folder(folder)
    except (IntegrityError, OSError) as error:
        raise AdapterError(f"{folder}: {error}", hint=HINT) from error


def verify_adapter(
    folder: Path,
    *,
    expected: str | None,
    base_digest: str | None = None,
    base_path: Path | None = None,
) -> None:
    """Check an adapter before anything loads it.

    Looks at: files, sizes and header; fields of the configuration and their values; alpha against
    rank; names, shapes and ranks of the tensors; whether they are complete; the base they were made
    for; then the digest; then every value: finite, of a plausible size, and not all zero.

    Args:
        expected: digest it must have, or None where none is recorded yet.
        base_digest: digest of the base it must have been made for, or None to leave that open.
        base_path: folder of the base; with it the tensors must fit that model's layers exactly.

    Raises:
        AdapterError: the first thing found wrong.
    """
    _check_files(folder)
    check_sizes(folder)
    shape = check_config(folder / CONFIG, base_digest)
    base = base_shapes(base_path) if base_path is not None else None
    layout = check_structure(folder / WEIGHTS, shape, base)
    found = adapter_digest(folder)
    if expected is not None and found != expected:
        raise AdapterError(
            f"{folder} has the digest {found[:12]}, but {expected[:12]} is recorded.", hint=HINT
        )
    check_values(folder / WEIGHTS, layout, dora=shape.dora)


def publish_adapter(folder: Path, store: Path) -> tuple[str, Path]:
    """Copy a verified adapter into `store/adapters/<digest>`; equal bytes change nothing.

    Returns:
        The digest and the stored folder.

    Raises:
        AdapterError: the adapter fails verification.
        EnvironmentFailure: the store cannot be written; nothing half-made stays.
    """
    verify_adapter(folder, expected=None)
    digest = adapter_digest(folder)
    target = store / "adapters" / digest
    if _holds(target, digest):
        return digest, target
    temporary: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{digest[:12]}."))
        for name in (CONFIG, WEIGHTS):
            shutil.copyfile(folder / name, temporary / name)
            with (temporary / name).open("rb") as stream:
                os.fsync(stream.fileno())
        sync_folder(temporary)
        temporary.chmod(0o755)
        if adapter_digest(temporary) != digest:
            raise AdapterError(f"{folder} changed while it was copied.", hint="Run again.")
        _replace(temporary, target, digest)
        sync_folder(target.parent)
    except OSError as error:
        raise EnvironmentFailure(
            f"cannot store an adapter in {store}: {error.strerror}",
            hint="Free disk space, then run again.",
        ) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
    return digest, target


def stored_adapter(store: Path, digest: str) -> Path:
    """Folder of a stored adapter, its bytes re-hashed.

    Raises:
        AdapterError: there is none of that digest, or its bytes are no longer those.
    """
    if not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise AdapterError(f"{digest!r} is not an adapter digest.")
    folder = store / "adapters" / digest
    if not folder.is_dir():
        raise AdapterError(
            f"the store has no adapter {digest[:12]}.", hint=f"Looked in {folder.parent}."
        )
    if not _holds(folder, digest):
        raise AdapterError(f"the stored adapter {digest[:12]} was changed on disk.", hint=HINT)
    return folder


def _holds(target: Path, digest: str) -> bool:
    try:
        return adapter_digest(target) == digest
    except AdapterError:
        return False


def _replace(temporary: Path, target: Path, digest: str) -> None:
    """Rename into place; a damaged folder there gives way, one just published stays."""
    try:
        temporary.rename(target)
    except OSError:
        if _holds(target, digest):
            return
        aside = Path(tempfile.mkdtemp(dir=target.parent, prefix=".damaged."))
        target.rename(aside / "old")
        temporary.rename(target)
        shutil.rmtree(aside, ignore_errors=True)


def _check_files(folder: Path) -> None:
    if folder.is_symlink() or not folder.is_dir():
        raise AdapterError(f"{folder} is not an adapter folder.", hint=HINT)
    names = {path.name for path in folder.iterdir()}
    for path in folder.iterdir():
        if path.is_symlink() or not path.is_file():
            raise AdapterError(f"{path}: not a plain file.", hint=HINT)
    if names != {CONFIG, WEIGHTS}:
        wrong = ", ".join(sorted(names ^ {CONFIG, WEIGHTS}))
        raise AdapterError(
            f"{folder}: missing or unexpected: {wrong}.",
            hint=f"An adapter folder holds {CONFIG} and {WEIGHTS}, nothing else.",
        )
