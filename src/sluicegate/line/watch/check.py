"""Watch what serves: recent traffic against what the champion was judged on, told to people once."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sluicegate.drift import read_profile
from sluicegate.errors import EnvironmentFailure, IntegrityError, TrackingError, UsageError
from sluicegate.hashing import digest_bytes, read_json, write_json
from sluicegate.line.run import Alerted, Probed, Run, TrafficChecked, Watched
from sluicegate.line.watch.alert import send
from sluicegate.line.watch.report import Published, publish, reference_path
from sluicegate.line.watch.window import Window, champion_reference, look, window_of
from sluicegate.monitoring import golden_represents_traffic
from sluicegate.records import Champion, DriftReport

_TITLES = {"OK": "back to normal", "DRIFT": "drift", "NO_DATA": "no data"}


def check(
    run: Run,
    *,
    hours: float | None = None,
    last: int | None = None,
    file: Path | None = None,
) -> Watched:
    """Compare a window of traffic with what the champion answered on the golden set, and write the
    report.

    Args:
        run: the project.
        hours: the window, back from now; or
        last: the newest so many rows; or
        file: JSON lines instead of the log. By default what params.yaml says.

    Raises:
        UsageError: nothing serves yet, or there is no such window.
        DataError: a line of the file is wrong.
        IntegrityError: the champion's reference is gone or damaged.
        EnvironmentFailure: the traffic log cannot be read.
    """
    champion = run.champion
    if champion is None:
        raise UsageError(
            "there is no champion yet, so there is nothing to watch.",
            hint="`sluice release` makes a champion.",
        )
    window = window_of(run, hours=hours, last=last, file=file, release=champion.release)
    report, profile = look(run, window, champion_reference(run, champion))
    notes = (*report.notes, *_others(report, window, champion))
    text = _text(run.name, champion, window, report, notes)
    warnings: tuple[str, ...] = ()
    try:
        page = publish(run, report, profile, window.rows)
    except TrackingError as error:  # the verdict stands, wherever it can be read
        page = Published(str(run.project.reports / "drift.html"), "", text)
        warnings = (f"the drift report was not kept in MLflow: {error}",)
    return Watched(
        status=report.status,
        rows=report.rows,
        window=window.text,
        model=run.name,
        version=champion.version,
        release=champion.release,
        moved=tuple(dict.fromkeys(score.column for score in report.scores if score.alarm)),
        notes=notes,
        text=text,
        markdown=page.markdown,
        html=page.html,
        run_id=page.run_id,
        warnings=warnings,
    )


def check_drift(run: Run) -> TrafficChecked:
    """For a verdict: recent traffic beside what the champion answers on the golden set, and whether
    that set is like it.

    Where nothing serves yet, beside what the candidate answers.
    """
    champion = run.champion
    window = window_of(run, release=champion.release if champion else "")
    reference = reference_path(run)
    found, profile = look(run, window, reference)
    try:
        status, missing = golden_represents_traffic(profile, read_profile(reference))
    except IntegrityError as error:
        status, missing = "no_data", (str(error),)
    return TrafficChecked(
        status=found.status,
        rows=found.rows,
        scores=found.scores,
        notes=found.notes,
        golden_represents_traffic=status,
        missing=missing,
    )


def alert(run: Run, found: Watched | Probed, file: str = "alarm.json") -> Alerted:
    """Send an alarm to the webhook, and once more that it is over; a failure to do so is a warning,
    never an error.

    The same alarm about the same release is sent again after `monitor.repeat_hours`; one that could
    not be sent, next time. `file` keeps what was told.
    """
    params, path = run.params.monitor, run.project.state / file
    before = _told(path)
    same = (before.get("status"), before.get("release")) == (found.status, found.release)
    age = time.time() - float(before.get("time", 0.0))
    over = not found.alarm and before.get("status", "OK") != "OK"
    if not over and (not found.alarm or (same and 0 <= age < params.repeat_hours * 3600)):
        return Alerted()
    where = f"\nreport: {found.html}" if found.html and found.alarm else ""
    warning = send(found.text + where, params.webhook_env)
    try:
        if not warning:
            record = {"status": found.status, "release": found.release, "time": time.time()}
            write_json(path, record)
    except EnvironmentFailure as error:
        return Alerted(True, f"the alarm will be sent again: {error}")
    return Alerted(bool(params.webhook_env) and not warning, warning)


def resource(run: Run) -> str:
    """The name of what is watched, for events: project, a digest of where it lies, and model."""
    root = run.project.root.resolve()
    place = digest_bytes(str(root).encode("utf-8", "surrogateescape"))[:8]
    return f"sluicegate.{root.name}-{place}.{run.name}"


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
    model: str, champion: Champion, window: Window, report: DriftReport, notes: Sequence[str]
) -> str:
    head = (
        f"{model} version {champion.version}: {_TITLES[report.status]} in {window.text} "
        f"({report.rows} rows)"
    )
    return "\n".join([head, *(f"- {note}" for note in notes)])
