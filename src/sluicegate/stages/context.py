"""What every stage starts from: parameters, prompt and base model of one project."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sluicegate.config import ModelsFile, ModelSpec, Params, load
from sluicegate.errors import ConfigError
from sluicegate.project import Project, model_cache
from sluicegate.prompts import Prompt, load_prompt
from sluicegate.tracking import Tracking

if TYPE_CHECKING:
    from sluicegate.backends.base_models import LoadedBase


@dataclass(frozen=True, slots=True)
class Context:
    """The project's parameters and its active prompt, validated."""

    project: Project
    params: Params
    prompt: Prompt

    @property
    def name(self) -> str:
        """The registered model's and the experiment's name."""
        return self.params.release.name


def open_context(project: Project) -> Context:
    """Load and validate params.yaml and the prompt that it names.

    Raises:
        ConfigError: params.yaml is missing or wrong, or names a prompt that does not exist.
        PromptError: the prompt's variables and template disagree.
    """
    params = load(project.params, Params)
    path = project.prompts / f"{params.release.prompt}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in project.prompts.glob("*.yaml"))) or "none"
        raise ConfigError(f"{project.params}: release.prompt: there is no {path}.", hint=f"Prompts: {known}")
    return Context(project, params, load_prompt(path))


def model_spec(context: Context) -> ModelSpec:
    """The base model's entry: by name in registry/models.yaml, else as a local folder, else as a hub name.

    Raises:
        ConfigError: registry/models.yaml is missing or wrong.
    """
    base = context.params.release.base
    models = load(context.project.registry / "models.yaml", ModelsFile).models
    if base in models:
        return models[base]
    return ModelSpec(path=base) if (context.project.root / base).is_dir() else ModelSpec(hub=base)


def resolve(context: Context) -> LoadedBase:
    """Locate (and once, convert) the base model, with progress on stderr."""
    from sluicegate.backends.base_models import resolve_base

    spec = model_spec(context)
    if spec.path:
        spec = spec.model_copy(update={"path": str(context.project.root / spec.path)})
    return resolve_base(spec, context.params.release.base, model_cache(), progress=say)


def open_tracking(project: Project) -> Tracking:
    """The project's MLflow store."""
    return Tracking(project.mlflow_url, project.mlflow_artifacts)


def say(text: str) -> None:
    """One progress line for a person, on stderr."""
    print(text, file=sys.stderr, flush=True)


def counter(label: str, *, every: float = 2.0) -> Callable[[int, int], None]:
    """A `progress(done, total)` callback that prints at most every `every` seconds, with the time left."""
    start = time.monotonic()
    last = [start - every]

    def report(done: int, total: int) -> None:
        now = time.monotonic()
        if done < total and now - last[0] < every:
            return
        last[0] = now
        left = (now - start) / done * (total - done) if done else 0.0
        say(f"  {label} {done}/{total}, {left:.0f} s left")

    return report
