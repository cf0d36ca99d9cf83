"""The base model that params.yaml names: its entry, and where its verified bytes are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sluicegate.config import ModelSpec
from sluicegate.line.progress import say
from sluicegate.line.run import Run
from sluicegate.project import model_cache

if TYPE_CHECKING:
    from sluicegate.models.base_models import LoadedBase


def model_spec(run: Run) -> ModelSpec:
    """The base model's entry: by name in registry/models.yaml, else as a local folder, else as a
    hub name.

    Raises:
        ConfigError: registry/models.yaml is missing or wrong.
    """
    base = run.params.release.base
    models = run.models.models
    if base in models:
        return models[base]
    return ModelSpec(path=base) if (run.project.root / base).is_dir() else ModelSpec(hub=base)


def resolve(run: Run) -> LoadedBase:
    """Locate (and once, convert) the base model, with progress on stderr."""
    from sluicegate.models.base_models import resolve_base

    spec = model_spec(run)
    if spec.path:
        spec = spec.model_copy(update={"path": str(run.project.root / spec.path)})
    return resolve_base(spec, run.params.release.base, model_cache(), progress=say)
