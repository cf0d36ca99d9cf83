"""The release line on Prefect: when it runs, what is tried again, and what a person reads afterwards.

The steps are plain functions of `sluicegate.line`; `sluice release --plain` calls the same ones without a
server. Every step may be repeated: a run that was killed is simply run again.
"""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from prefect import flow, runtime, suspend_flow_run, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas import filters
from prefect.states import Completed, State

from sluicegate.errors import (
    AdapterError,
    EnvironmentFailure,
    IntegrityError,
    SluiceError,
    VersioningError,
)
from sluicegate.hashing import write_json
from sluicegate.line.locks import line_lock
from sluicegate.line.release import approve as approval
from sluicegate.line.release import report as reporting
from sluicegate.line.release import steps as line

EXIT_CODES = {"PROMOTE": 0, "REJECT": 1, "HOLD": 4}
STATE_NAMES = {"PROMOTE": "Promoted", "REJECT": "Rejected", "HOLD": "Held"}


def may_pass_on_retry(_task: Any, _run: Any, state: Any) -> bool:
    """Only a failure of the environment is worth a retry: a wrong file, row or digest stays wrong.

    Nor is a failed pipeline stage: it has printed its reason, and may have taken an hour.
    """
    error = state.result(raise_on_failure=False)
    final = (AdapterError, IntegrityError, VersioningError)
    return isinstance(error, EnvironmentFailure) and not isinstance(error, final)


RETRY = {"retries": 2, "retry_delay_seconds": [2, 10], "retry_condition_fn": may_pass_on_retry}
PLAIN = {"cache_policy": NO_CACHE, "persist_result": False}

reproduce = task(line.reproduce, name="reproduce", **PLAIN)
register = task(line.register, name="register", **PLAIN, **RETRY)
check_drift = task(line.check_drift, name="check drift", **PLAIN, **RETRY)
decide = task(line.decide, name="decide", **PLAIN)
approvals = task(approval.approvals, name="approvals", **PLAIN, **RETRY)
promote_champion = task(line.promote, name="promote", **PLAIN, **RETRY)
report = task(reporting.report, name="report", **PLAIN, **RETRY)


@flow(name="release", persist_result=False)
def release(root: str = ".", promote: bool = True) -> Any:
    """Run the line once; the state's name is the outcome, its data what the steps returned.

    Args:
        root: the project's folder.
        promote: False stops after the verdict, for a look before the champion moves.
    """
    waited = approval.waited_for(runtime.flow_run.tags)
    root = str(Path(root).resolve())
    if waited:
        return go_on(root, waited[0])
    if missed_and_made_up_for():
        return Completed(
            name="Skipped", message="A later night is due or done: missed nights run once."
        )
    with line_lock(root):
        name, outcome = run_line(root, promote)
    verdict = outcome["decide"]
    create_markdown_artifact(
        verdict["markdown"], key="verdict", description=f"{name}: the rules and their numbers"
    )
    if outcome.get("approvals", {}).get("missing"):
        return wait_for_people(outcome)
    return Completed(name=name, message=f"The verdict is {verdict['decision']}.", data=outcome)


def run_line(root: str, promote: bool) -> tuple[str, dict[str, Any]]:
    """The outcome's name, and what the steps returned."""
    outcome: dict[str, Any] = {"reproduce": reproduce(root, progress=True)}
    outcome["register"] = register(root)
    outcome["check_drift"] = check_drift(root)
    outcome["decide"] = verdict = decide(root)
    name = "Unchanged" if verdict.get("unchanged") else STATE_NAMES[verdict["decision"]]
    if verdict["decision"] == "PROMOTE" and promote:
        outcome["approvals"] = approvals(root)
        if not outcome["approvals"]["missing"]:
            outcome["promote"] = promote_champion(root)
    elif verdict["decision"] == "PROMOTE" and name != "Unchanged":
        name = "Passed"
    outcome["report"] = report(root)
    return name, outcome


def go_on(root: str, name: str) -> State:
    """What a run does that was suspended: promote the very release it waited with, whatever is checked out by now."""
    outcome: dict[str, Any] = {"approvals": approvals(root, name)}
    standing = outcome["approvals"]
    if standing["missing"]:
        return wait_for_people(outcome)
    if not standing["in_force"]:
        return Completed(name="Held", message=standing["text"], data=outcome)
    outcome["promote"] = promote_champion(root, standing["release"])
    return Completed(
        name="Promoted", message=f"Version {standing['version']}: {standing['text']}.", data=outcome
    )


def wait_for_people(outcome: dict[str, Any]) -> State:
    """Suspend a run of a deployment until `flows/approvals.py` or `sluice approve` resumes it; end any other run.

    How long to wait is the ledger's affair: when a pause of Prefect times out, the run fails instead of being held.
    """
    standing = outcome["approvals"]
    if standing["over"]:
        return Completed(name="Held", message=standing["text"], data=outcome)
    tag = approval.waiting_tag(standing["release"])
    if runtime.deployment.id and not another_waits(tag):
        with get_client(sync_client=True) as client:
            client.update_flow_run(runtime.flow_run.id, tags={*runtime.flow_run.tags, tag})
        # A key suspends once, and a run that was resumed too early has to wait again.
        suspend_flow_run(timeout=None, key=uuid4().hex)
    return Completed(name="Waiting", message=standing["text"], data=outcome)


def another_waits(tag: str) -> bool:
    """Whether another run is suspended for the same release: one is enough."""
    with get_client(sync_client=True) as client:
        waiting = client.read_flow_runs(
            flow_run_filter=filters.FlowRunFilter(
                state=filters.FlowRunFilterState(
                    type=filters.FlowRunFilterStateType(any_=["PAUSED"])
                ),
                tags=filters.FlowRunFilterTags(all_=[tag]),
            )
        )
    return any(str(run.id) != str(runtime.flow_run.id) for run in waiting)


def missed_and_made_up_for() -> bool:
    """Whether a later scheduled run of the same deployment is due already; False outside a deployment.

    Prefect catches up on every slot missed while the machine slept; one release is what is wanted.
    """
    deployment, mine = runtime.deployment.id, runtime.flow_run.scheduled_start_time
    if not deployment or not mine:
        return False
    with get_client(sync_client=True) as client:
        due = client.read_flow_runs(
            deployment_filter=filters.DeploymentFilter(
                id=filters.DeploymentFilterId(any_=[deployment])
            ),
            flow_run_filter=filters.FlowRunFilter(
                expected_start_time=filters.FlowRunFilterExpectedStartTime(
                    after_=mine, before_=datetime.now(UTC)
                ),
                state=filters.FlowRunFilterState(
                    type=filters.FlowRunFilterStateType(not_any_=["CANCELLED"])
                ),
            ),
        )
    return any(run.id != runtime.flow_run.id and run.expected_start_time > mine for run in due)


def main() -> int:
    """Run the flow in this process; the exit code is the verdict's (0, 1, 4), 4 while it waits, or the error's (2, 3)."""
    parser = argparse.ArgumentParser(description="Run the release line once, recorded by Prefect.")
    parser.add_argument("--root", default=".", help="the project's folder")
    parser.add_argument("--no-promote", action="store_true", help="stop after the verdict")
    parser.add_argument(
        "--result", type=Path, help="write what the steps returned to this JSON file"
    )
    arguments = parser.parse_args()
    try:
        outcome = release(root=arguments.root, promote=not arguments.no_promote)
    except SluiceError as error:
        print(f"error: {error}", file=sys.stderr)
        if error.hint:
            print(f"  what to do: {error.hint}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    if arguments.result:
        write_json(arguments.result, outcome)
    waits = outcome.get("approvals", {}).get("missing")
    return EXIT_CODES["HOLD" if waits else outcome["decide"]["decision"]]


if __name__ == "__main__":
    sys.exit(main())
