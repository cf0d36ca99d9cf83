"""Traffic from OpenTelemetry: the spans of generative AI calls in OTLP JSON.

    gen_ai since 1.37  attributes `gen_ai.input.messages`, `gen_ai.output.messages`, or on an event
    gen_ai 1.28 - 1.36 events `gen_ai.user.message`, `gen_ai.choice`, ... on the span; Strands
    gen_ai 1.26, 1.27  events or attributes with `gen_ai.prompt`, `gen_ai.completion`
    OpenLLMetry        attributes `gen_ai.prompt.0.content`, `gen_ai.completion.0.content`, ...
    OpenInference      attributes `llm.input_messages.0.message.content`, ...
    Langfuse           attributes `langfuse.observation.input`, `langfuse.observation.output`
    Vercel AI SDK      attributes `ai.prompt.messages`, `ai.response.text`

A file holds one export request a line, as the collector writes them, or one over many lines.
Messages that were sent as log records cannot be joined to their span: it is refused with that
reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from google.protobuf.json_format import ParseDict, ParseError
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from sluicegate.errors import DataError
from sluicegate.traffic.dialects import SIGNS, is_call, texts_of
from sluicegate.traffic.importing import MOST_LINE, LeftOut, Refused
from sluicegate.traffic.jsonl import parse, read_lines
from sluicegate.traffic.messages import NoAnswerError
from sluicegate.traffic.rows import Feedback, TrafficRow, checked_row, from_microseconds

Found = TrafficRow | Refused | LeftOut
_TOKENS = {
    "prompt_tokens": ("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens",
                      "llm.token_count.prompt", "ai.usage.promptTokens"),
    "completion_tokens": ("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens",
                          "llm.token_count.completion", "ai.usage.completionTokens"),
}  # fmt: skip


def read_otel(path: Path) -> Iterator[Found]:
    """Yield a row for each span of a generating call, or why there is none.

    Other spans are passed over; where a file holds nothing else, that is told. The key is made of
    trace and span, so that importing twice adds nothing. `group` is `gen_ai.conversation.id` or
    `session.id`, `user` is `user.id` or `enduser.id`, `release` the attribute `sluice.release`;
    the events `gen_ai.evaluation.result` become feedback.

    Raises:
        DataError: the file cannot be read.
    """
    spans, told = 0, False
    for where, value in _exports(path):
        if isinstance(value, Refused):
            yield value
            told = True
            continue
        for place, span in _spans_of(value, where):
            spans += 1
            found = _outcome(place, span)
            if found is not None:
                yield found
                told = True
    if spans and not told:
        known = "gen_ai, OpenLLMetry, OpenInference, Langfuse, Vercel AI"
        yield Refused(str(path), f"none of its {spans} spans is a call as {known} record one.")


def _exports(path: Path) -> Iterator[tuple[str, Any]]:
    """Each export request of the file with its place, or what is wrong with it."""
    by_line = False
    for number, line in read_lines(path):
        where = f"{path}, line {number}"
        try:
            if line is None:
                raise DataError("the line is too long.")
            value = parse(line)
        except DataError as error:
            if line is not None and not by_line and not _has_exports(path):
                yield from _whole(path)  # perhaps one object over many lines
                return
            by_line = by_line or line is not None
            yield where, Refused(where, str(error))
            continue
        by_line = True
        yield where, _export(value, where)


def _has_exports(path: Path) -> bool:
    """Is any line by itself an export of spans?"""
    for _, line in read_lines(path):
        try:
            if line is not None and not isinstance(_export(parse(line), ""), Refused):
                return True
        except DataError:
            continue
    return False


def _whole(path: Path) -> Iterator[tuple[str, Any]]:
    where = str(path)
    try:
        with path.open("rb") as stream:
            text = stream.read(MOST_LINE + 1)
        if len(text) > MOST_LINE:
            raise DataError(
                f"no line is an export, and as one it is longer than {MOST_LINE} bytes."
            )
        yield where, _export(parse(text), where)
    except OSError as error:
        raise DataError(
            f"{path} cannot be read: {error.strerror}", hint="Check the path and its permissions."
        ) from error
    except DataError as error:
        yield where, Refused(where, str(error))


def _export(value: Any, where: str) -> Any:
    if isinstance(value, Mapping) and {"resourceSpans", "resource_spans"} & value.keys():
        return value
    return Refused(where, "not an OTLP export of spans (no resourceSpans).")


def _spans_of(value: Any, where: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for resource in _list(value, "resourceSpans", "resource_spans"):
        for scope in _list(resource, "scopeSpans", "scope_spans"):
            for span in _list(scope, "spans"):
                named = span.get("spanId", span.get("span_id"))
                yield f"{where}, span {str(named)[:40]!a}", span


def _outcome(where: str, raw: Mapping[str, Any]) -> Found | None:
    """The span as a row, or why it is none; None for a span that is no call of a model."""
    try:
        span = ParseDict(dict(raw), Span(), ignore_unknown_fields=True)
        attributes = _values(span.attributes)
        if not is_call(attributes):
            signs = sorted({sign for sign in SIGNS for name in attributes if name.startswith(sign)})
            return Refused(where, f"dialect {signs[0]}* is not read.") if signs else None
        return _row(span, attributes)
    except NoAnswerError as error:
        return LeftOut(str(error))
    except (ParseError, ValueError) as error:
        return Refused(where, f"not a span of OTLP: {str(error)[:200]}")
    except (DataError, RecursionError) as error:
        return Refused(where, str(error))


def _row(span: Span, attributes: Mapping[str, Any]) -> TrafficRow:
    if not span.trace_id or not span.span_id:
        raise DataError("traceId or spanId is missing.")
    if not span.start_time_unix_nano:
        raise DataError("startTimeUnixNano is missing.")
    if span.status.code == Status.STATUS_CODE_ERROR:
        raise NoAnswerError("the call failed.")
    events = [(event.name, _values(event.attributes)) for event in span.events]
    dropped = bool(span.dropped_attributes_count or span.dropped_events_count)
    prompt, response = texts_of(attributes, events, dropped=dropped)
    seconds = (span.end_time_unix_nano - span.start_time_unix_nano) / 1e9
    time = from_microseconds(span.start_time_unix_nano // 1000)
    return checked_row(
        TrafficRow(
            key=f"otel-{_hexadecimal(span.trace_id)}-{_hexadecimal(span.span_id)}",
            time=time,
            prompt=prompt,
            response=response,
            release=_text(attributes.get("sluice.release")),
            group=_text(attributes.get("gen_ai.conversation.id", attributes.get("session.id"))),
            latency=seconds if seconds >= 0 else None,
            user=_text(attributes.get("user.id", attributes.get("enduser.id"))),
            feedback=tuple(_evaluations(events, time)),
            **{field: _tokens(attributes, names) for field, names in _TOKENS.items()},
        )
    )


def _hexadecimal(identity: bytes) -> str:
    """OTLP JSON writes ids in hexadecimal; protobuf's JSON took that text for base64."""
    from base64 import b64encode

    return b64encode(identity).decode("ascii").rstrip("=")


def _evaluations(events: list[tuple[str, dict[str, Any]]], time: datetime) -> Iterator[Feedback]:
    for name, held in events:
        if name != "gen_ai.evaluation.result":
            continue
        score = held.get("gen_ai.evaluation.score.value")
        parts = (_text(held.get(f"gen_ai.evaluation.{part}")) for part in ("name", "score.label"))
        label = ": ".join(filter(None, parts))
        if label or score is not None:
            yield Feedback(time, score=score, label=label)


def _tokens(attributes: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    value = next((attributes[name] for name in names if attributes.get(name) is not None), None)
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _values(pairs: Any) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(one) for one in value.array_value.values]
    if kind == "kvlist_value":
        return _values(value.kvlist_value.values)
    return None if kind in (None, "bytes_value") else getattr(value, kind)


def _list(value: Any, *names: str) -> list[Mapping[str, Any]]:
    found = None
    if isinstance(value, Mapping):
        found = next((value[name] for name in names if name in value), None)
    return [one for one in found if isinstance(one, Mapping)] if isinstance(found, list) else []


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else str(value)
