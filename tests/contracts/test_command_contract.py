"""What every row of COMMANDS promises."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from sluicegate.cli import COMMANDS, sluice
from sluicegate.errors import SluiceError

HEAVY = ("mlflow", "prefect", "torch", "dvc", "pandas", "transformers", "peft", "sqlalchemy")
WITHOUT_PROJECT = ("init", "doctor", "up", "down", "demo-model")
every = pytest.mark.parametrize("name", COMMANDS)


def command(name: str) -> click.Command:
    """The command behind a row."""
    found = sluice.get_command(click.Context(sluice), name)
    assert found is not None
    return found


@every
def test_help_says_what_it_does_with_an_example(name: str) -> None:
    """`--help` works, begins with what the command does, and ends with a call."""
    done = CliRunner().invoke(sluice, [name, "--help"])
    assert done.exit_code == 0
    text = " ".join(done.output.split())
    assert len(text.split("Options:")[0].split()) > 6
    assert text.endswith(f"Example: {COMMANDS[name].example}")


@every
def test_the_line_in_the_overview_is_one_sentence(name: str) -> None:
    """`sluice --help` gives each command one short sentence."""
    row = COMMANDS[name]
    assert re.fullmatch(r"[A-Z][^.]*\.", row.help)
    assert len(row.help) <= 66
    assert row.help in " ".join(CliRunner().invoke(sluice, ["--help"]).output.split())


@every
def test_the_example_parses(name: str) -> None:
    """The example is a call of this command whose arguments and options exist."""
    program, first, *rest = shlex.split(COMMANDS[name].example)
    assert (program, first) == ("sluice", name)
    found = command(name)
    while isinstance(found, click.Group):
        found = found.commands[rest.pop(0)]
    found.make_context(name, rest, resilient_parsing=False)


@every
def test_wrong_use_is_exit_code_2(name: str) -> None:
    """An option that does not exist is wrong use: 2, and the message names it."""
    done = CliRunner().invoke(sluice, [name, "--no-such-option"])
    assert done.exit_code == 2
    assert "--no-such-option" in done.output


@every
def test_a_group_names_its_parts(name: str) -> None:
    """Each command below a group has a first sentence of its own."""
    found = command(name)
    parts = found.commands.values() if isinstance(found, click.Group) else [found]
    assert parts
    assert all(part.get_short_help_str() for part in parts)


@pytest.fixture(scope="module")
def imported() -> dict[str, list[str]]:
    """Heavy packages that are there once a command's help was made, by command, in one process."""
    code = (
        "import json, sys, click\n"
        "from sluicegate.cli import COMMANDS, sluice\n"
        "found = {}\n"
        "for name in COMMANDS:\n"
        "    own = sluice.get_command(click.Context(sluice), name)\n"
        "    own.get_help(click.Context(own))\n"
        f"    found[name] = sorted(set({HEAVY!r}) & set(sys.modules))\n"
        "print(json.dumps(found))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


@every
def test_help_imports_nothing_heavy(imported: dict[str, list[str]], name: str) -> None:
    """Help of a command is there at once: no vendor is imported for it."""
    assert imported[name] == []


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in WITHOUT_PROJECT])
def test_outside_a_project_it_says_so(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In an empty folder the example ends with an error whose exit code is 2 or 3, and a hint."""
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(sluice, shlex.split(COMMANDS[name].example)[1:])
    if isinstance(done.exception, SystemExit):
        assert done.exit_code == 2
        assert "Error:" in done.output
    else:
        assert isinstance(done.exception, SluiceError)
        assert done.exception.exit_code in (2, 3)
        assert done.exception.hint


def test_listings_cut_no_sentence() -> None:
    """What a command does fits into the list of its group."""
    seen = 0
    for name in COMMANDS:
        group = command(name)
        if isinstance(group, click.Group):
            for one in group.commands.values():
                seen += 1
                assert not one.get_short_help_str(55).endswith("..."), f"{name} {one.name}"
    assert seen > 10
