"""The stages that DVC runs (`sluice stage NAME`): an opened project in, files under build/ and
data/ out.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from sluicegate.errors import UsageError
from sluicegate.versioning.seals import PIPELINE, seal, stage_inputs
from sluicegate.yaml_file import read_yaml

if TYPE_CHECKING:
    from sluicegate.line.run import Run
    from sluicegate.project import Project


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of dvc.yaml.

    Attributes:
        module: its `stage(run)` writes the stage's outputs.
        watched: its code is part of what it depends on; False for the stage that says what changed.
        makes: what it writes is part of a release; a merge base's release is made by these stages
            alone.
        optional: a pipeline may be without it; nothing of what it would write is read then.
        outs: paths that it writes and that count in a verdict: they are sealed, see
            `versioning.seals`.
    """

    module: str
    outs: tuple[str, ...] = ()
    watched: bool = True
    makes: bool = False
    optional: bool = False


STAGES = {
    "fingerprint": Stage("sluicegate.line.pipeline.fingerprint", watched=False),
    "prepare": Stage(
        "sluicegate.line.pipeline.prepare",
        (
            "data/prepared",
            "data/development/development.jsonl",
            "data/golden/golden.jsonl",
            "build/prepare.json",
        ),
        makes=True,
    ),
    "tune": Stage(
        "sluicegate.line.pipeline.tune",
        ("build/adapter", "build/tune.json"),
        makes=True,
        optional=True,
    ),
    "evaluate": Stage("sluicegate.line.pipeline.evaluate", ("build/evidence",)),
    "profile": Stage("sluicegate.line.pipeline.profile", ("build/profile",)),
}


SEALED = {name: stage.outs for name, stage in STAGES.items() if stage.outs}
"""The stages that decide, with what they write."""


def has_stage(project: Project, name: str) -> bool:
    """Whether the project's pipeline has that stage; where there is no dvc.yaml, all stages count."""
    path = project.root / PIPELINE
    return not path.is_file() or name in ((read_yaml(path) or {}).get("stages") or {})


def watches_application(project: Project) -> bool:
    """Whether the stage evaluate of the project's dvc.yaml depends on code that answers."""
    path = project.root / PIPELINE
    stages = (read_yaml(path) or {}).get("stages") or {} if path.is_file() else {}
    watched = (stages.get("evaluate") or {}).get("params") or []
    names = [one.get("build/inputs.json") or [] for one in watched if isinstance(one, dict)]
    return any("application" in one for one in names) or not stages


def sealed(project: Project) -> dict[str, tuple[str, ...]]:
    """SEALED, without the optional stages that the project's dvc.yaml does not have."""
    return {
        name: outs
        for name, outs in SEALED.items()
        if not STAGES[name].optional or has_stage(project, name)
    }


def run_stage(run: Run, name: str) -> None:
    """Run one stage of dvc.yaml, and seal what it wrote.

    Raises:
        UsageError: there is no such stage.
    """
    if name not in STAGES:
        raise UsageError(f"there is no stage {name!r}.", hint=f"Stages: {', '.join(STAGES)}")
    stage = import_module(STAGES[name].module).stage
    if name not in SEALED:
        stage(run)
        return
    inputs = stage_inputs(run.project, name)  # before: a file that is edited meanwhile is no input
    stage(run)
    seal(run.project, name, inputs, SEALED[name])
