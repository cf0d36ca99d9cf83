"""`Tracking`: one MLflow store, opened when first needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from sluicegate.errors import without_credentials
from sluicegate.records import Release
from sluicegate.tracking import registry, traces
from sluicegate.tracking.connection import exclusive, is_remote, open_client, translated
from sluicegate.tracking.human_words import HumanWord, human_words
from sluicegate.tracking.runs import RunHandle

if TYPE_CHECKING:
    from mlflow import MlflowClient

DEFAULT_UI = "http://127.0.0.1:5000"


class Tracking:
    """Runs, the Model Registry and the Prompt Registry at `url`.

    Args:
        url: `sqlite:///...` (made if absent), another database, or the address of a tracking
            server.
        artifacts: folder of the artefacts, for a database that we open ourselves; a server keeps
            its own.

    Nothing is imported or opened before the first call. Every method raises `TrackingError` where
    MLflow fails.
    """

    def __init__(self, url: str, artifacts: Path) -> None:
        self.url = url
        self.artifacts = artifacts
        self._client: MlflowClient | None = None
        self._experiments: dict[str, str] = {}

    @property
    def client(self) -> MlflowClient:
        """The client underneath, opened (and its database migrated) now if it was not."""
        if self._client is None:
            self._client = open_client(self.url, self.artifacts)
        return self._client

    def experiment(self, name: str) -> str:
        """Id of the experiment `name`; made in our folder if absent, restored if deleted."""
        if name in self._experiments:
            return self._experiments[name]
        with exclusive(self.artifacts.parent, "write"), translated(f"open the experiment {name}"):
            found = self.client.get_experiment_by_name(name)
            if found is None:
                place = (
                    None
                    if is_remote(self.url)
                    else (self.artifacts.resolve() / quote(name, safe="")).as_uri()
                )
                self._experiments[name] = str(
                    self.client.create_experiment(name, artifact_location=place)
                )
            else:
                if found.lifecycle_stage == "deleted":
                    self.client.restore_experiment(found.experiment_id)
                self._experiments[name] = str(found.experiment_id)
        return self._experiments[name]

    def start_run(
        self,
        experiment: str,
        name: str,
        params: Mapping[str, Any] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> RunHandle:
        """Open a new run; use it with `with`, or call `.end()`.

        Args:
            experiment: its name; made if absent.
            params: nested mappings get dotted names.
            tags: of the run, such as `sluice.key`.
        """
        experiment_id = self.experiment(experiment)
        text = {key: str(value) for key, value in (tags or {}).items()}
        with translated("start a run"):
            run = self.client.create_run(experiment_id, tags=text, run_name=name)
        handle = RunHandle(self.client, run.info.run_id, experiment_id)
        handle.log_params(params or {})
        return handle

    def open_run(self, run_id: str) -> RunHandle:
        """The run with this id, as it is."""
        with translated(f"find the run {run_id}"):
            run = self.client.get_run(run_id)
        return RunHandle(self.client, run_id, str(run.info.experiment_id))

    def log_answers(
        self, run: RunHandle, about: traces.About, answers: Sequence[traces.TracedAnswer]
    ) -> int:
        """Write a trace for each generated answer of `run` with what judges said; how many.

        Each has the spans render, generate and score. Written again, they are the same traces.
        """
        with exclusive(self.artifacts.parent, "write"):
            return traces.log_answers(
                self.client, self.url, run.experiment_id, run.id, about, answers
            )

    def human_words(self, experiment: str) -> tuple[list[HumanWord], set[str]]:
        """What people wrote on traces of answers, oldest first, and the ids of all such traces."""
        return human_words(self.client, self.experiment(experiment))

    def register_version(
        self,
        model: str,
        release: Release,
        manifest: Mapping[str, Any],
        adapter: Path | None,
        run_id: str,
        tags: Mapping[str, str] | None = None,
        description: str = "",
        at_least: int = 1,
    ) -> int:
        """Make `release` a version of `model`, or return the version it already is.

        The version holds `manifest.json` and the adapter folder, never the base model. Its tags
        carry every digest, and it is found again by them; its number is `at_least` that.
        """
        with exclusive(self.artifacts.parent, "write"):
            return registry.register_version(
                self.client,
                model,
                release,
                manifest,
                adapter,
                run_id,
                tags or {},
                description,
                at_least,
            )

    def version_of(self, model: str, release_digest: str) -> int | None:
        """The version of `model` that is this release, or None."""
        return registry.version_of(self.client, model, release_digest)

    def describe(
        self, model: str, version: int, markdown: str, tags: Mapping[str, str] | None = None
    ) -> None:
        """Set a version's description (Markdown, cut at a line end, 5000 characters) and tags."""
        registry.describe(self.client, model, version, markdown, tags or {})

    def tags_of(self, model: str) -> dict[int, dict[str, str]]:
        """Version to tags, for all versions of `model`; what people typed is among them."""
        return registry.tags_of(self.client, model)

    def set_tags(self, model: str, version: int, tags: Mapping[str, str | None]) -> None:
        """Set tags of a version; None removes one."""
        with exclusive(self.artifacts.parent, "write"):
            registry.set_tags(self.client, model, version, tags)

    def alias(self, model: str, alias: str) -> int | None:
        """The version that `alias` points at; None where the model or the alias does not exist."""
        return registry.aliases(self.client, model).get(alias)

    def project_prompt(
        self,
        name: str,
        template: str | Sequence[Mapping[str, str]],
        tags: Mapping[str, str],
        *,
        commit_message: str = "",
        experiment: str | None = None,
    ) -> int:
        """Show a prompt in the Prompt Registry and return its version there.

        Args:
            name: letters, digits, `-`, `_`, `.`; other characters become `_`. Must not be a model's
                name.
            template: text, or chat messages `[{"role": ..., "content": ...}]`.
            tags: must hold `digest`; a prompt with the same digest is not written twice.
            experiment: name of the experiment whose Prompts page lists it.
        """
        experiment_id = self.experiment(experiment) if experiment else None
        with exclusive(self.artifacts.parent, "write"):
            return registry.project_prompt(
                self.client, name, template, tags, commit_message, experiment_id
            )

    def project_champion(
        self,
        model: str,
        champion_version: int,
        challenger_version: int | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Make the aliases and the tag `sluice.status` say what the ledger says."""
        with exclusive(self.artifacts.parent, "write"):
            registry.project_champion(
                self.client, model, champion_version, challenger_version, tags or {}
            )

    def ui_link(
        self,
        *,
        run: RunHandle | None = None,
        model: str | None = None,
        version: int | None = None,
        prompt: str | None = None,
        ui: str = "",
    ) -> str:
        """Address of a run, a model (version), a prompt, or the front page, in the MLflow UI.

        Args:
            ui: address of the UI; by default the tracking server, or where `sluice up` puts it
                first.

        Example:
            >>> Tracking("sqlite:///x.db", Path("a")).ui_link(model="support", version=3)
            'http://127.0.0.1:5000/#/models/support/versions/3'
        """
        shown = ui or (self.url if is_remote(self.url) else DEFAULT_UI)
        base = without_credentials(shown).rstrip("/")
        if run is not None:
            return f"{base}/#/experiments/{run.experiment_id}/runs/{run.id}"
        if model is not None:
            tail = f"/versions/{version}" if version is not None else ""
            return f"{base}/#/models/{quote(model, safe='')}{tail}"
        if prompt is not None:
            return f"{base}/#/prompts/{quote(registry.prompt_name(prompt), safe='')}"
        return base
