"""What DVC and its stages run as: nothing outlives the process that started it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from sluicegate.errors import VersioningError
from sluicegate.project import Project
from sluicegate.versioning import guard, reproduce

STAGE = """
import json, os, pathlib, signal, subprocess, sys, time
if "stubborn" in sys.argv:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
apart = [sys.executable, "-c", "import time; time.sleep(300)"]
apart = subprocess.Popen(apart, start_new_session=True)
numbers = [os.getpid(), os.getppid(), worker.pid, apart.pid]
pathlib.Path("part").write_text(json.dumps(numbers))
os.rename("part", "pids")
try:
    time.sleep(300)
except KeyboardInterrupt:
    pathlib.Path("asked").touch()
    raise
"""
DRIVER = """
import sys
from pathlib import Path
from sluicegate.project import Project
from sluicegate.versioning import reproduce
reproduce(Project(Path(sys.argv[1])), quiet=True)
"""


def _start(root: Path, *words: str) -> tuple[subprocess.Popen[bytes], list[psutil.Process]]:
    """A process that reproduces a pipeline with a long stage, and all that it started."""
    (root / "stage.py").write_text(STAGE, "utf-8")
    command = f"python stage.py stage tune {' '.join(words)}"
    (root / "dvc.yaml").write_text(json.dumps({"stages": {"tune": {"cmd": command}}}), "utf-8")
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(root)],
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        stderr=subprocess.DEVNULL,
    )
    until = time.monotonic() + 60
    while not (root / "pids").is_file():
        assert time.monotonic() < until
        assert driver.poll() is None
        time.sleep(0.05)
    family = psutil.Process(driver.pid).children(recursive=True)
    named = {member.pid for member in family}
    assert set(json.loads((root / "pids").read_text())) <= named
    return driver, family


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_to_the_command_alone_ends_all(tmp_path: Path, number: int) -> None:
    """DVC, the stage, its workers and what has a session of its own end with the command, and the
    stage is asked first.
    """
    driver, family = _start(tmp_path)
    os.kill(driver.pid, number)
    driver.wait(guard.WAIT)
    assert psutil.wait_procs(family, timeout=guard.WAIT)[1] == []
    assert (tmp_path / "asked").is_file()


def test_what_does_not_listen_is_ended_by_force(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stage that ignores Ctrl-C has its time to end, and no more."""
    driver, family = _start(tmp_path, "stubborn")
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait(5)
    assert psutil.wait_procs(family, timeout=guard.WAIT + 15)[1] == []
    assert not (tmp_path / "asked").exists()


def test_without_its_guard_nothing_goes_on(tmp_path: Path) -> None:
    """Where the guard itself was killed, the command ends what is left of its group, and fails."""
    driver, family = _start(tmp_path)
    own = next(member for member in family if guard.__file__ in member.cmdline())
    own.kill()
    assert driver.wait(guard.WAIT) != 0
    apart = json.loads((tmp_path / "pids").read_text())[-1]
    left = psutil.wait_procs([member for member in family if member.pid != apart], timeout=10)[1]
    psutil.Process(apart).kill()
    assert left == []


TALKER = """
import sys
print("loading: 10%\\rloading: 100%\\nrow 3 has no text")
sys.exit(int(sys.argv[1]))
"""


@pytest.mark.parametrize("code", [0, 1])
def test_what_stages_print_reaches_who_listens_and_the_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], code: int
) -> None:
    """Each line goes to the listener and on to stderr, of one that was written over only its end;
    the last ones are in the error of a stage that fails.
    """
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    (tmp_path / "talk.py").write_text(TALKER, "utf-8")
    stages = {"stages": {"tune": {"cmd": f"{sys.executable} talk.py {code}"}}}
    (tmp_path / "dvc.yaml").write_text(json.dumps(stages), "utf-8")
    heard: list[str] = []

    def run() -> None:
        reproduce(Project(tmp_path), listener=heard.append)

    if code:
        with pytest.raises(VersioningError, match=r"The last lines:(.|\n)*row 3 has no text"):
            run()
    else:
        run()
    assert "loading: 100%" in heard
    assert "row 3 has no text" in heard
    said = capsys.readouterr().err.splitlines()
    assert said == heard
