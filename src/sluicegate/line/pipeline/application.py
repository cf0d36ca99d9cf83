"""What a release consists of besides a prompt where code of the project answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sluicegate.applications import Application, open_application
from sluicegate.line.pipeline.base_model import ReleaseModel, on_model, release_model
from sluicegate.line.run import Run
from sluicegate.prompts import load_prompt


def application_of(run: Run, models: Mapping[str, Any]) -> Application:
    """The code that params.yaml names; it is read, and not run.

    Args:
        run: the project.
        models: what each of its models is, by role.

    Raises:
        ConfigError: the module, the function, a prompt or a declared file is missing.
        PromptError: a prompt is wrong.
    """
    release, project = run.params.release, run.project
    prompts = {name: load_prompt(project.prompts / f"{name}.yaml") for name in release.prompts} | {
        release.prompt: run.prompt
    }
    return open_application(
        release.application,
        project.root,
        prompts=prompts,
        models=models,
        data=release.data,
        settings=release.settings,
        row_seconds=release.row_seconds,
    )


def role_models(run: Run, main: ReleaseModel) -> dict[str, ReleaseModel]:
    """The models that params.yaml names, by role; `main` is known already.

    Raises:
        ModelError: weights cannot be found.
    """
    return {
        role: main if name == main.name else release_model(on_model(run, name))
        for role, name in run.params.release.roles.items()
    }
