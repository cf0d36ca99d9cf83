"""Run what changed of the pipeline (dvc.yaml), after the files that people edit were checked."""

from __future__ import annotations

from collections.abc import Mapping

from sluicegate.line.pipeline import sealed
from sluicegate.line.progress import listening
from sluicegate.line.run import Reproduced, Run
from sluicegate.versioning import current_commit
from sluicegate.versioning import reproduce as run_pipeline


def reproduce(
    run: Run,
    *,
    progress: bool = True,
    environment: Mapping[str, str] | None = None,
    until: float | None = None,
    upto: str = "",
) -> Reproduced:
    """Check the policy and git, then let DVC run what changed.

    Args:
        run: the project.
        progress: print what DVC and the stages say.
        environment: for the stages, beside the variables of this process.
        until: seconds since 1970; what still runs then is interrupted.
        upto: the last stage that is wanted; all of them by default.

    Raises:
        BudgetError: `until` has passed, or a stage has spent its budget.
        IncompleteError: a model left a part of the prompts without an answer.
        ConfigError: before anything is run.
        VersioningError: git or DVC is missing, or a stage failed.
    """
    _ = run.policy  # a wrong one is told now, not after an hour of training
    current_commit(run.project.root)
    wanted = sealed(run.project)
    if upto:
        names = list(wanted)
        wanted = {name: wanted[name] for name in names[: names.index(upto) + 1]}
    ran = run_pipeline(
        run.project,
        quiet=not progress,
        targets=[upto] if upto else [],
        environment=environment,
        until=until,
        sealed=wanted,
        listener=listening(),
    )
    return Reproduced(tuple(ran), run.name)
