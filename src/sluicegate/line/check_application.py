"""Whether code of the project can be the application of a release: part of `sluice check`."""

from __future__ import annotations

from collections.abc import Iterator

from sluicegate.applications.process import key_variables
from sluicegate.applications.running import start_once
from sluicegate.config import ModelsFile, Params
from sluicegate.errors import did_you_mean
from sluicegate.line.pipeline import watches_application
from sluicegate.line.pipeline.application import application_of
from sluicegate.line.run import Run
from sluicegate.models import open_model
from sluicegate.project import Project
from sluicegate.prompts import load_prompt, prompt_names


def application_problems(project: Project, params: Params, models: ModelsFile) -> Iterator[str]:
    """What params.yaml names and is not there; then the code is imported, in a process of its own.

    Raises:
        ConfigError, PromptError: the code, a declared file or a prompt is wrong.
    """
    release, missing = params.release, False
    for name in (release.prompt, *release.prompts):
        if not (project.prompts / f"{name}.yaml").is_file():
            missing = True
            if name != release.prompt:  # told of every release
                near = did_you_mean(name, prompt_names(project.prompts))
                yield f"params.yaml: release.prompts: there is no prompts/{name}.yaml{near}"
    for role, name in release.models.items():
        if name not in models.models and name != release.model:
            near = did_you_mean(name, models.models)
            yield f"params.yaml: release.models.{role}: registry/models.yaml has no {name!r}{near}"
        elif name in models.models and not models.models[name].weights:
            open_model(models.models[name], name, root=project.root)
    if not watches_application(project):
        yield "dvc.yaml: the stage evaluate does not watch application: run `sluice upgrade`"
    if not missing:
        run = Run(project, params, load_prompt(project.prompts / f"{release.prompt}.yaml"))
        start_once(application_of(run, release.roles), key_variables(models))
