"""What an absent extra says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

LOCAL = ("torch", "transformers", "peft", "gguf", "tokenizers", "accelerate", "huggingface_hub")
BLOCKED = f"""
import sys
from importlib.machinery import PathFinder

find = PathFinder.find_spec


def absent(name, *rest):
    return None if name.partition(".")[0] in {LOCAL!r} else find(name, *rest)


PathFinder.find_spec = staticmethod(absent)
"""
CASES = {
    "trulens": ("trulens", "import sluicegate.judges.trulens_door"),
    "benchmarks": (
        "lm_eval",
        "from pathlib import Path; from sluicegate.evaluation.public_benchmarks import run_tasks; "
        "run_tasks(None, None, ['arc_easy'], digest='x')",
    ),
}


@pytest.mark.parametrize("extra", CASES)
def test_a_missing_extra_says_the_line_that_installs_it(extra: str) -> None:
    """Without the package the error is ours, and its hint is the command that brings it."""
    package, code = CASES[extra]
    script = (
        f"import sys; sys.modules[{package!r}] = None\n"
        "from sluicegate.errors import MissingExtraError\n"
        f"try:\n    {code}\nexcept MissingExtraError as error:\n    print(error.hint)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.strip() == f"pip install 'sluicegate[{extra}]'", done.stderr


def run(script: str, *arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run Python code in which nothing of the extra `local` can be imported."""
    return subprocess.run(
        [sys.executable, "-c", BLOCKED + script, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


COMMANDS = """
import os

import click
from sluicegate.cli import sluice

sluice.main(["init", "mine"], standalone_mode=False)
os.chdir("mine")
for line in (
    "doctor", "prompt list", "judge --help", "gate --help", "traffic show", "history", "verify",
    "stage fingerprint", "stage prepare",
):
    code = sluice.main(line.split(), standalone_mode=False)
    assert not code, (line, code)
print("torch" in sys.modules)
sys.argv[1:] = ["stage", "tune"]
from sluicegate.cli import main
main()
"""


def test_the_core_does_without_open_weights(tmp_path: Path) -> None:
    """A project is made and looked at, prompts, judges, ledger and traffic are worked with, without torch.

    Tuning ends with the line that installs what it needs.
    """
    done = run(COMMANDS, folder=tmp_path)
    assert done.stdout.splitlines()[-1] == "False", done.stderr
    assert done.returncode in (2, 3)
    assert "defect" not in done.stderr
    assert "pip install" in done.stderr


MODULES = (
    "import pkgutil, importlib, sluicegate; "
    + """
for found in pkgutil.walk_packages(sluicegate.__path__, "sluicegate."):
    if not found.name.startswith(("sluicegate.template", "sluicegate.__main__", "sluicegate.stages")):
        try:
            importlib.import_module(found.name)
        except ModuleNotFoundError as error:
            print(found.name, error.name)
        except sluicegate.errors.MissingExtraError:
            pass
"""
)
ROOMS = ("sluicegate.engines.", "sluicegate.tuning.")
"""Only in these may a module import torch, transformers or peft when it is imported itself."""


def test_only_rooms_of_open_weights_import_them(tmp_path: Path) -> None:
    """Every other module can be imported without the extra `local`."""
    done = run("import sluicegate.errors\n" + MODULES, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    found = [line.split()[0] for line in done.stdout.splitlines()]
    assert found, "tuning imports torch: the blocking does not work"
    assert [name for name in found if not name.startswith(ROOMS)] == []


def test_tuning_without_torch_names_the_extra(tmp_path: Path) -> None:
    """The door to tuning says the line that installs what it needs."""
    script = (
        "from pathlib import Path\nfrom sluicegate.tuning import tune\n"
        "from sluicegate.errors import MissingExtraError\n"
        "try:\n    tune([], [], base=None, params=None, dtype='auto', out=Path('o'), "
        "checkpoints=Path('c'), run_key='k')\n"
        "except MissingExtraError as error:\n    print(error.hint)"
    )
    assert run(script, folder=tmp_path).stdout.strip() == "pip install 'sluicegate[local]'"


def test_weights_without_torch_name_the_extra(tmp_path: Path) -> None:
    """A model of open weights can be opened without torch; asking it says the line that installs it."""
    script = (
        "from pathlib import Path\nfrom sluicegate.models import LoadedBase, Request, WeightsModel\n"
        "from sluicegate.errors import MissingExtraError\n"
        "for dtype in ('auto', 'float32'):\n"
        "    model = WeightsModel(LoadedBase('b', Path('.'), 'd', 10), dtype=dtype)\n"
        "    try:\n        model.generate([Request(({'role': 'user', 'content': 'x'},))])\n"
        "    except MissingExtraError as error:\n        print(error.hint)"
    )
    assert run(script, folder=tmp_path).stdout == "pip install 'sluicegate[local]'\n" * 2
