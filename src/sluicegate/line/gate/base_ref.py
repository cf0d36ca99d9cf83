"""What a change is compared with, where nobody says it: read from what the CI system tells of
itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from sluicegate.environment import read_variable
from sluicegate.errors import UsageError

ABSENT = "0" * 40
"""What GitHub and GitLab call the commit before the first one of a branch."""


def base_from_environment(variables: Mapping[str, str] | None = None) -> str:
    """The ref to compare with: `SLUICE_BASE`, or what the event that started this CI job names.

    That is the target branch of a pull or merge request, the commit that a merge queue builds on,
    and for a push to the default branch the commit before it. Empty outside CI, and for the first
    push of a default branch: then there is only the champion to compare with.

    Raises:
        UsageError: this is CI, and nothing says what the change is compared with.

    Example:
        >>> base_from_environment({"GITHUB_BASE_REF": "main"}), base_from_environment({})
        ('origin/main', '')
    """
    read = partial(read_variable, known=variables)
    if read("SLUICE_BASE"):
        return read("SLUICE_BASE")
    found = _github(read("GITHUB_BASE_REF"), read("GITHUB_EVENT_PATH"))
    if found is None:
        # Of a merge train or of merged results: the target branch as it was merged in.
        merged = read("CI_MERGE_REQUEST_TARGET_BRANCH_SHA")
        found = merged or read("CI_MERGE_REQUEST_DIFF_BASE_SHA") or None
    branch = read("CI_COMMIT_BRANCH")
    if found is None and branch and branch == read("CI_DEFAULT_BRANCH"):
        found = read("CI_COMMIT_BEFORE_SHA", ABSENT)
    if found is None and in_ci(variables):
        raise UsageError(
            "this is CI, and nothing says what the change is compared with.",
            hint='Give --base origin/main or set SLUICE_BASE; --base "" compares with the '
            "champion alone.",
        )
    return "" if found in (None, ABSENT) else found


def in_ci(variables: Mapping[str, str] | None = None) -> bool:
    """Whether this is a run of a CI system.

    Example:
        >>> in_ci({"CI": "true"}), in_ci({"CI": "0"})
        (True, False)
    """
    return read_variable("CI", known=variables).lower() not in ("", "0", "false", "no")


def _github(target: str, path: str) -> str | None:
    """The base that GitHub's event names; None where this is no event that has one."""
    if target:
        return f"origin/{target}"
    event = _event(path)
    if "merge_group" in event:
        return str(event["merge_group"]["base_sha"])
    repository = event.get("repository")
    default = repository.get("default_branch") if isinstance(repository, dict) else None
    if default and event.get("ref") == f"refs/heads/{default}" and "before" in event:
        return str(event["before"])
    return None


def _event(path: str) -> dict[str, Any]:
    """GitHub's event file; empty where there is none.

    Raises:
        UsageError: it is there, and is no JSON object.
    """
    if not path:
        return {}
    try:
        found = json.loads(Path(path).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(
            f"GITHUB_EVENT_PATH: {path} cannot be read: {error}",
            hint="Give --base, or set SLUICE_BASE.",
        ) from error
    return found if isinstance(found, dict) else {}
