"""Params and paths in, one call per DVC stage out: the only place where the pipeline touches files.

`fingerprint`, `prepare`, `tune`, `evaluate` and `profile` are run by DVC (`sluice stage NAME`); `line` holds the
steps after it (register, check drift, decide, promote, report), which flows decorate.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from sluicegate.errors import UsageError
from sluicegate.project import find_project

STAGES = {
    "fingerprint": "sluicegate.line.pipeline.fingerprint",
    "prepare": "sluicegate.line.pipeline.prepare",
    "tune": "sluicegate.line.pipeline.tune",
    "evaluate": "sluicegate.line.pipeline.evaluate",
    "profile": "sluicegate.line.pipeline.profile",
}


def run_stage(name: str, root: Path | None = None) -> None:
    """Run one stage of dvc.yaml in the project at `root`.

    Raises:
        UsageError: there is no such stage.
    """
    if name not in STAGES:
        raise UsageError(f"no stage {name!r}.", hint=f"Stages: {', '.join(STAGES)}")
    import_module(STAGES[name]).run(find_project(root))
