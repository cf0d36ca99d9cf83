"""Retraining on Prefect, started by an alarm or by enough feedback: the same line and the same gate
as every release.

However many alarms there are, `line.learn.cooldown` lets one retraining start in a cool-down.
Whether its release serves is the gate's decision, and with `promote: false` a person's.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from prefect import flow, get_run_logger, runtime, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.states import Completed

from sluicegate.errors import SluiceError, UnfinishedError
from sluicegate.line import sequence
from sluicegate.line.check import refuse_problems
from sluicegate.line.learn.cooldown import claim
from sluicegate.line.locks import line_lock
from sluicegate.line.progress import told_to
from sluicegate.line.run import Learned, Run, open_run
from sluicegate.line.sequence import Released
from sluicegate.line.watch.check import resource as resource_of
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
    """E.g. `retrain 0123abc on main, sluicegate.drift`."""
    given = runtime.flow_run.parameters
    return f"retrain {checked_out(Path(given['root']))}, {given['cause']}"


@flow(name="retrain", flow_run_name=run_name, persist_result=False)
def retrain(
    root: str = ".",
    cause: str = "by hand",
    resource: str = "",
    promote: bool = True,
    force: bool = False,
) -> Any:
    """Bring feedback into the data and run the line once; the state's name is the outcome.

    Args:
        root: the project's folder.
        cause: the event that started it.
        resource: what the event is about; that of another project on the same server is nothing to
            do with this one.
        promote: False stops after the verdict; so does `monitor.promote: false` in params.yaml.
        force: a person's wish: the cool-down is passed over.
    """
    run = open_run(root)
    ours = resource_of(run)
    if resource and resource != ours:
        message = f"The event is about {resource}, not about {ours}."
        return Completed(name="Skipped", message=message)
    refuse_problems(run.project)
    with claim(run, cause, force=force) as claimed:
        if not claimed.granted:
            return Completed(name="Skipped", message=f"No retraining now: {claimed.refused}.")
        try:
            learned, done = turn(run, promote and run.params.monitor.promote)
        except UnfinishedError as error:
            claimed.outcome = "Held"
            get_run_logger().warning(f"{error} {error.hint}")
            return Completed(name="Held", message=str(error))
        claimed.outcome = done.name
    log = get_run_logger()
    log.info(done.decide.text)
    for warning in done.warnings:
        log.warning(warning)
    told = f"{done.name}: the rules and their numbers"
    create_markdown_artifact(done.decide.markdown, key="verdict", description=told)
    data = replace(done, feedback=learned).as_json()
    return Completed(name=done.name, message=message_of(learned, done), data=data)


def turn(run: Run, may_promote: bool) -> tuple[Learned, Released]:
    """One turn of the loop: feedback into data, then the line."""
    learned = sequence.learn(run, perform=as_task)
    with line_lock(run.project):
        return learned, sequence.release(run, may_promote=may_promote, perform=as_task)


def message_of(learned: Learned, done: Released) -> str:
    """What people read in Prefect's list."""
    message = (
        f"The verdict is {done.decide.decision}; "
        f"{learned.new} new rows of feedback, {learned.rows} in all."
    )
    if done.name == "Passed":
        return f"{message} To promote it: sluice promote {done.decide.version}"
    if done.approvals is not None and done.waits:
        return f"{message} {done.approvals.text}"
    return message


def main() -> int:
    """Run the flow in this process; the exit code is the verdict's (0, 1, 4), 4 where it may not
    start or waits.
    """
    parser = argparse.ArgumentParser(description="Retrain once, recorded by Prefect.")
    parser.add_argument("--root", default=".", help="the project's folder")
    parser.add_argument("--cause", default="by hand", help="why, for the record")
    parser.add_argument("--no-promote", action="store_true", help="stop after the verdict")
    parser.add_argument("--force", action="store_true", help="pass over the cool-down")
    given = parser.parse_args()
    try:
        outcome = retrain(
            root=str(Path(given.root).resolve()),
            cause=given.cause,
            promote=not given.no_promote,
            force=given.force,
        )
    except SluiceError as error:
        print(f"error: {error}", file=sys.stderr)
        if error.hint:
            print(f"  what to do: {error.hint}", file=sys.stderr)
        return error.exit_code
    if not outcome or outcome.get("approvals", {}).get("missing"):
        return EXIT_CODES["HOLD"]
    return EXIT_CODES[outcome["decide"]["decision"]]


if __name__ == "__main__":
    sys.exit(main())
