"""The release line on Prefect: when it runs, what is tried again, and what a person reads
afterwards.

The steps and their order are `sluicegate.line.sequence`'s; `sluice release --no-server` takes the
same ones without a server. Every step may be repeated: a run that was killed is simply run again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ParamSpec, TypeVar
from uuid import uuid4

from prefect import flow, get_run_logger, runtime, suspend_flow_run, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas import filters
from prefect.states import Completed, State

from sluicegate.errors import SluiceError, UnfinishedError
from sluicegate.hashing import as_json, write_json
from sluicegate.line import sequence
from sluicegate.line.check import refuse_problems
from sluicegate.line.locks import line_lock
from sluicegate.line.progress import told_to
from sluicegate.line.release.approve import waited_for, waiting_tag
from sluicegate.line.run import Approvals, Run, open_run
from sluicegate.versioning import checked_out

P = ParamSpec("P")
T = TypeVar("T")
EXIT_CODES = {"PROMOTE": 0, "REJECT": 1, "HOLD": 4}
PLAIN = {"cache_policy": NO_CACHE, "persist_result": False}


def as_task(name: str, step: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Run one step of the line as a Prefect task, and again where that may help; what it says is in
    the task's log.
    """

    def logged(*args: P.args, **kwargs: P.kwargs) -> T:
        with told_to(get_run_logger().info):
            return step(*args, **kwargs)

    def again(_task: Any, _run: Any, state: Any) -> bool:
        return sequence.worth_a_retry(name, state.result(raise_on_failure=False))

    retry = {"retries": 2, "retry_delay_seconds": [2, 10], "retry_condition_fn": again}
    return task(logged, name=name, task_run_name=name, **PLAIN, **retry)(*args, **kwargs)


def run_name() -> str:
    """E.g. `release 0123abc on main`; a run that waited keeps the name that it has."""
    if waited_for(runtime.flow_run.tags):
        return str(runtime.flow_run.name)
    return f"release {checked_out(Path(runtime.flow_run.parameters['root']))}".strip()


@flow(name="release", flow_run_name=run_name, persist_result=False)
def release(root: str = ".", promote: bool = True) -> Any:
    """Run the line once; the state's name is the outcome, its data what the steps returned.

    Args:
        root: the project's folder.
        promote: False stops after the verdict, so that a person can read it first.
    """
    run = open_run(root)
    waited = waited_for(runtime.flow_run.tags)
    if waited:
        return go_on(run, waited[0])
    if missed_and_made_up_for():
        return Completed(
            name="Skipped", message="A later night is due or done: missed nights run once."
        )
    refuse_problems(run.project)
    try:
        with line_lock(run.project):
            done = sequence.release(run, may_promote=promote, perform=as_task)
    except UnfinishedError as error:
        return unfinished(error)
    tell(done)
    told = f"{done.name}: the rules and their numbers"
    create_markdown_artifact(done.decide.markdown, key="verdict", description=told)
    if done.approvals is not None and done.waits:
        return wait_for_people(done.approvals, done.as_json())
    message = f"The verdict is {done.decide.decision}."
    return Completed(name=done.name, message=message, data=done.as_json())


def unfinished(error: UnfinishedError) -> State:
    """Answers are missing, or a budget is spent: nothing is judged, and the next run goes on."""
    get_run_logger().warning(f"{error} {error.hint}")
    outcome = {"outcome": "Held", "unfinished": str(error), "hint": error.hint}
    return Completed(name="Held", message=str(error), data=outcome)


def tell(done: sequence.Released) -> None:
    """The verdict and all warnings, in the flow run's log."""
    log = get_run_logger()
    log.info(done.decide.text)
    for warning in done.warnings:
        log.warning(warning)


def go_on(run: Run, release: str) -> State:
    """What a run does that was suspended: promote the very release it waited with, whatever is
    checked out by now.
    """
    standing, promoted = sequence.go_on(run, release, perform=as_task)
    outcome = {"approvals": as_json(standing)}
    if standing.missing:
        return wait_for_people(standing, outcome)
    if promoted is None:
        return Completed(name="Held", message=standing.text, data=outcome)
    outcome["promote"] = as_json(promoted)
    message = f"Version {standing.version}: {standing.text}."
    return Completed(name="Promoted", message=message, data=outcome)


def wait_for_people(standing: Approvals, outcome: dict[str, Any]) -> State:
    """Suspend a run of a deployment until `flows/approvals.py` or `sluice approve` resumes it; end
    any other run.

    How long to wait is the ledger's affair: when a pause of Prefect times out, the run fails
    instead of being held.
    """
    if standing.over:
        return Completed(name="Held", message=standing.text, data=outcome)
    tag = waiting_tag(standing.release)
    if runtime.deployment.id and not another_waits(tag):
        with get_client(sync_client=True) as client:
            client.update_flow_run(runtime.flow_run.id, tags={*runtime.flow_run.tags, tag})
        # A key suspends once, and a run that was resumed too early has to wait again.
        suspend_flow_run(timeout=None, key=uuid4().hex)
    return Completed(name="Waiting", message=standing.text, data=outcome)


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
    """Whether a later scheduled run of the same deployment is due already; False outside a
    deployment.

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


def say(told: str, hint: str) -> None:
    """Tell a person at the terminal."""
    print(told, file=sys.stderr)
    if hint:
        print(f"  what to do: {hint}", file=sys.stderr)


def main() -> int:
    """Run the flow in this process; the exit code is the verdict's (0, 1, 4), 4 while it waits, or
    the error's (2, 3).
    """
    parser = argparse.ArgumentParser(description="Run the release line once, recorded by Prefect.")
    parser.add_argument("--root", default=".", help="the project's folder")
    parser.add_argument("--no-promote", action="store_true", help="stop after the verdict")
    parser.add_argument("--result", type=Path, help="write what the steps returned to this file")
    given = parser.parse_args()
    root = str(Path(given.root).resolve())
    try:
        outcome = release(root=root, promote=not given.no_promote)
    except SluiceError as error:
        say(f"error: {error}", error.hint)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    if "unfinished" in outcome:
        say(f"HOLD: {outcome['unfinished']}", outcome["hint"])
        return EXIT_CODES["HOLD"]
    if given.result:
        write_json(given.result, outcome)
    waits = outcome.get("approvals", {}).get("missing")
    return EXIT_CODES["HOLD" if waits else outcome["decide"]["decision"]]


if __name__ == "__main__":
    sys.exit(main())
