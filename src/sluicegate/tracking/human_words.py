"""What people wrote on the traces of generated answers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sluicegate.tracking.connection import translated

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Assessment, Trace

EXAMPLE_TAG = "sluice.example"
RELEASE_TAG = "sluice.release"
JUDGE = "LLM_JUDGE"
_HUMAN = "HUMAN"
_PAGE = 500
Value = float | int | str | bool


@dataclass(frozen=True, slots=True)
class HumanWord:
    """What a person wrote on a trace: an assessment `name`, or what was `expected`.

    `example`, `group`, `release`, `inputs`, `output`, `references`, `other`: of the answer, as it
    was traced.
    """

    trace: str
    name: str
    value: Value
    by: str
    rationale: str
    time: str
    expected: bool
    example: str
    group: str
    release: str
    inputs: Mapping[str, str]
    output: str
    references: tuple[str, ...]
    other: str


def human_words(client: MlflowClient, experiment_id: str) -> tuple[list[HumanWord], set[str]]:
    """What people wrote on traces of answers, oldest first, and the ids of all such traces.

    What somebody took back or replaced is left out. A judge's own opinion counts as a person's word
    once its value was changed in place.
    """
    words, known = [], set()
    for short in search(client, experiment_id, f"tags.`{EXAMPLE_TAG}` != ''"):
        known.add(str(short.info.trace_id))
        said = [one for one in short.info.assessments if _is_human(one)]
        if not said:
            continue
        with translated(f"read the trace {short.info.trace_id}"):
            trace = client.get_trace(short.info.trace_id)
        words += [_word(trace, one) for one in said]
    return words, known


def search(client: MlflowClient, experiment_id: str, query: str) -> Iterator[Trace]:
    """The traces of an experiment that `query` finds, oldest first, without their spans."""
    token = None
    while True:
        with translated("search traces"):
            page = client.search_traces(
                locations=[experiment_id],
                filter_string=query,
                max_results=_PAGE,
                order_by=["timestamp_ms ASC"],
                page_token=token,
                include_spans=False,
            )
        yield from page
        token = page.token
        if not token:
            return


def _is_human(one: Assessment) -> bool:
    if one.valid is False or (one.feedback is None and one.expectation is None):
        return False
    if one.source.source_type == _HUMAN:
        return True
    said = (one.metadata or {}).get("sluice.value")
    return said is not None and one.feedback is not None and json.dumps(one.feedback.value) != said


def _word(trace: Trace, one: Assessment) -> HumanWord:
    root = next(span for span in trace.data.spans if span.parent_id is None)
    value = one.feedback.value if one.feedback is not None else one.expectation.value
    human = one.source.source_type == _HUMAN
    return HumanWord(
        trace=trace.info.trace_id,
        name=one.name,
        value=value
        if isinstance(value, float | int | str | bool)
        else json.dumps(value, ensure_ascii=False),
        by=str(one.source.source_id or "unknown") if human else "unknown",
        rationale=one.rationale or "",
        time=datetime.fromtimestamp((one.last_update_time_ms or 0) / 1000, UTC).isoformat(
            timespec="milliseconds"
        ),
        expected=one.feedback is None,
        example=trace.info.tags[EXAMPLE_TAG],
        group=str(root.get_attribute("sluice.group")),
        release=trace.info.tags.get(RELEASE_TAG, ""),
        inputs={str(name): str(text) for name, text in dict(root.inputs).items()},
        output=str(root.outputs),
        references=tuple(root.get_attribute("sluice.references") or ()),
        other=str(root.get_attribute("sluice.other") or ""),
    )
