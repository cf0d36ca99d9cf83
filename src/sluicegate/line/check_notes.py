"""What is not wrong with a project's files, and good to know: part of `sluice check`."""

from __future__ import annotations

from sluicegate.config import ModelsFile, Params
from sluicegate.errors import ConfigError
from sluicegate.models import floating_name
from sluicegate.project import Project
from sluicegate.yaml_file import load


def notes(project: Project) -> list[str]:
    """What is not wrong, and good to know: hosted models whose name may stand for another model
    tomorrow, and answers of chance that are measured once.
    """
    try:
        models = load(project.root / "registry" / "models.yaml", ModelsFile).models
        params = load(project.root / "params.yaml", Params)
    except ConfigError:
        return []  # told by `check_configuration`
    temperature, times = params.release.generation.temperature, params.evaluate.repeats
    return [
        f"params.yaml: release.generation.temperature: {temperature:g} makes answers differ from "
        "call to call. evaluate.repeats: 3 measures how much."
    ] * (temperature > 0 and times == 1) + [
        f"registry/models.yaml: models.{name}: {asked} has no date or version: what answers may "
        "change silently. Name a dated one if there is one."
        for name, spec in models.items()
        if (asked := floating_name(spec))
    ]
