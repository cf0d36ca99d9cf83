"""Releases and prompts as MLflow shows them: versions, tags, descriptions, aliases.

All of it a projection.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sluicegate.errors import TrackingError
from sluicegate.hashing import write_json
from sluicegate.records import Release
from sluicegate.tracking.connection import quoted, translated

if TYPE_CHECKING:
    from mlflow import MlflowClient

RELEASE_TAG = "sluice.release"
STATUS_TAG = "sluice.status"
DESCRIPTION_LIMIT = 5000
_CUT = "\n\n*(cut here: the whole verdict is `verdict.md` of the run and the release report)*"
_ABSENT = "RESOURCE_DOES_NOT_EXIST"
_EXISTS = "RESOURCE_ALREADY_EXISTS"


def fitted(markdown: str) -> str:
    """`markdown`, cut at a line end where MLflow's 5000 characters do not hold it.

    Example:
        >>> fitted("short"), len(fitted("line\\n" * 2000)) <= DESCRIPTION_LIMIT
        ('short', True)
    """
    if len(markdown) <= DESCRIPTION_LIMIT:
        return markdown
    kept = markdown[: DESCRIPTION_LIMIT - len(_CUT)]
    return kept.rpartition("\n")[0] + _CUT


def prompt_name(name: str) -> str:
    """`name` with the characters that MLflow refuses replaced by `_`.

    Example:
        >>> prompt_name("prompts/summarize v2")
        'prompts_summarize_v2'
    """
    return re.sub(r"[^A-Za-z0-9_.-]", "_", name)


def version_of(client: MlflowClient, model: str, release_digest: str) -> int | None:
    """The version of `model` that carries this release's digest, or None."""
    query = f"name = {quoted(model)} and tags.`{RELEASE_TAG}` = {quoted(release_digest)}"
    with translated("search model versions"):
        found = client.search_model_versions(query)
    return min((int(version.version) for version in found), default=None)


def register_version(
    client: MlflowClient,
    model: str,
    release: Release,
    manifest: Mapping[str, Any],
    adapter: Path | None,
    run_id: str,
    tags: Mapping[str, str],
    description: str,
    at_least: int = 1,
) -> int:
    """Store manifest and adapter under the run, then make the version: none or a whole one.

    A number below `at_least`, as MLflow gives after a model was deleted, is used up and passed
    over.
    """
    known = version_of(client, model, release.digest)
    if known is not None:
        return known
    _ensure_model(client, model)
    place = f"release-{release.digest[:12]}"
    digests = {
        RELEASE_TAG: release.digest,
        "sluice.base": release.base,
        "sluice.adapter": release.adapter or "none",
        "sluice.prompt": release.prompt,
        "sluice.generation": release.generation,
    }
    with translated(f"register a version of {model}"), tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "manifest.json"
        write_json(path, dict(manifest))
        client.log_artifact(run_id, str(path), place)
        if adapter is not None:
            client.log_artifacts(run_id, str(adapter), f"{place}/adapter")
        source = f"{client.get_run(run_id).info.artifact_uri}/{place}"
        text = {**{key: str(value) for key, value in tags.items()}, **digests}
        while True:
            version = client.create_model_version(
                model,
                source=source,
                run_id=run_id,
                tags=text,
                description=fitted(description),
                await_creation_for=0,
            )
            if int(version.version) >= at_least:
                return int(version.version)
            client.delete_model_version(model, version.version)


def describe(
    client: MlflowClient, model: str, version: int, markdown: str, tags: Mapping[str, str]
) -> None:
    """Set a version's description and tags."""
    with translated(f"describe version {version} of {model}"):
        client.update_model_version(model, str(version), fitted(markdown))
        for key, value in tags.items():
            client.set_model_version_tag(model, str(version), key, str(value))


def tags_of(client: MlflowClient, model: str) -> dict[int, dict[str, str]]:
    """The tags of every version of a model; empty where it does not exist."""
    with translated(f"read the tags of {model}"):
        found = client.search_model_versions(f"name = {quoted(model)}", max_results=10_000)
    return {int(version.version): dict(version.tags) for version in found}


def set_tags(
    client: MlflowClient, model: str, version: int, tags: Mapping[str, str | None]
) -> None:
    """Set tags of a version; None removes one, which may be gone already."""
    with translated(f"tag version {version} of {model}"):
        there = client.get_model_version(model, str(version)).tags
        for key, value in tags.items():
            if value is not None:
                client.set_model_version_tag(model, str(version), key, value)
            elif key in there:
                client.delete_model_version_tag(model, str(version), key)


def aliases(client: MlflowClient, model: str) -> dict[str, int]:
    """All aliases of a model; empty where it does not exist."""
    from mlflow.exceptions import MlflowException

    with translated(f"read the aliases of {model}"):
        try:
            found = client.get_registered_model(model)
        except MlflowException as error:
            if error.error_code == _ABSENT:
                return {}
            raise
    return {alias: int(version) for alias, version in found.aliases.items()}


def project_champion(
    client: MlflowClient, model: str, champion: int, challenger: int | None, tags: Mapping[str, str]
) -> None:
    """Aliases and status tags follow the ledger; calling it twice changes nothing."""
    before = aliases(client, model)
    with translated(f"project the champion of {model}"):
        wanted = {"champion": champion, "challenger": challenger}
        # Before the aliases move: a run that is cut off in between no longer finds there who was
        # left.
        for alias in ("challenger", "champion"):
            old = before.get(alias)
            if old is not None and old not in wanted.values():
                client.set_model_version_tag(model, str(old), STATUS_TAG, f"former {alias}")
        for alias, version in wanted.items():
            if version is None:
                if alias in before:
                    client.delete_registered_model_alias(model, alias)
            elif before.get(alias) != version:
                client.set_registered_model_alias(model, alias, str(version))
        if challenger is not None:
            client.set_model_version_tag(model, str(challenger), STATUS_TAG, "challenger")
        for key, value in {**tags, STATUS_TAG: "champion"}.items():
            client.set_model_version_tag(model, str(champion), key, str(value))


def project_prompt(
    client: MlflowClient,
    name: str,
    template: str | Sequence[Mapping[str, str]],
    tags: Mapping[str, str],
    commit_message: str,
    experiment_id: str | None,
) -> int:
    """Write a prompt version unless one has this `digest` tag; MLflow does not deduplicate."""
    digest = tags.get("digest", "")
    if not digest:
        raise TrackingError(
            f"prompt {name}: the tag `digest` is missing, so it could be written twice."
        )
    safe = prompt_name(name)
    from mlflow.prompt.constants import IS_PROMPT_TAG_KEY

    with translated(f"project the prompt {name}"):
        # Without the last condition MLflow leaves prompts out of the answer.
        query = (
            f"name = {quoted(safe)} and tags.digest = {quoted(digest)} and "
            f"tags.`{IS_PROMPT_TAG_KEY}` = 'true'"
        )
        known = [int(version.version) for version in client.search_model_versions(query)]
        version = (
            min(known) if known else _write_prompt(client, safe, template, tags, commit_message)
        )
        if experiment_id is not None:
            _list_in_experiment(client, safe, experiment_id)
    return version


def _write_prompt(
    client: MlflowClient,
    name: str,
    template: str | Sequence[Mapping[str, str]],
    tags: Mapping[str, str],
    commit_message: str,
) -> int:
    body = template if isinstance(template, str) else [dict(message) for message in template]
    text = {key: str(value) for key, value in tags.items()}
    return int(
        client.register_prompt(name, body, commit_message=commit_message or None, tags=text).version
    )


def _list_in_experiment(client: MlflowClient, name: str, experiment_id: str) -> None:
    """MLflow's UI lists prompts by experiment, through one comma-framed tag."""
    from mlflow.prompt.constants import PROMPT_EXPERIMENT_IDS_TAG_KEY

    prompt = client.get_prompt(name)
    framed = prompt.tags.get(PROMPT_EXPERIMENT_IDS_TAG_KEY, "") if prompt is not None else ""
    listed = [part for part in framed.split(",") if part]
    if experiment_id not in listed:
        client.set_prompt_tag(
            name, PROMPT_EXPERIMENT_IDS_TAG_KEY, f",{','.join([*listed, experiment_id])},"
        )


def _ensure_model(client: MlflowClient, model: str) -> None:
    from mlflow.exceptions import MlflowException

    with translated(f"make the model {model}"):
        try:
            client.create_registered_model(
                model,
                description="Releases. The alias `champion` serves; each version's description "
                "says why it may.",
            )
        except MlflowException as error:
            if error.error_code != _EXISTS:
                raise
