"""Opening MLflow: quiet, without telemetry, its database migrated once, before a race for it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sluicegate.environment import set_default
from sluicegate.errors import BusyError, EnvironmentFailure, MissingExtraError, TrackingError
from sluicegate.tracking.relocating import database_file, relocate

if TYPE_CHECKING:
    from mlflow import MlflowClient

LOCK_SECONDS = 120.0
_SQLITE = "sqlite:///"


def is_remote(url: str) -> bool:
    """True where a tracking server answers (http, https), False where we open a database."""
    return url.startswith(("http://", "https://"))


@contextmanager
def translated(action: str) -> Iterator[None]:
    """Turn what MLflow, its database and the network raise into a `TrackingError` on `action`.

    Example:
        >>> with translated("write"):
        ...     raise OSError("disk full")
        Traceback (most recent call last):
        sluicegate.errors.TrackingError: MLflow: cannot write: disk full
    """
    from mlflow.exceptions import MlflowException
    from requests.exceptions import RequestException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, RequestException, OSError) as error:
        if isinstance(error, EnvironmentFailure):
            raise
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise TrackingError(
            f"MLflow: cannot {action}: {first}",
            hint="Check MLFLOW_TRACKING_URI, the free disk space and `sluice doctor`, then run "
            "again.",
        ) from error


def quoted(text: str) -> str:
    """`text` as a string of MLflow's search language, which knows two quotes and no escape.

    Raises:
        TrackingError: the text holds both quotes.

    Example:
        >>> print(quoted("plain"), quoted("it's"))
        'plain' "it's"
    """
    for mark in ("'", '"'):
        if mark not in text:
            return f"{mark}{text}{mark}"
    raise TrackingError(f"MLflow cannot search for {text!r}: it contains both kinds of quotes.")


def quiet() -> None:
    """Telemetry off, set-up lines of MLflow and Alembic too; give up soon on a dead server."""
    set_default("DO_NOT_TRACK", "true")
    set_default("MLFLOW_DISABLE_TELEMETRY", "true")
    set_default("GIT_PYTHON_REFRESH", "quiet")
    # MLflow's own: seven tries with growing pauses, and up to two minutes for each; a rollback
    # would wait for that.
    set_default("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    set_default("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")
    set_default("MLFLOW_HTTP_REQUEST_BACKOFF_JITTER", "0.2")
    set_default("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)


@contextmanager
def exclusive(folder: Path, name: str) -> Iterator[None]:
    """Hold the lock `name` in `folder`; waits for the process that has it.

    Raises:
        BusyError: it was not released within two minutes.
        TrackingError: the folder cannot be written.
    """
    from filelock import FileLock, Timeout

    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(str(folder / f".{name}.lock"), timeout=LOCK_SECONDS)
        lock.acquire()
    except Timeout as error:
        raise BusyError(f"{folder}: another process holds the MLflow {name} lock.") from error
    except OSError as error:
        raise TrackingError(
            f"{folder} cannot be written: {error.strerror}",
            hint="Free disk space or fix permissions.",
        ) from error
    try:
        yield
    finally:
        lock.release()


def open_client(url: str, artifacts: Path) -> MlflowClient:
    """Return a client of the tracking store and registry at `url`.

    A local database is made and migrated first; a project's own, which was moved, is told where it
    is.

    Raises:
        TrackingError: MLflow cannot be reached, or the database is broken or of a later version.
        BusyError: another process has been migrating for two minutes.
    """
    quiet()
    try:
        from mlflow import MlflowClient
    except ImportError as error:
        raise MissingExtraError("mlflow", "dev") from error

    class Client(MlflowClient):  # type: ignore[misc]  # MLflow's client is untyped
        """Without the thread that lists each new prompt under the global experiment."""

        def _link_prompt_to_experiment(self, *_: object) -> None:
            return None

    # MLflow reconfigures its logger when it is imported.
    quiet()
    if not is_remote(url):
        with exclusive(artifacts.parent, "migration"):
            if url.startswith(_SQLITE):
                _create(Client, database_file(url))
            client = _migrated(Client, url)
            settle(url, artifacts)
            return client
    return _migrated(Client, url)


def settle(url: str, artifacts: Path) -> None:
    """Make the places in a project's own store lie where the project is now; see `relocating`.

    Raises:
        TrackingError: the database is damaged, locked or read-only.
    """
    with translated("follow the project to its new folder"):
        relocate(url, artifacts)


def _create(client_type: type[MlflowClient], database: Path) -> None:
    """Make the SQLite database aside, then rename it: half-way migrations cannot go on."""
    with translated("make its database"):
        if database.is_file() and database.stat().st_size:
            return
        database.parent.mkdir(parents=True, exist_ok=True)
        draft = database.with_name(f"{database.name}.draft")
        for left in (draft, draft.with_name(f"{draft.name}-journal")):
            left.unlink(missing_ok=True)
        _migrated(client_type, f"{_SQLITE}{draft}")
        draft.replace(database)


def _migrated(client_type: type[MlflowClient], url: str) -> MlflowClient:
    """Open both stores now: each one creates or migrates its tables when first touched."""
    with translated(f"open {url}"):
        client = client_type(tracking_uri=url, registry_uri=url)
        client.search_experiments(max_results=1)
        client.search_registered_models(max_results=1)
    return client
