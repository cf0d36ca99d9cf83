"""Traces of generated answers in MLflow for real, and what reviewers wrote on them coming back as
labels.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parents[1]))
from judge_server import criterion as criterion_text
from sluicegate.cli import sluice
from sluicegate.errors import DataError, TrackingError
from sluicegate.generating import Call
from sluicegate.judges import load_criterion
from sluicegate.judges.label_files import read_labels
from sluicegate.line.learn.reviews import pull
from sluicegate.line.run import open_run
from sluicegate.project import Project
from sluicegate.scaffold import init
from sluicegate.tracking import About, Opinion, RunHandle, TracedAnswer, Tracking, traces

ABOUT = About(
    "r" * 64, "g" * 64, "tiny", "a" * 64, "support.summarize", "p" * 64, 3, {"temperature": 0.0}
)
COUNT = 4


def answers(judge: str = "judge:clear", count: int = COUNT) -> list[TracedAnswer]:
    """Answers with one judge's opinion each, in its scale."""
    return [
        TracedAnswer(
            f"e{n}", f"g{n}", {"conversation": f"Order {n} is late \ud83d."}, [{"role": "user",
            "content": f"Sum up {n}"}],
            f"It is late: {n}", [f"Late {n}"], 1.5, 100 + n, 20, True, {"rouge1": 0.25 * n},
            [Opinion(judge, 4, "Short.", "me")], other="Nothing.",
        )
        for n in range(count)
    ]  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Tracking:
    state = tmp_path_factory.mktemp("traces") / ".sluice" / "mlflow"
    return Tracking(f"sqlite:///{state / 'mlflow.db'}", state / "artifacts")


def logged(store: Tracking, experiment: str) -> tuple[RunHandle, list[Any]]:
    """A run with traces of the answers; the traces in the order of the examples."""
    run = store.start_run(experiment, "evaluate")
    assert store.log_answers(run, ABOUT, answers()) == COUNT
    found = store.client.search_traces(locations=[run.experiment_id], max_results=100)
    return run, sorted(found, key=lambda trace: trace.info.client_request_id)


def say(store: Tracking, trace: Any, name: str, value: Any, by: str = "ana", **more: Any) -> None:
    """What the UI does when a person adds an assessment."""
    from mlflow.entities import AssessmentSource, Feedback
    from mlflow.tracing.client import TracingClient

    said = Feedback(
        name=name,
        value=value,
        source=AssessmentSource("HUMAN", by),
        trace_id=trace.info.trace_id,
        **more,
    )
    TracingClient(store.url).log_assessment(trace.info.trace_id, said)


def test_a_trace_has_all_that_a_reviewer_needs(store: Tracking) -> None:
    """Each answer is one trace of the run: spans with prompt, adapter and tokens, the judge's score
    and its reason.
    """
    run, found = logged(store, "whole")
    assert [trace.info.tags["sluice.example"] for trace in found] == ["e0", "e1", "e2", "e3"]
    trace = found[1]
    assert trace.info.trace_metadata["mlflow.sourceRun"] == run.id
    assert json.loads(trace.info.tags["mlflow.linkedPrompts"]) == [
        {"name": "support.summarize", "version": "3"}
    ]
    assert trace.info.token_usage == {"input_tokens": 101, "output_tokens": 20, "total_tokens": 121}
    assert trace.info.execution_duration == 1500
    spans = {span.name: span for span in trace.data.spans}
    assert list(spans) == ["answer", "render", "generate", "score"]
    assert {span.parent_id for name, span in spans.items() if name != "answer"} == {
        spans["answer"].span_id
    }
    assert spans["render"].get_attribute("sluice.prompt_digest") == "p" * 64
    assert spans["generate"].inputs == [{"role": "user", "content": "Sum up 1"}]
    assert spans["generate"].get_attribute("sluice.adapter") == "a" * 64
    assert spans["score"].outputs == {"rouge1": 0.25}
    (opinion,) = trace.info.assessments
    assert (opinion.name, opinion.value, opinion.rationale, opinion.source.source_type) == (
        "judge:clear", 4, "Short.", "LLM_JUDGE",
    )  # fmt: skip


def test_an_application_s_calls_are_spans(store: Tracking) -> None:
    """Each question to a model is a span below the answer, in its order, with tokens and prompt."""
    run = store.start_run("calls", "evaluate")
    asked = ({"role": "user", "content": "Classify"},)
    calls = [
        Call(role, "small", name, asked, "billing", 9, 2, 0.5, True, 0.001)
        for role, name in (("main", "classify"), ("main", ""))
    ]
    (plain,) = answers(count=1)
    store.log_answers(run, ABOUT, [replace(plain, messages=[], calls=calls)])
    (trace,) = store.client.search_traces(locations=[run.experiment_id])
    spans = {span.name: span for span in trace.data.spans}
    assert sorted(spans) == ["answer", "main 1", "main 2", "score"]
    first, second = spans["main 1"], spans["main 2"]
    assert first.parent_id == second.parent_id == spans["answer"].span_id
    assert second.start_time_ns == first.end_time_ns == first.start_time_ns + 500_000_000
    assert (first.inputs, first.outputs) == ([dict(asked[0])], "billing")
    assert first.get_attribute("gen_ai.usage.input_tokens") == 9
    assert first.get_attribute("sluice.prompt") == "classify"


def test_written_again_nothing_is_double(store: Tracking) -> None:
    """The same run's answers written a second time are the same traces, with the same assessments."""
    run, _ = logged(store, "again")
    store.log_answers(run, ABOUT, answers())
    found = store.client.search_traces(locations=[run.experiment_id], max_results=100)
    assert len(found) == COUNT
    assert sum(len(trace.info.assessments) for trace in found) == COUNT


def test_a_lost_trace_or_assessment_is_an_error(store: Tracking) -> None:
    """What is stored is counted: a missing trace and a missing assessment both stop, and the
    message says how many.
    """
    run, found = logged(store, "lost")
    from mlflow.tracing.client import TracingClient

    gone = found[0].info.assessments[0]
    TracingClient(store.url).delete_assessment(found[0].info.trace_id, gone.assessment_id)
    with pytest.raises(TrackingError, match=r"4 of 4 traces and 3 of 4 assessments"):
        traces._verify(store.client, run.experiment_id, run.id, answers())
    store.client.delete_traces(run.experiment_id, trace_ids=[found[0].info.trace_id])
    with pytest.raises(TrackingError, match=r"3 of 4 traces"):
        traces._verify(store.client, run.experiment_id, run.id, answers())


def test_what_people_wrote_comes_back(store: Tracking) -> None:
    """A correction, a change in place, an own assessment and an expected answer; a judge's own word
    does not.
    """
    from mlflow.entities import AssessmentSource, Expectation, Feedback
    from mlflow.tracing.client import TracingClient

    _, found = logged(store, "people")
    judged = found[0].info.assessments[0]
    say(store, found[0], "judge:clear", 2, rationale="no", overrides=judged.assessment_id)
    edited = Feedback(name="judge:clear", value=1, source=judged.source, metadata=judged.metadata)
    TracingClient(store.url).update_assessment(
        found[1].info.trace_id, found[1].info.assessments[0].assessment_id, edited
    )
    say(store, found[2], "polite", True, by="ben")
    expected = Expectation(
        name="answer", value="Order 2 is late", source=AssessmentSource("HUMAN", "ben")
    )
    TracingClient(store.url).log_assessment(found[2].info.trace_id, expected)
    words, known = store.human_words("people")
    assert known == {trace.info.trace_id for trace in found}
    assert sorted(
        (word.example, word.name, word.value, word.by, word.expected) for word in words
    ) == [
        ("e0", "judge:clear", 2, "ana", False),
        ("e1", "judge:clear", 1, "unknown", False),
        ("e2", "answer", "Order 2 is late", "ben", True),
        ("e2", "polite", True, "ben", False),
    ]
    first = next(word for word in words if word.example == "e0")
    assert first.rationale == "no"
    assert (first.output, first.references, first.group, first.other) == (
        "It is late: 0",
        ("Late 0",),
        "g0",
        "Nothing.",
    )


@pytest.fixture
def project(
    tmp_path: Path, store: Tracking, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Project, list[Any]]]:
    """A project with a judge, four traced answers and reviews: two labels, one out of scale, one
    about nothing known.
    """
    root = tmp_path / "project"
    init(root)
    (root / "prompts" / "judge_clear.yaml").write_text(criterion_text("clear"))
    name = f"p{tmp_path.name}"
    (root / "params.yaml").write_text(
        (root / "params.yaml").read_text().replace("name: support-summaries", f"name: {name}")
    )
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store.url)
    monkeypatch.chdir(root)
    _, found = logged(store, name)
    say(store, found[0], "judge:clear", 2, rationale="no verb")
    say(store, found[0], "judge:clear", 5, by="ben")
    say(store, found[1], "judge:clear", 9)
    say(store, found[2], "polite", "very")
    yield Project(root), found
    shutil.rmtree(root, ignore_errors=True)


def test_reviews_become_labels(project: tuple[Project, list[Any]]) -> None:
    """Reviews of a judge join its labels, who and why are kept, and what is out of its scale is
    refused by name.
    """
    here, _ = project
    found = pull(open_run(here))
    assert (found.lines, found.new, found.gone) == (4, 4, 0)
    assert found.judges == {"clear": {"added": 2, "changed": 0}}
    assert len(found.refused) == 1
    assert "e1, judge clear, ana: 9 is not between 1 and 5" in found.refused[0]
    lines = [json.loads(line) for line in Path(found.file).read_text("utf-8").splitlines()]
    assert {(line["example"], line["judge"], line["label"], line["rater"]) for line in lines} == {
        ("e0", "clear", 2, "ana"), ("e0", "clear", 5, "ben"), ("e1", "clear", 9, "ana"), ("e2",
        "polite", "very", "ana"),
    }  # fmt: skip
    labels = read_labels(
        here.root / "data/labels/clear.jsonl", load_criterion(here.prompts / "judge_clear.yaml")
    )
    (row,) = labels.rows
    assert (row.group, row.row.output, sorted(row.labels)) == ("g0", "It is late: 0", [0.25, 1.0])


def test_pulled_twice_is_pulled_once(project: tuple[Project, list[Any]], store: Tracking) -> None:
    """A second pull changes no byte; a changed mind takes the place of the former, and a word taken
    back goes.
    """
    here, found = project
    pull(open_run(here))
    files = {path: path.read_bytes() for path in (here.root / "data" / "labels").iterdir()}
    again = pull(open_run(here))
    assert (again.new, again.judges) == (0, {"clear": {"added": 0, "changed": 0}})
    assert {path: path.read_bytes() for path in (here.root / "data" / "labels").iterdir()} == files
    say(store, found[0], "judge:clear", 4)
    changed = pull(open_run(here))
    assert (changed.lines, changed.new, changed.judges["clear"]) == (
        4,
        1,
        {"added": 0, "changed": 1},
    )
    from mlflow.tracing.client import TracingClient

    polite = next(
        one
        for one in store.client.get_trace(found[2].info.trace_id).info.assessments
        if one.name == "polite"
    )
    TracingClient(store.url).delete_assessment(found[2].info.trace_id, polite.assessment_id)
    last = pull(open_run(here))
    assert (last.gone, last.lines) == (1, 3)


def test_labels_outlive_the_traces(project: tuple[Project, list[Any]], store: Tracking) -> None:
    """Traces deleted in MLflow take no label with them; a file of somebody else is left alone."""
    here, found = project
    pull(open_run(here))
    store.client.delete_traces(
        found[0].info.experiment_id, trace_ids=[trace.info.trace_id for trace in found]
    )
    assert (pull(open_run(here)).lines, pull(open_run(here)).gone) == (4, 0)
    other = here.root / "notes.jsonl"
    other.write_text('{"mine": 1}\n')
    with pytest.raises(DataError, match="not written by"):
        pull(open_run(here), other)
    assert other.read_text() == '{"mine": 1}\n'


def test_the_command(project: tuple[Project, list[Any]]) -> None:
    """`sluice feedback pull` says what came, what was refused, and what to do next."""
    result = CliRunner().invoke(sluice, ["feedback", "pull"])
    assert result.exit_code == 0, result.output
    assert "4 reviews in" in result.output
    assert "judge clear: 2 labels added" in result.output
    assert "not between 1 and 5" in result.output
    assert "sluice judge calibrate clear" in result.output
