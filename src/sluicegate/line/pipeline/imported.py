"""An adapter trained elsewhere, as `sluice adapter import` keeps it: in the place of tuning."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from sluicegate.adapters import CONFIG, WEIGHTS, verify_adapter
from sluicegate.errors import ConfigError
from sluicegate.hashing import read_json, sync_folder, write_json
from sluicegate.line.pipeline.base_model import resolve
from sluicegate.line.progress import say
from sluicegate.line.run import Run
from sluicegate.project import Project


def imported_folder(project: Project, digest: str) -> Path:
    """Where the adapter of that digest is kept; its record lies beside it, NAME.json."""
    return project.root / "data" / "adapters" / digest


def find_imported(run: Run) -> Path:
    """The folder of the adapter that `tune.adapter` names.

    Raises:
        ConfigError: none is named, or its bytes or its record are not here.
    """
    digest = run.params.tune.adapter
    if not digest:
        raise ConfigError(
            "params.yaml: tune.adapter: method imported needs the digest of an adapter.",
            hint='sluice adapter import FOLDER --reason "..." writes it.',
        )
    folder = imported_folder(run.project, digest)
    for needed in (folder / CONFIG, folder / WEIGHTS, folder.with_name(f"{digest}.json")):
        if not needed.is_file():
            place = needed.relative_to(run.project.root)
            raise ConfigError(
                f"params.yaml: tune.adapter: there is no {place}.",
                hint="Fetch it with `dvc pull`, or import the adapter again.",
            )
    return folder


def put_in_place(run: Run) -> None:
    """Write build/adapter/ and build/tune.json from the imported adapter, verified again.

    Raises:
        AdapterError: its bytes changed, or the project's base is another one by now.
    """
    digest, base, out = run.params.tune.adapter, resolve(run), run.project.adapter
    folder = find_imported(run)
    verify_adapter(folder, expected=digest, base_digest=base.digest, base_path=base.path)
    temporary = out.with_name(f".{out.name}.new.{os.getpid()}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    for name in (CONFIG, WEIGHTS):
        shutil.copyfile(folder / name, temporary / name)
    sync_folder(temporary)
    shutil.rmtree(out, ignore_errors=True)
    temporary.rename(out)
    origin = read_json(folder.with_name(f"{digest}.json"))
    write_json(
        run.project.build / "tune.json",
        {"method": "imported", "adapter": digest, "origin": origin},
    )
    say(f"tune: adapter {digest[:12]}, trained with {origin['tool']}: {origin['reason']}")
