"""Examples of how to answer that a prompt sends as turns, also from a file of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from sluicegate.errors import PromptError
from sluicegate.yaml_file import Strict

MAX_SHOTS = 100
MAX_BYTES = 4_000_000


class Shot(Strict):
    """One example of how to answer; both texts are sent as they are, they are no templates."""

    user: Annotated[str, Field(min_length=1, max_length=100_000)]
    assistant: Annotated[str, Field(min_length=1, max_length=100_000)]


def read_shots(prompt: Path, name: str) -> tuple[Shot, ...]:
    """The examples of the JSON Lines file `name` beside a prompt; blank lines count for nothing.

    Raises:
        PromptError: it is missing, lies elsewhere, is too large, a line of it is no example, or
            there are none or too many.
    """
    path = prompt.with_name(name)
    if not path.is_file() or path.resolve().parent != prompt.resolve().parent:
        raise PromptError(
            f"{prompt}: examples_file: there is no {path}.",
            hint="It lies in the folder of the prompt, and is no link to another place.",
        )
    if path.stat().st_size > MAX_BYTES:
        raise PromptError(f"{path} is larger than {MAX_BYTES:,} bytes.")
    found: list[Shot] = []
    for number, line in enumerate(path.read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        try:
            found += [Shot.model_validate_json(line)] if line.strip() else []
        except ValidationError as error:
            fault = error.errors()[0]
            place = "".join(f"{part}: " for part in fault["loc"])
            raise PromptError(
                f"{path}, line {number}: {place}{fault['msg']}",
                hint='Each line is {"user": "...", "assistant": "..."}.',
            ) from error
    if not 0 < len(found) <= MAX_SHOTS:
        raise PromptError(f"{path} has {len(found)} examples; 1 to {MAX_SHOTS} may be sent.")
    return tuple(found)
