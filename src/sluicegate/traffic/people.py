"""People's names become keyed hashes: the log can count and erase a user, not say who it is.

The key is 32 random bytes in a file that only its owner reads; or the text of `SLUICE_TRAFFIC_KEY`,
where several machines share a database. Without it no name can be found by trying all.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import tempfile
import unicodedata
from pathlib import Path

from sluicegate.environment import read_variable
from sluicegate.errors import ConfigError, EnvironmentFailure, IntegrityError
from sluicegate.hashing import sync_folder

KEY_VARIABLE = "SLUICE_TRAFFIC_KEY"
_HASHED = re.compile(r"user-[0-9a-f]{32}")
_KEY_BYTES = 32


def hashed(name: str, key: bytes) -> str:
    """`user-` and 32 hexadecimal digits of the name; empty stays empty, a hash that hash.

    Example:
        >>> hashed("ann", b"k" * 32) == hashed("ann", b"k" * 32) != hashed("ann", b"l" * 32)
        True
    """
    if not name or _HASHED.fullmatch(name):
        return name
    text = unicodedata.normalize("NFC", name).encode("utf-8")
    return "user-" + hmac.new(key, text, hashlib.sha256).hexdigest()[:32]


def fingerprint(key: bytes) -> str:
    """What the database keeps of the key, so that another key is noticed before it is used."""
    return hmac.new(key, b"sluicegate traffic key", hashlib.sha256).hexdigest()


def read_key(path: Path | None) -> bytes:
    """The key of `SLUICE_TRAFFIC_KEY`, or of the file `path`, made at random if absent.

    Raises:
        ConfigError: the variable's text is shorter than 16 characters, or there is neither a
            variable nor a path.
        EnvironmentFailure: the file cannot be read or made.
        IntegrityError: the file does not hold a key.
    """
    text = read_variable(KEY_VARIABLE)
    if text:
        if len(text) < 16:
            raise ConfigError(
                f"{KEY_VARIABLE} is too short.", hint="Give at least 16 random characters."
            )
        return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
    if path is None:
        raise ConfigError(
            "user names are hashed with a key, but this database has none.",
            hint=f"Set {KEY_VARIABLE} to the same random text on every machine.",
        )
    try:
        if not path.exists():
            _make_key(path)
        found = path.read_bytes()
    except OSError as error:
        raise EnvironmentFailure(
            f"{path}: the key cannot be read: {error.strerror}", hint="Fix permissions."
        ) from error
    if len(found) != _KEY_BYTES:
        raise IntegrityError(
            f"{path} does not hold a key of {_KEY_BYTES} bytes.", hint="Restore it from a backup."
        )
    return found


def _make_key(path: Path) -> None:
    """Whole or not at all; the first of several processes wins."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # made with mode 0600
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(secrets.token_bytes(_KEY_BYTES))
            stream.flush()
            os.fsync(stream.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            return
        sync_folder(path.parent)
    finally:
        os.unlink(draft)
