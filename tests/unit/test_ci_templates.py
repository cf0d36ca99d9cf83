"""The shipped CI files: valid YAML, and every command and option that they use exists."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from ruamel.yaml import YAML

from sluicegate.cli import COMMANDS, sluice
from sluicegate.scaffold import FILES

ROOT = Path(__file__).parents[2]
TEMPLATES = (".github/workflows/sluice-gate.yml", ".gitlab-ci.yml")


def texts(value: Any) -> Iterator[str]:
    """Every string below `value`."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from texts(item)


def commands(path: Path) -> list[list[str]]:
    """The words of every `sluice ...` command in a CI file."""
    found = []
    for text in texts(YAML(typ="safe").load(path.read_text("utf-8"))):
        for line in text.replace("\\\n", " ").splitlines():
            match = re.match(r"\s*sluice (?P<rest>.*?)(\|\||&&|;|$)", line)
            if match:
                found.append(shlex.split(match["rest"]))
    return found


@pytest.mark.parametrize("name", TEMPLATES)
def test_commands_exist(name: str) -> None:
    """Each template runs the gate, with options that it has."""
    found = commands(ROOT / name)
    assert "gate" in {words[0] for words in found}
    for command, *arguments in found:
        assert command in COMMANDS, command
        loaded = sluice.get_command(click.Context(sluice), command)
        assert loaded is not None
        known = {option for parameter in loaded.params for option in parameter.opts}
        assert {word.partition("=")[0] for word in arguments if word.startswith("-")} <= known


@pytest.mark.parametrize("name", TEMPLATES)
def test_template_is_generic(name: str) -> None:
    """A template is part of every new project, fetches the whole history, and names no package index."""
    text = (ROOT / name).read_text("utf-8")
    assert name in FILES
    assert "fetch-depth: 0" in text or 'GIT_DEPTH: "0"' in text
    assert not re.search(r"index-url|find-links|PIP_", text)


def test_exit_codes_are_told_apart() -> None:
    """GitHub's last step and GitLab's allowed failure treat HOLD as something else than REJECT."""
    github = (ROOT / TEMPLATES[0]).read_text("utf-8")
    assert re.search(r"^\s+1\) .*REJECT", github, re.M)
    assert re.search(r"^\s+4\) .*HOLD", github, re.M)
    gitlab = YAML(typ="safe").load((ROOT / TEMPLATES[1]).read_text("utf-8"))
    assert gitlab["sluice gate"]["allow_failure"]["exit_codes"] == [4]
    assert gitlab["sluice gate"]["artifacts"]["reports"]["junit"] == "reports/gate.xml"
