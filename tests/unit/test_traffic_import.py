"""Traffic from elsewhere: JSON lines, OpenTelemetry spans in each convention, MLflow's traces;
again adds nothing.
"""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes as names

from sluicegate.cli import sluice
from sluicegate.errors import ConfigError, DataError, SluiceError
from sluicegate.line.watch.imports import import_file, import_traces, open_log
from sluicegate.project import Project
from sluicegate.tracking.trace_reading import TraceValues
from sluicegate.traffic import TrafficRow
from sluicegate.traffic.importing import LeftOut, Refused
from sluicegate.traffic.jsonl import read_jsonl
from sluicegate.traffic.messages import prompt_of, response_of
from sluicegate.traffic.otel import read_otel

CASES = Path(__file__).parents[1] / "cases"
BEGIN = 1_777_593_600_000_000_000
NOW = datetime(2026, 5, 1, tzinfo=UTC)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """An empty project that is the working folder."""
    for variable in ("SLUICE_TRAFFIC_URL", "MLFLOW_TRACKING_URI", "SLUICE_TRAFFIC_KEY"):
        monkeypatch.delenv(variable, raising=False)
    root = tmp_path / "project"
    root.mkdir()
    (root / "params.yaml").touch()
    monkeypatch.chdir(root)
    return Project(root)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(sluice, ["traffic", *arguments])


def lines(path: Path, *values: Any) -> Path:
    path.write_text(
        "".join((one if isinstance(one, str) else json.dumps(one)) + "\n" for one in values),
        "utf-8",
    )
    return path


def test_json_lines_are_imported_once(project: Project) -> None:
    """Good lines become rows, bad ones are named with line and reason, and a second import adds
    only what is new.
    """
    path = lines(
        project.root / "log.jsonl",
        {"prompt": "a", "response": "b", "group": 7, "other": [1], "user": "ann"},
        {"prompt": "a", "response": "b", "group": 7, "other": [1], "user": "ann"},
        "",
        {"prompt": "a"},
        "nonsense",
        {
            "key": "k",
            "prompt": "c",
            "response": "d",
            "time": "2026-05-01T00:00:00Z",
            "feedback": [{"thumb": 1}],
        },
    )
    found = import_file(project, path)
    assert (found.new, found.present, found.refused) == (3, 0, 2)
    assert "line 4: response is missing" in found.reasons[0]
    assert "line 5: not JSON" in found.reasons[1]
    with path.open("a") as stream:
        stream.write(json.dumps({"prompt": "e", "response": "f"}) + "\n")
    again = import_file(project, path)
    assert (again.new, again.present) == (1, 3)
    rows = list(open_log(project).window())
    assert [row.key for row in rows if row.time == NOW] == ["k"]
    assert [row.group for row in rows].count("7") == 2
    assert sum(len(row.feedback) for row in rows) == 1


def test_feedback_that_a_later_export_brings_is_attached(project: Project) -> None:
    """A row that is there already gets the feedback that it comes with now."""
    row = {"key": "k", "prompt": "a", "response": "b", "time": "2026-05-01T00:00:00Z"}
    import_file(project, lines(project.root / "a.jsonl", row))
    said = {**row, "feedback": [{"score": 0.5, "time": "2026-05-02T00:00:00Z"}]}
    for _ in range(2):
        import_file(project, lines(project.root / "b.jsonl", said))
    found = open_log(project).get("k")
    assert found is not None
    assert [one.score for one in found.feedback] == [0.5]


def test_a_file_that_grows_brings_its_feedback_once(project: Project) -> None:
    """A row without a time keeps that of its first import, and its feedback is not new because the
    file is.
    """
    said = {
        "prompt": "a",
        "response": "b",
        "feedback": [{"thumb": -1}, {"score": 1, "time": "2026-05-02T00:00:00Z"}],
    }
    path = project.root / "log.jsonl"
    for seconds, rows in ((0, [said]), (60, [said, {"prompt": "c", "response": "d"}])):
        os.utime(lines(path, *rows), (NOW.timestamp() + seconds,) * 2)
        import_file(project, path)
    first, second = open_log(project).window()
    assert (first.time, len(first.feedback), len(second.feedback)) == (NOW, 2, 0)


def test_fields_may_have_other_names(tmp_path: Path) -> None:
    """`fields` says where the file keeps a field; a field that rows do not have is refused."""
    path = lines(tmp_path / "x.jsonl", {"question": "a", "answer": "b"})
    [row] = read_jsonl(path, {"prompt": "question", "response": "answer"})
    assert isinstance(row, TrafficRow)
    assert (row.prompt, row.response) == ("a", "b")
    with pytest.raises(ConfigError, match="colour"):
        list(read_jsonl(path, {"colour": "answer"}))
    with pytest.raises(DataError, match="cannot be read"):
        list(read_jsonl(tmp_path / "absent.jsonl"))


def any_value(value: Any) -> dict[str, Any]:
    """A Python value as OTLP writes it."""
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, list):
        return {"arrayValue": {"values": [any_value(one) for one in value]}}
    if isinstance(value, dict):
        return {"kvlistValue": {"values": attributes(value)}}
    return {"stringValue": value}


def attributes(values: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": any_value(value)} for key, value in values.items()]


def span(
    number: int, values: dict[str, Any], *events: tuple[str, dict[str, Any]]
) -> dict[str, Any]:
    return {
        "traceId": f"{number:032x}",
        "spanId": f"{number:016x}",
        "name": "chat",
        "startTimeUnixNano": str(BEGIN + number * 10**9),
        "endTimeUnixNano": str(BEGIN + number * 10**9 + 1_500_000_000),
        "attributes": attributes(values),
        "events": [{"name": name, "attributes": attributes(held)} for name, held in events],
    }


def request(*spans: dict[str, Any]) -> dict[str, Any]:
    return {
        "resourceSpans": [{"resource": {}, "scopeSpans": [{"scope": {}, "spans": list(spans)}]}]
    }


def message(role: str, *texts: str, **more: Any) -> dict[str, Any]:
    return {"role": role, "parts": [{"type": "text", "content": text} for text in texts], **more}


ASKED = [
    message("system", "be brief"),
    message("user", "old"),
    message("assistant", "so"),
    message("user", "Q", "more"),
]
ANSWERED = [message("assistant", "A", finish_reason="stop")]
OLD = {"gen_ai.operation.name": "chat", "gen_ai.system": "openai"}
USAGE_OLD = {names.GEN_AI_USAGE_PROMPT_TOKENS: 11, names.GEN_AI_USAGE_COMPLETION_TOKENS: 7}
USAGE = {names.GEN_AI_USAGE_INPUT_TOKENS: 11, names.GEN_AI_USAGE_OUTPUT_TOKENS: 7}
NUMBERED = {
    "gen_ai.prompt.0.content": "Q",
    "gen_ai.prompt.0.role": "user",
    "gen_ai.completion.0.content": "A",
}
CONVENTIONS: dict[str, dict[str, Any]] = {
    "attributes as JSON text": span(
        1,
        {
            **{names.GEN_AI_OPERATION_NAME: "chat", **USAGE},
            names.GEN_AI_INPUT_MESSAGES: json.dumps(ASKED),
            names.GEN_AI_OUTPUT_MESSAGES: json.dumps(ANSWERED),
        },
    ),
    "attributes as values": span(
        1,
        {
            **OLD,
            **USAGE,
            names.GEN_AI_INPUT_MESSAGES: ASKED,
            names.GEN_AI_OUTPUT_MESSAGES: ANSWERED,
        },
    ),
    "one event with attributes": span(
        1,
        {**OLD, **USAGE},
        (
            "gen_ai.client.inference.operation.details",
            {
                names.GEN_AI_INPUT_MESSAGES: json.dumps(ASKED),
                names.GEN_AI_OUTPUT_MESSAGES: json.dumps(ANSWERED),
            },
        ),
    ),
    "an event for each message": span(
        1,
        {**OLD, **USAGE},
        ("gen_ai.system.message", {"content": "be brief"}),
        ("gen_ai.user.message", {"content": "old"}),
        ("gen_ai.assistant.message", {"content": "so"}),
        ("gen_ai.user.message", {"body": json.dumps({"role": "user", "content": "Q\nmore"})}),
        (
            "gen_ai.choice",
            {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "A"}},
        ),
    ),
    "an event for each side": span(
        1,
        {**OLD, **USAGE_OLD},
        (
            "gen_ai.content.prompt",
            {names.GEN_AI_PROMPT: json.dumps([{"role": "user", "content": "Q\nmore"}])},
        ),
        (
            "gen_ai.content.completion",
            {names.GEN_AI_COMPLETION: json.dumps([{"role": "assistant", "content": "A"}])},
        ),
    ),
    "numbered attributes": span(
        1,
        {
            **{"gen_ai.system": "openai", **USAGE_OLD},
            **{"gen_ai.prompt.0.role": "system", "gen_ai.prompt.0.content": "be brief"},
            **{"gen_ai.prompt.1.role": "user", "gen_ai.prompt.1.content": "Q\nmore"},
            **{"gen_ai.completion.0.role": "assistant", "gen_ai.completion.0.content": "A"},
        },
    ),
}


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_spans_of_each_convention_are_read(tmp_path: Path, convention: str) -> None:
    """The last question, the answer, both token counts, time and latency are found, wherever the
    convention puts them.
    """
    [row] = read_otel(lines(tmp_path / "spans.json", request(CONVENTIONS[convention])))
    assert isinstance(row, TrafficRow), row
    assert (row.prompt, row.response) == ("Q\nmore", "A")
    assert (row.prompt_tokens, row.completion_tokens, row.latency) == (11, 7, 1.5)
    assert row.time.timestamp() == BEGIN / 1e9 + 1
    assert row.key == f"otel-{1:032x}-{1:016x}"


def test_what_else_a_span_says_is_kept(tmp_path: Path) -> None:
    """Conversation, user, release and evaluations of a span become fields of its row."""
    values = {
        **OLD,
        "gen_ai.prompt": "Q",
        "gen_ai.completion": "A",
        "gen_ai.conversation.id": "c",
        "user.id": "ann",
    }
    judged = {names.GEN_AI_EVALUATION_NAME: "Relevance", names.GEN_AI_EVALUATION_SCORE_VALUE: 0.5}
    one = span(2, {**values, "sluice.release": "d" * 64}, ("gen_ai.evaluation.result", judged))
    [row] = read_otel(lines(tmp_path / "spans.json", request(one)))
    assert isinstance(row, TrafficRow)
    assert (row.group, row.user, row.release) == ("c", "ann", "d" * 64)
    assert [(said.score, said.label) for said in row.feedback] == [(0.5, "Relevance")]


SAID = {**OLD, "gen_ai.prompt": "Q", "gen_ai.completion": "A"}


def test_other_spans_are_passed_over_and_empty_ones_named(tmp_path: Path) -> None:
    """Tool calls and plain spans are no rows; a call without texts, or of a broken span, is refused
    with its reason.
    """
    path = lines(
        tmp_path / "spans.jsonl",
        request(
            span(1, {"http.method": "GET"}),
            span(2, {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "x"}),
            span(3, {"gen_ai.operation.name": "embeddings"}),
            span(4, OLD),
            {**span(5, SAID), "startTimeUnixNano": "soon"},
            {**span(6, SAID), "traceId": None},
            span(7, {**SAID, "gen_ai.usage.input_tokens": "many"}),
        ),
        request(span(8, {**OLD, "gen_ai.prompt": "Q", "gen_ai.completion": "A"})),
        {"resourceLogs": []},
        "{",
    )
    found = list(read_otel(path))
    assert [row.prompt for row in found if isinstance(row, TrafficRow)] == ["Q"]
    reasons = [f"{row.where}: {row.reason}" for row in found if isinstance(row, Refused)]
    assert len(reasons) == 6
    for words, reason in zip(
        ("not captured", "startTime", "traceId", "prompt_tokens", "resourceSpans", "not JSON"),
        reasons,
        strict=True,
    ):
        assert words in reason


def test_an_export_over_many_lines_is_read(tmp_path: Path) -> None:
    """One indented JSON object, with snake_case names, is read like one a line."""
    one = request(span(1, {**OLD, "gen_ai.prompt": "Q", "gen_ai.completion": "A"}))
    text = (
        json.dumps(one, indent=1)
        .replace("resourceSpans", "resource_spans")
        .replace("scopeSpans", "scope_spans")
    )
    (tmp_path / "spans.json").write_text(
        text.replace("traceId", "trace_id").replace("stringValue", "string_value")
    )
    [row] = read_otel(tmp_path / "spans.json")
    assert isinstance(row, TrafficRow)
    assert (row.prompt, row.response) == ("Q", "A")


def test_a_torn_first_line_costs_no_other(project: Project) -> None:
    """A file that was cut at its beginning loses that line, whatever its length, and is still known
    for what it is.
    """
    good = [
        request(span(number, {**OLD, "gen_ai.prompt": "Q", "gen_ai.completion": "A"}))
        for number in (1, 2)
    ]
    path = lines(project.root / "spans.jsonl", "x" * 5_000 + json.dumps(good[0])[40:], *good)
    found = import_file(project, path)
    assert (found.new, found.refused) == (2, 1)
    assert "line 1: not JSON" in found.reasons[0]


def test_one_export_over_many_lines_has_a_largest_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file in which no line is an export is not read whole, however large it is."""
    monkeypatch.setattr("sluicegate.traffic.otel.MOST_LINE", 100)
    (tmp_path / "spans.json").write_text(json.dumps(request(span(1, OLD)), indent=1))
    [refused] = read_otel(tmp_path / "spans.json")
    assert isinstance(refused, Refused)
    assert "longer than 100 bytes" in refused.reason


STRANGE = (
    None,
    0,
    "",
    "x",
    "[",
    "[1]",
    '{"a": 1}',
    [],
    [None],
    [[]],
    {},
    {"messages": 3},
    {"choices": [1]},
    [{"parts": 1}],
)


def test_strange_messages_are_texts_or_refused() -> None:
    """Whatever stands where messages should be: a text comes out, or an error that says why not."""
    refused = 0
    for value in (
        *STRANGE,
        "[" * 100_000,
        {"message": {}},
        [{"role": 1, "content": [{"type": 2}]}],
        [{"text": "t"}],
    ):
        for read in (prompt_of, response_of):
            try:
                assert isinstance(read(value), str)
            except DataError:
                refused += 1
    assert refused
    assert prompt_of('{"not": "messages"}') == '{"not": "messages"}'
    parts = [{"type": "image_url"}, {"type": "text", "text": "t"}]
    assert response_of([{"role": "assistant", "content": parts}]) == "t"


USER = {"role": "user", "content": "Q"}
CALL = {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}
TOOL = {"role": "tool", "content": "9 degrees"}


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({"choices": [{"message": CALL}]}, "only calls a tool"),
        ({"choices": [{"message": {"content": ""}, "finish_reason": "tool_calls"}]}, "only calls"),
        ([{"role": "assistant", "content": [{"type": "tool_use", "name": "w"}]}], "only calls"),
        ({"candidates": [{"content": {"parts": [{"functionCall": {}}]}}]}, "only calls a tool"),
        ({"output": [{"type": "function_call", "name": "w"}]}, "only calls a tool"),
        ({"generations": [[{"text": "", "message": CALL}]]}, "only calls a tool"),
        ({"messages": [USER, CALL, TOOL]}, "ends without an answer"),
        ([USER], "ends without an answer"),
        ([{"role": "assistant", "content": [{"type": "image_url"}]}], "holds no text"),
        ('[{"role": "assistant", "content": "It is a lo', "cut or damaged"),
    ],
)
def test_an_answer_that_is_none_is_refused(value: Any, reason: str) -> None:
    """A call of a tool, a question without an answer, cut JSON: never an empty or a wrong text."""
    with pytest.raises(DataError, match=reason):
        response_of(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"messages": [USER, {"role": "assistant", "content": "old"}, USER, CALL, TOOL,
                       {"role": "assistant", "content": "Cold."}]}, "Cold."),
        ([{"role": "assistant", "content": "first"}, {"role": "assistant", "content": "2"}],
        "first"),
        ({"candidates": [{"content": {"role": "model", "parts": [{"text": "A"}]}}]}, "A"),
        ({"generations": [[{"text": "A", "message": {"content": "A"}}]]}, "A"),
        ({"role": "assistant", "content": None, "refusal": "No."}, "No."),
    ],
)  # fmt: skip
def test_the_answer_is_the_one_to_the_last_question(value: Any, text: str) -> None:
    """In a history the last answer counts, of several candidates the first."""
    assert response_of(value) == text


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ([USER, {"role": "user", "content": [{"type": "image_url"}]}], "holds no text"),
        ([{"role": "system", "content": "s"}], "no message of the user"),
        ('{"messages": [{"role": "user", "content": "abc', "cut or damaged"),
    ],
)
def test_a_prompt_that_is_not_certain_is_refused(value: Any, reason: str) -> None:
    """An older question is not taken for the one that was asked."""
    with pytest.raises(DataError, match=reason):
        prompt_of(value)


def test_what_a_tool_answered_is_no_prompt() -> None:
    """Some interfaces send results of tools in the name of the user."""
    result = {"role": "user", "content": [{"type": "tool_result", "content": "9"}]}
    assert prompt_of([USER, CALL, result]) == "Q"


@pytest.mark.parametrize(
    ("name", "texts"),
    [
        ("openllmetry_parts", ("What is it?", "Cat")),
        ("strands", ("Hi", "Yo")),
        ("langfuse_otel", ("Hi", "Yo")),
        ("openinference", ("Hi", "Yo")),
        ("toolcall_out", "the answer only calls a tool."),
        ("error_span", "the call failed."),
    ],
)
def test_spans_of_other_tools_are_read_or_left_out(name: str, texts: Any) -> None:
    """Each recorded span gives its two texts, or is left out with the reason."""
    [found] = read_otel(CASES / f"{name}.jsonl")
    if isinstance(found, TrafficRow):
        assert (found.prompt, found.response) == texts
    else:
        assert found == LeftOut(texts)


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        (
            {
                "ai.operationId": "ai.generateText.doGenerate",
                "ai.prompt.messages": json.dumps([USER]),
                "ai.response.text": "A",
            },
            ("Q", "A"),
        ),
        (
            {
                "openinference.span.kind": "LLM",
                "llm.input_messages.0.message.role": "user",
                "llm.input_messages.0.message.contents.0.message_content.type": "text",
                "llm.input_messages.0.message.contents.0.message_content.text": "Q",
                "llm.output_messages.0.message.role": "assistant",
                "llm.output_messages.0.message.tool_calls.0.tool_call.function.name": "w",
            },
            LeftOut("the answer only calls a tool."),
        ),
        ({"ai.operationId": "ai.generateText", "ai.prompt": "Q"}, None),
        ({"openinference.span.kind": "RETRIEVER", "input.value": "Q"}, None),
    ],
)
def test_dialects(tmp_path: Path, values: dict[str, Any], texts: Any) -> None:
    """Calls of other tools are read; spans around them, which hold the same texts again, are not."""
    [found] = read_otel(lines(tmp_path / "spans.json", request(span(1, values))))
    if texts is None:
        assert "none of its 1 spans is a call" in found.reason  # type: ignore[union-attr]
    elif isinstance(found, TrafficRow):
        assert (found.prompt, found.response) == texts
    else:
        assert found == texts


@pytest.mark.parametrize(
    ("values", "more", "reason"),
    [
        (NUMBERED, {"droppedAttributesCount": 2}, "the exporter dropped"),
        ({**NUMBERED, "gen_ai.prompt.2.content": "Q"}, {}, "missing between others"),
        ({**OLD, "gen_ai.input.messages": '[{"role": "user", "con'}, {}, "cut or damaged"),
        ({"traceloop.entity.input": "{}"}, {}, "dialect traceloop.entity.* is not read"),
    ],
)
def test_texts_that_are_not_certain_are_refused(
    tmp_path: Path, values: dict[str, Any], more: dict[str, Any], reason: str
) -> None:
    """What an exporter dropped or cut never becomes another text."""
    [found] = read_otel(lines(tmp_path / "spans.json", request({**span(1, values), **more})))
    assert isinstance(found, Refused)
    assert reason in found.reason


def test_a_file_without_any_call_says_so(tmp_path: Path) -> None:
    """Never nothing new, nothing refused and no word."""
    path = lines(tmp_path / "spans.json", request(span(1, {"http.method": "GET"})))
    [found] = read_otel(path)
    assert isinstance(found, Refused)
    assert "none of its 1 spans is a call" in found.reason


def test_turns_without_an_answer_are_counted(project: Project) -> None:
    """They are no fault of the file: counted by reason, and the exit code stays 0."""
    calls = [one.read_text() for one in (CASES / "toolcall_out.jsonl", CASES / "error_span.jsonl")]
    path = project.root / "spans.jsonl"
    path.write_text("\n".join([*calls, calls[0]]))
    found = import_file(project, path)
    counted = {"the answer only calls a tool.": 2, "the call failed.": 1}
    assert (found.new, found.refused, found.left_out) == (0, 0, counted)
    done = run("import", str(path))
    assert done.exit_code == 0
    assert "2 left out: the answer only calls a tool." in done.output


def test_lines_are_read_strictly(project: Project) -> None:
    """A byte-order mark is no part of the first row; a key that is there twice is refused."""
    assert import_file(project, CASES / "bom.jsonl").new == 1
    twice = lines(project.root / "x.jsonl", '{"prompt": "a", "prompt": "b", "response": "c"}')
    found = import_file(project, twice)
    assert (found.new, found.refused) == (0, 1)
    assert "'prompt' appears twice" in found.reasons[0]


@pytest.mark.parametrize(
    "strange",
    [*STRANGE, {"resourceSpans": 1}, {"resourceSpans": [{"scopeSpans": [{"spans": [1]}]}]}],
)
def test_strange_files_are_refused_or_empty(tmp_path: Path, strange: Any) -> None:
    """A file that is no export of spans is refused with a reason, never a crash."""
    found = list(read_otel(lines(tmp_path / "spans.json", strange)))
    assert all(isinstance(row, Refused) for row in found)


@pytest.mark.parametrize(
    "own",
    [
        {"text": "hi", "order": 17},
        {"content": "x"},
        {"message": "hi", "order": 17},
        {"choices": ["red", "blue"]},
        {"parts": ["door", "wheel"], "order": 17},
        {"messages": ["a"]},
        {"role": "admin", "name": "x"},
        [{"text": "hi"}, {"text": "you"}],
    ],
)
def test_a_prompt_that_is_json_is_what_was_said(own: Any) -> None:
    """The user's own JSON is no message, whatever its fields are called: no field of it is lost."""
    text = json.dumps(own)
    assert prompt_of(text) == response_of(text) == text
    assert prompt_of([{"role": "user", "content": text}]) == text


@pytest.mark.parametrize(
    "value",
    [
        {"role": "assistant", "content": "A"},
        {"type": "ai", "content": "A"},
        {"parts": [{"text": "A"}]},
        {"choices": [{"message": {"role": "assistant", "content": "A"}}]},
        {"choices": [{"text": "A", "finish_reason": "stop"}]},
        {"message": {"role": "assistant", "content": "A"}, "index": 0},
    ],
)
def test_messages_as_json_text_are_read(value: Any) -> None:
    """Each shape that a tracing tool writes as a text is known for messages."""
    assert response_of(json.dumps(value)) == "A"


def test_traces_of_mlflow_are_imported_once(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chat calls, functions of one argument and others become rows with tokens, session, user and
    assessments.
    """
    import mlflow
    from mlflow.entities import AssessmentSource

    from sluicegate.line.run import open_tracking

    tracking = open_tracking(project)
    tracking.experiment("production")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", project.mlflow_url)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "production")
    mlflow.tracing.reset()
    chat = {
        "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "Q"}],
        "model": "m",
    }
    with mlflow.start_span("chat", span_type="CHAT_MODEL") as one:
        one.set_inputs(chat)
        one.set_outputs({"choices": [{"message": {"role": "assistant", "content": "A"}}]})
        one.set_attribute(
            "mlflow.chat.tokenUsage", {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}
        )
        mlflow.update_current_trace(
            metadata={"mlflow.trace.user": "ann", "mlflow.trace.session": "s1"}
        )
    with mlflow.start_span("answer") as two:
        two.set_inputs({"question": "what"})
        two.set_outputs("this")
    with mlflow.start_span("other") as three:
        three.set_inputs({"a": 1, "b": "x"})
        three.set_outputs([1, 2])
    with mlflow.start_span("tool", span_type="CHAT_MODEL") as five:
        five.set_inputs(chat)
        five.set_outputs({"choices": [{"message": CALL, "finish_reason": "tool_calls"}]})
    with mlflow.start_span("broken") as six:
        six.set_inputs("Q")
        six.set_status("ERROR")
    with mlflow.start_span("evaluation") as four:
        four.set_inputs("golden question")
        mlflow.update_current_trace(tags={"sluice.example": "e1"})
    mlflow.flush_trace_async_logging()
    source = AssessmentSource(source_type="HUMAN", source_id="bob")
    for name, value in (("good", True), ("stars", 4), ("tone", "rude")):
        mlflow.log_feedback(trace_id=one.trace_id, name=name, value=value, source=source)
    mlflow.log_expectation(
        trace_id=one.trace_id, name="expected_response", value="better", source=source
    )

    mlflow.tracing.reset()
    found = import_traces(project, "production")
    assert (found.new, found.refused) == (3, 0), found
    assert found.left_out == {"the answer only calls a tool.": 1, "the call failed.": 1}
    rows = {row.key: row for row in open_log(project).window()}
    assert [(row.prompt, row.response) for row in rows.values()] == [
        ("Q", "A"),
        ("what", "this"),
        ('{"a": 1, "b": "x"}', "[1, 2]"),
    ]
    first = rows[f"mlflow-{one.trace_id}"]
    assert (first.prompt_tokens, first.completion_tokens, first.group) == (3, 4, "s1")
    assert first.user.startswith("user-")
    said = {(fb.thumb, fb.score, fb.label, fb.correction) for fb in first.feedback}
    assert said == {
        (1, None, "good", ""),
        (None, 4.0, "stars", ""),
        (None, None, "tone: rude", ""),
        (None, None, "", "better"),
    }
    again = import_traces(project, "production")
    assert (again.new, again.present) == (0, 3)
    assert len(open_log(project).get(first.key).feedback) == 4  # type: ignore[union-attr]
    with pytest.raises(ConfigError, match="no experiment"):
        import_traces(project, "nobody")


def test_a_trace_without_values_is_plain() -> None:
    """What MLflow does not say stays empty."""
    assert TraceValues("t", 0, None, None, None).assessed == ()


def test_the_commands(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Import, show, feedback, export and forget do as they say, and the terminal gets no control
    characters.
    """
    path = lines(
        project.root / "log.jsonl",
        {
            "key": "k1",
            "prompt": "hi \x1b[31m\u202e",
            "response": "x" * 500,
            "time": "2026-05-01T00:00:00Z",
            "user": "ann",
        },
        {"key": "k2", "prompt": "b", "response": "c", "time": "2026-05-02T00:00:00Z"},
    )
    assert "2 new rows" in run("import", str(path)).output
    assert json.loads(run("import", str(path), "--json").output)["present"] == 2
    assert (
        "attached"
        in run("feedback", "k1", "--thumb", "down", "--correction", "no", "--by", "bob").output
    )
    shown = run("show")
    assert "k1" in shown.output
    assert "2 rows in all" in shown.output
    for one in (shown, run("show", "--json"), run("show", "--key", "k1")):
        assert all(sign.isprintable() or sign == "\n" for sign in one.output)
    assert json.loads(run("show", "--key", "k1").output)["feedback"][0]["thumb"] == -1
    assert [
        json.loads(line)["key"]
        for line in run("show", "--json", "--since", "2026-05-02").output.splitlines()
    ] == ["k2"]
    assert "1 rows in" in run("export", "out.parquet", "--until", "2026-05-02").output
    assert "1 rows erased" in run("forget", "--user", "ann").output
    assert "1 rows erased" in run("forget", "--before", "2027-01-01").output
    assert open_log(project).count() == 0
    lines(path, {"prompt": "b", "response": "c"}, "x")
    for wrong in (
        ("import", str(path)),
        ("import",),
        ("feedback", "nobody", "--thumb", "up"),
        ("forget",),
        ("serve",),
    ):
        result = run(*wrong)
        assert isinstance(result.exception, SluiceError), wrong
        assert result.exception.exit_code == 2
    assert open_log(project).count() == 1
    assert run("show", "--since", "soon").exit_code == 2
    assert isinstance(run("serve", "--anonymous", "--host", "0.0.0.0").exception, SluiceError)
