"""What the documents say exists, exists: commands, options, make targets, files, links."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from sluicegate.cli import sluice

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
CODE = re.compile(r"`([^`\n]+)`|^    (.+)$", re.M)
COMMAND = re.compile(r"\bsluice ([a-z]+)((?: +[^`;|&()\[\],\s]+)*)")


def code(page: Path) -> list[str]:
    """Everything that a page sets in code type."""
    return [one or two for one, two in CODE.findall(page.read_text("utf-8"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_exist(page: Path) -> None:
    """Every `sluice` command and option that a page names is one that the command has."""
    context = click.Context(sluice)
    for text in code(page):
        for name, rest in COMMAND.findall(text):
            command = sluice.get_command(context, name)
            assert command is not None, f"{page.name}: sluice {name}"
            words = rest.split()
            if isinstance(command, click.Group) and words and not words[0].startswith("-"):
                found = [command.get_command(context, one) for one in words[0].split("|")]
                assert all(found), f"{page.name}: sluice {name} {words[0]}"
                continue
            known = {option for parameter in command.params for option in parameter.opts} | {
                "--help"
            }
            for word in words:
                option = word.split("=")[0]
                assert not option.startswith("--") or option in known, (
                    f"{page.name}: sluice {name} {option}"
                )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_make_targets_exist(page: Path) -> None:
    """Every `make` target that a page names is in the Makefile."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.M))
    for text in code(page):
        for target in re.findall(r"(?:^|&& )make ([a-z-]+)", text):
            assert target in targets, f"{page.name}: make {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link points to a file."""
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text("utf-8")):
        assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_benchmarks_named_exist() -> None:
    """A number in the documents names the command that made it, and that command's file is there."""
    for page in PAGES:
        for script in re.findall(r"benchmarks/\w+\.py", page.read_text("utf-8")):
            assert (ROOT / script).is_file(), f"{page.name}: {script}"
