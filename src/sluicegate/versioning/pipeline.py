"""The DVC pipeline, run until it is done or the time is up."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from sluicegate.environment import read_variable
from sluicegate.errors import (
    BudgetError,
    IncompleteError,
    IntegrityError,
    SluiceError,
    UsageError,
    VersioningError,
)
from sluicegate.hashing import read_json
from sluicegate.project import Project
from sluicegate.versioning import seals
from sluicegate.versioning.children import child
from sluicegate.versioning.dvc_calls import ensure_dvc
from sluicegate.versioning.locks import pipeline_lock, settle_dvc_locks


def reproduce(
    project: Project,
    *,
    quiet: bool = False,
    targets: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    until: float | None = None,
    sealed: Mapping[str, Sequence[str]] | None = None,
) -> list[str]:
    """Run the DVC pipeline and return the names of the stages that ran (`fingerprint` always does).

    DVC restores what it or git has of an earlier run. Of the stages in `sealed` only what carries
    this machine's seal is kept; the others are run again, in their order.

    One process at a time: a second one waits for the lock.

    Args:
        quiet: print nothing of DVC's own.
        targets: stages to run, with those they need; by default all.
        environment: variables for the stages, beside those of this process.
        until: time (seconds since 1970) at which waiting ends, and a stage that still runs is
            interrupted as by Ctrl-C.
        sealed: stages whose outputs decide, in their order, with the paths of the outputs.

    Raises:
        BudgetError: `until` has passed, or a stage has spent its budget.
        IncompleteError: a model left a part of the prompts without an answer.
        IntegrityError: git tracks `.sluice/`, or a stage ran and its outputs are not its own.
        UsageError: a stage failed on wrong data or configuration.
        VersioningError: DVC is missing, or a stage failed for another reason.
    """
    if until is not None and time.time() >= until:
        raise BudgetError(
            "the time is up; the pipeline was not started.", hint="Run again with more time."
        )
    seals.refuse_tracked_state(project)
    ensure_dvc(project.root)
    with pipeline_lock(project, until=until) as lock:
        settle_dvc_locks(project.root, until=until)
        # Read here, so that what another run did meanwhile is not told as ours.
        before = _stage_states(project.root)
        failure = project.state / "failure.json"
        variables = {
            **os.environ,
            **(environment or {}),
            "SLUICE_FAILURE": str(failure),
            "DVC_NO_ANALYTICS": "1",
            "PATH": _own_programs_first(),
        }

        def repro(*what: str) -> None:
            failure.unlink(missing_ok=True)
            told = ["--quiet"] if quiet else []
            arguments = [sys.executable, "-m", "dvc", "repro", *told, *what]
            if _run_until(arguments, project.root, variables, lock, until):
                raise _stage_error(failure)

        repro(*targets)
        again = _run_unsealed(project, sealed or {}, repro)
        after = _stage_states(project.root)
    return [name for name, state in after.items() if name in again or before.get(name) != state]


def _run_unsealed(
    project: Project, sealed: Mapping[str, Sequence[str]], repro: Callable[..., None]
) -> set[str]:
    """Run every stage again whose outputs are not known to have been made here; their names."""
    again: set[str] = set()
    while stage := seals.first_unsealed(project, sealed):
        if stage in again:
            raise IntegrityError(
                f"the stage {stage} ran, and its outputs are not what it made.",
                hint=f"Does dvc.yaml call `sluice stage {stage}`, and does nothing else write to "
                f"{' or '.join(sealed[stage])}?",
            )
        seals.tell(project, stage)
        again.add(stage)
        repro("--force", "--single-item", stage)
    return again


def _own_programs_first() -> str:
    """PATH on which all that a stage calls is looked for beside this interpreter first.

    Called by its full path (cron, systemd, an editor), `sluice` has no virtual environment on it.
    """
    own = (str(Path(sys.executable).parent), sysconfig.get_path("scripts"))
    return os.pathsep.join([*dict.fromkeys(own), read_variable("PATH", os.defpath)])


def _run_until(
    arguments: Sequence[str],
    root: Path,
    variables: Mapping[str, str],
    lock: int,
    until: float | None,
) -> int:
    """Exit code of a command that is interrupted at `until`; it inherits the pipeline's lock."""
    left = None if until is None else max(0.0, until - time.time())
    with child(arguments, root, variables=variables, kept=(lock,)) as process:
        try:
            return process.wait(left)
        except subprocess.TimeoutExpired:
            stage = _at_work(process.pid)
            raise BudgetError(
                f"the time is up; {f'the stage {stage} was' if stage else 'the pipeline was'} "
                "still running.",
                hint="Run again with more time; finished stages, training checkpoints and answers "
                "are kept.",
            ) from None


def _at_work(pid: int) -> str:
    """The stage that runs below process `pid`; empty where none does."""
    import psutil

    with suppress(psutil.Error):
        for member in psutil.Process(pid).children(recursive=True):
            words = member.cmdline()
            if "stage" in words[:-1]:
                return str(words[words.index("stage") + 1])
    return ""


def _stage_error(failure: Path) -> SluiceError:
    """The error that stopped a stage, as the stage left it; DVC itself passes on only that it
    failed.
    """
    again = "run again; finished stages are kept."
    if not failure.is_file():
        return VersioningError("the pipeline stopped; the reason is above.", hint=f"Then {again}")
    told = read_json(failure)
    if told["exit_code"] == BudgetError.exit_code:
        incomplete = told.get("kind") == IncompleteError.__name__
        unfinished = IncompleteError if incomplete else BudgetError
        return unfinished(told["message"], hint=told["hint"])
    kind = UsageError if told["exit_code"] == UsageError.exit_code else VersioningError
    hint = told["hint"].removesuffix(", then run again.")
    return kind(
        f"a stage stopped: {told['message']}",
        hint=f"{hint.removesuffix('.')}, then {again}" if hint else f"Then {again}",
    )


def _stage_states(root: Path) -> dict[str, str]:
    """Each stage's section of dvc.lock as text; a section that changed means that the stage ran."""
    lock = root / "dvc.lock"
    if not lock.is_file():
        return {}
    from ruamel.yaml import YAML

    stages = (YAML(typ="safe", pure=True).load(lock.read_text("utf-8")) or {}).get("stages") or {}
    return {name: repr(stage) for name, stage in stages.items()}
