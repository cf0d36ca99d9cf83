"""`sluice prompt list|show|diff|render`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from sluicegate.cli.output import json_option, print_json, print_table
from sluicegate.errors import PromptError

if TYPE_CHECKING:
    from sluicegate.prompts import Prompt


@click.group()
def prompt() -> None:
    """Prompts are files in prompts/; their identity is the digest of what the model sees."""


@prompt.command("list", short_help="All prompts, with their digests.")
@json_option
def list_command(as_json: bool) -> int:
    """All prompts with digest, variables and owner (criteria of judges: `sluice judge list`).

    A file that is wrong is named after the others; the exit code is 2 then.
    """
    from sluicegate.project import find_project
    from sluicegate.prompts import read_prompts

    found = read_prompts(find_project().prompts)
    if as_json:
        print_json([_plain(item) for item in found.good])
    else:
        rows = [
            (item.name, item.digest[:12], ", ".join(item.inputs), item.owner) for item in found.good
        ]
        print_table(("name", "digest", "variables", "owner"), rows)
    for error in found.wrong:
        click.echo(f"error: {error}", err=True)
        if error.hint:
            click.echo(f"  what to do: {error.hint}", err=True)
    return 2 if found.wrong else 0


@prompt.command(short_help="One prompt, by name or digest.")
@click.argument("name")
@json_option
def show(name: str, as_json: bool) -> None:
    """One prompt; NAME may be a file's name or the digest of a released prompt."""
    from sluicegate.prompts import as_text

    item = _find(name)
    if as_json:
        print_json(_plain(item))
        return
    click.echo(f"{item.name}  {item.digest}\n{as_text(item)}", nl=False)


@prompt.command(short_help="What the model sees differently.")
@click.argument("old")
@click.argument("new")
def diff(old: str, new: str) -> None:
    """What the model sees differently between two prompts (names or digests)."""
    from sluicegate.prompts import diff as compare

    click.echo(compare(_find(old), _find(new)) or "no difference", nl=False)


@prompt.command()
@click.argument("name")
@click.option("--example", "example_id", help="Id of a golden row (default: the first).")
@json_option
def render(name: str, example_id: str | None, as_json: bool) -> None:
    """The messages that the model receives for a golden row."""
    from sluicegate.data.examples import read_examples
    from sluicegate.project import find_project
    from sluicegate.prompts import render as fill

    project = find_project()
    if not project.golden.is_file():
        raise PromptError("there is no golden set yet.", hint="Run `sluice release --no-server`.")
    rows = [row for row in read_examples(project.golden) if example_id in (None, row.id)]
    if not rows:
        raise PromptError(f"no golden row has the id {example_id!r}.")
    messages = fill(_find(name), rows[0].inputs)
    if as_json:
        print_json(messages)
        return
    for message in messages:
        click.echo(f"[{message['role']}]\n{message['content']}\n")


def _plain(item: Prompt) -> dict[str, object]:
    return {**item.content, "owner": item.owner, "notes": item.notes, "digest": item.digest}


def _find(name: str) -> Prompt:
    from sluicegate.hashing import read_json
    from sluicegate.project import find_project
    from sluicegate.prompts import load_prompt, prompt_from_content, prompt_names

    project = find_project()
    path = project.prompts / f"{name}.yaml"
    if path.is_file():
        return load_prompt(path)
    stored = (
        sorted((project.store / "prompts").glob(f"{name}*.json"))
        if len(name) >= 6 and name.isalnum()
        else []
    )
    if len(stored) == 1:
        return prompt_from_content(read_json(stored[0]))
    known = ", ".join(prompt_names(project.prompts))
    raise PromptError(
        f"there is no prompt {name!r}.", hint=f"Prompts: {known}; or the digest of a released one."
    )
