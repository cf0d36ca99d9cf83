"""Every error Sluicegate raises on purpose: one class per reaction of the caller.

SluiceError                      exit code, hint
├── UsageError            2      the caller asked for something that cannot be
│   ├── ConfigError              a file that people edit is wrong (file, field)
│   ├── DataError                a data row is wrong (file, line, field)
│   ├── PromptError              a prompt file or its variables are wrong
│   └── MissingExtraError        an optional package is absent (hint: the line that installs it)
├── EnvironmentFailure    3      the world did not co-operate; trying again may help
│   ├── ModelError               a base model cannot be found or loaded
│   ├── AdapterError             an adapter failed verification: never loaded
│   ├── VersioningError          DVC or git is missing or failed
│   ├── TrackingError            MLflow is missing or failed
│   ├── IntegrityError           stored bytes are not the bytes recorded
│   └── BusyError                another process holds the lock
├── EvidenceError         3      an evaluation is unusable: never a pass
├── UnfinishedError       4      nothing is judged, and what was made is kept: HOLD
│   ├── BudgetError              a run's budget is spent
│   └── IncompleteError          a model left a part of the prompts without an answer
└── ReleaseError          3      the ledger refuses
    ├── StaleEpochError          the champion moved meanwhile
    └── NotApprovedError         no PROMOTE verdict or approval for exactly these digests
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec

LOCAL = ("accelerate", "gguf", "huggingface_hub", "peft", "tokenizers", "torch", "transformers")
"""Modules that only the extra `local` brings: what runs and tunes open weights on this machine."""


_CREDENTIALS = re.compile(
    r"(?<=://)(?:[^\s/@:]*:(?!\d+(?:[/?#\s]|$))[^\s@]*@(?:[^\s/@]*@)*|[^\s/@:]+@)"
    r"|(?<=[?&])((?:ssl)?password|access_token|api_key|token|sig|key)=[^&\s\"']*"
)


def without_credentials(text: str) -> str:
    """`text` with no user name, password or token in any URL that it holds.

    Example:
        >>> without_credentials("https://user:p@ss@host:5000/a?token=x&b=1 is down")
        'https://host:5000/a?token=***&b=1 is down'
    """
    return _CREDENTIALS.sub(lambda found: f"{found[1]}=***" if found[1] else "", text)


class SluiceError(Exception):
    """Base of all errors; `hint` says what to do next, `exit_code` what the command returns.

    Neither holds the credentials of a URL.
    """

    exit_code = 3

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(without_credentials(message))
        self.hint = without_credentials(hint)


class UsageError(SluiceError):
    """The request itself is wrong: change the command, the file or the row."""

    exit_code = 2


class ConfigError(UsageError):
    """A file that people edit (params, policy, sources) is missing, malformed or holds an unknown
    field.
    """


class DataError(UsageError):
    """A data row is wrong; the message names file, line and field."""


class PromptError(UsageError):
    """A prompt file is malformed, or its declared variables and its template disagree."""


class MissingExtraError(UsageError):
    """An optional package is absent; the hint is the line that installs it."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package} is not installed.", hint=f"pip install 'sluicegate[{extra}]'")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The known names that `name` may be a slip of, to be put behind it; empty where none is near.

    Example:
        >>> did_you_mean("rogue1", ["rouge1", "chrf"])
        ' (did you mean rouge1?)'
    """
    near = difflib.get_close_matches(name, list(known), n=2)
    return f" (did you mean {' or '.join(near)}?)" if near else ""


@contextmanager
def local_packages() -> Iterator[None]:
    """Inside, the absence of a package of the extra `local` is a MissingExtraError.

    Example:
        >>> with local_packages():
        ...     raise ModuleNotFoundError(name="torch.nn")
        Traceback (most recent call last):
        sluicegate.errors.MissingExtraError: torch is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in LOCAL:
            raise
        raise MissingExtraError(package, "local") from error


def require_local() -> None:
    """Ask for the extra `local` without importing any of it.

    Raises:
        MissingExtraError: torch is not installed.
    """
    if find_spec("torch") is None:
        raise MissingExtraError("torch", "local")


class EnvironmentFailure(SluiceError):
    """Disk, process or service failed; nothing half-made is left and the step may be run again."""


class ModelError(EnvironmentFailure):
    """A base model cannot be found, converted or loaded."""


class AdapterError(EnvironmentFailure):
    """An adapter failed verification and was not loaded."""


class VersioningError(EnvironmentFailure):
    """DVC or git is missing, or a call to one of them failed."""


class TrackingError(EnvironmentFailure):
    """MLflow is out of reach, or refused a write."""


class IntegrityError(EnvironmentFailure):
    """Stored bytes do not have the digest under which they were recorded."""


class BusyError(EnvironmentFailure):
    """Another process is doing this right now."""


class EvidenceError(SluiceError):
    """An evaluation is empty, incomplete or not finite; it can never be a pass."""


class UnfinishedError(SluiceError):
    """Nothing is concluded from half an evaluation: HOLD. What was made is kept, and a later run
    goes on from there.
    """

    exit_code = 4


class BudgetError(UnfinishedError):
    """The seconds, tokens or money given to a run are spent."""


class IncompleteError(UnfinishedError):
    """A model left a part of the prompts without an answer."""


class ReleaseError(SluiceError):
    """The ledger refuses this step."""


class StaleEpochError(ReleaseError):
    """The champion pointer moved since it was read: somebody else promoted first."""


class NotApprovedError(ReleaseError):
    """There is no PROMOTE verdict, or not every approval, for exactly these digests."""
