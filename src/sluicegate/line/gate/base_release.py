"""The release that another commit describes, made in a work tree of its own and kept in this
project's store.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sluicegate import releasing
from sluicegate.errors import BudgetError, SluiceError, UsageError
from sluicegate.hashing import digest_file, digest_folder, digest_value, read_json, write_json
from sluicegate.line.pipeline import STAGES, sealed
from sluicegate.line.pipeline.base_model import model_spec
from sluicegate.line.pipeline.contender import candidate_release
from sluicegate.line.pipeline.fingerprint import stage_hash
from sluicegate.line.progress import say
from sluicegate.line.run import Run, open_run
from sluicegate.models.base_models import file_digest, folder_digest
from sluicegate.project import MARKER, Project, model_cache
from sluicegate.records import Lineage
from sluicegate.versioning import pipeline_lock, reproduce
from sluicegate.versioning.children import terminable
from sluicegate.versioning.history import close_worktree, fetch_data, open_worktree
from sluicegate.versioning.seals import refuse_tracked_state

MAKES = tuple(name for name, stage in STAGES.items() if stage.makes)
"""The stages that make a release, the last one last."""
LATER = "Run again with more time."


def base_release(run: Run, sha: str, *, quiet: bool = False, until: float | None = None) -> str:
    """Digest of the release that commit `sha` describes; made once, then read from the store.

    The pipeline runs there up to tune, with today's engine and this project's DVC cache: what is
    known is not run again.

    Raises:
        BudgetError: `until` passed first; what was trained is kept and continued next time.
        UsageError, EnvironmentFailure: that commit's pipeline fails; the message names the commit.
    """
    project = run.project
    folder = project.state / "base" / sha
    record = folder.with_suffix(".json")
    key = digest_value([stage_hash(STAGES[name].module) for name in MAKES])
    with pipeline_lock(project, until=until):
        known = _known(project, record, key)
        if known:
            return known
        if until is not None and time.time() >= until:
            raise BudgetError(
                f"the time is up; the release of the merge base {sha[:12]} was not made.",
                hint=LATER,
            )
        say(f"gate: making the release of the merge base {sha[:12]}, to compare with")
        with _checked_out(project, sha, folder) as there:
            try:
                before = open_run(there)
                outside = _provide(project, before, folder)
                digest = _make(run, before, sha, quiet=quiet, until=until)
            except SluiceError as error:
                error.args = (f"the release of the merge base {sha[:12]}: {error}",)
                raise
        write_json(record, {"key": key, "release": digest, "outside": outside})
        shutil.rmtree(folder, ignore_errors=True)
    return digest


@contextmanager
def _checked_out(project: Project, sha: str, folder: Path) -> Iterator[Project]:
    """The project as it was at `sha`, in a work tree that goes when the block ends, even by a
    signal.

    Its state stays in `folder`, so that a training that was cut off goes on, and its seals are this
    project's.
    """
    with terminable():
        try:
            there = Project(open_worktree(project.root, sha, folder))
            if not (there.root / MARKER).is_file():
                raise UsageError(
                    f"the merge base {sha[:12]} has no {MARKER} here: there is no release to "
                    "compare with."
                )
            refuse_tracked_state(there)
            state, seals = folder / "state", project.state / "seals"
            for made in (state, seals):
                made.mkdir(exist_ok=True)
            if not there.state.is_symlink():
                there.state.symlink_to(state.resolve())
            if not (state / "seals").is_symlink():
                (state / "seals").symlink_to(seals.resolve())
            yield there
        finally:
            close_worktree(project.root, folder)


def _known(project: Project, record: Path, key: str) -> str:
    """The release made before by the same engine of the same data, its bytes checked; empty where
    there is none.
    """
    if not record.is_file():
        return ""
    try:
        found = read_json(record)
        outside = found.get("outside")
        if found.get("key") != key or outside is None or outside != _digests(project.root, outside):
            return ""
        return releasing.load_stored(project, found["release"]).digest
    except SluiceError:
        return ""  # damaged or gone: made again


def _make(here: Run, run: Run, sha: str, *, quiet: bool, until: float | None) -> str:
    """The release of `run`, another commit's project, stored in the one that is checked out `here`."""
    project, there = here.project, run.project
    here.tracking.experiment(run.name)  # made first, so that its artefacts lie in this project
    environment = {
        "SLUICE_LEDGER_URL": project.ledger_url,
        "MLFLOW_TRACKING_URI": project.mlflow_url,
    }
    makes = {name: outs for name, outs in sealed(there).items() if name in MAKES}
    reproduce(
        there,
        quiet=quiet,
        targets=list(makes)[-1:],
        environment=environment,
        until=until,
        sealed=makes,
    )
    made, prepared = candidate_release(run), read_json(there.build / "prepare.json")
    lineage = Lineage(
        data=prepared["data"],
        golden=prepared["golden"],
        sources=prepared["sources"],
        code=digest_value(read_json(there.build / "code.json")),
        commit=sha,
        dirty=False,
    )
    stored = releasing.store_release(
        project,
        base_digest=made.model.digest,
        base_name=made.model.name,
        asked=made.model.asked,
        application=made.application,
        adapter=made.adapter,
        prompt=made.prompt,
        generation=made.generation,
        lineage=lineage,
    )
    return stored.digest


def _provide(project: Project, run: Run, folder: Path) -> dict[str, str]:
    """Bring what git does not check out: data under DVC, and models and data that lie outside the
    repository.

    Returns:
        The digests of the latter, by the path that names them: no commit says which bytes they had.
    """
    there = run.project
    paths = [spec.path for spec in run.sources.values()]
    pointers = set()
    for path in paths:
        folders = [path, *(str(parent) for parent in Path(path).parents)]
        pointers |= {
            f"{folder}.dvc" for folder in folders if (there.root / f"{folder}.dvc").is_file()
        }
    fetch_data(there.root, sorted(pointers))
    paths += filter(None, (model_spec(run).path, run.params.release.model))
    tree = (folder / "tree").resolve()
    outside = [path for path in paths if not _inside(there.root / path, tree)]
    for path in outside:
        _link(project.root, there.root, path)
    return _digests(project.root, outside)


def _inside(path: Path, tree: Path) -> bool:
    """Whether the checked-out commit itself has this file; not where a run that was cut off has
    linked it.
    """
    return path.exists() and path.resolve().is_relative_to(tree)


def _digests(root: Path, paths: Iterable[str]) -> dict[str, str]:
    return {path: _digest(Path(os.path.normpath(root / path))) for path in paths}


def _digest(path: Path) -> str:
    """Of a file or a folder; of a large one that is a model only what changed is read."""
    if path.is_file():
        return file_digest(path, model_cache()) if path.suffix == ".gguf" else digest_file(path)
    if not path.is_dir():
        return "absent"
    return (
        folder_digest(path, model_cache())
        if (path / "config.json").is_file()
        else digest_folder(path)
    )


def _link(here: Path, there: Path, path: str) -> None:
    """Let a relative path that leads out of the work tree, or to an untracked file, lead where it
    leads from here.
    """
    if not path or Path(path).is_absolute():
        return
    wanted, found = Path(os.path.normpath(there / path)), Path(os.path.normpath(here / path))
    if found.exists() and not wanted.exists():
        wanted.parent.mkdir(parents=True, exist_ok=True)
        wanted.symlink_to(found)
