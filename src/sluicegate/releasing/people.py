"""Who sits at the keyboard, as far as a program can know, and whether that is who made a release.

What can be known: the account that the process runs under (from the kernel, not from an environment
variable), the machine's name, `SLUICE_ACTOR` and git's identity, the last two as somebody set them.
What cannot: who uses a shared account, and who typed a tag into an MLflow without accounts. So the
account decides and the rest only adds to it: one more name can forbid, never allow.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Sequence
from pathlib import Path

from sluicegate.environment import read_variable
from sluicegate.errors import VersioningError
from sluicegate.records import LedgerEntry
from sluicegate.versioning import git

NOBODY = frozenset({
    "admin", "administrator", "app", "build", "builder", "ci", "deploy", "git", "jenkins", "mlops",
    "root", "runner",
    "service", "sluice", "ubuntu", "user", "vscode", "worker",
})  # fmt: skip
"""Accounts that every machine has: alike on two machines, they are not one person."""


def logins(root: Path) -> tuple[str, ...]:
    """The names under which this process acts: account@machine first, then what people set."""
    found = [f"{_account()}@{socket.gethostname()}", read_variable("SLUICE_ACTOR")]
    try:
        name, _, rest = git(root, "var", "GIT_AUTHOR_IDENT").partition("<")
        found += [name.strip(), rest.partition(">")[0].strip()]
    except VersioningError:  # no git, no repository, or no identity in it
        pass
    return tuple(dict.fromkeys(name for name in found if name))


def is_maker(entries: Sequence[LedgerEntry], release: str, person: str) -> bool:
    """Did `person` register `release`, run what registered it, or write what it changes?

    Capitals and what follows an @ make no difference, except for the accounts in `NOBODY`.
    """
    made = (
        name
        for entry in entries
        if entry.kind == "register" and entry.release == release
        for name in (entry.actor, *entry.payload.get("authors", ()), *entry.payload.get("by", ()))
    )
    return same_person(made, [person])


def same_person(names: Iterable[str], others: Iterable[str]) -> bool:
    """Whether one of `names` may be the name of one of `others`; see `is_maker`."""
    return bool(_forms(names) & _forms(others))


def _forms(names: Iterable[str]) -> set[str]:
    found: set[str] = set()
    for name in names:
        whole = name.strip().casefold()
        short, at, _ = whole.partition("@")
        found |= {whole} if at and short in NOBODY else {whole, short}
    return found - {""}


def _account() -> str:
    try:
        import pwd

        return pwd.getpwuid(os.getuid()).pw_name
    except (ImportError, KeyError):  # Windows, or an account without a name
        return str(os.getuid()) if hasattr(os, "getuid") else read_variable("USERNAME")
