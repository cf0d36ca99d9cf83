"""The whole line on a tiny model: real DVC, git, PEFT, MLflow and ledger; no server."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sluicegate.ledger import Ledger
from sluicegate.project import Project
from sluicegate.scaffold import init

sys.path.insert(0, str(Path(__file__).parents[1]))
from tiny_model import build_tiny_model

pytestmark = pytest.mark.slow
OPEN_POLICY = """
minimum_examples: 20
rules:
  - {name: scores exist, kind: at_least, metric: chrf, threshold: 0.0, compare: mean}
  - {name: checked, kind: requires, fact: contamination_checked}
"""


def sluice(
    root: Path, *arguments: str, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `sluice` in a project, offline."""
    return subprocess.run(
        [sys.executable, "-m", "sluicegate", *arguments],
        cwd=root,
        env=_environment(root) | (environment or {}),
        text=True,
        capture_output=True,
        check=False,
        timeout=500,
        stdin=subprocess.DEVNULL,
    )


def _environment(root: Path) -> dict[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {
        **os.environ,
        "PATH": path,
        "HF_HUB_OFFLINE": "1",
        "DO_NOT_TRACK": "true",
        "SLUICE_CACHE": str(root.parent / "cache"),
    }


def edit(path: Path, old: str, new: str, *, commit: bool = True) -> None:
    """Replace text in a project file, and commit it."""
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), "utf-8")
    if commit:
        author = ["-c", "user.name=t", "-c", "user.email=t@example.invalid"]
        subprocess.run(["git", *author, "commit", "-qam", "edit"], cwd=path.parent, check=True)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project from the template on a tiny model, with the line run once."""
    folder = tmp_path_factory.mktemp("line")
    build_tiny_model(folder / "tiny")
    root = folder / "project"
    init(root)
    (root / "registry" / "gates.yaml").write_text(OPEN_POLICY, "utf-8")
    edit(root / "params.yaml", "model: smollm2-135m-instruct", "model: ../tiny", commit=False)
    edit(root / "params.yaml", "dtype: auto", "dtype: float32", commit=False)
    edit(root / "params.yaml", "max_new_tokens: 96", "max_new_tokens: 8", commit=False)
    edit(root / "params.yaml", "epochs: 2", "epochs: 1", commit=False)
    edit(root / "params.yaml", "max_tokens: 1024", "max_tokens: 4000")
    done = sluice(root, "release", "--no-server")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "PROMOTE" in done.stdout
    yield root
    shutil.rmtree(root, ignore_errors=True)


def ran(done: subprocess.CompletedProcess[str]) -> set[str]:
    """The pipeline stages that a release ran, `fingerprint` left out."""
    return set(re.findall(r"Running stage '(\w+)'", done.stdout + done.stderr)) - {"fingerprint"}


def test_champion_serves(project: Path) -> None:
    """After the first run the tuned release is champion, promoted on a verdict against release
    zero, which never serves, and its parts are stored.
    """
    ledger = Ledger(Project(project).ledger_url)
    champion = ledger.champion()
    assert champion is not None
    history = json.loads(sluice(project, "history", "--json").stdout)
    assert len({entry["release"] for entry in history}) == 2
    assert [entry.kind for entry in ledger.entries()] == [
        "register",
        "register",
        "verdict",
        "promote",
    ]
    assert (project / ".sluice" / "store" / "releases" / f"{champion.release}.json").is_file()
    assert "<html" in (project / "reports" / "release.html").read_text("utf-8")


def test_nothing_changed(project: Path) -> None:
    """A second run promotes nothing twice, and once the evidence is against the new champion no
    stage runs again.
    """
    before = Ledger(Project(project).ledger_url).champion()
    assert sluice(project, "release", "--no-server").returncode == 0
    done = sluice(project, "release", "--no-server")
    assert done.returncode == 0, done.stdout + done.stderr
    assert ran(done) == set()
    assert Ledger(Project(project).ledger_url).champion() == before


def test_only_what_is_affected_runs(project: Path) -> None:
    """Generation settings re-evaluate, a prompt also re-tunes, and notes on a prompt change
    nothing.
    """
    edit(project / "params.yaml", "repetition_penalty: 1.0", "repetition_penalty: 1.1")
    assert ran(sluice(project, "gate")) == {"evaluate", "profile"}
    edit(project / "prompts" / "summarize.yaml", "owner: support-quality", "owner: somebody-else")
    assert ran(sluice(project, "gate")) == set()
    edit(project / "prompts" / "summarize.yaml", "Read the following", "Please read the following")
    assert ran(sluice(project, "gate")) == {"tune", "evaluate", "profile"}


def test_each_change_is_one_more_look_at_the_golden_set(project: Path) -> None:
    """Verdicts on different releases are counted in the ledger; judging the same one again is not
    another look.
    """
    verdicts = Ledger(Project(project).ledger_url).entries("verdict")
    assert [(entry.payload["look"], entry.payload["looks"]) for entry in verdicts] == [
        (1, 20),
        (2, 20),
        (3, 20),
    ]
    assert (
        verdicts[1].payload["alpha"] > verdicts[0].payload["alpha"]
    )  # the first promoted, and handed its share on
    assert sluice(project, "gate").returncode == 0
    assert len(Ledger(Project(project).ledger_url).entries("verdict")) == 3


def test_rollback(project: Path) -> None:
    """Before a second release there is nothing to go back to; after it the first one serves again,
    and an adapter damaged on disk would not be served.
    """
    ledger = Ledger(Project(project).ledger_url)
    refused = sluice(project, "rollback")
    assert (refused.returncode, "before this one" in refused.stderr) == (2, True), refused.stderr
    assert sluice(project, "release", "--no-server").returncode == 0
    tuned = ledger.champion()
    assert tuned is not None
    assert sluice(project, "rollback").returncode == 0
    after = ledger.champion()
    assert after is not None
    assert (after.release != tuned.release, after.epoch) == (True, tuned.epoch + 1)
    manifest = json.loads(
        (project / ".sluice" / "store" / "releases" / f"{tuned.release}.json").read_text("utf-8")
    )
    adapter = (
        project
        / ".sluice"
        / "store"
        / "adapters"
        / manifest["release"]["adapter"]
        / "adapter_model.safetensors"
    )
    data = adapter.read_bytes()
    os.chmod(adapter, 0o644)
    adapter.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert sluice(project, "verify").returncode == 3
    assert sluice(project, "rollback", "--to", str(tuned.version)).returncode == 3
    assert ledger.champion() == after
    adapter.write_bytes(data)
    assert sluice(project, "rollback", "--to", str(tuned.version)).returncode == 0
    assert sluice(project, "verify").returncode == 0


def test_wrong_use(project: Path) -> None:
    """A misspelt parameter, broken YAML and a missing prompt variable exit with 2 and name the
    place.
    """
    for name, old, new, message in (
        ("params.yaml", "rank: 16", "rnak: 16", "rnak"),
        ("params.yaml", "rank: 16", "rank: [16", "line"),
        ("prompts/summarize.yaml", "[conversation]", "[conversation, mood]", "mood"),
        ("params.yaml", "prompt: summarize", "prompt: sumarize", "sumarize"),
    ):
        edit(project / name, old, new, commit=False)
        done = sluice(project, "release", "--no-server")
        subprocess.run(["git", "checkout", "-q", "--", "."], cwd=project, check=True)
        assert (done.returncode, message in done.stderr) == (2, True), done.stderr


def test_killed_run_resumes(project: Path) -> None:
    """A release killed at any moment is completed by the next one, which ends with one champion."""
    edit(project / "prompts" / "summarize.yaml", "Please read", "Kindly read")
    command = [sys.executable, "-m", "sluicegate", "release", "--no-server"]
    for seconds in (1.0, 6.0, 12.0):
        process = subprocess.Popen(
            command,
            cwd=project,
            env=_environment(project),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        time.sleep(seconds)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    done = sluice(project, "release", "--no-server")
    assert done.returncode == 0, done.stdout + done.stderr
    assert sluice(project, "verify").returncode == 0


def test_detached_shallow_clone(project: Path, tmp_path: Path) -> None:
    """The gate works in a shallow clone on a detached head, as CI checks it out."""
    clone = tmp_path / "clone"
    subprocess.run(
        ["git", "clone", "-q", "--depth", "1", f"file://{project}", str(clone)], check=True
    )
    subprocess.run(["git", "checkout", "-q", "--detach"], cwd=clone, check=True)
    shutil.copytree(project.parent / "tiny", tmp_path / "tiny")
    done = sluice(clone, "gate", environment={"SLUICE_CACHE": str(project.parent / "cache")})
    assert done.returncode in (0, 4), done.stdout + done.stderr


def test_base_model_not_found(project: Path) -> None:
    """A base that exists nowhere exits with 3 and says where base models are named."""
    edit(project / "params.yaml", "model: ../tiny", "model: no-such/model", commit=False)
    done = sluice(project, "release", "--no-server")
    subprocess.run(["git", "checkout", "-q", "--", "."], cwd=project, check=True)
    assert done.returncode == 3, done.stderr
    assert "no-such/model" in done.stderr


def test_git_missing(project: Path, tmp_path: Path) -> None:
    """Without git the line stops at once with 3 and the line that installs it."""
    (tmp_path / "python").symlink_to(sys.executable)
    done = sluice(project, "release", "--no-server", environment={"PATH": str(tmp_path)})
    assert done.returncode == 3
    assert "apt-get install git" in done.stderr


def test_two_runs_at_once(project: Path) -> None:
    """A second run waits for the first, says so, and both end with the same champion."""
    command = [sys.executable, "-m", "sluicegate", "release", "--no-server"]
    both = [
        subprocess.Popen(
            command,
            cwd=project,
            env=_environment(project),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for _ in range(2)
    ]
    told = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    assert sum(b"is running; waiting" in errors for _, errors in told) == 1
    assert sluice(project, "verify").returncode == 0


def test_ctrl_c(project: Path) -> None:
    """Ctrl-C stops with 130 and one line; running again completes the release."""
    edit(project / "params.yaml", "repetition_penalty: 1.1", "repetition_penalty: 1.2")
    process = subprocess.Popen(
        [sys.executable, "-m", "sluicegate", "release", "--no-server"],
        cwd=project,
        env=_environment(project),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # What a background job of a shell is born without, and would not be there to test.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    time.sleep(4)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "run the same command again" in errors
    assert "this is a defect" not in errors
    assert sluice(project, "release", "--no-server").returncode == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_disk_full(project: Path, tmp_path: Path) -> None:
    """On a full disk the line stops with 3 and a plain sentence, wherever it is; with room again it
    completes.
    """
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(small)], check=False
    ).returncode:
        pytest.skip("no tmpfs can be mounted here")
    environment = {"SLUICE_CACHE": str(project.parent / "cache")}
    try:
        (small / "tiny").symlink_to(project.parent / "tiny")
        subprocess.run(["git", "clone", "-q", str(project), str(small / "project")], check=True)
        for room in (
            4_000,
            200_000,
            400_000,
            800_000,
        ):  # .dvc, the golden set, the tracking database, its end
            space = os.statvfs(small)
            (small / "filler").write_bytes(bytes(max(0, space.f_bavail * space.f_frsize - room)))
            done = sluice(small / "project", "release", "--no-server", environment=environment)
            assert done.returncode == 3, f"{room}: {done.stdout}{done.stderr}"
            assert "this is a defect" not in done.stderr, f"{room}: {done.stderr}"
            assert re.search(r"no space|disk is full", done.stderr, re.I), f"{room}: {done.stderr}"
            (small / "filler").unlink()
        done = sluice(small / "project", "release", "--no-server", environment=environment)
        assert done.returncode == 0, done.stdout + done.stderr
        assert sluice(small / "project", "verify").returncode == 0
    finally:
        subprocess.run(["umount", "-l", str(small)], check=False)
