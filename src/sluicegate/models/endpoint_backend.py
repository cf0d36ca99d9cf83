"""An endpoint as generation backend: for comparing base models; a release is never built on one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sluicegate.config import EndpointSpec, ModelSpec
from sluicegate.errors import ConfigError, EnvironmentFailure
from sluicegate.hashing import digest_value
from sluicegate.models.ask_limits import most_prompt_tokens
from sluicegate.models.cached_asker import CachedAsker
from sluicegate.models.endpoint import EndpointSource, endpoint_identity
from sluicegate.records import Failure, Generation, GenerationSettings, Question, Reply

if TYPE_CHECKING:
    from sluicegate.models import Messages, Progress
    from sluicegate.models.base_models import LoadedBase


@dataclass(frozen=True, slots=True)
class RemoteModel:
    """A model behind an endpoint, where `open_backend` takes a base model: `cache` is a folder for its answers."""

    name: str
    endpoint: EndpointSpec
    context: int
    cache: Path

    @property
    def digest(self) -> str:
        """See `endpoint_identity`; it says nothing about weights."""
        return endpoint_identity(self.endpoint)


def remote_model(spec: ModelSpec, name: str, cache: Path) -> RemoteModel:
    """The endpoint in an entry of models.yaml, for `open_backend("endpoint", ...)`.

    Raises:
        ConfigError: the entry is of another kind.
    """
    if spec.endpoint is None:
        raise ConfigError(f"model {name} is no endpoint.", hint="Use the backend `transformers`.")
    return RemoteModel(name, spec.endpoint, spec.context, cache)


class EndpointBackend:
    """See `Backend`. Answers are cached as they arrive, so that a failed or killed run is not paid for twice."""

    def __init__(self, model: RemoteModel) -> None:
        self._model = model
        self.context = model.context
        self._sources: dict[str, EndpointSource] = {}

    def generate(
        self,
        prompts: Sequence[Messages],
        settings: GenerationSettings,
        progress: Progress | None = None,
    ) -> list[Generation]:
        """See `Backend.generate`; `seconds` of an answer is what its request took, many being in the air at once.

        Raises:
            ConfigError: the endpoint is unsafe, its key is missing, or `settings` holds what it cannot do.
            EnvironmentFailure: a prompt got no answer (one longer than the context, say).
        """
        asker = self._asker(settings)
        questions = [
            Question(tuple(messages), settings.max_new_tokens, settings.temperature, settings.seed)
            for messages in prompts
        ]
        answers = asker.ask(questions, progress)
        failed = [answer.reason for answer in answers if isinstance(answer, Failure)]
        if failed:
            raise EnvironmentFailure(
                f"{self._model.name}: {len(failed)} of {len(answers)} prompts got no answer: {failed[0]}",
                hint="Run again when the endpoint works; the answers that came are kept.",
            )
        return [_generation(answer) for answer in answers if isinstance(answer, Reply)]

    def count_tokens(self, messages: Messages) -> int:
        """More tokens than `messages` can have: an endpoint does not tell how it splits text."""
        return most_prompt_tokens(Question(tuple(messages)))

    def _asker(self, settings: GenerationSettings) -> CachedAsker:
        """An asker for these settings; those that a question does not have are part of its identity."""
        if settings.repetition_penalty != 1.0:
            raise ConfigError(
                f"{self._model.name}: OpenAI-compatible endpoints have no repetition_penalty.",
                hint="Set release.generation.repetition_penalty to 1.0.",
            )
        extra: dict[str, object] = {"top_p": settings.top_p} if settings.top_p != 1.0 else {}
        if settings.stop:
            extra["stop"] = list(settings.stop)
        identity = digest_value({"model": self._model.digest, **extra})
        if identity not in self._sources:
            self._sources[identity] = EndpointSource(
                self._model.endpoint, self._model.name, extra=extra
            )
        return CachedAsker(identity, self._sources[identity], self._model.cache)


def _generation(reply: Reply) -> Generation:
    return Generation(
        reply.text.strip(),
        reply.prompt_tokens,
        reply.completion_tokens,
        reply.seconds,
        reply.finished,
    )


def open_endpoint(
    model: LoadedBase | RemoteModel, adapter: Path | None, *, dtype: str, batch_tokens: int
) -> EndpointBackend:
    """Row of `BACKENDS`: `model` must be a `RemoteModel`; number format and batches are the server's.

    Raises:
        ConfigError: `model` has weights of its own, or there is an adapter.
    """
    del dtype, batch_tokens
    if not isinstance(model, RemoteModel) or adapter is not None:
        raise ConfigError(
            "the backend `endpoint` takes a model with `endpoint:` in registry/models.yaml, and no adapter.",
            hint="Use the backend `transformers` for local weights.",
        )
    return EndpointBackend(model)
