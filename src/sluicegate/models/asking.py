"""The one door to models that are asked questions: an endpoint or local weights, with cache and budget."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from sluicegate.config import ModelSpec
from sluicegate.errors import ConfigError
from sluicegate.models.ask_limits import NO_LIMITS, AskLimits
from sluicegate.models.base_models import resolve_base
from sluicegate.models.cached_asker import CachedAsker
from sluicegate.project import model_cache
from sluicegate.records import Failure, Question, Reply

__all__ = ["NO_LIMITS", "AskLimits", "Asker", "open_asker"]


class Asker(Protocol):
    """What judges ask; `judges.base.Asker` describes the same."""

    @property
    def identity(self) -> str:
        """SHA-256 of what answers; equal identities give equal answers, and no secret is in it."""
        ...

    def ask(
        self, questions: Sequence[Question], progress: Callable[[int, int], None] | None = None
    ) -> list[Reply | Failure]:
        """Answer every question, in the order given."""
        ...


def open_asker(
    spec: ModelSpec,
    name: str,
    *,
    root: Path,
    cache: Path,
    dtype: str = "auto",
    limits: AskLimits = NO_LIMITS,
    adapter: Path | None = None,
) -> Asker:
    """Open the model that `spec` describes, to be asked.

    Args:
        spec: one entry of models.yaml.
        name: the name under which it is listed; used in messages.
        root: folder that a relative `path` in `spec` starts from.
        cache: folder of the answers (`project.judgements`); what is in it is never asked again.
        dtype: `float32`, `bfloat16` or `auto`; of local models.
        limits: the most that this asker may spend.
        adapter: a verified LoRA folder; local models only.

    Raises:
        ConfigError: the endpoint is unsafe, its key is missing, or an adapter is asked of an endpoint.
        ModelError: local weights cannot be found. (They are loaded at the first question that is not in the cache.)
    """
    if spec.endpoint is not None:
        if adapter is not None:
            raise ConfigError(
                f"{name} is an endpoint; it takes no adapter.",
                hint="Name a model with local weights.",
            )
        from sluicegate.models.endpoint import EndpointSource, endpoint_identity

        remote = EndpointSource(spec.endpoint, name, limits=limits)
        return CachedAsker(endpoint_identity(spec.endpoint), remote, cache)
    from sluicegate.models.local_asker import LocalSource

    if spec.path:
        spec = spec.model_copy(update={"path": str(root / Path(spec.path).expanduser())})
    local = LocalSource(
        resolve_base(spec, name, model_cache()), adapter, dtype=dtype, limits=limits
    )
    return CachedAsker(local.identity, local, cache)
