"""What a project's own code sees of us: `App`, the only way to its models and prompts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from sluicegate.errors import ConfigError, UsageError, did_you_mean
from sluicegate.generating import Reply
from sluicegate.prompts import Prompt, render

OVERRIDES = frozenset(
    {"max_tokens", "temperature", "seed", "top_p", "stop", "response_format", "alternatives"}
)
Ask = Callable[[dict[str, Any]], "Future[Reply]"]
"""Hands on one question of a row; the future holds the reply, or why there is none."""


class Rendered(list[dict[str, Any]]):
    """Chat messages that know which prompt made them, and what it holds the answer to; otherwise a
    plain list.
    """

    prompt = ""
    response_format: Mapping[str, Any] | None = None


class AppPrompt:
    """One of the release's prompts."""

    def __init__(self, prompt: Prompt) -> None:
        self._prompt = prompt

    def render(self, **variables: Any) -> list[dict[str, Any]]:
        """The chat messages for these variables.

        Raises:
            PromptError: a variable is missing, or the template fails.
        """
        made = Rendered(render(self._prompt, variables))
        made.prompt, made.response_format = self._prompt.name, self._prompt.response_format
        return made


class AppModel:
    """One of the release's models."""

    def __init__(self, role: str, ask: Ask) -> None:
        self._role, self._ask = role, ask

    def ask(self, messages: Sequence[Mapping[str, Any]], **overrides: Any) -> Reply:
        """The model's reply; `reply.text` is what it says.

        Args:
            messages: of a chat, `{"role": ..., "content": ...}` each.
            overrides: `max_tokens`, `temperature`, `seed`, `top_p`, `stop`, `response_format`;
                otherwise the prompt's `response_format` and `release.generation` count.

        Raises:
            UsageError: an override is unknown, or this is asynchronous code: await `ask_async`.
            DataError: the messages are longer than the model's context.
            EnvironmentFailure: the model gave no reply; the evaluation will be incomplete.
        """
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return self._asked(messages, overrides).result()
        raise UsageError(
            "ask() would stop all other rows of an asynchronous application.",
            hint="Write `await app.model(...).ask_async(messages)`.",
        )

    async def ask_async(self, messages: Sequence[Mapping[str, Any]], **overrides: Any) -> Reply:
        """As `ask`, to be awaited."""
        return await asyncio.wrap_future(self._asked(messages, overrides))

    def _asked(
        self, messages: Sequence[Mapping[str, Any]], overrides: Mapping[str, Any]
    ) -> Future[Reply]:
        if unknown := sorted(set(overrides) - OVERRIDES):
            near = did_you_mean(unknown[0], OVERRIDES)
            raise UsageError(
                f"ask() has no {unknown[0]!r}{near}.",
                hint=f"Known: {', '.join(sorted(OVERRIDES))}.",
            )
        if not _are_messages(messages):
            raise UsageError(
                "ask() takes chat messages, [{'role': 'user', 'content': '...'}].",
                hint="app.prompt(NAME).render(...) makes them.",
            )
        if (shape := getattr(messages, "response_format", None)) is not None:
            overrides = {"response_format": dict(shape), **overrides}
        return self._ask(
            {
                "role": self._role,
                "prompt": getattr(messages, "prompt", ""),
                "messages": [dict(one) for one in messages],
                "overrides": dict(overrides),
            }
        )


class App:
    """What `answer(inputs, app)` gets, anew for every row.

    Attributes:
        settings: what stands under `release.settings` in params.yaml.
    """

    def __init__(
        self,
        prompts: Mapping[str, Prompt],
        roles: Sequence[str],
        settings: Mapping[str, Any],
        data: Mapping[str, Path],
        ask: Ask,
    ) -> None:
        self.settings = settings
        self._prompts, self._roles, self._data, self._ask = prompts, roles, data, ask

    def prompt(self, name: str) -> AppPrompt:
        """The prompt of that name; `app.prompt("classify").render(text=...)`.

        Raises:
            ConfigError: `release.prompts` does not list it.
        """
        if name not in self._prompts:
            raise _unknown("prompt", name, self._prompts, "release.prompts")
        return AppPrompt(self._prompts[name])

    def model(self, role: str = "main") -> AppModel:
        """The model in that role; `app.model().ask(messages).text`.

        Raises:
            ConfigError: `release.models` has no such role.
        """
        if role not in self._roles:
            raise _unknown("model", role, self._roles, "release.models")
        return AppModel(role, self._ask)

    def data(self, name: str) -> Path:
        """Where a declared file is, by its path from the project's root or the end of that; or a
        folder with declared files, by its path.

        Raises:
            ConfigError: `release.data` does not list it, or several end so.
        """
        if inside := [place for place in self._data if place.startswith(f"{name}/")]:
            return self._data[inside[0]].parents[inside[0].count("/") - name.count("/") - 1]
        found = [place for place in self._data if f"/{place}".endswith(f"/{name}")]
        if name in self._data:
            found = [name]
        if len(found) != 1:
            raise _unknown("data file", name, found or self._data, "release.data")
        return self._data[found[0]]


def _are_messages(given: object) -> bool:
    return isinstance(given, list | tuple) and all(
        isinstance(one, Mapping)
        and isinstance(one.get("role"), str)
        and isinstance(one.get("content"), str)
        for one in given
    )


def _unknown(what: str, name: str, known: Any, where: str) -> ConfigError:
    listed = ", ".join(sorted(known)) or "nothing"
    return ConfigError(
        f"this release has no {what} {name!r}{did_you_mean(name, known)}; it has {listed}.",
        hint=f"List it under {where} in params.yaml.",
    )
