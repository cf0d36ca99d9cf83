"""What a person wrote, checked whole before anything runs: every problem, in seconds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from sluicegate.adapters.checks import base_shapes
from sluicegate.config import ModelsFile, ModelSpec, Params, SourcesFile
from sluicegate.data import SOURCES, find_source, read_source
from sluicegate.data.preparing import ROLES
from sluicegate.data.rows import fields_of
from sluicegate.drift import DETECTORS
from sluicegate.errors import (
    LOCAL,
    ConfigError,
    MissingExtraError,
    SluiceError,
    did_you_mean,
)
from sluicegate.evaluation import find_baseline
from sluicegate.evaluation.scoring import asks_model
from sluicegate.gates import RULES, Policy
from sluicegate.hashing import read_json
from sluicegate.judges import Criterion, criterion_path, load_criterion
from sluicegate.line.check_application import application_problems
from sluicegate.line.check_policy import computed_metrics, policy_problems
from sluicegate.line.parts import JUDGED
from sluicegate.line.pipeline.imported import find_imported
from sluicegate.line.run import Run
from sluicegate.metrics import find_metric, metrics_digest
from sluicegate.models import MODELS, open_model
from sluicegate.models.base_models import find_base
from sluicegate.own_code import use_code_of
from sluicegate.project import Project, model_cache
from sluicegate.prompts import Prompt, load_prompt, prompt_names
from sluicegate.yaml_file import load

Schema = TypeVar("Schema", bound=BaseModel)
SHORT = 120
"""Longest advice that is put behind a problem."""


@dataclass(slots=True)
class Found:
    """What was read, as far as it could be, and what is wrong.

    Attributes:
        golden: the most rows that the golden set can have; None where nobody can tell.
        judged: the criteria of the judged metrics that are sound.
    """

    project: Project
    problems: list[str] = field(default_factory=list)
    params: Params | None = None
    prompt: Prompt | None = None
    policy: Policy | None = None
    sources: SourcesFile | None = None
    models: ModelsFile | None = None
    golden: int | None = None
    judged: dict[str, Criterion] = field(default_factory=dict)

    def add(self, problem: str) -> None:
        """One more, with paths as people write them."""
        self.problems.append(problem.replace(f"{self.project.root}/", "").strip())

    @contextmanager
    def told(self, where: str = "") -> Iterator[None]:
        """An error in this block is a problem; the check goes on."""
        try:
            yield
        except SluiceError as error:
            lines = str(error).splitlines()
            lines = [line for line in lines if not line.endswith(":")] or lines  # no headings
            advice = f" {error.hint}" if error.hint and len(error.hint) <= SHORT else ""
            for line in lines:
                self.add(f"{where}{line.strip()}{advice if len(lines) == 1 else ''}")

    def read(self, name: str, schema: type[Schema]) -> Schema | None:
        """A file of the project, or None and its problems."""
        value = None
        with self.told():
            value = load(self.project.root / name, schema)
        return value


def check_configuration(project: Project) -> list[str]:
    """All that is wrong with a project's files, one line each: file, field, what to do.

    Nothing is loaded into memory that takes long, nothing is asked over the network, nothing is
    written.
    """
    use_code_of(project.root)
    found = Found(project)
    found.params = found.read("params.yaml", Params)
    found.policy = found.read("registry/gates.yaml", Policy)
    found.sources = found.read("registry/sources.yaml", SourcesFile)
    found.models = found.read("registry/models.yaml", ModelsFile)
    for check in CHECKS:
        check(found)
    return list(dict.fromkeys(found.problems))


def refuse_problems(project: Project) -> None:
    """Stop before anything runs where a file is wrong.

    Raises:
        ConfigError: names every problem.
    """
    problems = check_configuration(project)
    if problems:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        told = "".join(f"\n  {problem}" for problem in problems)
        raise ConfigError(
            f"nothing was run: {count} in the project's files:{told}",
            hint="`sluice check` says what is left.",
        )


def _prompt(found: Found) -> None:
    if found.params is None:
        return
    folder, name = found.project.prompts, found.params.release.prompt
    if not (folder / f"{name}.yaml").is_file():
        near = did_you_mean(name, prompt_names(folder))
        found.add(f"params.yaml: release.prompt: there is no prompts/{name}.yaml{near}")
        return
    with found.told():
        found.prompt = load_prompt(folder / f"{name}.yaml")


def _sources(found: Found) -> None:
    """Every source, every line; how many golden rows there can be, and any to try things on."""
    counts: dict[str, int | None] = dict.fromkeys(ROLES, 0)
    for name, spec in (found.sources.sources if found.sources else {}).items():
        rows = None
        with found.told():
            find_source(name, spec.kind)
            fields_of(name, spec)
            if spec.kind in SOURCES and SOURCES[spec.kind].needs_file:
                rows = len(read_source(name, spec, found.project.root).rows)
        known = counts[spec.role]
        counts[spec.role] = None if rows is None or known is None else known + rows
    if counts["golden"] is not None:
        found.golden = counts["golden"] or counts["pool"]
    beside = [counts[role] for role in ROLES if role != "golden"]
    if found.params and found.params.gate.set == "development" and beside == [0] * len(beside):
        found.add(
            "params.yaml: gate.set: development, but the sources have golden rows only: give "
            "registry/sources.yaml one with role development"
        )
    wanted = found.params.prepare.minimum_golden if found.params else 0
    if found.golden is not None and found.golden < wanted:
        found.add(
            f"params.yaml: prepare.minimum_golden: {wanted}, but the sources have at most "
            f"{found.golden} golden rows"
        )


def _application(found: Found) -> None:
    """Code of the project: what it consists of, and whether it can be imported."""
    if found.params and found.models and found.params.release.is_code:
        with found.told():
            list(map(found.add, application_problems(found.project, found.params, found.models)))


def _variables(found: Found) -> None:
    """What the prompt shows, each source has to fill."""
    if not (found.prompt and found.sources and found.params) or found.params.release.is_code:
        return
    trains = found.params.tune.method == "lora" and not _hosted(found)
    for name, spec in found.sources.sources.items():
        inputs = spec.fields.get("inputs")
        absent = spec.optional and not (found.project.root / spec.path).exists()
        if absent or not isinstance(inputs, dict) or (spec.role == "train" and not trains):
            continue
        for variable in found.prompt.inputs:
            if variable not in inputs:
                found.add(
                    f"registry/sources.yaml: sources.{name}.fields.inputs: nothing fills "
                    f"{variable!r} of prompts/{found.prompt.name}.yaml"
                    f"{did_you_mean(variable, map(str, inputs))}"
                )
        turns, history = spec.fields.get("turns", []), found.prompt.history
        if history in inputs and isinstance(turns, list) and history not in turns:
            found.add(f"registry/sources.yaml: {name}.fields.turns: history {history!r} is missing")


def _metrics(found: Found) -> None:
    if found.params is None:
        return
    evaluate = found.params.evaluate
    for name in evaluate.metrics:
        with found.told("params.yaml: evaluate.metrics: "):
            if name.startswith(JUDGED):
                _judged(found, name)
                continue
            metric = find_metric(name)
            metrics_digest([name])
            with found.told():
                asks_model({name: metric}, evaluate.asking)
    for name in evaluate.baselines:
        with found.told():
            find_baseline(name)
    detector = found.params.monitor.detector
    if detector not in DETECTORS:
        found.add(
            f"params.yaml: monitor.detector: {detector!r} is unknown"
            f"{did_you_mean(detector, DETECTORS)}. Known: {', '.join(DETECTORS)}."
        )


def _judged(found: Found, metric: str) -> None:
    """A judge: its criterion, and the models behind it."""
    path = criterion_path(found.project.prompts, metric)
    if not path.is_file():
        known = [f"{JUDGED}{one.stem[6:]}" for one in path.parent.glob("judge_*.yaml")]
        raise ConfigError(f"{metric}: there is no prompts/{path.name}{did_you_mean(metric, known)}")
    with found.told():
        criterion = load_criterion(path)
        found.judged[metric] = criterion
        for name in criterion.judges if found.models else ():
            models: Mapping[str, ModelSpec] = found.models.models if found.models else {}
            if name in models:
                _model(found, name, models[name])
            else:
                near = did_you_mean(name, models)
                found.add(
                    f"prompts/{path.name}: judges: registry/models.yaml has no {name!r}{near}"
                )


def _model(found: Found, name: str, spec: ModelSpec) -> Path | None:
    """Whether it could be opened; where its folder is, if it has one already."""
    folder = None
    with found.told():
        if not spec.weights:
            open_model(spec, name, root=found.project.root)
            return None
        if missing := [package for package in LOCAL if find_spec(package) is None]:
            raise MissingExtraError(missing[0], "local")
        if spec.path:
            spec = spec.model_copy(update={"path": str(found.project.root / spec.path)})
        folder = find_base(spec, name, model_cache())
    return folder


def _kinds(found: Found) -> None:
    for name, spec in (found.models.models if found.models else {}).items():
        if spec.kind not in MODELS and ":" not in spec.kind:
            found.add(
                f"registry/models.yaml: models.{name}: no kind {spec.kind!r}"
                f"{did_you_mean(spec.kind, [*MODELS, *ModelSpec.model_fields])}"
            )


def _base(found: Found) -> None:
    """The base model, and whether the settings of tune fit it."""
    if found.params is None or found.models is None:
        return
    name, models = found.params.release.model, found.models.models
    spec = models.get(name)
    if spec is None and (found.project.root / name).is_dir():
        spec = ModelSpec(path=name)
    if spec is None:
        if near := did_you_mean(name, models):
            found.add(f"params.yaml: release.model: registry/models.yaml has no {name!r}{near}")
        return
    folder = _model(found, name, spec)
    tune = found.params.tune
    if _hosted(found):
        if "tune" in found.params.model_fields_set and tune.method != "none":
            found.add(
                f"params.yaml: tune.method: {name} is hosted, and nothing of it is tuned here: "
                "write none, or leave the section out"
            )
        return
    if found.prompt is not None and found.prompt.response_format is not None:
        path = f"prompts/{found.prompt.name}.yaml"
        found.add(f"{path}: response_format: weights here cannot be held to it")
    if tune.quantization != "none" and tune.method == "lora" and not find_spec("bitsandbytes"):
        found.add("params.yaml: tune.quantization: pip install 'sluicegate[quant]'")
    if tune.method == "imported" and found.prompt is not None:
        with found.told():
            find_imported(Run(found.project, found.params, found.prompt))
    if folder is None or tune.method != "lora":
        return
    with found.told():
        endings = {module.rsplit(".", 1)[-1] for module in base_shapes(folder)}
        for module in sorted(set(tune.target_modules) - endings):
            near = did_you_mean(module, endings)
            found.add(f"params.yaml: tune.target_modules: {name} has no {module}{near}")
        layers = read_json(folder / "config.json").get("num_hidden_layers")
        for layer in tune.layers if isinstance(tune.layers, tuple) else ():
            if isinstance(layers, int) and not 0 <= layer < layers:
                found.add(f"params.yaml: tune.layers: {layer}: {name} has 0 to {layers - 1}")


def _hosted(found: Found) -> bool:
    """Whether the release's model is an entry without weights."""
    spec = found.models and found.params and found.models.models.get(found.params.release.model)
    return bool(spec and not spec.weights)


def _policy(found: Found) -> None:
    if found.policy is None or found.params is None:
        return
    for problem in policy_problems(found.policy, found.params, found.golden, found.judged):
        found.add(f"registry/gates.yaml: {problem}")
    sources = found.sources.sources.values() if found.sources else ()
    marked = any(spec.role != "train" and spec.fields.get("critical") for spec in sources)
    columns = {
        column
        for spec in sources
        if spec.role != "train" and isinstance(spec.fields.get("slices", ()), list | tuple)
        for column in spec.fields.get("slices", ())
    }
    if any(metric.class_of for metric in computed_metrics(found.params).values()):
        columns.add("label")
    for rule in found.policy.rules:
        if rule.kind in RULES and RULES[rule.kind].critical and not marked:
            found.add(
                f"registry/gates.yaml: rule {rule.name!r}: no source of golden rows says which are "
                "critical (fields.critical), so it can only hold"
            )
        if rule.slice and rule.slice not in columns:
            found.add(
                f"registry/gates.yaml: rule {rule.name!r}: slice: no source of golden rows lists "
                f"{rule.slice!r} under fields.slices{did_you_mean(rule.slice, columns)}"
            )


CHECKS: tuple[Callable[[Found], None], ...] = (
    _prompt, _application, _sources, _variables, _metrics, _kinds, _base, _policy,
)  # fmt: skip
