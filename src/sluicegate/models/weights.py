"""Open weights here as a model: named by digest, loaded into an engine when first asked."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from sluicegate.budget import Budget
from sluicegate.engines import BATCH_TOKENS, Engine, open_engine
from sluicegate.errors import local_packages
from sluicegate.generating import Failure, Messages, Reply, Request, Took
from sluicegate.hashing import digest_folder, digest_value
from sluicegate.models.base_models import LoadedBase, resolve_base
from sluicegate.project import model_cache

if TYPE_CHECKING:
    from sluicegate.models import Entry


class WeightsModel:
    """See `Model`. Nothing is loaded until a request comes; then it stays in memory."""

    def __init__(
        self,
        base: LoadedBase,
        adapter: Path | None = None,
        *,
        dtype: str = "auto",
        batch_tokens: int = BATCH_TOKENS,
    ) -> None:
        """Name what answers.

        Args:
            adapter: a verified LoRA folder (see `adapters.verify_adapter`), or None.
            dtype: `float32`, `bfloat16` or `auto` (float32 on a processor, so that batching changes
                nothing).
            batch_tokens: most tokens (prompts and room for answers) in work at once; one prompt
                always is.
        """
        self.base, self._adapter = base, adapter
        self._asked_dtype, self._batch_tokens = dtype, batch_tokens
        self._opened: Engine | None = None

    @cached_property
    def dtype(self) -> str:
        """`float32` or `bfloat16`."""
        from sluicegate.engines.loading import choose_dtype

        with local_packages():
            return choose_dtype(self._asked_dtype, exact=True)

    @cached_property
    def identity(self) -> str:
        """Digest of base, adapter and dtype."""
        adapter = digest_folder(self._adapter) if self._adapter is not None else None
        return digest_value({"base": self.base.digest, "adapter": adapter, "dtype": self.dtype})

    @property
    def context(self) -> int:
        """Of the base model."""
        return self.base.context

    @property
    def engine(self) -> Engine:
        """The weights in memory; loaded by the first call.

        Raises:
            ModelError: base or adapter cannot be loaded.
        """
        if self._opened is None:
            self._opened = open_engine(
                self.base.path,
                self._adapter,
                context=self.base.context,
                dtype=self.dtype,
                batch_tokens=self._batch_tokens,
            )
        return self._opened

    def generate(
        self,
        requests: Sequence[Request],
        *,
        budget: Budget | None = None,
        took: Took | None = None,
    ) -> list[Reply | Failure]:
        """See `Model.generate`. Tokens cost what the budget's price says; a base model's is 0."""
        if not requests:
            return []
        answers: list[Reply | Failure] = [Failure("not asked")] * len(requests)

        def arrived(place: int, answer: Reply | Failure) -> None:
            answers[place] = answer
            if took is not None:
                took(place, answer)

        self.engine.generate(requests, budget=budget or Budget(), took=arrived)
        return answers

    def count_tokens(self, messages: Messages) -> int:
        """Tokens of the rendered chat."""
        return self.engine.count_tokens(messages)


def open_weights(entry: Entry) -> WeightsModel:
    """Rows of `MODELS`: `package`, `path` and `hub`.

    Raises:
        ModelError: the weights cannot be found.
    """
    spec = entry.spec
    if spec.path:
        path = str(entry.root / Path(spec.path).expanduser())
        spec = spec.model_copy(update={"path": path})
    base = resolve_base(spec, entry.name, model_cache(), entry.say)
    return WeightsModel(base, entry.adapter, dtype=entry.dtype, batch_tokens=entry.batch_tokens)
