"""Generation backends: messages in, answers out. The table, the protocol, how one is opened; no torch here."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from sluicegate.errors import ConfigError
from sluicegate.models.asking import Asker, AskLimits, open_asker
from sluicegate.models.base_models import LoadedBase, resolve_base
from sluicegate.records import Generation, GenerationSettings

if TYPE_CHECKING:
    from sluicegate.models.endpoint_backend import RemoteModel

Messages = list[dict[str, str]]
Progress = Callable[[int, int], None]

BACKENDS: dict[str, str] = {
    "transformers": "sluicegate.models.transformers_backend:open_transformers",
    "endpoint": "sluicegate.models.endpoint_backend:open_endpoint",
    "echo": "sluicegate.models.echo:open_echo",
}

__all__ = [
    "BACKENDS", "AskLimits", "Asker", "Backend", "LoadedBase", "Messages", "Progress", "open_asker", "open_backend",
    "resolve_base",
]  # fmt: skip


class Backend(Protocol):
    """What every backend can do. `context` is the longest prompt plus answer in tokens."""

    @property
    def context(self) -> int:
        """Longest prompt plus answer in tokens."""
        ...

    def generate(
        self,
        prompts: Sequence[Messages],
        settings: GenerationSettings,
        progress: Progress | None = None,
    ) -> list[Generation]:
        """Answer every prompt, in the order given; an empty sequence gives an empty list.

        `progress(done, total)` is called as answers finish.

        Raises:
            DataError: a prompt alone is longer than the context.
        """
        ...

    def count_tokens(self, messages: Messages) -> int:
        """Tokens of `messages` under the model's chat template, the opening of the answer included."""
        ...


def open_backend(
    name: str,
    model: LoadedBase | RemoteModel,
    adapter: Path | None,
    *,
    dtype: str,
    batch_tokens: int,
) -> Backend:
    """Open a backend by its name in `BACKENDS` or as `module:callable`.

    Args:
        name: a key of `BACKENDS`, or `module:callable` taking the same arguments as this function, `name` aside.
        model: the resolved base model; for `endpoint` what `endpoint_backend.remote_model` gives.
        adapter: a verified LoRA folder (see `adapters.verify_adapter`), or None for the bare base.
        dtype: `float32`, `bfloat16` or `auto` (measured once in this process).
        batch_tokens: most tokens (prompts and room for answers) in work at once; one prompt always is.

    Raises:
        ConfigError: no such backend.
        ModelError: the model cannot be loaded.
    """
    target = BACKENDS.get(name, name)
    module_name, _, attribute = target.partition(":")
    known = f"Known backends: {', '.join(sorted(BACKENDS))}; anything else is `module:callable`."
    if not attribute:
        raise ConfigError(f"there is no generation backend {name!r}.", hint=known)
    try:
        opener = getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"generation backend {name!r} cannot be imported: {error}", hint=known
        ) from error
    return cast(Backend, opener(model, adapter, dtype=dtype, batch_tokens=batch_tokens))
