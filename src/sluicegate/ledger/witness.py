"""The ledger's last head as this machine wrote it, in a file apart from the ledger."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from sluicegate.errors import EnvironmentFailure, IntegrityError
from sluicegate.hashing import read_json, write_json


def read(path: Path) -> tuple[int, str] | None:
    """Sequence and hash of the entry that was written last; None where none was.

    Raises:
        IntegrityError: the file holds something else.
    """
    if not path.exists():
        return None
    found = read_json(path)
    sequence, digest = found.get("sequence"), found.get("hash")
    if not isinstance(sequence, int) or not isinstance(digest, str):
        raise IntegrityError(f"{path} holds no head of a ledger.", hint="Restore it from a backup.")
    return sequence, digest


def keep(path: Path, head: tuple[int, str]) -> None:
    """Write `head` down.

    A full disk leaves the older head, which vouches for the ledger as well.
    """
    with suppress(EnvironmentFailure):
        if not path.exists() or read(path) != head:
            write_json(path, {"sequence": head[0], "hash": head[1]})
