"""Applications: what answers users. Here, code of a project that asks models through us.

application = open_application("app.triage:answer", root, prompts, models={"main": "my-model"})
answers = answer_rows(application, rows, models, cache=project.generations, budget=budget)
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sluicegate.applications.code import code_files, data_files
from sluicegate.errors import EnvironmentFailure, IntegrityError
from sluicegate.hashing import as_json, digest_file, digest_value
from sluicegate.prompts import Prompt, prompt_from_content

ROW_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Application:
    """Code that answers, with everything that it may depend on.

    Attributes:
        entry: `module:function`, below `root`.
        root: the folder in which `files` lie: a project, or a copy of its files.
        files: SHA-256 of the code that `entry` imports and of the declared data, by path.
        data: the paths among them that are data.
        prompts: by name.
        models: what each is, by role, as JSON: its name in registry/models.yaml and its identity.
        settings: the project's own, JSON.
        row_seconds: most that one row may take, waiting for models not counted.
    """

    entry: str
    root: Path
    files: Mapping[str, str]
    data: tuple[str, ...] = ()
    prompts: Mapping[str, Prompt] = field(default_factory=dict)
    models: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    row_seconds: float = ROW_SECONDS

    @property
    def content(self) -> dict[str, Any]:
        """What it is, as JSON: all of it but the bytes of its files."""
        return {
            "entry": self.entry,
            "files": dict(self.files),
            "data": list(self.data),
            "prompts": {name: prompt.content for name, prompt in self.prompts.items()},
            "models": as_json(self.models),
            "settings": as_json(self.settings),
            "row_seconds": self.row_seconds,
        }

    @property
    def digest(self) -> str:
        """SHA-256 of `content`."""
        return digest_value(self.content)


def open_application(
    entry: str,
    root: Path,
    *,
    prompts: Mapping[str, Prompt],
    models: Mapping[str, Any],
    data: Sequence[str] = (),
    settings: Mapping[str, Any] | None = None,
    row_seconds: float = ROW_SECONDS,
) -> Application:
    """Read which files `entry` consists of; none of its code is run.

    Raises:
        ConfigError: the module, the function or a declared file is missing or wrong.
    """
    code, declared = code_files(entry, root), data_files(data, root)
    files = {place: digest_file(path) for place, path in sorted({**code, **declared}.items())}
    only_data = tuple(sorted(place for place in declared if place not in code))
    return Application(
        entry, root, files, only_data, prompts, models, dict(settings or {}), row_seconds
    )


def copy_files(application: Application, folder: Path) -> Application:
    """The same application with its files, and nothing else, in the new `folder`.

    Raises:
        IntegrityError: a file has changed since the application was opened.
        EnvironmentFailure: the disk is full.
    """
    for place, digest in application.files.items():
        copy = folder / place
        try:
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(application.root / place, copy)
        except OSError as error:
            raise EnvironmentFailure(
                f"{copy} cannot be written: {error.strerror}", hint="Free disk space, run again."
            ) from error
        if digest_file(copy) != digest:
            raise IntegrityError(
                f"{place} is not what it was when this release was described.",
                hint="Leave the files as they are while a release is made; run again.",
            )
    return Application(
        **{name: getattr(application, name) for name in application.__slots__} | {"root": folder}
    )


def application_from_content(content: Mapping[str, Any], root: Path) -> Application:
    """Rebuild an application from `Application.content`; its files lie below `root`."""
    return Application(
        content["entry"],
        root,
        content["files"],
        tuple(content["data"]),
        {name: prompt_from_content(prompt) for name, prompt in content["prompts"].items()},
        content["models"],
        content["settings"],
        content["row_seconds"],
    )
