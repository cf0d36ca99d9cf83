"""Generated answers as MLflow traces.

Written straight to the store and counted afterwards: `mlflow.genai.evaluate` on a database loses
traces and says nothing. Ids come from run and example: writing again adds nothing twice.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sluicegate.chat import as_read
from sluicegate.errors import TrackingError
from sluicegate.generating import Call
from sluicegate.hashing import digest_value
from sluicegate.tracking.connection import quoted, translated
from sluicegate.tracking.human_words import EXAMPLE_TAG, JUDGE, RELEASE_TAG, Value, search

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Assessment
    from mlflow.tracing.client import TracingClient

PREVIEW = 1000
SPANS_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class Opinion:
    """What a judge said of an answer.

    `value` is in the judge's own scale; `by` is its name and digest.
    """

    name: str
    value: Value
    reason: str
    by: str


@dataclass(frozen=True, slots=True)
class TracedAnswer:
    """One generated answer, with all that a reviewer needs.

    Attributes:
        example, group: of the golden row.
        inputs, messages: the prompt's variables, and the prompt as it was rendered.
        output, references: what the model said, and right answers.
        seconds, prompt_tokens, completion_tokens, finished: as in `Generation`.
        scores: of the computed metrics.
        opinions: of the judges.
        other: the champion's answer, where a judge compared with it.
        calls: what code of the project asked its models; then there are no `messages`.
    """

    example: str
    group: str
    inputs: Mapping[str, str]
    messages: Sequence[Mapping[str, str]]
    output: str
    references: Sequence[str]
    seconds: float
    prompt_tokens: int
    completion_tokens: int
    finished: bool
    scores: Mapping[str, float]
    opinions: Sequence[Opinion] = ()
    other: str = ""
    calls: Sequence[Call] = ()


@dataclass(frozen=True, slots=True)
class About:
    """What made the answers.

    Attributes:
        release, golden, adapter: digests; `adapter` is `none` for the bare base model.
        prompt, prompt_digest: name in the Prompt Registry and digest; `prompt_version` there, None
            where it has none.
    """

    release: str
    golden: str
    base: str
    adapter: str
    prompt: str
    prompt_digest: str
    prompt_version: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


def log_answers(
    client: MlflowClient,
    url: str,
    experiment_id: str,
    run_id: str,
    about: About,
    answers: Sequence[TracedAnswer],
) -> int:
    """Write one trace for each answer, then count what is stored.

    Raises:
        TrackingError: MLflow refuses, or holds fewer traces or assessments afterwards than were
            written.
    """
    from mlflow.tracing.client import TracingClient

    with translated("log traces"):
        tracing, spans = TracingClient(url), []
        for answer in answers:
            spans += _write(tracing, experiment_id, run_id, about, answer)
            if len(spans) >= SPANS_AT_ONCE:
                tracing.log_spans(experiment_id, spans)
                spans = []
        if spans:
            tracing.log_spans(experiment_id, spans)
    _verify(client, experiment_id, run_id, answers)
    return len(answers)


def _write(
    tracing: TracingClient, experiment_id: str, run_id: str, about: About, answer: TracedAnswer
) -> list[object]:
    """Start the trace with its assessments; returns its spans, for one write with others."""
    from mlflow.entities import TraceInfo, TraceLocation, TraceState

    key = digest_value([run_id, answer.example])[:32]
    end = time.time_ns()
    start = end - int(answer.seconds * 1e9)
    usage = {
        "input_tokens": answer.prompt_tokens,
        "output_tokens": answer.completion_tokens,
        "total_tokens": answer.prompt_tokens + answer.completion_tokens,
    }
    tags = {
        "mlflow.traceName": "answer",
        EXAMPLE_TAG: answer.example,
        RELEASE_TAG: about.release,
        "sluice.adapter": about.adapter,
        "sluice.prompt": f"{about.prompt} {about.prompt_digest}",
    }
    if about.prompt_version is not None:
        tags["mlflow.linkedPrompts"] = json.dumps(
            [{"name": about.prompt, "version": str(about.prompt_version)}]
        )
    tracing.start_trace(
        TraceInfo(
            trace_id=f"tr-{key}",
            trace_location=TraceLocation.from_experiment_id(experiment_id),
            request_time=start // 1_000_000,
            state=TraceState.OK,
            request_preview=_clean("\n".join(as_read(answer.inputs).values()))[:PREVIEW],
            response_preview=_clean(answer.output)[:PREVIEW],
            client_request_id=answer.example,
            execution_duration=int(answer.seconds * 1000),
            trace_metadata={
                "mlflow.sourceRun": run_id,
                "mlflow.trace.tokenUsage": json.dumps(usage),
            },
            tags={name: _clean(value) for name, value in tags.items()},
            assessments=[_assessment(key, one) for one in answer.opinions],
        )
    )
    return _spans(key, start, end, about, answer, usage)


def _spans(
    key: str, start: int, end: int, about: About, answer: TracedAnswer, usage: Mapping[str, int]
) -> list[object]:
    whole = {
        "sluice.group": answer.group,
        "sluice.release": about.release,
        "sluice.golden": about.golden,
        "sluice.references": list(answer.references),
        "sluice.other": answer.other,
    }
    made = {
        "mlflow.chat.tokenUsage": dict(usage),
        "mlflow.llm.model": about.base,
        "sluice.adapter": about.adapter,
        "sluice.settings": dict(about.settings),
        "sluice.finished": answer.finished,
    }
    rendered = {
        "sluice.prompt": about.prompt,
        "sluice.prompt_digest": about.prompt_digest,
        "sluice.prompt_version": about.prompt_version,
    }
    inputs, messages = dict(answer.inputs), [dict(message) for message in answer.messages]
    asked = list(_call_spans(key, start, answer.calls)) or [
        _span(key, "render", "PARSER", start, start, inputs, messages, rendered),
        _span(key, "generate", "CHAT_MODEL", start, end, messages, answer.output, made),
    ]
    return [
        _span(key, "answer", "CHAIN", start, end, inputs, answer.output, whole),
        *asked,
        _span(
            key, "score", "EVALUATOR", end, end, {"output": answer.output}, dict(answer.scores), {}
        ),
    ]


def _call_spans(key: str, start: int, calls: Sequence[Call]) -> Iterator[object]:
    """One span for each question of an application, one after the other; attributes as in
    OpenTelemetry's conventions for generative AI.
    """
    for number, call in enumerate(calls, start=1):
        end = start + int(call.seconds * 1e9)
        messages = [dict(message) for message in call.messages]
        about = {
            "gen_ai.operation.name": "chat",
            "gen_ai.request.model": call.model,
            "gen_ai.usage.input_tokens": call.prompt_tokens,
            "gen_ai.usage.output_tokens": call.completion_tokens,
            "gen_ai.response.finish_reasons": ["stop" if call.finished else "length"],
            "mlflow.llm.model": call.model,
            "mlflow.chat.tokenUsage": {
                "input_tokens": call.prompt_tokens,
                "output_tokens": call.completion_tokens,
                "total_tokens": call.prompt_tokens + call.completion_tokens,
            },
            "sluice.prompt": call.prompt,
            "sluice.cost": call.cost,
        }
        name = f"{call.role} {number}"
        yield _span(key, name, "CHAT_MODEL", start, end, messages, call.text, about)
        start = end


def _span(
    key: str,
    name: str,
    kind: str,
    start: int,
    end: int,
    inputs: Any,
    outputs: Any,
    attributes: Mapping[str, Any],
) -> object:
    """One span; all but `answer` lie below it. MLflow keeps attributes as JSON text."""
    from mlflow.entities import Span

    def number(what: str) -> str:
        return base64.b64encode(bytes.fromhex(digest_value([key, what])[:16])).decode()

    kept = {
        "mlflow.traceRequestId": f"tr-{key}",
        "mlflow.spanType": kind,
        "mlflow.spanInputs": inputs,
        "mlflow.spanOutputs": outputs,
        **attributes,
    }
    return Span.from_dict(
        {
            "trace_id": base64.b64encode(bytes.fromhex(key)).decode(),
            "span_id": number(name),
            "parent_span_id": None if name == "answer" else number("answer"),
            "name": name,
            "start_time_unix_nano": start,
            "end_time_unix_nano": end,
            "status": {"code": "STATUS_CODE_OK", "message": ""},
            "attributes": {
                name: _clean(json.dumps(value, ensure_ascii=False)) for name, value in kept.items()
            },
            "events": [],
        }
    )


def _assessment(key: str, opinion: Opinion) -> Assessment:
    """A judge's opinion.

    `sluice.value` keeps what it said, so that a change in place is noticed.
    """
    from mlflow.entities import AssessmentSource, Feedback

    made = Feedback(
        name=opinion.name,
        value=opinion.value,
        rationale=_clean(opinion.reason) or None,
        source=AssessmentSource(JUDGE, opinion.by),
        metadata={"sluice.value": json.dumps(opinion.value)},
    )
    made.assessment_id = f"a-{digest_value([key, opinion.name, opinion.by])[:32]}"
    return made


def _verify(
    client: MlflowClient, experiment_id: str, run_id: str, answers: Sequence[TracedAnswer]
) -> None:
    """What is stored must be what was written: lost rows would flatter the mean."""
    found = list(search(client, experiment_id, f"metadata.`mlflow.sourceRun` = {quoted(run_id)}"))
    opinions = sum(len(answer.opinions) for answer in answers)
    kept = sum(
        1 for trace in found for one in trace.info.assessments if one.source.source_type == JUDGE
    )
    if len(found) != len(answers) or kept != opinions:
        raise TrackingError(
            f"MLflow holds {len(found)} of {len(answers)} traces and {kept} of {opinions} "
            f"assessments of run {run_id}.",
            hint="Look at the log of the tracking server and the free disk space, then run again.",
        )


def _clean(text: str) -> str:
    """`text` as UTF-8 can hold it: a lone surrogate becomes a question mark."""
    return text.encode("utf-8", "replace").decode("utf-8")
