"""Bearer keys with roles: printed once, kept as SHA-256, compared in constant time."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sluicegate.errors import IntegrityError, UsageError
from sluicegate.hashing import write_atomic
from sluicegate.models.rates import TokenBucket

Right = Literal["answer", "pin", "read"]
Role = Literal["client", "operator", "auditor"]
RIGHTS: dict[str, tuple[Right, ...]] = {
    "client": ("answer",),
    "operator": ("answer", "pin", "read"),
    "auditor": ("read",),
}
"""What a role may: ask the champion; ask an exact release; see metrics and why something is wrong."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,59}")


class Key(BaseModel):
    """One key, without the key itself; `per_minute` 0 is no limit on its requests."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=f"^{NAME.pattern}$")]
    role: Role
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    per_minute: Annotated[int, Field(ge=0)] = 0


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    keys: tuple[Key, ...] = ()


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, and what that one may; a stranger has no name."""

    name: str
    rights: tuple[Right, ...]
    bucket: TokenBucket


class KeyFile:
    """The keys of a project. Read again whenever the file has changed, so that a removed key stops
    working at once.

    Args:
        path: of the file; absent, there are no keys.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, int, int] | None = None
        self._keys: tuple[Key, ...] = ()
        self._buckets: dict[str, TokenBucket] = {}

    def all(self) -> Sequence[Key]:
        """Every key, by name.

        Raises:
            IntegrityError: the file was damaged; nobody is let in then.
        """
        try:
            found = self._path.stat()
        except FileNotFoundError:
            self._stamp, self._keys = None, ()
            return ()
        except OSError as error:
            raise IntegrityError(f"{self._path} cannot be read: {error.strerror}") from error
        stamp = (found.st_mtime_ns, found.st_size, found.st_ino)
        if stamp != self._stamp:
            self._keys = self._read()
            self._stamp = stamp
        return self._keys

    def add(self, name: str, role: str, per_minute: int) -> str:
        """Make a key and return it: the only time that it can be seen.

        Raises:
            UsageError: the name is taken or cannot be one, or there is no such role.
        """
        if not NAME.fullmatch(name):
            raise UsageError(
                f"{name[:60]!a} cannot be the name of a key.",
                hint="1 to 60 letters, digits, dots, lines; a letter or digit first.",
            )
        if role not in RIGHTS:
            raise UsageError(f"there is no role {role[:60]!a}.", hint=f"Roles: {', '.join(RIGHTS)}")
        if any(key.name == name for key in self.all()):
            raise UsageError(f"there is a key {name} already.", hint="Remove it, or name another.")
        token = f"sluice-{secrets.token_urlsafe(32)}"
        fresh = Key.model_validate(
            {"name": name, "role": role, "sha256": _digest(token), "per_minute": per_minute}
        )
        self._write((*self.all(), fresh))
        return token

    def remove(self, name: str) -> None:
        """Take a key away; running servers see it with the next request.

        Raises:
            UsageError: there is none of that name.
        """
        kept = tuple(key for key in self.all() if key.name != name)
        if len(kept) == len(self.all()):
            raise UsageError(
                f"there is no key {name[:60]!a}.", hint="`sluice serve key list` shows them."
            )
        self._write(kept)

    def caller(self, headers: Sequence[str]) -> Caller | None:
        """Who sent these `Authorization` headers; None for a stranger. Two headers are nobody's.

        Every key is compared, whichever fits: how long it takes says nothing.
        """
        scheme, _, token = headers[0].partition(" ") if len(headers) == 1 else ("", "", "")
        given, found = _digest(token.strip()), None
        for key in self.all():
            if hmac.compare_digest(given, key.sha256) and scheme.lower() == "bearer":
                found = key
        if found is None:
            return None
        bucket = self._buckets.get(found.sha256)
        if bucket is None or bucket.per_minute != found.per_minute:
            bucket = self._buckets[found.sha256] = TokenBucket(found.per_minute)
        return Caller(found.name, RIGHTS[found.role], bucket)

    def _read(self) -> tuple[Key, ...]:
        try:
            return _File.model_validate_json(self._path.read_bytes()).keys
        except (OSError, ValidationError) as error:
            raise IntegrityError(
                f"{self._path} is not what `sluice serve key` writes.",
                hint="Restore it, or remove it and make the keys anew.",
            ) from error

    def _write(self, keys: Sequence[Key]) -> None:
        made = _File(keys=tuple(sorted(keys, key=lambda key: key.name)))
        write_atomic(self._path, made.model_dump_json(indent=2) + "\n", mode=0o600)
        self._stamp = None


def _digest(token: str) -> str:
    """A key has 256 random bits: nothing slower than one SHA-256 is needed to keep it."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
