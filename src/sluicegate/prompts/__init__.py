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

from sluicegate.chat import are_turns, as_read, kept_turns
from sluicegate.errors import ConfigError, PromptError
from sluicegate.hashing import canonical_json, digest_value
from sluicegate.prompts.shots import MAX_SHOTS, Shot, read_shots
from sluicegate.yaml_file import Strict, load

JUDGES = "judge_"
"""Files that begin so are criteria of judges (`judges.criteria`), not prompts."""
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


class PromptFile(Strict):
    """The schema of prompts/*.yaml.

    Attributes:
        name: the file's name without its ending.
        template: the last message of the chat, that of the user; may be left out where the history
            ends with one.
        history: the input whose turns are sent between examples and template, each in its own role.
        variables: what system text and template are filled with.
        system: the first message of the chat.
        examples: questions and good answers, sent as turns before history and template.
        examples_file: a JSON Lines file beside the prompt that holds them.
        response_format: what a server is to hold the answer to, such as a JSON schema, in the words
            of OpenAI's interface.
        owner, notes: for people.
    """

    name: str
    template: Annotated[str, Field(max_length=100_000)] = ""
    history: Annotated[str, Field(max_length=100)] = ""
    variables: tuple[str, ...] = ()
    system: Annotated[str, Field(max_length=100_000)] = ""
    examples: Annotated[tuple[Shot, ...], Field(max_length=MAX_SHOTS)] = ()
    examples_file: Annotated[str, Field(pattern=r"^(\w[\w.-]*\.jsonl)?$")] = ""
    response_format: dict[str, Any] | None = None
    owner: str = ""
    notes: str = ""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A validated prompt; `digest` covers what the model sees: name, system, examples, history,
    template, variables and the format of the answer.

    Attributes:
        system_template: the system text is a template as well.
        examples: (question, answer) pairs, sent as turns before history and template.
        history: the input that holds the turns before the template.
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
    history: str = ""

    @property
    def inputs(self) -> tuple[str, ...]:
        """What a row has to fill: the variables and the history."""
        return (*self.variables, self.history) if self.history else self.variables

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
        if self.history:
            found["history"] = self.history
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
    if file.examples and file.examples_file:
        raise PromptError(f"{path}: give `examples` or `examples_file`, not both.")
    shots = read_shots(path, file.examples_file) if file.examples_file else file.examples
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
        tuple((shot.user, shot.assistant) for shot in shots),
        file.response_format,
        file.history,
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
        str(content.get("history", "")),
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

    Text in `inputs` is data: template syntax inside it is not evaluated, and in a history the roles
    are those of its turns, whatever the texts say.

    Raises:
        PromptError: an input is missing, the history holds no turns, a template fails, or makes
            more than is allowed: the text 1,000,000 characters, everything on the way 10,000,000,
            loops 10,000 turns.
    """
    from sluicegate.prompts import template

    missing = [name for name in prompt.inputs if name not in inputs]
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
    messages += _history(prompt, inputs)
    messages += [{"role": "user", "content": text}] if prompt.template else []
    return [{"role": "system", "content": system}, *messages] if system else messages


def _history(prompt: Prompt, inputs: Mapping[str, Any]) -> list[dict[str, str]]:
    """The turns of the history, which ask something where no template does."""
    if not prompt.history:
        return []
    given = inputs[prompt.history]
    turns = kept_turns(given) if isinstance(given, str) else given
    if turns is None or not are_turns(turns):
        raise PromptError(
            f"prompt {prompt.name}: history: {prompt.history} holds no turns.",
            hint=f"List it under `fields: turns: [{prompt.history}]` in registry/sources.yaml; "
            "its column holds [{role, content}, ...] of user and assistant.",
        )
    if not prompt.template and (not turns or turns[-1]["role"] != "user"):
        raise PromptError(
            f"prompt {prompt.name}: history: the last turn of {prompt.history} is not the user's, "
            "so nothing is asked.",
            hint="Give the prompt a `template`, or name the column as fields.reference too: its "
            "last answer is the reference then.",
        )
    return [dict(turn) for turn in turns]


def as_text(prompt: Prompt) -> str:
    """What the model sees, for people."""
    shape = prompt.response_format
    told = "".join(f"user: {said}\nassistant: {answer}\n" for said, answer in prompt.examples)
    held = f"response_format: {canonical_json(shape)}\n" if shape is not None else ""
    turns = f"history: {prompt.history}\n" if prompt.history else ""
    return (
        f"system: {prompt.system}\nvariables: {', '.join(prompt.variables)}\n{held}{told}{turns}"
        f"---\n{prompt.template}\n"
    )


def shown_input(prompt: Prompt | None, inputs: Mapping[str, str]) -> str:
    """What a row asks, for profiles of texts: the rendered user message; where code of the project
    answers (no `prompt`), its inputs.

    Raises:
        PromptError: see `render`.
    """
    if prompt is None:
        return "\n".join(as_read(inputs).values())
    return render(prompt, inputs)[-1]["content"]


def diff(old: Prompt, new: Prompt) -> str:
    """Unified diff of what the model sees; empty when equal."""

    name = f"{old.name}@{old.digest[:12]}", f"{new.name}@{new.digest[:12]}"
    before, after = (as_text(prompt).splitlines(True) for prompt in (old, new))
    return "".join(difflib.unified_diff(before, after, *name))


def _check_variables(prompt: Prompt, path: Path) -> None:
    from sluicegate.prompts import template

    if not (prompt.template or prompt.history):
        raise PromptError(
            f"{path}: template: this field is missing.",
            hint="Only a prompt whose `history` ends with the user's question does without.",
        )
    if prompt.history in prompt.variables:
        raise PromptError(
            f"{path}: history: {prompt.history} is sent as turns, so it is no variable.",
            hint="To use it in a text as well, map its column to a second input in "
            "registry/sources.yaml.",
        )
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
