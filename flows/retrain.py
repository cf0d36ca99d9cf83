"""Retraining on Prefect, started by an alarm or by enough feedback: the same line and the same gate as every release.

However many alarms there are, `stages.retraining` lets one retraining start in a cool-down. Whether its release serves is
the gate's decision, and with `promote: false` a person's.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.states import Completed

from sluicegate.errors import (
    AdapterError,
    EnvironmentFailure,
    IntegrityError,
    SluiceError,
    VersioningError,
)
from sluicegate.line.learn import cooldown as retraining
from sluicegate.line.learn import feedback_rows as feedback_data
from sluicegate.line.locks import line_lock
from sluicegate.line.release import approve as approval
from sluicegate.line.release import report as reporting
from sluicegate.line.release import steps as line
from sluicegate.line.watch import check as monitor

EXIT_CODES = {"PROMOTE": 0, "REJECT": 1, "HOLD": 4}
STATE_NAMES = {"PROMOTE": "Promoted", "REJECT": "Rejected", "HOLD": "Held"}


def may_pass_on_retry(_task: Any, _run: Any, state: Any) -> bool:
    """Only a failure of the environment is worth a retry: a wrong file, row or digest stays wrong."""
    error = state.result(raise_on_failure=False)
    final = (AdapterError, IntegrityError, VersioningError)
    return isinstance(error, EnvironmentFailure) and not isinstance(error, final)


RETRY = {"retries": 2, "retry_delay_seconds": [2, 10], "retry_condition_fn": may_pass_on_retry}
PLAIN = {"cache_policy": NO_CACHE, "persist_result": False}

bring_feedback = task(feedback_data.bring, name="bring feedback", **PLAIN, **RETRY)
reproduce = task(line.reproduce, name="reproduce", **PLAIN)
register = task(line.register, name="register", **PLAIN, **RETRY)
check_drift = task(line.check_drift, name="check drift", **PLAIN, **RETRY)
decide = task(line.decide, name="decide", **PLAIN)
approvals = task(approval.approvals, name="approvals", **PLAIN, **RETRY)
promote_champion = task(line.promote, name="promote", **PLAIN, **RETRY)
report = task(reporting.report, name="report", **PLAIN, **RETRY)


@flow(name="retrain", persist_result=False)
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
        resource: what the event is about; that of another project on the same server is nothing to do with this one.
        promote: False stops after the verdict; so does `monitor.promote: false` in params.yaml.
        force: a person's wish: the cool-down is passed over.
    """
    root = str(Path(root).resolve())
    if resource and resource != monitor.resource(root):
        return Completed(
            name="Skipped",
            message=f"The event is about {resource}, not about {monitor.resource(root)}.",
        )
    with retraining.claim(root, cause, force=force) as claim:
        if not claim.granted:
            return Completed(name="Skipped", message=f"No retraining now: {claim.refused}.")
        with line_lock(root):
            name, message, outcome = run_line(root, promote and retraining.may_promote(root))
        claim.outcome = name
    return Completed(name=name, message=message, data=outcome)


def run_line(root: str, promote: bool) -> tuple[str, str, dict[str, Any]]:
    """The outcome's name, a message, and what the steps returned."""
    outcome: dict[str, Any] = {"feedback": bring_feedback(root)}
    outcome["reproduce"] = reproduce(root, progress=True)
    outcome["register"] = register(root)
    outcome["check_drift"] = check_drift(root)
    outcome["decide"] = verdict = decide(root)
    name = "Unchanged" if verdict.get("unchanged") else STATE_NAMES[verdict["decision"]]
    if name == "Promoted" and not promote:
        name = "Passed"
    elif name == "Promoted":
        outcome["approvals"] = approvals(root)
        if outcome["approvals"]["missing"]:
            name = "Waiting"
        else:
            outcome["promote"] = promote_champion(root)
    outcome["report"] = report(root)
    create_markdown_artifact(
        verdict["markdown"], key="verdict", description=f"{name}: the rules and their numbers"
    )
    learned = outcome["feedback"]
    message = f"The verdict is {verdict['decision']}; {learned['new']} new rows of feedback, {learned['rows']} in all."
    if name == "Passed":
        message += f" To promote it: sluice promote {verdict['version']}"
    return (
        name,
        message if name != "Waiting" else f"{message} {outcome['approvals']['text']}",
        outcome,
    )


def main() -> int:
    """Run the flow in this process; the exit code is the verdict's (0, 1, 4), 4 where it may not start or waits."""
    parser = argparse.ArgumentParser(description="Retrain once, recorded by Prefect.")
    parser.add_argument("--root", default=".", help="the project's folder")
    parser.add_argument("--cause", default="by hand", help="why, for the record")
    parser.add_argument("--no-promote", action="store_true", help="stop after the verdict")
    parser.add_argument("--force", action="store_true", help="pass over the cool-down")
    given = parser.parse_args()
    try:
        outcome = retrain(
            root=given.root, cause=given.cause, promote=not given.no_promote, force=given.force
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
