"""Watching production on Prefect: is recent traffic still like what the champion was judged on, and
does feedback wait?

An alarm is an event, and the run's state: Drift and NoData are of the type FAILED, so that a
dashboard and an automation on failed runs show it. What the event starts is said in prefect.yaml
(`triggers`), where it may be taken out; it never promotes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from prefect import flow, get_run_logger, runtime, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.events import Event
from prefect.states import Completed, Failed

from sluicegate.budget import Budget
from sluicegate.errors import SluiceError
from sluicegate.hashing import as_json
from sluicegate.line import sequence
from sluicegate.line.progress import told_to
from sluicegate.line.run import open_run
from sluicegate.line.watch.check import resource
from sluicegate.line.watch.probe import probed_model
from sluicegate.line.watch.recorded import recorded_path

P = ParamSpec("P")
T = TypeVar("T")
EXIT_CODES = {"Quiet": 0, "Skipped": 0, "Drift": 1, "NoData": 4}
STATE_NAMES = {"OK": "Quiet", "DRIFT": "Drift", "NO_DATA": "NoData"}
EVENTS = {"DRIFT": "sluicegate.drift", "NO_DATA": "sluicegate.no_data"}
FEEDBACK = "sluicegate.feedback"
KILLED = "sluicegate.retraining_killed"
TOLD = ("status", "model", "version", "release", "rows", "window", "moved", "html")
"""What an event says."""


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


@task(name="tell Prefect", retries=4, retry_delay_seconds=2, **PLAIN)
def emit(event: str, resource: str, payload: dict[str, Any]) -> str:
    """Send one event and wait until the server has it: `emit_event` would lose it with the
    connection, in silence.
    """
    made = Event(event=event, resource={"prefect.resource.id": resource}, payload=payload)
    with get_client(sync_client=True) as client:
        client.request("POST", "/events", json=[made.model_dump(mode="json")])
    return str(made.id)


def run_name() -> str:
    """E.g. `monitor model version 3`."""
    try:
        run = open_run(runtime.flow_run.parameters["root"])
        champion = run.champion
    except SluiceError:  # the flow itself tells it
        return "monitor"
    return f"monitor {run.name} version {champion.version}" if champion else "monitor"


@flow(name="monitor", flow_run_name=run_name, persist_result=False)
def monitor(root: str = ".", hours: float | None = None, last: int | None = None) -> Any:
    """Look once; the state's name is what was seen, its message the numbers and every warning.

    Args:
        root: the project's folder.
        hours: the window, back from now; or
        last: the newest so many rows. By default what params.yaml says.
    """
    run = open_run(root)
    if run.champion is None:
        return Completed(name="Skipped", message="Nothing serves yet: there is nothing to watch.")
    look = sequence.watch(run, hours=hours, last=last, perform=as_task)
    found, waiting, name, events = look.found, look.feedback, resource(run), {}
    told = {field: getattr(found, field) for field in TOLD}
    if found.alarm:
        event = EVENTS[found.status]
        events[event] = emit(event, name, told)
    create_markdown_artifact(found.markdown, key="drift", description=found.text.splitlines()[0])
    if waiting.enough:
        events[FEEDBACK] = emit(FEEDBACK, name, told | as_json(waiting))
    if look.killed:
        events[KILLED] = emit(KILLED, name, told | {"cause": look.killed})
    lines = [found.text, *look.warnings]
    if waiting.waiting:
        lines.append(
            f"{waiting.waiting} rows of feedback wait; {waiting.wanted} start a retraining."
        )
    log = get_run_logger()
    log.info(found.text)
    for warning in look.warnings:
        log.warning(warning)
    state, text = STATE_NAMES[found.status], "\n".join(lines)
    if found.alarm:
        return Failed(name=state, message=text)
    return Completed(name=state, message=text, data={**look.as_json(), "events": events})


@flow(name="probe", persist_result=False)
def probe(root: str = ".", model: str = "", max_cost: float | None = None) -> Any:
    """Ask a model what it was asked before; the state's name is whether the same one answers.

    Args:
        root: the project's folder.
        model: a name in registry/models.yaml; the release's by default.
        max_cost: most money that it may cost.
    """
    run = open_run(root)
    name = probed_model(run, model)
    if not recorded_path(run, name).is_file():
        return Completed(name="Skipped", message=f"No answers of {name} are recorded.")
    found, told = sequence.probe(run, name, budget=Budget(cost=max_cost), perform=as_task)
    data = as_json(found) | {"alarm": found.alarm, "told": told.sent}
    if found.alarm:
        emit("sluicegate.model_changed", resource(run), data)
    lines = [found.text, *found.warnings, *filter(None, (told.warning,))]
    return Completed(
        name="Changed" if found.alarm else "Quiet", message="\n".join(lines), data=data
    )


def main() -> int:
    """Run the flow in this process; 0 quiet, 1 drift, 4 no data, or the error's exit code (2, 3)."""
    parser = argparse.ArgumentParser(description="Watch production once, recorded by Prefect.")
    parser.add_argument("--root", default=".", help="the project's folder")
    arguments = parser.parse_args()
    state = monitor(root=str(Path(arguments.root).resolve()), return_state=True)
    if state.name in EXIT_CODES:
        return EXIT_CODES[state.name]
    try:
        state.result()
    except SluiceError as error:
        print(f"error: {error}", file=sys.stderr)
        if error.hint:
            print(f"  what to do: {error.hint}", file=sys.stderr)
        return error.exit_code
    return 3


if __name__ == "__main__":
    sys.exit(main())
