"""The DVC pipeline, run until it is done or the time is up."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from sluicegate.environment import read_variable
from sluicegate.errors import BudgetError, SluiceError, UsageError, VersioningError
from sluicegate.hashing import read_json
from sluicegate.project import Project
from sluicegate.versioning.dvc_calls import ensure_dvc
from sluicegate.versioning.locks import pipeline_lock, settle_dvc_locks


def reproduce(
    project: Project,
    *,
    quiet: bool = False,
    targets: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    until: float | None = None,
) -> list[str]:
    """Run the DVC pipeline and return the names of the stages that ran (`fingerprint` always does).

    One process at a time: a second one waits for the lock.

    Args:
        quiet: print nothing of DVC's own.
        targets: stages to run, with those they need; by default all.
        environment: variables for the stages, beside those of this process.
        until: time (seconds since 1970) at which waiting ends, and a stage that still runs is
            interrupted as by Ctrl-C.

    Raises:
        BudgetError: `until` has passed, or a stage has spent its budget.
        UsageError: a stage failed on wrong data or configuration.
        VersioningError: DVC is missing, or a stage failed for another reason.
    """
    if until is not None and time.time() >= until:
        raise BudgetError(
            "the time is up; the pipeline was not started.", hint="Run again with more time."
        )
    ensure_dvc(project.root)
    with pipeline_lock(project, until=until) as lock:
        settle_dvc_locks(project.root, until=until)
        before = _stage_states(
            project.root
        )  # read here, so that what another run did meanwhile is not told as ours
        failure = project.state / "failure.json"
        failure.unlink(missing_ok=True)
        variables = {
            **os.environ,
            **(environment or {}),
            "SLUICE_FAILURE": str(failure),
            "DVC_NO_ANALYTICS": "1",
            "PATH": _own_programs_first(),
        }
        arguments = [
            sys.executable,
            "-m",
            "dvc",
            "repro",
            *(["--quiet"] if quiet else []),
            *targets,
        ]
        code = _run_until(arguments, project.root, variables, lock, until)
        if code:
            raise _stage_error(failure)
        after = _stage_states(project.root)
    return [name for name, state in after.items() if before.get(name) != state]


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
    try:
        process = subprocess.Popen(
            arguments, cwd=root, env=variables, stdin=subprocess.DEVNULL, pass_fds=(lock,)
        )
    except FileNotFoundError as error:
        raise VersioningError("DVC is not installed.", hint="pip install dvc") from error
    with process:
        try:
            return process.wait(left)
        except subprocess.TimeoutExpired:
            stage = _interrupt(process)
            raise BudgetError(
                f"the time is up; {f'the stage {stage} was' if stage else 'the pipeline was'} "
                "still running.",
                hint="Run again with more time; finished stages, training checkpoints and answers "
                "are kept.",
            ) from None
        except BaseException:
            process.kill()
            raise


def _interrupt(process: subprocess.Popen[bytes], *, wait: float = 20.0) -> str:
    """End DVC, and its stages as Ctrl-C would; by force after `wait` seconds.

    Returns the stage that was at work.
    """
    import psutil

    try:
        family = [
            *psutil.Process(process.pid).children(recursive=True),
            psutil.Process(process.pid),
        ]
    except psutil.NoSuchProcess:
        return ""
    stage = ""
    for member in family:
        try:
            words = member.cmdline()
            working = "stage" in words[:-1]
            # DVC itself would print a traceback for SIGINT; what it leaves when it ends is settled
            # at the next start.
            member.send_signal(signal.SIGINT if working else signal.SIGTERM)
        except psutil.Error:
            continue
        if working:
            stage = words[words.index("stage") + 1]
    late = psutil.wait_procs(family, timeout=wait)[1]
    for member in late:  # started with SIGINT ignored, as in the background of a shell
        member.kill()
    psutil.wait_procs(late, timeout=5.0)
    return stage


def _stage_error(failure: Path) -> SluiceError:
    """The error that stopped a stage, as the stage left it; DVC itself passes on only that it
    failed.
    """
    again = "run again; finished stages are kept."
    if not failure.is_file():
        return VersioningError("the pipeline stopped; the reason is above.", hint=f"Then {again}")
    told = read_json(failure)
    if told["exit_code"] == BudgetError.exit_code:
        return BudgetError(told["message"], hint=told["hint"])
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

    stages = (YAML(typ="safe").load(lock.read_text("utf-8")) or {}).get("stages") or {}
    return {name: repr(stage) for name, stage in stages.items()}
