"""The stages that DVC runs (`sluice stage NAME`): an opened project in, files under build/ and data/ out."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from sluicegate.errors import UsageError

if TYPE_CHECKING:
    from sluicegate.line.run import Run


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of dvc.yaml.

    Attributes:
        module: its `stage(run)` writes the stage's outputs.
        watched: its code is part of what it depends on; False for the stage that says what changed.
        makes: what it writes is part of a release; a merge base's release is made by these stages alone.
    """

    module: str
    watched: bool = True
    makes: bool = False


STAGES = {
    "fingerprint": Stage("sluicegate.line.pipeline.fingerprint", watched=False),
    "prepare": Stage("sluicegate.line.pipeline.prepare", makes=True),
    "tune": Stage("sluicegate.line.pipeline.tune", makes=True),
    "evaluate": Stage("sluicegate.line.pipeline.evaluate"),
    "profile": Stage("sluicegate.line.pipeline.profile"),
}


def run_stage(run: Run, name: str) -> None:
    """Run one stage of dvc.yaml.

    Raises:
        UsageError: there is no such stage.
    """
    if name not in STAGES:
        raise UsageError(f"there is no stage {name!r}.", hint=f"Stages: {', '.join(STAGES)}")
    import_module(STAGES[name].module).stage(run)
