"""Applications in the store of releases: `applications/<digest>/`, checked whenever they are read."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from sluicegate.applications import Application, application_from_content, copy_files
from sluicegate.errors import EnvironmentFailure, IntegrityError
from sluicegate.hashing import digest_file, read_json, sync_folder, write_json

CONTENT, FILES = "application.json", "files"


def publish_application(application: Application, store: Path) -> str:
    """Copy an application into the store; returns its digest. What is there already stays.

    Raises:
        IntegrityError: a file has changed since the application was opened.
        EnvironmentFailure: the store cannot be written; nothing half-made stays.
    """
    digest = application.digest
    target = store / "applications" / digest
    if _holds(store, digest):
        return digest
    temporary: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{digest[:12]}."))
        copy_files(application, temporary / FILES)
        write_json(temporary / CONTENT, application.content)
        for path in temporary.rglob("*"):
            if path.is_file():
                with path.open("rb") as stream:
                    os.fsync(stream.fileno())
        temporary.chmod(0o755)
        if target.exists():  # damaged
            shutil.rmtree(target)
        temporary.rename(target)
        sync_folder(target.parent)
    except OSError as error:
        raise EnvironmentFailure(
            f"cannot store an application in {store}: {error.strerror}",
            hint="Free disk space, then run again.",
        ) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
    return digest


def stored_application(store: Path, digest: str) -> Application:
    """An application of the store, every byte of it checked.

    Raises:
        IntegrityError: it is not there, or is not what was stored.
    """
    folder = store / "applications" / digest
    found = application_from_content(read_json(folder / CONTENT), folder / FILES)
    if found.digest != digest:
        raise IntegrityError(f"{folder} is not what was stored.", hint=_RESTORE)
    for place, expected in found.files.items():
        path = found.root / place
        if not path.is_file() or digest_file(path) != expected:
            raise IntegrityError(f"{path} is not what was stored.", hint=_RESTORE)
    return found


_RESTORE = "Restore .sluice/store from a backup, or release again from the recorded commit."


def _holds(store: Path, digest: str) -> bool:
    try:
        stored_application(store, digest)
    except IntegrityError:
        return False
    return True
