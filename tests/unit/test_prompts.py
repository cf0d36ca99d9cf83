"""Prompts load strictly and render as data."""

from __future__ import annotations

from pathlib import Path

import pytest

from sluicegate.errors import ConfigError, PromptError
from sluicegate.prompts import diff, load_prompt, render


def write(folder: Path, template: str, variables: str = "[text]", extra: str = "") -> Path:
    path = folder / "p.yaml"
    path.write_text(
        f"name: p\nvariables: {variables}\ntemplate: |-\n  {template}\n{extra}", "utf-8"
    )
    return path


def test_data_is_not_evaluated(tmp_path: Path) -> None:
    """Template syntax inside an input stays text."""
    prompt = load_prompt(write(tmp_path, "Say {{ text }}"))
    assert (
        render(prompt, {"text": "{{ 7*7 }} {% raw %}"})[-1]["content"] == "Say {{ 7*7 }} {% raw %}"
    )


@pytest.mark.parametrize(
    ("template", "variables", "message"),
    [
        ("Say {{ other }}", "[text]", "does not declare"),
        ("Say nothing", "[text]", "never uses"),
        ("Say {{ text", "[text]", "line 1"),
        ("{{ text * 900000000 }}", "[text]", "not allowed"),
        ("{% for x in range(10**9) %}{{ text }}{% endfor %}", "[text]", "not allowed"),
    ],
)
def test_bad_templates_are_refused(
    tmp_path: Path, template: str, variables: str, message: str
) -> None:
    """A template that disagrees with its variables, or could explode, never loads."""
    with pytest.raises(PromptError, match=message):
        load_prompt(write(tmp_path, template, variables))


def test_unknown_field_is_named(tmp_path: Path) -> None:
    """A misspelt field is an error that names it."""
    with pytest.raises(ConfigError, match="sytem"):
        load_prompt(write(tmp_path, "Say {{ text }}", extra="sytem: x\n"))


def test_missing_input(tmp_path: Path) -> None:
    """A row without the prompt's variable is refused with the place to mend."""
    with pytest.raises(PromptError, match="text") as caught:
        render(load_prompt(write(tmp_path, "Say {{ text }}")), {"other": "x"})
    assert "sources.yaml" in caught.value.hint


def test_huge_input_is_bounded(tmp_path: Path) -> None:
    """Rendering stops at a million characters."""
    with pytest.raises(PromptError, match="exceeds"):
        render(load_prompt(write(tmp_path, "Say {{ text }}")), {"text": "x" * 1_000_001})


def test_digest_is_what_the_model_sees(tmp_path: Path) -> None:
    """Owner and notes do not change a prompt's identity; its text does."""
    first = load_prompt(write(tmp_path, "Say {{ text }}"))
    same = load_prompt(write(tmp_path, "Say {{ text }}", extra="owner: someone\n"))
    other = load_prompt(write(tmp_path, "Tell {{ text }}"))
    assert first.digest == same.digest != other.digest
    assert diff(first, same) == ""
    assert "+Tell" in diff(first, other)
