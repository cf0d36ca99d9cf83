"""The schemas of params.yaml and of the files under registry/; of models, see `model_entries`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import Field, model_validator

from sluicegate.model_entries import EndpointSpec as EndpointSpec
from sluicegate.model_entries import ModelsFile as ModelsFile
from sluicegate.model_entries import ModelSpec as ModelSpec
from sluicegate.model_entries import Positive as Positive
from sluicegate.model_entries import PriceParams as PriceParams
from sluicegate.records import GenerationSettings
from sluicegate.yaml_file import Strict

Fraction = Annotated[float, Field(ge=0, le=1)]
RoleName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")]
MAIN = "main"
"""The role of a release's model."""
Redacted = Literal["secret", "email", "iban", "card", "ip", "phone", "handle"]


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


class ReleaseParams(Strict):
    """What every stage shares.

    Attributes:
        name: of the registered model and the experiment in MLflow.
        model: what generates: a name in models.yaml, a folder or a hub name; was `base`.
        application: `prompt` (one prompt on that model), or the project's own `module:function`.
        models: further models of the project's own code, by role; `main` is `model`.
        prompts: further prompts of the project's own code.
        data: files that the project's own code reads, from the project's root.
        settings: of the project's own code, as it likes.
        row_seconds: most that one row of it may take, waiting for models not counted.

    With a `price`, evaluation also gives the operation `cost_per_1000`: money per 1,000 answers.

    `intent`: neutral for a change that is to improve nothing (a refactored prompt, say); the policy
    has rules of its own for that.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$")]
    model: str
    prompt: str
    application: Annotated[str, Field(pattern=r"^(prompt|[\w.]+:\w+)$")] = "prompt"
    generation: GenerationParams = GenerationParams()
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    price: PriceParams | None = None
    intent: Literal["improve", "neutral"] = "improve"
    models: dict[RoleName, str] = Field(default_factory=dict)
    prompts: tuple[str, ...] = ()
    data: tuple[str, ...] = ()
    settings: dict[str, Any] = Field(default_factory=dict)
    row_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 60.0

    @model_validator(mode="before")
    @classmethod
    def _other_names(cls, given: Any) -> Any:
        """`base`, as versions before 0.3 called the model: commits of then are still read. Model and
        prompt may also be the role `main` and the first of the prompts.
        """
        if not isinstance(given, dict):
            return given
        if "base" in given and "model" not in given:
            given = {"model" if key == "base" else key: value for key, value in given.items()}
        models, prompts = given.get("models"), given.get("prompts")
        if isinstance(models, dict) and "main" in models:
            given = {"model": models["main"], **given}
        if isinstance(prompts, list | tuple) and prompts:
            given = {"prompt": prompts[0], **given}
        return given

    @model_validator(mode="after")
    def _only_code_has_them(self) -> ReleaseParams:
        if self.models.get(MAIN, self.model) != self.model:
            raise ValueError(f"model is {self.model}, and models.main {self.models[MAIN]}")
        given = [name for name in ("models", "prompts", "data", "settings") if getattr(self, name)]
        if given and not self.is_code:
            raise ValueError(
                f"{given[0]}: only an application of the project's own has it: write "
                "application: app.module:function"
            )
        return self

    @property
    def is_code(self) -> bool:
        """Whether code of the project answers."""
        return ":" in self.application

    @property
    def roles(self) -> dict[str, str]:
        """The names of all models by their roles."""
        return {MAIN: self.model, **self.models}


class PrepareParams(Strict):
    """How data becomes train, validation, development and golden sets.

    Fractions are of groups, by stable hash. Without `development_fraction` nothing is set apart for
    the development set: it has the rows that nothing is trained on.
    """

    validation_fraction: Fraction = 0.1
    development_fraction: Fraction | None = None
    golden_fraction: Fraction = 0.4
    near_duplicate: Fraction = 0.85
    overlap_ngram: Positive = 8
    overlap_share: Fraction = 0.5
    redact: tuple[Redacted, ...] = get_args(Redacted)
    minimum_golden: Positive = 20


class TuneParams(Strict):
    """LoRA and optimiser. `layers`: all, upper_half, or indices.

    `method` imported takes the `adapter` of that digest, which `sluice adapter import` brought in.

    `max_tokens`: longer rows are left out and counted. `batch_tokens` bounds the padded tokens of a
    step.
    """

    method: Literal["none", "lora", "imported"] = "lora"
    adapter: Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")] = ""
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


OwnName = Annotated[str, Field(pattern=r"^[^:]+:.+$")]


class OwnMetric(Strict):
    """What params.yaml says of a metric of the project's own: whether it asks a model for its
    opinion.
    """

    asks_model: bool


class EvaluateParams(Strict):
    """Which metrics, which baselines beside the champion, and the padded tokens of one generation
    batch.

    `own_metrics`: what has to be declared of metrics of the project's own, by `module:attribute`.
    `repeats`: how often every golden row is answered, each time by a call of its own: for models
    that do not answer alike twice.
    """

    metrics: tuple[str, ...] = Field(min_length=1)
    own_metrics: dict[OwnName, OwnMetric] = Field(default_factory=dict)
    repeats: Annotated[int, Field(ge=1, le=100)] = 1
    baselines: tuple[str, ...] = ("lead2",)
    batch_tokens: Positive = 8192

    @property
    def asking(self) -> dict[str, bool]:
        """Which of the declared metrics ask a model."""
        return {name: one.asks_model for name, one in self.own_metrics.items()}


class ProfileParams(Strict):
    """`metrics`: which text profile to keep as the reference for monitoring.

    `encoder`: also keep embeddings of at most 1,000 rows, and compare them. `auto`: the packaged
    all-MiniLM-L6-v2 where the extra `metrics` is installed, else none; `packaged`: it has to be
    installed; or a folder; `none` or "" for none.
    """

    metrics: Literal["light"] = "light"
    encoder: str = "auto"


class GateParams(Strict):
    """What `sluice gate` does with rows.

    Attributes:
        set: what it judges on. A verdict on the development set promotes nothing, is not recorded
            and spends none of the golden set's error budget.
        show_golden: whether its comment and page may show golden rows.
    """

    set: Literal["development", "golden"] = "golden"
    show_golden: bool = False


class MonitorParams(Strict):
    """What watches the traffic, and what starts a retraining.

    Attributes:
        hours: the window, back from now (default 24); or
        last: the window as a number of rows.
        recent: how many windows just before are merged with the newest; 0: only the newest.
        minimum: fewer rows than this are NO_DATA.
        late_hours: with `last`, a newest row older than this is NO_DATA.
        detector: a row of the drift detectors' table.
        webhook_env: the environment variable that holds the address alarms are sent to; empty: no
            address.
        repeat_hours: the same alarm is sent again after this time.
        cooldown_hours: from the start of one retraining to the next.
        feedback_rows: how many new rows of feedback start a retraining; 0: never.
        learn_from: which feedback becomes training data.
        promote: may a retraining that passes the gate become champion by itself?
    """

    hours: Annotated[float, Field(gt=0, le=24 * 366)] | None = None
    last: Positive | None = None
    recent: Annotated[int, Field(ge=0, le=24)] = 2
    minimum: Positive = 30
    late_hours: Annotated[float, Field(gt=0)] = 24.0
    detector: str = "ks"
    webhook_env: Annotated[str, Field(pattern=r"^([A-Za-z_][A-Za-z0-9_]*)?$")] = ""
    repeat_hours: Annotated[float, Field(ge=0)] = 24.0
    cooldown_hours: Annotated[float, Field(ge=0)] = 24.0
    feedback_rows: Annotated[int, Field(ge=0)] = 50
    learn_from: tuple[Literal["correction", "liked"], ...] = ("correction", "liked")
    promote: bool = True

    @model_validator(mode="after")
    def _one_window(self) -> MonitorParams:
        if self.hours is not None and self.last is not None:
            raise ValueError("give hours or last, not both")
        return self


class CalibrationParams(Strict):
    """What a judge has to show on labelled rows before it counts; see docs/how-to/judges.md.

    Attributes:
        minimum_groups: independent labelled rows.
        epsilon: in share of rows, by how much less well than a person it may stand in for one.
        reliability: assumed agreement of two people, where nobody shares enough rows.
        accuracy, correlation: of pairs and scores: lower bound, however little people agree.
        favour: how far its error may depend on length, or on which release answered.
        level: mean difference from people's level, per row that has room for one.
        position: upper bound of the share of pairs where the place of an answer decides.
        consistency: the lower bound of agreement with itself under another seed.
        sentinels: the share of known-bad answers that it has to notice.
        made_sentinels: pairwise: how many known-bad answers are made from the labelled ones.
        repeat_rows: most rows that are judged again for `consistency`.
        expires_days: how long it counts. `resamples`, `seed`: of the bootstrap.
    """

    gone: ClassVar[Mapping[str, str]] = {"length": "`favour` bounds what depends on length"}

    minimum_groups: Annotated[int, Field(ge=10)] = 50
    epsilon: Annotated[float, Field(ge=0, le=0.5)] = 0.25
    reliability: Annotated[float, Field(gt=0, le=1)] = 0.8
    accuracy: Annotated[float, Field(ge=0.5, lt=1)] = 0.6
    correlation: Annotated[float, Field(ge=0, lt=1)] = 0.3
    favour: Annotated[float, Field(gt=0, le=1)] = 0.2
    level: Annotated[float, Field(gt=0, le=1)] = 0.175
    position: Annotated[float, Field(gt=0, le=1)] = 0.4
    consistency: Annotated[float, Field(ge=0, lt=1)] = 0.7
    sentinels: Annotated[float, Field(gt=0, le=1)] = 1.0
    made_sentinels: Annotated[int, Field(ge=0, le=1000)] = 10
    repeat_rows: Positive = 100
    expires_days: Positive = 90
    resamples: Annotated[int, Field(ge=100, le=100_000)] = 1000
    seed: Annotated[int, Field(ge=0)] = 0


class ProbeParams(Strict):
    """What `sluice probe` asks, `recorded` times once and `repeats` times every day."""

    prompts: Annotated[int, Field(ge=1, le=100)] = 8
    file: str = ""
    recorded: Annotated[int, Field(ge=2, le=100)] = 12
    repeats: Annotated[int, Field(ge=1, le=100)] = 3
    max_tokens: Positive = 64
    temperature: Annotated[float, Field(ge=0, le=5)] = 0.0
    alternatives: Annotated[int, Field(ge=0, le=20)] = 0


class Params(Strict):
    """The whole of params.yaml: one section per stage, plus what they share."""

    release: ReleaseParams
    prepare: PrepareParams = PrepareParams()
    tune: TuneParams = TuneParams()
    evaluate: EvaluateParams
    profile: ProfileParams = ProfileParams()
    gate: GateParams = GateParams()
    calibration: CalibrationParams = CalibrationParams()
    monitor: MonitorParams = MonitorParams()
    probe: ProbeParams = ProbeParams()


class SourceSpec(Strict):
    """One entry of sources.yaml.

    `fields` maps id, group, reference to columns and `inputs` to {variable: column}.

    `fields.slices` is a list of columns that say which parts of the whole a row belongs to (rule
    field `slice`). An `optional` source may be absent or empty; any other one stops the line then.
    """

    kind: str
    path: str
    role: Literal["pool", "train", "development", "golden"] = "pool"
    fields: dict[str, Any] = Field(default_factory=dict)
    options: dict[str, Any] = Field(default_factory=dict)
    optional: bool = False
    licence: str = ""
    owner: str = ""
    notes: str = ""


class SourcesFile(Strict):
    """registry/sources.yaml: where training and golden rows come from, and under which licence."""

    sources: dict[str, SourceSpec] = Field(min_length=1)
