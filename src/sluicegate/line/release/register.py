"""Store and register the candidate; as long as nothing serves also release zero, the bare base model
that it is compared with. Release zero serves only as a candidate that was judged.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sluicegate import releasing
from sluicegate.errors import IntegrityError
from sluicegate.hashing import digest_value, read_json
from sluicegate.line.pipeline.application import application_of, role_models
from sluicegate.line.pipeline.base_model import release_model
from sluicegate.line.pipeline.evaluation_run import evaluation_run, project_prompt
from sluicegate.line.run import Registered, Run, actor
from sluicegate.records import Lineage
from sluicegate.releasing import StoredRelease
from sluicegate.versioning import current_commit
from sluicegate.versioning.tags import commit_authors

ZERO = (
    "## Release zero\n\nThe model as it is with the same prompt: what the first candidate is "
    "compared with."
)


def register(run: Run, baseline: str = "") -> Registered:
    """Store and register the candidate that the pipeline made.

    Args:
        run: the project.
        baseline: where nothing serves yet, the stored release to compare with; empty compares with
            release zero.

    Raises:
        AdapterError, IntegrityError: a part is damaged; nothing is registered.
        TrackingError: MLflow cannot be written.
    """
    project, tracking = run.project, run.tracking
    made = read_json(project.evidence / "release.json")
    run_id = evaluation_run(run)
    project_prompt(run, tracking)
    who: dict[str, Any] = {
        "tracking": tracking,
        "model": run.name,
        "run_id": run_id,
        "actor": actor(),
    }
    champion = run.champion
    first = champion is None and not baseline
    adapter = project.adapter if made["candidate"]["adapter"] else None
    zero = _store(run, made, adapter=None, parent=None) if first else None
    against = zero.digest if zero else champion.release if champion else baseline
    authors = commit_authors(project.root, since=releasing.commit_of(project, against))
    if zero:
        registration = releasing.register(project, zero, **who, authors=authors, description=ZERO)
    if not (zero and adapter is None):
        candidate = _store(run, made, adapter=adapter, parent=against)
        registration = releasing.register(project, candidate, **who, authors=authors)
    releasing.reconcile(project, tracking=tracking, model=run.name)
    return Registered(
        release=registration.release,
        version=registration.version,
        champion=against,
        champion_version=champion.version if champion else None,
        unchanged=registration.release == against and not first,
        first=first,
    )


def _store(
    run: Run, made: dict[str, Any], *, adapter: Path | None, parent: str | None
) -> StoredRelease:
    project = run.project
    prepared, commit = read_json(project.build / "prepare.json"), current_commit(project.root)
    lineage = Lineage(
        data=prepared["data"],
        golden=prepared["golden"],
        sources=prepared["sources"],
        code=digest_value(read_json(project.build / "code.json")),
        commit=commit.sha,
        dirty=commit.dirty,
        parent=parent,
    )
    application = None
    if run.params.release.is_code:
        roles = role_models(run, release_model(run))
        application = application_of(run, {name: one.content for name, one in roles.items()})
        if application.digest != made["candidate"].get("application"):
            raise IntegrityError(
                "the application is no longer the one that was evaluated.",
                hint="Leave its files as they are while a release is made; run again.",
            )
    return releasing.store_release(
        project,
        base_digest=made["candidate"]["base"],
        base_name=made["base_name"],
        asked=made.get("asked"),
        application=application,
        adapter=adapter,
        prompt=run.prompt,
        generation=run.params.release.generation.settings(),
        lineage=lineage,
    )
