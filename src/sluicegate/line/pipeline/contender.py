"""A release with everything needed to run it: the candidate of the working tree, and the champion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from sluicegate.adapters import adapter_digest, verify_adapter
from sluicegate.applications import Application
from sluicegate.errors import ConfigError
from sluicegate.hashing import read_json
from sluicegate.line.pipeline.application import application_of, role_models
from sluicegate.line.pipeline.base_model import ReleaseModel, release_model, stored_model, tuned
from sluicegate.line.progress import say
from sluicegate.line.run import Run
from sluicegate.models import Model, WeightsModel, open_model
from sluicegate.prompts import Prompt
from sluicegate.records import GenerationSettings, Release
from sluicegate.releasing import StoredRelease, load_stored


@dataclass(frozen=True, slots=True)
class Contender:
    """A release with everything needed to run it.

    `application`: code of the project that answers, with its models by `roles`; else the prompt.
    """

    release: Release
    model: ReleaseModel
    adapter: Path | None
    prompt: Prompt
    generation: GenerationSettings
    application: Application | None = None
    roles: Mapping[str, ReleaseModel] = field(default_factory=dict)


def candidate_release(run: Run) -> Contender:
    """The release that the working tree describes; its adapter is verified before it is used.

    Raises:
        AdapterError: build/adapter/ is damaged.
    """
    model, digest = release_model(run), None
    adapter = None
    if model.base is not None and tuned(run)["method"] != "none":
        adapter = run.project.adapter
        digest = adapter_digest(adapter)
        verify_adapter(
            adapter, expected=digest, base_digest=model.digest, base_path=model.base.path
        )
    settings = run.params.release.generation.settings()
    application, roles = None, dict[str, ReleaseModel]()
    if run.params.release.is_code:
        roles = role_models(run, model)
        application = application_of(run, {name: one.content for name, one in roles.items()})
    code = application.digest if application else None
    release = Release(model.digest, digest, run.prompt.digest, settings.digest, code)
    return Contender(release, model, adapter, run.prompt, settings, application, roles)


def champion_release(run: Run, candidate: Contender) -> Contender:
    """The serving release from the store; before the first one, release zero: the model as it is
    with the same prompt.

    Raises:
        IntegrityError: a stored part does not have its recorded digest.
    """
    digest = read_json(run.project.build / "inputs.json")["champion"]
    if digest == "none":
        zero = replace(candidate.release, adapter=None)
        return replace(candidate, release=zero, adapter=None)
    return stored_release(run, candidate, digest)


def stored_release(run: Run, candidate: Contender, digest: str) -> Contender:
    """A release of the store, on the candidate's model where it is the same.

    Raises:
        IntegrityError: a stored part does not have its recorded digest.
    """
    stored = load_stored(run.project, digest)
    same = stored.release.base == candidate.model.digest
    model = candidate.model
    if not same:
        model = stored_model(run, stored.base_name, stored.release.base, stored.asked)
    return Contender(
        stored.release,
        model,
        stored.adapter,
        stored.prompt,
        stored.generation,
        stored.application,
        _stored_roles(run, stored, model),
    )


def _stored_roles(run: Run, stored: StoredRelease, main: ReleaseModel) -> dict[str, ReleaseModel]:
    models = stored.application.models if stored.application else {}
    return {
        role: main
        if one["digest"] == main.digest
        else stored_model(run, one["name"], one["digest"], one["asked"])
        for role, one in models.items()
    }


def check_format(contender: Contender) -> None:
    """Refuse a prompt whose answers are to be held to a format, on weights here.

    Raises:
        ConfigError: it is such a release.
    """
    if contender.model.base is not None and contender.prompt.response_format is not None:
        raise ConfigError(
            f"prompts/{contender.prompt.name}.yaml: response_format: weights here cannot be held to "
            "it.",
            hint="Ask for the format in words, or name a hosted model as release.model.",
        )


def open_contender(run: Run, model: ReleaseModel, adapter: Path | None) -> Model:
    """A model of a release, at its own price."""
    params = run.params
    if model.base is None:
        return open_model(model.spec, model.name, root=run.project.root, say=say)
    return WeightsModel(
        model.base,
        adapter,
        dtype=params.release.dtype,
        batch_tokens=params.evaluate.batch_tokens,
    )
