"""Watch what serves: recent traffic against what the champion was judged on, told to people once.

Each step takes the project's folder and returns JSON-able values, so that a Prefect task or a plain call runs it alike.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from sluicegate.config import Params, load
from sluicegate.errors import (
    EnvironmentFailure,
    IntegrityError,
    SluiceError,
    TrackingError,
    UsageError,
)
from sluicegate.hashing import digest_bytes, read_json, write_json
from sluicegate.ledger import Ledger
from sluicegate.line.learn import feedback_rows as feedback_data
from sluicegate.line.watch import alert as alerting
from sluicegate.line.watch.window import Window, champion_reference, look, window_of
from sluicegate.project import Project, find_project
from sluicegate.records import Champion, DriftReport

ALARMS = ("DRIFT", "NO_DATA")
_TITLES = {"OK": "back to normal", "DRIFT": "drift", "NO_DATA": "no data"}


def monitor(
    root: str,
    hours: float | None = None,
    last: int | None = None,
    file: str = "",
    tell: bool = True,
) -> dict[str, Any]:
    """All steps, without a server: `check`, `alert` and how much feedback waits.

    Returns:
        What `check` returns, with `warnings`, `told` and `feedback`.
    """
    found = check(root, hours=hours, last=last, file=file)
    told = alert(root, found) if tell else {"sent": False, "warning": ""}
    waits = feedback(root)
    warnings = [*found["warnings"], *filter(None, (told["warning"], waits["warning"]))]
    return {**found, "warnings": warnings, "told": told["sent"], "feedback": waits}


def check(
    root: str, hours: float | None = None, last: int | None = None, file: str = ""
) -> dict[str, Any]:
    """Compare a window of traffic with what the champion answered on the golden set, and write the report.

    Args:
        root: the project's folder.
        hours: the window, back from now; or
        last: the newest so many rows; or
        file: JSON lines instead of the log. By default what params.yaml says.

    Returns:
        `status` (OK, DRIFT, NO_DATA), `alarm`, `rows`, `window`, `version`, `release`, `model`, `moved` (columns), `notes`,
        `text` (a few lines), `markdown`, `html` and `run_id` of the report, `warnings`.

    Raises:
        UsageError: nothing serves yet, or there is no such window.
        DataError: a line of the file is wrong.
        IntegrityError: the champion's reference is gone or damaged.
        EnvironmentFailure: the traffic log cannot be read.
    """
    from sluicegate.line.watch import report as drift_reporting

    project = find_project(Path(root))
    params = load(project.params, Params)
    champion = _champion(project)
    chosen = Path(file).resolve() if file else None
    window = window_of(
        project, params.monitor, hours=hours, last=last, file=chosen, release=champion.release
    )
    reference = champion_reference(project, champion)
    report, profile = look(project, window, params.monitor, reference)
    notes = [*report.notes, *_others(report, window, champion)]
    warnings: list[str] = []
    try:
        published = drift_reporting.publish(root, report, profile, window.rows)
    except TrackingError as error:  # the verdict stands, wherever it can be read
        published = {"html": str(project.reports / "drift.html"), "run_id": "", "markdown": ""}
        warnings.append(f"the drift report was not kept in MLflow: {error}")
    text = _text(params.release.name, champion, window, report, notes)
    return {
        "status": report.status,
        "alarm": report.status in ALARMS,
        "rows": report.rows,
        "window": window.text,
        "version": champion.version,
        "release": champion.release,
        "model": params.release.name,
        "moved": list(dict.fromkeys(score.column for score in report.scores if score.alarm)),
        "notes": notes,
        "text": text,
        "warnings": warnings,
        **published,
        "markdown": published["markdown"] or text,
    }


def alert(root: str, found: dict[str, Any]) -> dict[str, Any]:
    """Send an alarm to the webhook, and once more that it is over; a failure to do so is a warning, never an error.

    The same alarm about the same release is sent again after `monitor.repeat_hours`; one that could not be sent, next time.

    Returns:
        `sent`, and `warning` ("" if there is none).
    """
    project = find_project(Path(root))
    params = load(project.params, Params).monitor
    path = project.state / "alarm.json"
    before = _told(path)
    same = (before.get("status"), before.get("release")) == (found["status"], found["release"])
    age = time.time() - float(before.get("time", 0.0))
    over = not found["alarm"] and before.get("status") in ALARMS
    if not over and (not found["alarm"] or (same and 0 <= age < params.repeat_hours * 3600)):
        return {"sent": False, "warning": ""}
    where = f"\nreport: {found['html']}" if found["html"] and found["alarm"] else ""
    warning = alerting.send(found["text"] + where, params.webhook_env)
    try:
        if not warning:
            write_json(
                path, {"status": found["status"], "release": found["release"], "time": time.time()}
            )
    except EnvironmentFailure as error:
        return {"sent": True, "warning": f"the alarm will be sent again: {error}"}
    return {"sent": bool(params.webhook_env) and not warning, "warning": warning}


def feedback(root: str) -> dict[str, Any]:
    """How many rows of feedback wait to be learned from, and whether these are enough (`monitor.feedback_rows`).

    What is wrong with them is a `warning`: it must not cost the verdict on the traffic.
    """
    wanted = load(find_project(Path(root)).params, Params).monitor.feedback_rows
    waiting, warning = 0, ""
    try:
        waiting = feedback_data.waiting(root) if wanted else 0
    except SluiceError as error:
        warning = f"feedback cannot be learned from: {error}"
    return {
        "waiting": waiting,
        "wanted": wanted,
        "enough": bool(wanted) and waiting >= wanted,
        "warning": warning,
    }


def serving(root: str) -> bool:
    """Is there a champion to watch?"""
    return Ledger(find_project(Path(root)).ledger_url).champion() is not None


def resource(root: str) -> str:
    """The name of what is watched, for events: project, a digest of where it lies, and model."""
    project = find_project(Path(root))
    place = digest_bytes(str(project.root.resolve()).encode("utf-8", "surrogateescape"))[:8]
    return f"sluicegate.{project.root.resolve().name}-{place}.{load(project.params, Params).release.name}"


def _champion(project: Project) -> Champion:
    champion = Ledger(project.ledger_url).champion()
    if champion is None:
        raise UsageError(
            "nothing serves yet: there is nothing to watch.",
            hint="`sluice release` makes a champion.",
        )
    return champion


def _others(report: DriftReport, window: Window, champion: Champion) -> list[str]:
    """Where data is missing: is it that other releases answered?"""
    others = window.others() if report.status == "NO_DATA" else 0
    return (
        [f"{others} rows were answered by other releases than version {champion.version}."]
        if others
        else []
    )


def _told(path: Path) -> dict[str, Any]:
    try:
        return read_json(path) if path.exists() else {}
    except IntegrityError:
        return {}  # what was told is not worth an alarm lost


def _text(
    model: str, champion: Champion, window: Window, report: DriftReport, notes: list[str]
) -> str:
    head = f"{model} version {champion.version}: {_TITLES[report.status]} in {window.text} ({report.rows} rows)"
    return "\n".join([head, *(f"- {note}" for note in notes)])
