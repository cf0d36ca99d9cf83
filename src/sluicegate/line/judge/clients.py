"""The models behind judges: opened by their names in registry/models.yaml, within what the run may
still spend.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sluicegate.budget import Budget
from sluicegate.config import EndpointSpec, ModelsFile, ModelSpec
from sluicegate.errors import ConfigError
from sluicegate.evaluation.metered import JudgeModel
from sluicegate.hashing import read_json, write_json
from sluicegate.project import Project
from sluicegate.yaml_file import load

if TYPE_CHECKING:
    from sluicegate.judges import Criterion

FAILURES = "failures.json"
OPERATION = frozenset(EndpointSpec.model_fields) - {"url", "model"}
"""Settings of hosted models that change no answer: limits, prices, keys."""


def judge_specs(project: Project, names: Sequence[str]) -> dict[str, ModelSpec]:
    """The entries of registry/models.yaml for a criterion's judges.

    Raises:
        ConfigError: the file is wrong, or has no such model.
    """
    path = project.registry / "models.yaml"
    models = load(path, ModelsFile).models
    for name in names:
        if name not in models:
            raise ConfigError(
                f"{path}: there is no model {name!r}, which a judge names.",
                hint=f"Known models: {', '.join(models)}.",
            )
    return {name: models[name] for name in names}


def model_identity(spec: ModelSpec) -> dict[str, Any]:
    """What of a model's entry its answers may depend on: not limits, prices, keys or notes."""
    if spec.weights:
        return spec.model_dump(include={"package", "path", "hub", "context"})
    if spec.endpoint is not None:
        return {"url": spec.endpoint.url, "model": spec.endpoint.model}
    settings = spec.other[spec.kind]
    if not isinstance(settings, dict):
        return {spec.kind: settings}
    return {spec.kind: {key: settings[key] for key in sorted(settings) if key not in OPERATION}}


def open_judges(
    project: Project, criterion: Criterion, *, dtype: str = "auto", budget: Budget | None = None
) -> list[JudgeModel]:
    """Open every model that `criterion` names; a jury shares what the run may still spend.

    Raises:
        ConfigError: a model is not listed, its address is unsafe, or its key is missing.
        ModelError: local weights cannot be found.
    """
    from sluicegate.models import open_model

    budget = budget or Budget()
    specs = judge_specs(project, criterion.judges)
    root, cache = project.root, project.judgements
    return [
        JudgeModel(open_model(spec, name, root=root, cache=cache, dtype=dtype), budget)
        for name, spec in specs.items()
    ]


def failures(project: Project) -> int:
    """How many evaluations of this project had questions to judges that brought no answer.

    It is part of what the stage evaluate watches: the next run asks those again, and only those. An
        answer that was no
    score is an answer: to ask again would bring the same.
    """
    path = project.judgements / FAILURES
    return int(read_json(path)["evaluations"]) if path.is_file() else 0


def count_failure(project: Project) -> None:
    """Note that an evaluation had questions without an answer."""
    write_json(project.judgements / FAILURES, {"evaluations": failures(project) + 1})
