"""The wheel as a stranger gets it: from its declared dependencies alone, without the lock file."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
UNREACHABLE = re.compile(
    r"NewConnectionError|Temporary failure in name resolution|No matching distri"
)
LOCAL = ("torch", "transformers", "peft", "gguf")


def run(*command: str | Path, folder: Path, path: str) -> subprocess.CompletedProcess[str]:
    """Run a command with nothing of this environment on its PATH."""
    inherited = {
        name: text
        for name, text in os.environ.items()
        if name not in ("PYTHONPATH", "VIRTUAL_ENV", "PIP_CONSTRAINT", "PIP_NO_DEPS")
    }
    return subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        env=inherited | {"PATH": path},
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of programs of a fresh environment that holds the wheel and what it asks for."""
    folder = tmp_path_factory.mktemp("wheel")
    build = ["-m", "build", "--wheel", "--no-isolation", "--outdir", folder / "dist", ROOT]
    built = run(sys.executable, *build, folder=folder, path=os.environ["PATH"])
    assert built.returncode == 0, built.stderr
    (wheel,) = (folder / "dist").glob("*.whl")
    made = run(sys.executable, "-m", "venv", folder / "env", folder=folder, path=os.defpath)
    assert made.returncode == 0, made.stderr
    programs = folder / "env" / ("Scripts" if os.name == "nt" else "bin")
    install = ["-m", "pip", "install", "--quiet", "--compile", wheel]
    done = run(programs / "python", *install, folder=folder, path=os.defpath)
    if done.returncode and UNREACHABLE.search(done.stderr):
        shutil.rmtree(folder)
        pytest.skip("no package registry can be reached, so nothing was installed from the wheel")
    assert done.returncode == 0, done.stderr
    yield programs
    shutil.rmtree(folder)


def test_a_stranger_starts(installed: Path, tmp_path: Path) -> None:
    """`sluice init` and `sluice doctor` work in an environment that pip alone put together."""
    made = run(installed / "sluice", "init", "mine", folder=tmp_path, path=os.defpath)
    assert made.returncode == 0, made.stdout + made.stderr
    project = tmp_path / "mine"
    checked = run(installed / "sluice", "doctor", folder=project, path=os.defpath)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "pip install 'sluicegate[local]'" in checked.stdout
    stage = run(installed / "sluice", "stage", "fingerprint", folder=project, path=os.defpath)
    assert stage.returncode == 0, stage.stderr


def test_a_release_without_open_weights_says_what_it_needs(installed: Path, tmp_path: Path) -> None:
    """The sample needs open weights: its line ends with an error that names what to install, found
    by its full path.
    """
    run(installed / "sluice", "init", "mine", folder=tmp_path, path=os.defpath)
    release = [installed / "sluice", "release", "--no-server"]
    done = run(*release, folder=tmp_path / "mine", path=os.defpath)
    said = done.stdout + done.stderr
    assert done.returncode in (2, 3), said
    assert "pip install" in done.stderr, said
    assert "defect" not in said
    assert "not found" not in said


def test_the_core_brings_no_engine(installed: Path, tmp_path: Path) -> None:
    """Neither torch nor anything of the extra `local` comes with the core, and what did come
    agrees.
    """
    listed = run(installed / "python", "-m", "pip", "list", folder=tmp_path, path=os.defpath)
    names = {line.split()[0].lower() for line in listed.stdout.splitlines()[2:] if line.strip()}
    assert {"mlflow", "prefect", "dvc", "sluicegate"} <= names
    assert names.isdisjoint({*LOCAL, "accelerate", "huggingface-hub", "tokenizers"})
    checked = run(installed / "python", "-m", "pip", "check", folder=tmp_path, path=os.defpath)
    assert checked.returncode == 0, checked.stdout


def test_all_that_suits_one_machine_resolves(installed: Path, tmp_path: Path) -> None:
    """The extra `all` brings each extra but those that compile, need a GPU or hold others back."""
    script = (
        "from importlib.metadata import metadata as m; "
        "print(*m('sluicegate').get_all('Requires-Dist'), sep='\\n')"
    )
    told = run(installed / "python", "-c", script, folder=tmp_path, path=os.defpath).stdout

    def brought(extra: str) -> set[str]:
        lines = [line.split(";")[0] for line in told.splitlines() if f"extra == '{extra}'" in line]
        nested = [name for line in lines for name in re.findall(r"^sluicegate\[(.*)\]", line)]
        direct = {line.strip() for line in lines if not line.startswith("sluicegate[")}
        return direct.union(*(brought(name) for each in nested for name in each.split(",")))

    for extra in ("local", "metrics", "hf", "postgres", "trulens", "benchmarks"):
        assert brought(extra), told
        assert brought(extra) <= brought("all"), extra
