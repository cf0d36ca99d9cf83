"""What every stage starts from: the parameters, the prompt and the MLflow store of one project."""

from __future__ import annotations

from dataclasses import dataclass

from sluicegate.config import Params, load
from sluicegate.errors import ConfigError
from sluicegate.project import Project
from sluicegate.prompts import Prompt, load_prompt, prompt_names
from sluicegate.tracking import Tracking


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
        known = ", ".join(prompt_names(project.prompts)) or "none"
        raise ConfigError(
            f"{project.params}: release.prompt: there is no {path}.", hint=f"Prompts: {known}"
        )
    return Context(project, params, load_prompt(path))


def open_tracking(project: Project) -> Tracking:
    """The project's MLflow store."""
    return Tracking(project.mlflow_url, project.mlflow_artifacts)
