"""The policy as git has it: what decides is what was committed, and so could be reviewed."""

from __future__ import annotations

import tempfile
from pathlib import Path

from sluicegate.errors import ConfigError, NotApprovedError, VersioningError
from sluicegate.gates import Policy, load_policy
from sluicegate.project import Project
from sluicegate.versioning import git
from sluicegate.versioning.history import file_at

FILE = "registry/gates.yaml"


def policy_at(project: Project, sha: str) -> Policy | None:
    """The policy in commit `sha`; None where there is none, or none that can be read today."""
    content = file_at(project.root, sha, FILE)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "gates.yaml"
        path.write_bytes(content or b"")
        try:
            return load_policy(path)
        except ConfigError:
            return None


def refuse_uncommitted(project: Project, policy: Policy) -> None:
    """Refuse a policy that differs, in meaning, from the one that is committed.

    Outside a repository, or before the first commit, there is nothing that it could differ from.

    Raises:
        NotApprovedError: it was edited since.
    """
    try:
        git(project.root, "rev-parse", "--verify", "HEAD")
    except VersioningError:
        return
    committed = policy_at(project, "HEAD")
    if committed is None or committed.digest != policy.digest:
        raise NotApprovedError(
            f"{FILE} has changes that are not committed: nothing is promoted by such a policy.",
            hint="Commit it, so that it can be reviewed, then judge and promote again.",
        )
