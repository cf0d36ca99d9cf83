"""Prompt files: load strictly, render in a sandbox with bounded output, compare, hash."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from sluicegate.config import Strict, load
from sluicegate.errors import PromptError
from sluicegate.hashing import digest_value

if TYPE_CHECKING:
    from jinja2 import Template

MAX_RENDERED = 1_000_000
JUDGES = "judge_"
"""Files that begin so are criteria of judges (`judges.criteria`), not prompts."""
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
        PromptError: the name differs from the file's, declared and used variables differ, or it is a judge's criterion.
    """
    if path.name.startswith(JUDGES):
        raise PromptError(
            f"{path} is a criterion for a judge, not a prompt.",
            hint=f"Use it as the metric judge:{path.stem.removeprefix(JUDGES)}; see `sluice judge list`.",
        )
    file = load(path, PromptFile)
    if file.name != path.stem or not _NAME.fullmatch(file.name):
        raise PromptError(
            f"{path}: name: {file.name!r} must equal the file's name and hold only a-z, 0-9, _ and -."
        )
    prompt = Prompt(
        file.name,
        file.system,
        file.template,
        tuple(sorted(set(file.variables))),
        file.owner,
        file.notes,
    )
    _check_variables(prompt, path)
    return prompt


def prompt_from_content(content: Mapping[str, object]) -> Prompt:
    """Rebuild a stored prompt from `Prompt.content`."""
    variables = content["variables"]
    assert isinstance(variables, list)
    return Prompt(
        str(content["name"]),
        str(content["system"]),
        str(content["template"]),
        tuple(variables),
        "",
        "",
    )


def list_prompts(folder: Path) -> list[Prompt]:
    """All prompts of a project, by name; criteria of judges are none."""
    return [load_prompt(folder / f"{name}.yaml") for name in prompt_names(folder)]


def prompt_names(folder: Path) -> list[str]:
    """Names of the prompts in `folder`, sorted, without loading them."""
    return sorted(path.stem for path in folder.glob("*.yaml") if not path.name.startswith(JUDGES))


def render(prompt: Prompt, inputs: Mapping[str, str]) -> list[dict[str, str]]:
    """Return the chat messages for one example; `inputs` may hold more columns than the prompt uses.

    Text in `inputs` is data: template syntax inside it is not evaluated.

    Raises:
        PromptError: an input is missing, the template fails, or the text exceeds 1,000,000 characters.
    """
    from jinja2 import TemplateError

    missing = [name for name in prompt.variables if name not in inputs]
    if missing:
        raise PromptError(
            f"prompt {prompt.name}: the data has no {', '.join(missing)}.",
            hint="Map a column to it under `fields: inputs:` in registry/sources.yaml.",
        )
    pieces: list[str] = []
    size = 0
    try:
        template = _compiled(prompt.template)
        for piece in template.generate({name: inputs[name] for name in prompt.variables}):
            size += len(piece)
            if size > MAX_RENDERED:
                raise PromptError(
                    f"prompt {prompt.name}: the rendered text exceeds {MAX_RENDERED:,} characters."
                )
            pieces.append(piece)
    except (TemplateError, ArithmeticError, TypeError, ValueError, MemoryError) as error:
        raise PromptError(f"prompt {prompt.name}: {error}") from error
    messages = [{"role": "user", "content": "".join(pieces)}]
    return [{"role": "system", "content": prompt.system}, *messages] if prompt.system else messages


@lru_cache(maxsize=32)
def _compiled(template: str) -> Template:
    """The template, ready to render; compiling it again for each example would take longer than all else."""
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False
    )
    return environment.from_string(template)


def diff(old: Prompt, new: Prompt) -> str:
    """Unified diff of what the model sees; empty when equal."""

    def lines(prompt: Prompt) -> list[str]:
        return f"system: {prompt.system}\nvariables: {', '.join(prompt.variables)}\n---\n{prompt.template}\n".splitlines(
            True
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
        raise PromptError(
            f"{path}: template: loops, powers and repetition are not allowed in a prompt."
        )
    used, declared = meta.find_undeclared_variables(tree), set(prompt.variables)
    if used - declared:
        raise PromptError(
            f"{path}: template uses {', '.join(sorted(used - declared))}, which `variables` does not declare."
        )
    if declared - used:
        raise PromptError(
            f"{path}: `variables` declares {', '.join(sorted(declared - used))}, which the template never uses."
        )
