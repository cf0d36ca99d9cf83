"""Prompt files: load strictly, render in a sandbox with bounded output, compare, hash."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from sluicegate.config import Strict, load
from sluicegate.errors import PromptError
from sluicegate.hashing import digest_value

MAX_RENDERED = 1_000_000
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


class PromptFile(Strict):
    """The schema of prompts/*.yaml."""

    name: str
    template: Annotated[str, Field(min_length=1, max_length=100_000)]
    variables: tuple[str, ...] = Field(min_length=1)
    system: str = ""
    owner: str = ""
    notes: str = ""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A validated prompt; `digest` covers what the model sees (name, system, template, variables)."""

    name: str
    system: str
    template: str
    variables: tuple[str, ...]
    owner: str
    notes: str

    @property
    def digest(self) -> str:
        return digest_value(self.content)

    @property
    def content(self) -> dict[str, object]:
        """The canonical content that is hashed and stored with a release."""
        return {
            "name": self.name,
            "system": self.system,
            "template": self.template,
            "variables": sorted(self.variables),
        }


def load_prompt(path: Path) -> Prompt:
    """Read one prompt file.

    Raises:
        ConfigError: the file is missing or malformed.
        PromptError: the name differs from the file's, or declared and used variables differ.
    """
    file = load(path, PromptFile)
    if file.name != path.stem or not _NAME.fullmatch(file.name):
        raise PromptError(f"{path}: name: {file.name!r} must equal the file's name and hold only a-z, 0-9, _ and -.")
    prompt = Prompt(file.name, file.system, file.template, tuple(sorted(set(file.variables))), file.owner, file.notes)
    _check_variables(prompt, path)
    return prompt


def prompt_from_content(content: Mapping[str, object]) -> Prompt:
    """Rebuild a stored prompt from `Prompt.content`."""
    variables = content["variables"]
    assert isinstance(variables, list)
    return Prompt(str(content["name"]), str(content["system"]), str(content["template"]), tuple(variables), "", "")


def list_prompts(folder: Path) -> list[Prompt]:
    """All prompts of a project, by name."""
    return [load_prompt(path) for path in sorted(folder.glob("*.yaml"))]


def render(prompt: Prompt, inputs: Mapping[str, str]) -> list[dict[str, str]]:
    """Return the chat messages for one example; `inputs` may hold more columns than the prompt uses.

    Text in `inputs` is data: template syntax inside it is not evaluated.

    Raises:
        PromptError: an input is missing, the template fails, or the text exceeds 1,000,000 characters.
    """
    from jinja2 import StrictUndefined, TemplateError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    missing = [name for name in prompt.variables if name not in inputs]
    if missing:
        raise PromptError(
            f"prompt {prompt.name}: the data has no {', '.join(missing)}.",
            hint="Map a column to it under `fields: inputs:` in registry/sources.yaml.",
        )
    environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)
    pieces: list[str] = []
    size = 0
    try:
        template = environment.from_string(prompt.template)
        for piece in template.generate({name: inputs[name] for name in prompt.variables}):
            size += len(piece)
            if size > MAX_RENDERED:
                raise PromptError(f"prompt {prompt.name}: the rendered text exceeds {MAX_RENDERED:,} characters.")
            pieces.append(piece)
    except (TemplateError, ArithmeticError, TypeError, ValueError, MemoryError) as error:
        raise PromptError(f"prompt {prompt.name}: {error}") from error
    messages = [{"role": "user", "content": "".join(pieces)}]
    return [{"role": "system", "content": prompt.system}, *messages] if prompt.system else messages


def diff(old: Prompt, new: Prompt) -> str:
    """Unified diff of what the model sees; empty when equal."""

    def lines(prompt: Prompt) -> list[str]:
        return (
            f"system: {prompt.system}\nvariables: {', '.join(prompt.variables)}\n---\n{prompt.template}\n".splitlines(
                True
            )
        )

    name = f"{old.name}@{old.digest[:12]}", f"{new.name}@{new.digest[:12]}"
    return "".join(difflib.unified_diff(lines(old), lines(new), *name))


def _check_variables(prompt: Prompt, path: Path) -> None:
    from jinja2 import TemplateSyntaxError, meta
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    try:
        tree = ImmutableSandboxedEnvironment().parse(prompt.template)
    except TemplateSyntaxError as error:
        raise PromptError(f"{path}: template, line {error.lineno}: {error.message}") from error
    if re.search(r"\*\*|\brange\s*\(|\.join|\*\s*\d{4,}|\{%\s*for", prompt.template):
        raise PromptError(f"{path}: template: loops, powers and repetition are not allowed in a prompt.")
    used, declared = meta.find_undeclared_variables(tree), set(prompt.variables)
    if used - declared:
        raise PromptError(
            f"{path}: template uses {', '.join(sorted(used - declared))}, which `variables` does not declare."
        )
    if declared - used:
        raise PromptError(
            f"{path}: `variables` declares {', '.join(sorted(declared - used))}, which the template never uses."
        )
