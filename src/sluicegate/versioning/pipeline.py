"""The DVC pipeline, run until it is done or the time is up."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
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
from sluicegate.versioning.children import child, overheard
from sluicegate.versioning.dvc_calls import ensure_dvc
from sluicegate.versioning.locks import pipeline_lock, settle_dvc_locks

DVC = (sys.executable, "-m", "dvc", "repro")
LAST = 8
"""Lines of a stage that failed, in the error's message."""


def reproduce(
    project: Project,
    *,
    quiet: bool = False,
    targets: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    until: float | None = None,
    sealed: Mapping[str, Sequence[str]] | None = None,
    listener: Callable[[str], object] | None = None,
) -> list[str]:
    """Run the DVC pipeline and return the names of the stages that ran (`fingerprint` always does).

    Of what DVC restores, for the stages in `sealed`, only what carries this machine's seal is kept;
    the others are run again, in their order. A second process waits for the lock.

    Args:
        quiet: print nothing of DVC's own.
        targets: stages to run, with those they need; by default all.
        environment: variables for the stages, beside those of this process.
        until: seconds since 1970: then waiting ends, and a stage is interrupted as by Ctrl-C.
        sealed: stages whose outputs decide, in their order, with the paths of the outputs.
        listener: gets each line that is printed, beside stderr; the error then has the last ones.

    Raises:
        BudgetError, IncompleteError: time is up, or see the stage.
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
        before = _stage_states(project.root)  # here: what another run did is not ours
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
            arguments = [*DVC, "--quiet", *what] if quiet else [*DVC, *what]
            last: deque[str] = deque(maxlen=LAST)
            with overheard(listener, last) as output:
                failed = _run_until(arguments, project.root, variables, lock, until, output)
            if failed:
                raise _stage_error(failure, last)

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
    output: int | None,
) -> int:
    """Exit code of a command that is interrupted at `until`; it inherits the pipeline's lock."""
    left = None if until is None else max(0.0, until - time.time())
    with child(arguments, root, variables=variables, kept=(lock,), output=output) as process:
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


def _stage_error(failure: Path, last: Collection[str]) -> SluiceError:
    """The error that stopped a stage, as the stage left it; DVC itself passes on only that it
    failed. With the last lines that were printed, where somebody listened.
    """
    again = "run again; finished stages are kept."
    ended = "\n  ".join(("\nThe last lines:", *last)) if last else ""
    if not failure.is_file():
        why = "." if last else "; the reason is above."
        return VersioningError(f"the pipeline stopped{why}{ended}", hint=f"Then {again}")
    told = read_json(failure)
    if told["exit_code"] == BudgetError.exit_code:
        incomplete = told.get("kind") == IncompleteError.__name__
        unfinished = IncompleteError if incomplete else BudgetError
        return unfinished(told["message"], hint=told["hint"])
    kind = UsageError if told["exit_code"] == UsageError.exit_code else VersioningError
    hint = told["hint"].removesuffix(", then run again.")
    if not hint.startswith("Run again"):
        hint = f"{hint.removesuffix('.')}, then {again}" if hint else f"Then {again}"
    return kind(f"a stage stopped: {told['message']}{ended}", hint=hint)


def _stage_states(root: Path) -> dict[str, str]:
    """Each stage's section of dvc.lock as text; a section that changed means that the stage ran."""
    lock = root / "dvc.lock"
    if not lock.is_file():
        return {}
    from ruamel.yaml import YAML

    stages = (YAML(typ="safe", pure=True).load(lock.read_text("utf-8")) or {}).get("stages") or {}
    return {name: repr(stage) for name, stage in stages.items()}
