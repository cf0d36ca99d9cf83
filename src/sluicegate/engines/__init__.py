"""Engines: what serves open weights here. The table, the protocol, how one is opened; no torch."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, cast

from sluicegate.budget import Budget
from sluicegate.errors import LOCAL, ConfigError, local_packages
from sluicegate.generating import Messages, Request, Took

ENGINES: dict[str, str] = {
    "transformers": "sluicegate.engines.batching:open_engine",
}
ENGINE = "transformers"
"""The one that is used where nobody names another."""

BATCH_TOKENS = 8192
"""Most tokens (prompts and room for answers) in work at once; one prompt always is."""

__all__ = ["BATCH_TOKENS", "ENGINE", "ENGINES", "Engine", "open_engine"]


class Engine(Protocol):
    """Weights in memory, for evaluation, judging and serving alike."""

    def generate(self, requests: Sequence[Request], *, budget: Budget, took: Took) -> None:
        """Answer each request, telling `took` in any order; see `generating.Model`."""
        ...

    def count_tokens(self, messages: Messages) -> int:
        """Tokens of `messages` under the chat template, the opening of the answer included."""
        ...


def open_engine(
    weights: Path,
    adapter: Path | None,
    *,
    context: int,
    dtype: str,
    batch_tokens: int = BATCH_TOKENS,
    name: str = ENGINE,
) -> Engine:
    """Load weights into an engine.

    Args:
        adapter: a verified LoRA folder (see `adapters.verify_adapter`), or None for the bare base.
        context: longest prompt plus answer in tokens.
        name: a key of `ENGINES`, or `module:function` taking the arguments of this function, `name`
            aside.

    Raises:
        ConfigError: no such engine.
        MissingExtraError: a package that it needs is absent; the hint is the line that installs it.
        ModelError: base or adapter cannot be loaded.
    """
    module, _, function = ENGINES.get(name, name).partition(":")
    known = f"Known engines: {', '.join(sorted(ENGINES))}; anything else is `module:function`."
    if not function:
        raise ConfigError(f"there is no engine {name!r}.", hint=known)
    options = {"context": context, "dtype": dtype, "batch_tokens": batch_tokens}
    with local_packages():
        try:
            opener = getattr(importlib.import_module(module), function)
        except (ImportError, AttributeError) as error:
            if (error.name or "").partition(".")[0] in LOCAL:
                raise
            raise ConfigError(f"engine {name!r} cannot be imported: {error}", hint=known) from error
        return cast(Engine, opener(weights, adapter, **options))
