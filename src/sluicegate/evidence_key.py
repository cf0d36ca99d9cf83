"""The key by which this machine knows again what it made: stages' outputs, answers, judges' scores.

It is `SLUICE_EVIDENCE_KEY` where registry/runners.yaml lists it, so that machines which trust each
other share results; else a file made at first use, which neither git nor DVC carries.
"""

from __future__ import annotations

import hmac
import os
import secrets
import sys
from functools import cache
from pathlib import Path

from sluicegate.environment import read_variable
from sluicegate.errors import ConfigError, EnvironmentFailure
from sluicegate.yaml_file import Strict, load

VARIABLE = "SLUICE_EVIDENCE_KEY"
SHORTEST = 16
"""Characters of a key that nobody guesses."""
RUNNERS = "registry/runners.yaml"


class Runners(Strict):
    """registry/runners.yaml: whose sealed results count here; name to the id of the key."""

    runners: dict[str, str]


def mac(key: bytes, text: str) -> str:
    """HMAC-SHA-256 in hexadecimal."""
    return hmac.new(key, text.encode("utf-8", "surrogatepass"), "sha256").hexdigest()


def key_id(key: bytes) -> str:
    """What registry/runners.yaml lists: it tells a key from another one and does not give it away.

    Example:
        >>> key_id(b"0123456789abcdef0123456789abcdef")
        '5af5d5112be303eb'
    """
    return mac(key, "sluicegate: id of a key")[:16]


def evidence_key(state: Path) -> bytes:
    """The key of the project whose `.sluice/` is `state`, made where there is none.

    Raises:
        ConfigError: the variable holds a key that could be guessed, or registry/runners.yaml is
            wrong.
        EnvironmentFailure: the file cannot be read or made.
    """
    given = read_variable(VARIABLE).encode()
    if given and len(given) < SHORTEST:
        raise ConfigError(
            f"{VARIABLE} is shorter than {SHORTEST} characters.",
            hint="Make one with `openssl rand -hex 32`.",
        )
    if given and key_id(given) in _listed(state.parent / RUNNERS):
        return given
    if given:
        _tell_unlisted(key_id(given))
    path = state / "seals" / "key"
    try:
        if not path.is_file():
            _make(path)
        return path.read_bytes()
    except OSError as error:
        raise EnvironmentFailure(
            f"{path}: {error.strerror}", hint="Fix permissions, then run again."
        ) from error


def _listed(path: Path) -> frozenset[str]:
    return frozenset(load(path, Runners).runners.values()) if path.is_file() else frozenset()


@cache
def _tell_unlisted(name: str) -> None:
    """Once in a process."""
    print(
        f"{VARIABLE} is the key {name}, which {RUNNERS} does not list: what it sealed does not "
        f"count, and is made anew. To trust it, add a line to `runners:` there, e.g. ci: {name}",
        file=sys.stderr,
        flush=True,
    )


def _make(path: Path) -> None:
    """Write a new key; of two processes at once both end with the first one's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f"key.{os.getpid()}")
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(secrets.token_hex(32).encode())
            stream.flush()
            os.fsync(stream.fileno())
        os.link(new, path)
    except FileExistsError:
        return
    finally:
        new.unlink()
