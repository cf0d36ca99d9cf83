"""Traffic from OpenTelemetry: the spans of generative AI calls in OTLP JSON, in every convention since 1.26.

    since 1.37   attributes `gen_ai.input.messages`, `gen_ai.output.messages`, on the span or on an
    event of it 1.28 - 1.36  events `gen_ai.user.message`, `gen_ai.choice`, ... on the span
    1.26, 1.27   events `gen_ai.content.prompt`, `gen_ai.content.completion` with `gen_ai.prompt`,
    `gen_ai.completion` OpenLLMetry  attributes `gen_ai.prompt.0.content`,
    `gen_ai.completion.0.content`, ...

A file holds one export request a line, as the collector's file exporter writes them, or one over
many lines. Messages that were sent as log records, not with the span, cannot be joined to it here:
such spans are refused with that reason.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from sluicegate.errors import DataError
from sluicegate.traffic.importing import MOST_LINE, Refused
from sluicegate.traffic.jsonl import parse, read_lines
from sluicegate.traffic.messages import prompt_of, response_of
from sluicegate.traffic.rows import Feedback, TrafficRow, checked_row, from_microseconds

_GENERATES = ("chat", "text_completion", "generate_content", "completion")
_INDEXED = re.compile(r"gen_ai\.(prompt|completion)\.(\d{1,6})\.(role|content)")
_ROLES = {f"gen_ai.{role}.message": role for role in ("system", "user", "assistant", "tool")}


def read_otel(path: Path) -> Iterator[TrafficRow | Refused]:
    """Yield a row for each span of a generating call, or why there is none; other spans are passed over.

    The key is made of trace and span, so that importing twice adds nothing. `group` is
    `gen_ai.conversation.id`, `user` is `user.id` or `enduser.id`, `release` the attribute
    `sluice.release`; the events `gen_ai.evaluation.result` become feedback.

    Raises:
        DataError: the file cannot be read.
    """
    by_line = False
    for number, line in read_lines(path):
        where = f"{path}, line {number}"
        if line is None:
            yield Refused(where, "the line is too long.")
            continue
        try:
            value = parse(line)
        except DataError as error:
            if not by_line and not _has_exports(path):  # perhaps one object over many lines
                yield from _whole(path)
                return
            by_line = True
            yield Refused(where, str(error))
            continue
        by_line = True
        yield from _spans_of(value, where)


def _has_exports(path: Path) -> bool:
    """Is any line by itself an export of spans?"""
    for _, line in read_lines(path):
        try:
            if line is not None and _is_export(parse(line)):
                return True
        except DataError:
            continue
    return False


def _is_export(value: Any) -> bool:
    return isinstance(value, Mapping) and bool({"resourceSpans", "resource_spans"} & value.keys())


def _whole(path: Path) -> Iterator[TrafficRow | Refused]:
    try:
        with path.open("rb") as stream:
            text = stream.read(MOST_LINE + 1)
        if len(text) > MOST_LINE:
            raise DataError(
                f"no line is an export, and as one it is longer than {MOST_LINE} bytes."
            )
        value = parse(text)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    except DataError as error:
        yield Refused(str(path), str(error))
        return
    yield from _spans_of(value, str(path))


def _spans_of(value: Any, where: str) -> Iterator[TrafficRow | Refused]:
    if not _is_export(value):
        yield Refused(where, "not an OTLP export of spans (no resourceSpans).")
        return
    for resource in _list(value, "resourceSpans", "resource_spans"):
        for scope in _list(resource, "scopeSpans", "scope_spans"):
            for span in _list(scope, "spans"):
                try:
                    row = _row(span)
                except (DataError, RecursionError) as error:
                    yield Refused(
                        f"{where}, span {_text(span.get('spanId', span.get('span_id')))[:40]!a}",
                        str(error),
                    )
                    continue
                if row is not None:
                    yield row


def _row(span: Mapping[str, Any]) -> TrafficRow | None:
    """The span as a row; None for a span that is no call of a generating model."""
    attributes = _attributes(span)
    events = [(_text(one.get("name")), _attributes(one)) for one in _list(span, "events")]
    operation = _text(attributes.get("gen_ai.operation.name"))
    if operation not in _GENERATES and (
        operation or not any(name.startswith("gen_ai.") for name in attributes)
    ):
        return None
    trace, own = (
        _text(_get(span, *names)) for names in (("traceId", "trace_id"), ("spanId", "span_id"))
    )
    if not trace or not own:
        raise DataError("traceId or spanId is missing.")
    begin, end = (_nanoseconds(span, *names) for names in (_BEGIN, _END))
    prompt, response = _texts(attributes, events)
    if not prompt and not response:
        raise DataError(
            "it has neither a prompt nor an answer: capturing content is off, or goes to log records."
        )
    time = from_microseconds(begin // 1000)
    return checked_row(
        TrafficRow(
            key=f"otel-{trace}-{own}",
            time=time,
            prompt=prompt,
            response=response,
            release=_text(attributes.get("sluice.release")),
            group=_text(attributes.get("gen_ai.conversation.id", attributes.get("session.id"))),
            latency=(end - begin) / 1e9 if end >= begin else None,
            prompt_tokens=_tokens(attributes, "input_tokens", "prompt_tokens"),
            completion_tokens=_tokens(attributes, "output_tokens", "completion_tokens"),
            user=_text(attributes.get("user.id", attributes.get("enduser.id"))),
            feedback=tuple(_evaluations(events, time)),
        )
    )


_BEGIN = ("startTimeUnixNano", "start_time_unix_nano")
_END = ("endTimeUnixNano", "end_time_unix_nano")


def _texts(
    attributes: Mapping[str, Any], events: list[tuple[str, dict[str, Any]]]
) -> tuple[str, str]:
    """Prompt and answer, from the newest convention that the span follows."""
    for held in (attributes, *(held for _, held in events)):
        if "gen_ai.input.messages" in held or "gen_ai.output.messages" in held:
            return prompt_of(held.get("gen_ai.input.messages")), response_of(
                held.get("gen_ai.output.messages")
            )
    for held in (attributes, *(held for _, held in events)):
        if "gen_ai.prompt" in held:
            answers = [
                one.get("gen_ai.completion") for one in (attributes, *(held for _, held in events))
            ]
            return prompt_of(held["gen_ai.prompt"]), response_of(
                next((one for one in answers if one is not None), "")
            )
    sent = [{"role": _ROLES[name], **_body(held)} for name, held in events if name in _ROLES]
    chosen = [_body(held) for name, held in events if name == "gen_ai.choice"]
    if sent or chosen:
        return prompt_of(sent), response_of(chosen[0] if chosen else "")
    return prompt_of(_indexed(attributes, "prompt")), response_of(
        _indexed(attributes, "completion")
    )


def _body(held: Mapping[str, Any]) -> dict[str, Any]:
    """The event's message, which some exporters put under `body` or `event_body`, some as attributes; or as JSON text."""
    found = held.get("body", held.get("event_body", held))
    if isinstance(found, str):
        try:
            found = parse(found.encode("utf-8", "replace"))
        except DataError:
            return {"content": found}
    found = dict(found) if isinstance(found, Mapping) else {"content": found}
    for name in ("message", "content"):
        if isinstance(found.get(name), str) and found[name][:1] in ("{", "["):
            try:
                found[name] = parse(found[name].encode("utf-8", "replace"))
            except DataError:
                continue
    return found


def _indexed(attributes: Mapping[str, Any], side: str) -> list[dict[str, Any]]:
    found: dict[int, dict[str, Any]] = {}
    for name, value in attributes.items():
        match = _INDEXED.fullmatch(name)
        if match and match[1] == side:
            found.setdefault(int(match[2]), {})[match[3]] = value
    return [found[number] for number in sorted(found)]


def _evaluations(events: list[tuple[str, dict[str, Any]]], time: datetime) -> Iterator[Feedback]:
    for name, held in events:
        if name != "gen_ai.evaluation.result":
            continue
        score = held.get("gen_ai.evaluation.score.value")
        label = ": ".join(
            text
            for text in (
                _text(held.get(f"gen_ai.evaluation.{part}")) for part in ("name", "score.label")
            )
            if text
        )
        if label or score is not None:
            yield Feedback(time, score=score, label=label)


def _tokens(attributes: Mapping[str, Any], *names: str) -> int | None:
    for name in names:
        value = attributes.get(f"gen_ai.usage.{name}")
        if value is not None:
            return int(value) if isinstance(value, float) and value.is_integer() else value
    return None


def _nanoseconds(span: Mapping[str, Any], *names: str) -> int:
    """OTLP writes 64-bit numbers as texts."""
    value = _get(span, *names)
    text = value if isinstance(value, str) else str(value) if type(value) is int else ""
    if not re.fullmatch(r"[0-9]{1,19}", text):
        raise DataError(f"{names[0]} is missing or no number of nanoseconds.")
    return int(text)


def _attributes(value: Mapping[str, Any]) -> dict[str, Any]:
    return {_text(one.get("key")): _any(one.get("value")) for one in _list(value, "attributes")}


def _any(value: Any) -> Any:
    """What an OTLP AnyValue holds."""
    if not isinstance(value, Mapping):
        return None
    for kind in (
        "stringValue",
        "string_value",
        "boolValue",
        "bool_value",
        "doubleValue",
        "double_value",
    ):
        if kind in value:
            return value[kind]
    whole = _get(value, "intValue", "int_value")
    if whole is not None:
        return int(whole) if re.fullmatch(r"-?[0-9]{1,19}", str(whole)) else None
    listed = _get(value, "arrayValue", "array_value")
    if listed is not None:
        return [_any(one) for one in _list(listed, "values")]
    pairs = _get(value, "kvlistValue", "kvlist_value")
    return (
        {_text(one.get("key")): _any(one.get("value")) for one in _list(pairs, "values")}
        if pairs
        else None
    )


def _get(value: Mapping[str, Any], *names: str) -> Any:
    return next((value[name] for name in names if name in value), None)


def _list(value: Any, *names: str) -> list[Mapping[str, Any]]:
    found = _get(value, *names) if isinstance(value, Mapping) else None
    return [one for one in found if isinstance(one, Mapping)] if isinstance(found, list) else []


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else str(value)
