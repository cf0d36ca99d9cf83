"""Models: what generates text, by its entry in registry/models.yaml; no torch here.

model = open_model(spec, "my-judge", root=project.root, cache=project.judgements)
model.generate([Request(messages)], budget=Budget(seconds=60))
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from sluicegate.budget import Budget
from sluicegate.config import EndpointSpec, ModelSpec, PriceParams
from sluicegate.engines import BATCH_TOKENS
from sluicegate.errors import ConfigError
from sluicegate.generating import (
    Failure,
    Messages,
    Model,
    Progress,
    Reply,
    Request,
    Took,
    all_replies,
    request_of,
)
from sluicegate.models.base_models import LoadedBase, resolve_base
from sluicegate.models.cache import CachedModel
from sluicegate.models.weights import WeightsModel
from sluicegate.own_code import own_code

MODELS: dict[str, str] = {
    "package": "sluicegate.models.weights:open_weights",
    "path": "sluicegate.models.weights:open_weights",
    "hub": "sluicegate.models.weights:open_weights",
    "endpoint": "sluicegate.models.openai_door:open_endpoint",
    "azure": "sluicegate.models.openai_door:open_azure",
    "litellm": "sluicegate.models.litellm_door:open_litellm",
    "echo": "sluicegate.models.scripted:open_echo",
}

_VERSION = re.compile(r"\d{4}-\d{2}-\d{2}|(?<!\d)\d{3,8}(?!\d)|@|[-:]v\d")
"""A date, a number of three digits or more (0613, 20250514), or a version in a model's name."""

__all__ = [
    "MODELS", "Budget", "CachedModel", "Entry", "Failure", "LoadedBase", "Messages", "Model",
    "Progress", "Reply", "Request", "Took", "WeightsModel", "all_replies", "floating_name",
    "open_model", "price_of", "request_of", "resolve_base",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Entry:
    """What a row of `MODELS` opens.

    Attributes:
        spec: the entry of models.yaml; `settings` is what stands under the key that names the kind.
        name: the name under which it is listed; used in messages.
        root: folder that relative paths start from.
        adapter: a verified LoRA folder, or None.
        dtype: `float32`, `bfloat16` or `auto`; of open weights.
        batch_tokens: most tokens in work at once; of open weights.
        say: receives one line of text per step that takes long.
    """

    spec: ModelSpec
    name: str
    root: Path = Path()
    adapter: Path | None = None
    dtype: str = "auto"
    batch_tokens: int = BATCH_TOKENS
    say: Callable[[str], None] | None = None

    @property
    def settings(self) -> object:
        """What stands under the key that names the kind."""
        return self.spec.other.get(self.spec.kind, {})


def open_model(
    spec: ModelSpec,
    name: str,
    *,
    root: Path,
    cache: Path | None = None,
    dtype: str = "auto",
    batch_tokens: int = BATCH_TOKENS,
    adapter: Path | None = None,
    say: Callable[[str], None] | None = None,
) -> Model:
    """Open the model that `spec` describes; weights load, addresses are called, when first asked.

    Args:
        spec: one entry of models.yaml; its kind is a key of `MODELS`, or `module:function` that
            takes an `Entry`.
        name, root, adapter, dtype, batch_tokens, say: as in `Entry`.
        cache: folder of answers (`project.judgements`); what is in it is never asked again. None
            for no cache.

    Raises:
        ConfigError: there is no such kind, its settings are wrong, an address is unsafe, a key is
            missing, or an adapter is asked of a model without weights here.
        ModelError: open weights cannot be found.
    """
    module, _, function = MODELS.get(spec.kind, spec.kind).partition(":")
    known = f"Known kinds: {', '.join(MODELS)}; anything else is `module:function`."
    if not function:
        raise ConfigError(f"registry/models.yaml: {name}: no kind {spec.kind!r}.", hint=known)
    if adapter is not None and not spec.weights:
        raise ConfigError(
            f"{name} has no weights here; it takes no adapter.",
            hint="Name a model with package, path or hub.",
        )
    opener = own_code(f"{module}:{function}", f"registry/models.yaml: {name}:")
    model = cast(Model, opener(Entry(spec, name, root, adapter, dtype, batch_tokens, say)))
    return model if cache is None else CachedModel(model, cache)


def floating_name(spec: ModelSpec) -> str:
    """The name that a vendor's model is asked by, where nothing in it fixes a version; else empty.

    A deployment (Azure) and a server of one's own are as fixed as their owner keeps them.

    Example:
        >>> entry = {"endpoint": {"url": "https://host/v1", "model": "gpt-4o"}}
        >>> floating_name(ModelSpec.model_validate(entry))
        'gpt-4o'
        >>> entry["endpoint"]["model"] = "gpt-4o-2024-08-06"
        >>> floating_name(ModelSpec.model_validate(entry))
        ''
    """
    settings = spec.other.get(spec.kind) if spec.kind == "litellm" else spec.endpoint
    if isinstance(settings, EndpointSpec):
        settings = settings.model_dump()
    if not isinstance(settings, dict) or settings.get("allow_private"):
        return ""
    name = str(settings.get("model", ""))
    return "" if _VERSION.search(name) else name


def price_of(spec: ModelSpec) -> PriceParams | None:
    """Money per million tokens of a model of models.yaml; None where nobody says."""
    if spec.endpoint is not None:
        return spec.endpoint.price
    settings = spec.other.get(spec.kind)
    found = settings.get("price") if isinstance(settings, dict) else None
    return None if found is None else PriceParams.model_validate(found)
