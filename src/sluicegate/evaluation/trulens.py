"""A TruLens provider by the name of a model: for a project's own TruLens metrics, in one line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sluicegate.config import ModelsFile
from sluicegate.errors import ConfigError
from sluicegate.evaluation.metered import RunModel
from sluicegate.models import open_model
from sluicegate.project import find_project
from sluicegate.yaml_file import load

if TYPE_CHECKING:
    from sluicegate.judges.trulens_door import ModelProvider


def trulens_provider(
    model: str, root: Path | None = None, *, max_tokens: int = 512
) -> ModelProvider:
    """TruLens' feedback functions over `model`, a name in registry/models.yaml of the project at or
    above `root`.

    In a project's own module, named in params.yaml as `my_metrics:relevance`:

        provider = trulens_provider("local-judge")
        relevance = Metric(implementation=provider.relevance).on_input_output()

    Answers are kept with those of other judges and cost nothing the second time; new ones count in
    the budget of the run. Whatever metric asks it is a judge that nobody can calibrate: the gate
    holds a rule on it. See `judges.trulens_door`.

    Raises:
        ConfigError: there is no such model, its endpoint is unsafe or its key is missing.
        MissingExtraError: TruLens is not installed; the hint is the line that installs it.
        ModelError: local weights cannot be found.
    """
    from sluicegate.judges.trulens_door import open_provider

    project = find_project(root)
    path = project.registry / "models.yaml"
    models = load(path, ModelsFile).models
    if model not in models:
        raise ConfigError(
            f"{path}: there is no model {model!r}.", hint=f"Known models: {', '.join(models)}."
        )

    opened = open_model(models[model], model, root=project.root, cache=project.judgements)
    return open_provider(RunModel(opened), max_tokens)
