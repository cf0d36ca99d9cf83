"""The only package that talks to DVC and git: what commit this is, what changed, run the pipeline.

`history` reads other commits: the merge base, files as they were, a work tree of its own.
"""

from __future__ import annotations

from sluicegate.versioning.commits import Commit, checked_out, current_commit, git
from sluicegate.versioning.dvc_calls import ensure_dvc
from sluicegate.versioning.locks import pipeline_lock
from sluicegate.versioning.pipeline import reproduce

__all__ = [
    "Commit",
    "checked_out",
    "current_commit",
    "ensure_dvc",
    "git",
    "pipeline_lock",
    "reproduce",
]
