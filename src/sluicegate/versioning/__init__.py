"""The only package that talks to DVC and git: what commit this is, what changed, run the pipeline.

`history` reads other commits: the merge base, files as they were, a work tree of its own.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sluicegate.environment import read_variable
from sluicegate.errors import (
    BudgetError,
    BusyError,
    EnvironmentFailure,
    SluiceError,
    UsageError,
    VersioningError,
)
from sluicegate.hashing import read_json, write_atomic
from sluicegate.project import Project


@dataclass(frozen=True, slots=True)
class Commit:
    """Where the code is: full hash, whether files differ from it (`current_commit`), branch ('' when detached)."""

    sha: str
    dirty: bool
    branch: str


def git(root: Path, *arguments: str) -> str:
    """Run git in `root` and return its output; bytes that are no UTF-8, as in file names, stay as lone surrogates.

    Raises:
        VersioningError: git is missing or refused.
    """
    try:
        done = subprocess.run(
            ["git", "--no-optional-locks", "-C", str(root), *arguments],
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except FileNotFoundError as error:
        raise VersioningError("git is not installed.", hint="apt-get install git") from error
    if done.returncode:
        raise VersioningError(
            f"git {arguments[0]}: {done.stderr.strip() or 'failed'}",
            hint="`git init` makes a repository here."
            if "not a git repository" in done.stderr
            else "",
        )
    return done.stdout


def current_commit(root: Path) -> Commit:
    """The checked-out commit; works on a detached head and in a shallow clone.

    It is dirty where a tracked file differs, or where the project has a prompt, a registry file or Python code that git
    neither tracks nor ignores: the line may use those.

    Raises:
        VersioningError: not a repository, or no commit yet.
    """
    sha = git(root, "rev-parse", "HEAD").strip()
    # dvc.lock is a product of the run itself, not an edit by a person.
    changed = git(
        root, "status", "--porcelain", "--untracked-files=no", "--", ":/", ":(exclude)dvc.lock"
    ).strip()
    new = (
        changed
        or git(
            root, "ls-files", "--others", "--exclude-standard", "--", "prompts", "registry", "*.py"
        ).strip()
    )
    return Commit(sha, bool(new), git(root, "branch", "--show-current").strip())


def ensure_dvc(root: Path) -> None:
    """Initialise DVC in a project that has none yet, with quiet, offline, verifying defaults."""
    if (root / ".dvc" / "config").is_file():
        return
    if (root / ".dvc").is_dir():
        # A cache brought back by CI before there was a project around it: `dvc init` refuses, and with --force deletes it.
        write_atomic(
            root / ".dvc" / "config", "[core]\n    analytics = false\n    check_update = false\n"
        )
        write_atomic(root / ".dvc" / ".gitignore", "/config.local\n/tmp\n/cache\n")
        if not (root / ".git").exists():
            _dvc(root, "config", "core.no_scm", "true")
        return
    inside = (
        subprocess.run(
            ["git", "-C", str(root), "rev-parse", "--git-dir"], capture_output=True, check=False
        ).returncode
        == 0
    )
    _dvc(root, "init", *([] if inside and (root / ".git").exists() else ["--no-scm"]))
    _dvc(root, "config", "core.analytics", "false")
    _dvc(root, "config", "core.check_update", "false")


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
        until: time (seconds since 1970) at which waiting ends, and a stage that still runs is interrupted as by Ctrl-C.

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
        _settle_dvc_locks(project.root, until=until)
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
    """PATH on which `sluice`, `python` and all that a stage calls are first looked for beside this interpreter.

    Called by its full path (cron, systemd, an editor), `sluice` has no virtual environment on the PATH.
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
                f"the time is up; {f'the stage {stage} was' if stage else 'the pipeline was'} still at work.",
                hint="Run again with more time; finished stages, training checkpoints and answers are kept.",
            ) from None
        except BaseException:
            process.kill()
            raise


def _interrupt(process: subprocess.Popen[bytes], *, wait: float = 20.0) -> str:
    """End DVC, and its stages as Ctrl-C would; by force after `wait` seconds. Returns the stage that was at work."""
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
            # DVC itself would print a traceback for SIGINT; what it leaves when it ends is settled at the next start.
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


@contextmanager
def pipeline_lock(
    project: Project, *, wait: float = 3600.0, until: float | None = None
) -> Iterator[int]:
    """Hold the one lock around the pipeline; a second holder says that it waits.

    Yields:
        The lock's file descriptor. A child that inherits it keeps the lock where its parent is killed.

    Raises:
        BudgetError: the lock was not free at `until` (seconds since 1970), which, where given, goes before `wait`.
        BusyError: the lock was not free within `wait` seconds.
    """
    try:
        project.state.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(project.state / "pipeline.lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise EnvironmentFailure(f"cannot write {project.state}: {error.strerror}") from error
    try:
        _wait_for(
            lambda: _locked(descriptor),
            wait,
            until,
            "another run holds the pipeline; waiting for it to end ...",
            "another run still holds the pipeline.",
        )
        yield descriptor
    finally:
        os.close(descriptor)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _wait_for(
    ready: Callable[[], bool], wait: float, until: float | None, told: str, late: str
) -> None:
    """Ask `ready` twice a second; say `told` once where it takes time, raise an error that says `late` in the end.

    The end is `until` (seconds since 1970; a BudgetError), or, without it, after `wait` seconds (a BusyError).
    """
    if ready():
        return
    print(told, file=sys.stderr, flush=True)
    end = time.monotonic() + wait
    while not ready():
        if until is not None and time.time() >= until:
            raise BudgetError(
                f"the time is up; {late}", hint="Run again with more time, or when it has ended."
            )
        if until is None and time.monotonic() > end:
            raise BusyError(late, hint="Wait for it, or stop it.")
        time.sleep(0.5)


def _settle_dvc_locks(root: Path, *, wait: float = 3600.0, until: float | None = None) -> None:
    """Wait for a DVC that a person started, then drop what dead ones left in DVC's own lock file.

    DVC takes any process with the recorded number for the owner: a zombie, or a stranger that got the number since,
    would block the pipeline for ever.

    Raises:
        BudgetError: another DVC still runs at `until`, which, where given, goes before `wait`.
        BusyError: another DVC still runs after `wait` seconds.
    """
    path = root / ".dvc" / "tmp" / "rwlock"
    _wait_for(
        lambda: not any(map(_runs_dvc, _owners(path))),
        wait,
        until,
        "another DVC works in this project; waiting for it to end ...",
        "another DVC still works in this project.",
    )
    path.unlink(missing_ok=True)


def _owners(path: Path) -> set[int]:
    """Process numbers in DVC's lock file; none where it is absent or was torn by a kill."""
    try:
        held = json.loads(path.read_text("utf-8"))
        entries = [
            *held["write"].values(),
            *(entry for several in held["read"].values() for entry in several),
        ]
        return {int(entry["pid"]) for entry in entries}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return set()


def _runs_dvc(pid: int) -> bool:
    import psutil

    try:
        process = psutil.Process(pid)
        return process.status() != psutil.STATUS_ZOMBIE and any(
            "dvc" in part for part in process.cmdline()
        )
    except psutil.Error:
        return False


def _stage_error(failure: Path) -> SluiceError:
    """The error that stopped a stage, as the stage left it; DVC itself passes on only that it failed."""
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


def _dvc(root: Path, *arguments: str) -> str:
    """Output of a DVC command."""
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        reasons = [
            line.removeprefix("ERROR: ")
            for line in done.stderr.splitlines()
            if line.startswith("ERROR")
        ]
        raise VersioningError(
            f"dvc {arguments[0]}: {' '.join(reasons) or done.stderr.strip() or 'failed'}",
            hint="`sluice doctor` says what is missing.",
        )
    return done.stdout


def _stage_states(root: Path) -> dict[str, str]:
    """Each stage's section of dvc.lock as text; a section that changed means that the stage ran."""
    lock = root / "dvc.lock"
    if not lock.is_file():
        return {}
    from ruamel.yaml import YAML

    stages = (YAML(typ="safe").load(lock.read_text("utf-8")) or {}).get("stages") or {}
    return {name: repr(stage) for name, stage in stages.items()}
