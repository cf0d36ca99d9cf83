"""Rows for the traffic log from files and from MLflow's traces."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from sluicegate.errors import DataError
from sluicegate.line.run import open_tracking
from sluicegate.project import Project
from sluicegate.tracking.trace_reading import Assessed, TraceValues, read_traces
from sluicegate.traffic import Feedback, TrafficLog, TrafficRow
from sluicegate.traffic.importing import Imported, LeftOut, Refused, import_rows
from sluicegate.traffic.jsonl import parse, read_jsonl, read_lines
from sluicegate.traffic.messages import (
    NoAnswerError,
    looks_like_messages,
    prompt_of,
    response_of,
)
from sluicegate.traffic.otel import read_otel
from sluicegate.traffic.rows import checked_row, from_microseconds


def open_log(project: Project) -> TrafficLog:
    """The project's traffic log. The key for user names is beside a SQLite file; else in the
    project's state folder."""
    file = project.traffic_url.startswith("sqlite")
    return TrafficLog(project.traffic_url, key_file=None if file else project.state / "traffic.key")


def import_file(
    project: Project,
    path: Path,
    *,
    form: str = "auto",
    fields: Mapping[str, str] | None = None,
    progress: Callable[[int], None] | None = None,
) -> Imported:
    """Import a file into the project's log; see `read_jsonl` and `read_otel`.

    Args:
        form: `jsonl`, `otel`, or `auto`: by what the first line looks like.

    Raises:
        DataError: the file cannot be read.
        EnvironmentFailure: the log cannot be written.
    """
    if form == "otel" or (form == "auto" and _is_otel(path)):
        return import_rows(open_log(project), read_otel(path), progress)
    return import_rows(open_log(project), read_jsonl(path, fields), progress)


def import_traces(
    project: Project, experiment: str, *, progress: Callable[[int], None] | None = None
) -> Imported:
    """Import the traces of an MLflow experiment, one row each, with their assessments as feedback.

    Prompt and answer are the inputs and outputs of the root span: chat messages, a text, or what is
    there as JSON. The key is made of the trace's id, so that importing again adds only what is new.

    Raises:
        ConfigError: there is no such experiment.
        TrackingError: MLflow fails.
    """
    traces = read_traces(open_tracking(project).client, experiment)
    return import_rows(open_log(project), (_row(trace) for trace in traces), progress)


def _is_otel(path: Path) -> bool:
    """Does the file begin as an OTLP export does? Read as JSON where an early line is, else by its
    beginning."""
    for _, line in islice(read_lines(path), 10):
        try:
            value = parse(line or b"")
        except DataError:  # torn, or part of one object over many lines
            continue
        if isinstance(value, dict):
            return bool({"resourceSpans", "resource_spans"} & value.keys())
    with path.open("rb") as stream:
        beginning = stream.read(4096)
    return b'"resourceSpans"' in beginning or b'"resource_spans"' in beginning


def _row(trace: TraceValues) -> TrafficRow | Refused | LeftOut:
    try:
        if trace.failed:
            raise NoAnswerError("the call failed.")
        prompt, response = _said(trace.inputs, prompt_of), _said(trace.outputs, response_of)
        if not prompt.strip():
            raise DataError("the trace has no inputs.")
        if not response.strip():
            raise NoAnswerError("there is no answer.")
        return checked_row(
            TrafficRow(
                key=f"mlflow-{trace.id}",
                time=from_microseconds(trace.milliseconds * 1000),
                prompt=prompt,
                response=response,
                release=trace.release,
                group=trace.session,
                latency=None if trace.duration is None else trace.duration / 1000,
                prompt_tokens=trace.prompt_tokens,
                completion_tokens=trace.completion_tokens,
                user=trace.user,
                feedback=tuple(
                    found for one in trace.assessed if (found := _feedback(one, trace)) is not None
                ),
            )
        )
    except NoAnswerError as error:
        return LeftOut(str(error))
    except DataError as error:
        return Refused(f"trace {trace.id}", str(error))


def _said(value: Any, read: Callable[[Any], str]) -> str:
    """The text: of messages; of the one argument that there is; else the value as JSON.

    Raises:
        DataError: there are messages, but no certain text.
    """
    if value in (None, "", {}, []):
        return ""
    if isinstance(value, str) or _holds_messages(value):
        return read(value)
    if isinstance(value, Mapping) and len(value) == 1:
        only = next(iter(value.values()))
        return only if isinstance(only, str) else _said(only, read)
    return json.dumps(value, ensure_ascii=False, default=str)


def _holds_messages(value: Any) -> bool:
    """Are these messages, or an object around them, as chat models take and return them?"""
    if looks_like_messages(value):
        return True
    if not isinstance(value, Mapping):
        return False
    held = (value.get(name) for name in ("messages", "input", "output", "generations"))
    return any(isinstance(one, list) and one and isinstance(one[0], Mapping | list) for one in held)


def _feedback(one: Assessed, trace: TraceValues) -> Feedback | None:
    """A truth value is a thumb, a number a score, a text a label; an expectation that is a text, a
    correction."""
    time = from_microseconds((one.milliseconds or trace.milliseconds) * 1000)
    if one.expectation:
        return (
            Feedback(time, correction=one.value, by=one.by)
            if isinstance(one.value, str) and one.value
            else None
        )
    if isinstance(one.value, bool):
        return Feedback(time, thumb=1 if one.value else -1, label=one.name[:200], by=one.by)
    if isinstance(one.value, int | float):
        return Feedback(time, score=one.value, label=one.name[:200], by=one.by)
    if isinstance(one.value, str) and one.value:
        return Feedback(time, label=f"{one.name}: {one.value}"[:200], by=one.by)
    return None
