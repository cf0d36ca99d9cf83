"""Prompt files: load strictly, render in a sandbox with bounded work, compare, hash.

System text and template are both templates (`prompts.template` says what they may do). Prompts that
version 0.1.0 stored have a system text that is not one: it is sent as it is.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from sluicegate.errors import ConfigError, PromptError
from sluicegate.hashing import canonical_json, digest_value
from sluicegate.yaml_file import Strict, load

JUDGES = "judge_"
"""Files that begin so are criteria of judges (`judges.criteria`), not prompts."""
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


class Shot(Strict):
    """One example of how to answer; both texts are sent as they are, they are no templates."""

    user: Annotated[str, Field(min_length=1, max_length=100_000)]
    assistant: Annotated[str, Field(min_length=1, max_length=100_000)]


class PromptFile(Strict):
    """The schema of prompts/*.yaml.

    Attributes:
        name: the file's name without its ending.
        template: the last message of the chat, that of the user.
        variables: what system text and template are filled with.
        system: the first message of the chat.
        examples: questions and good answers, sent as turns before the template.
        response_format: what a server is to hold the answer to, such as a JSON schema, in the words
            of OpenAI's interface.
        owner, notes: for people.
    """

    name: str
    template: Annotated[str, Field(min_length=1, max_length=100_000)]
    variables: tuple[str, ...] = ()
    system: Annotated[str, Field(max_length=100_000)] = ""
    examples: Annotated[tuple[Shot, ...], Field(max_length=100)] = ()
    response_format: dict[str, Any] | None = None
    owner: str = ""
    notes: str = ""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A validated prompt; `digest` covers what the model sees: name, system, examples, template,
    variables and the format of the answer.

    Attributes:
        system_template: the system text is a template as well.
        examples: (question, answer) pairs, sent as turns before the template.
        response_format: what a server is to hold the answer to.
    """

    name: str
    system: str
    template: str
    variables: tuple[str, ...]
    owner: str
    notes: str
    system_template: bool = False
    examples: tuple[tuple[str, str], ...] = ()
    response_format: Mapping[str, Any] | None = None

    @property
    def digest(self) -> str:
        return digest_value(self.content)

    @property
    def content(self) -> dict[str, object]:
        """The canonical content that is hashed and stored with a release; what came later is left
        out where it is not used.
        """
        found: dict[str, object] = {
            "name": self.name,
            "system": self.system,
            "template": self.template,
            "variables": sorted(self.variables),
        }
        if self.system_template:
            found["system_template"] = True
        if self.examples:
            found["examples"] = [list(pair) for pair in self.examples]
        if self.response_format is not None:
            found["response_format"] = dict(self.response_format)
        return found


def load_prompt(path: Path) -> Prompt:
    """Read one prompt file.

    Raises:
        ConfigError: the file is missing or malformed.
        PromptError: the name differs from the file's, declared and used variables differ, or it is
            a judge's criterion.
    """
    if path.name.startswith(JUDGES):
        raise PromptError(
            f"{path} is a criterion for a judge, not a prompt.",
            hint=f"Use it as the metric judge:{path.stem.removeprefix(JUDGES)}; see `sluice judge "
            "list`.",
        )
    from sluicegate.prompts.template import is_template

    file = load(path, PromptFile)
    if file.name != path.stem or not _NAME.fullmatch(file.name):
        raise PromptError(
            f"{path}: name: {file.name!r} must equal the file's name and hold only a-z, 0-9, _ "
            "and -."
        )
    prompt = Prompt(
        file.name,
        file.system,
        file.template,
        tuple(sorted(set(file.variables))),
        file.owner,
        file.notes,
        is_template(file.system),
        tuple((shot.user, shot.assistant) for shot in file.examples),
        file.response_format,
    )
    _check_variables(prompt, path)
    return prompt


def prompt_from_content(content: Mapping[str, object]) -> Prompt:
    """Rebuild a stored prompt from `Prompt.content`."""
    variables, examples = content["variables"], content.get("examples", [])
    shape = content.get("response_format")
    assert isinstance(variables, list)
    assert isinstance(examples, list)
    assert shape is None or isinstance(shape, dict)
    return Prompt(
        str(content["name"]),
        str(content["system"]),
        str(content["template"]),
        tuple(variables),
        "",
        "",
        content.get("system_template") is True,
        tuple((str(question), str(said)) for question, said in examples),
        shape,
    )


@dataclass(frozen=True, slots=True)
class Prompts:
    """The prompts of a project, by name, and why the other files are none."""

    good: tuple[Prompt, ...]
    wrong: tuple[ConfigError | PromptError, ...] = ()


def read_prompts(folder: Path) -> Prompts:
    """All prompts in `folder`; a file that is wrong does not hide the others."""
    good: list[Prompt] = []
    wrong: list[ConfigError | PromptError] = []
    for name in prompt_names(folder):
        try:
            good.append(load_prompt(folder / f"{name}.yaml"))
        except (ConfigError, PromptError) as error:
            wrong.append(error)
    return Prompts(tuple(good), tuple(wrong))


def list_prompts(folder: Path) -> list[Prompt]:
    """All prompts of a project, by name; criteria of judges are none.

    Raises:
        ConfigError, PromptError: a file is wrong; see `read_prompts`.
    """
    return [load_prompt(folder / f"{name}.yaml") for name in prompt_names(folder)]


def prompt_names(folder: Path) -> list[str]:
    """Names of the prompts in `folder`, sorted, without loading them."""
    return sorted(path.stem for path in folder.glob("*.yaml") if not path.name.startswith(JUDGES))


def render(prompt: Prompt, inputs: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the chat messages for one example; `inputs` may hold more than the prompt uses.

    Text in `inputs` is data: template syntax inside it is not evaluated.

    Raises:
        PromptError: an input is missing, a template fails, or makes more than is allowed: the text
            1,000,000 characters, everything on the way 10,000,000, loops 10,000 turns.
    """
    from sluicegate.prompts import template

    missing = [name for name in prompt.variables if name not in inputs]
    if missing:
        raise PromptError(
            f"prompt {prompt.name}: the data has no {', '.join(missing)}.",
            hint="Map a column to it under `fields: inputs:` in registry/sources.yaml.",
        )
    values = {name: inputs[name] for name in prompt.variables}
    try:
        system, text = prompt.system, template.render(prompt.template, values)
        if prompt.system_template:
            system = template.render(system, values)
    except PromptError as error:
        raise PromptError(f"prompt {prompt.name}: {error}", hint=error.hint) from error
    messages = [
        {"role": role, "content": said}
        for pair in prompt.examples
        for role, said in zip(("user", "assistant"), pair, strict=True)
    ]
    messages.append({"role": "user", "content": text})
    return [{"role": "system", "content": system}, *messages] if system else messages


def shown_input(prompt: Prompt | None, inputs: Mapping[str, Any]) -> str:
    """What a row asks, for profiles of texts: the rendered user message; where code of the project
    answers (no `prompt`), its inputs.

    Raises:
        PromptError: see `render`.
    """
    if prompt is None:
        return "\n".join(str(value) for value in inputs.values())
    return render(prompt, inputs)[-1]["content"]


def diff(old: Prompt, new: Prompt) -> str:
    """Unified diff of what the model sees; empty when equal."""

    def lines(prompt: Prompt) -> list[str]:
        shape = prompt.response_format
        told = "".join(f"user: {said}\nassistant: {answer}\n" for said, answer in prompt.examples)
        held = f"response_format: {canonical_json(shape)}\n" if shape is not None else ""
        return (
            f"system: {prompt.system}\nvariables: {', '.join(prompt.variables)}\n{held}{told}"
            f"---\n{prompt.template}\n"
        ).splitlines(True)

    name = f"{old.name}@{old.digest[:12]}", f"{new.name}@{new.digest[:12]}"
    return "".join(difflib.unified_diff(lines(old), lines(new), *name))


def _check_variables(prompt: Prompt, path: Path) -> None:
    from sluicegate.prompts import template

    parts = {"template": prompt.template}
    if prompt.system_template:
        parts["system"] = prompt.system
    used, declared = set(), set(prompt.variables)
    for part, text in parts.items():
        try:
            found = template.variables(text)
        except PromptError as error:
            raise PromptError(f"{path}: {part}: {error}", hint=error.hint) from error
        if found - declared:
            raise PromptError(
                f"{path}: {part} uses {', '.join(sorted(found - declared))}, "
                "which `variables` does not declare."
            )
        used |= found
    if declared - used:
        raise PromptError(
            f"{path}: `variables` declares {', '.join(sorted(declared - used))}, "
            "which the prompt never uses."
        )
