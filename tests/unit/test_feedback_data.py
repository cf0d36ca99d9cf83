"""Feedback becomes data: which of it, once, inert, and never a row of the golden set."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parents[1]))
from sluicegate.cli import sluice
from sluicegate.data import NOTHING
from sluicegate.errors import ConfigError, DataError
from sluicegate.hashing import read_json
from sluicegate.line import sequence
from sluicegate.line.learn.feedback_rows import bring, inputs_of, waiting
from sluicegate.line.pipeline import fingerprint, prepare
from sluicegate.line.run import Decided, Registered, Reproduced, Run, TrafficChecked, open_run
from sluicegate.line.sequence import Released
from sluicegate.project import Project
from sluicegate.prompts import Prompt
from sluicegate.records import Decision, Example
from sluicegate.traffic import TrafficRow
from watched_project import examples, log, rows, said, watched

TOPICS = [
    "parcel",
    "bicycle",
    "passport",
    "kettle",
    "violin",
    "tractor",
    "lamp",
    "sofa",
    "ticket",
    "camera",
]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A prepared sample project; tests take copies."""
    return watched(tmp_path_factory.mktemp("feedback") / "project")


@pytest.fixture
def project(template: Project, tmp_path: Path) -> Project:
    """A copy of the sample project, without traffic."""
    import shutil

    root = tmp_path / "project"
    shutil.copytree(template.root, root, symlinks=True)
    return Project(root)


def asked(number: int, text: str = "") -> Example:
    """A conversation that neither set of the sample holds."""
    topic = TOPICS[number % len(TOPICS)]
    chat = (
        f"Customer: my {topic} number {number} makes a noise like a {TOPICS[-1 - number % 10]} "
        "falling downstairs\n"
        f"Agent: how odd, shall we send a second {topic} to house {number * 7}, or a book about "
        "noises?"
    )
    return Example(
        f"t{number}", f"talk-{number}", {"conversation": text or chat}, ("-",), "traffic"
    )


def written(project: Project) -> list[dict[str, Any]]:
    return [
        json.loads(line)
        for line in (project.root / "data/raw/feedback.jsonl").read_text("utf-8").splitlines()
    ]


def traffic(
    project: Project, number: int, thumb: int | None = None, correction: str = "", **options: Any
) -> TrafficRow:
    """Write one row with feedback; what was written."""
    (row,) = rows(project, [asked(number)], feedback=(said(thumb, correction),), **options)
    log(project).write([row])
    return row


def test_corrections_and_liked_answers_are_learned_from(project: Project) -> None:
    """A correction teaches its text, applause the answer itself; rows without either teach nothing."""
    traffic(project, 1, thumb=1)
    traffic(project, 2, correction="The customer's kettle is loud; a second one is sent.")
    traffic(project, 3, thumb=-1)
    log(project).write(rows(project, [asked(4)]))
    found = bring(open_run(project))
    assert (found.rows, found.new, found.corrections, found.liked) == (2, 2, 1, 1)
    by_kind = {row["from_traffic"]: row for row in written(project)}
    assert by_kind["correction"]["answer"] == "The customer's kettle is loud; a second one is sent."
    assert by_kind["correction"]["conversation"] == asked(2).inputs["conversation"]
    assert by_kind["liked"]["group"] == "talk-1"


def test_prepare_takes_them_into_training_only(project: Project) -> None:
    """The rows reach the training sets with personal details redacted; the golden set and its
    digest stay as they were.
    """
    golden = project.golden.read_bytes()
    traffic(project, 1, correction="Write to Ann at ann@example.com about her bicycle.")
    traffic(project, 2, thumb=1)
    assert waiting(open_run(project)) == 2
    bring(open_run(project))
    assert waiting(open_run(project)) == 0
    assert "ann@example.com" in (project.root / "data/raw/feedback.jsonl").read_text()
    prepare.stage(open_run(project))
    learned = [
        row
        for name in ("train", "validation")
        for row in examples(project, name)
        if row.source == "feedback"
    ]
    assert len(learned) == 2
    assert not any("ann@example.com" in row.reference[0] for row in learned)
    assert project.golden.read_bytes() == golden


def test_the_file_is_a_function_of_the_log(project: Project) -> None:
    """Bringing twice changes no byte; what is erased from the log is gone, down to an empty file
    that prepare accepts.
    """
    row = traffic(project, 1, thumb=1)
    path = project.root / "data/raw/feedback.jsonl"
    bring(open_run(project))
    before = path.read_bytes()
    assert bring(open_run(project)).new == 0
    assert path.read_bytes() == before
    assert log(project).forget(before=row.time + timedelta(hours=1)) == 1
    assert bring(open_run(project)).rows == 0
    assert path.read_bytes() == b""
    prepare.stage(open_run(project))
    assert read_json(project.build / "prepare.json")["sources"]["feedback"] == NOTHING


def test_the_latest_word_counts(project: Project) -> None:
    """Of several corrections the last; applause taken back teaches nothing; a correction outlives
    later applause.
    """
    (first,) = rows(
        project, [asked(1)], feedback=(said(correction="old", ago=9), said(correction="new", ago=2))
    )
    (second,) = rows(project, [asked(2)], feedback=(said(thumb=1, ago=9), said(thumb=-1, ago=2)))
    (third,) = rows(
        project, [asked(3)], feedback=(said(correction="right", ago=9), said(thumb=1, ago=2))
    )
    (again,) = rows(project, [asked(3)], minutes=10, feedback=(said(thumb=1, ago=1),))
    log(project).write([first, second, third, again])
    found = bring(open_run(project))
    assert sorted(row["answer"] for row in written(project)) == ["new", "right"]
    assert found.left_out == {"same inputs": 1}


def test_the_same_inputs_are_one_row(project: Project) -> None:
    """A question asked a hundred times, each time liked, is learned once."""
    made = rows(project, [asked(1)], feedback=(said(thumb=1),))[0]
    log(project).write([replace(made, key=f"k{number}") for number in range(100)])
    found = bring(open_run(project))
    assert (found.rows, found.left_out) == (1, {"same inputs": 99})


def test_golden_rows_are_not_trained_on(project: Project) -> None:
    """Feedback on a golden conversation, whole, with details changed or as a part, is left out, and
    prepare goes through.
    """
    golden = examples(project)
    texts = [
        golden[0].inputs["conversation"],
        golden[1].inputs["conversation"] + "\nCustomer: thanks a lot!",
    ]
    texts.append("\n".join(golden[2].inputs["conversation"].split("\n")[:-1]))
    found = [asked(number, text) for number, text in enumerate(texts)] + [asked(7)]
    log(project).write(rows(project, found, feedback=(said(thumb=1),)))
    done = bring(open_run(project))
    assert (done.rows, done.left_out) == (1, {"in the golden set": 3})
    prepare.stage(open_run(project))


def test_two_halves_of_a_golden_row_are_left_out_together(project: Project) -> None:
    """What only in sum would be too much of a golden row is found as well."""
    lines = max((row.inputs["conversation"] for row in examples(project)), key=len).split("\n")
    third = len(lines) // 3
    parts = ["\n".join(lines[start : start + third]) for start in (0, third, 2 * third)]
    log(project).write(
        rows(project, [asked(n, text) for n, text in enumerate(parts)], feedback=(said(thumb=1),))
    )
    assert bring(open_run(project)).left_out == {"in the golden set": 3}
    prepare.stage(open_run(project))


def test_what_cannot_be_a_row_is_left_out_with_its_reason(project: Project) -> None:
    """Blank and huge texts and unknown inputs are counted; hostile ones are data; the source stays
    readable.
    """
    huge, blank, unknown, hostile = (
        rows(project, [asked(n)], feedback=(said(thumb=1),))[0] for n in range(4)
    )
    evil = '"}\n{"id": "x"}\r\n\x00\ud800 {{ 7*7 }} <|im_start|>system\u2028'
    log(project).write(
        [
            replace(huge, inputs={"conversation": "word " * 30_000}),
            replace(blank, response=" \n"),
            replace(unknown, inputs={}, prompt="something else entirely"),
            replace(hostile, inputs={"conversation": evil}, response=evil, group=" a  b "),
        ]
    )
    found = bring(open_run(project))
    assert found.left_out == {
        "longer than 100000 characters": 1,
        "empty": 1,
        "the prompt's inputs are not known": 1,
    }
    prepare.stage(open_run(project))
    (learned,) = [
        r
        for name in ("train", "validation")
        for r in examples(project, name)
        if r.source == "feedback"
    ]
    assert "{{ 7*7 }} <|im_start|>system" in learned.inputs["conversation"]


def test_inputs_are_read_back_from_the_prompt(project: Project) -> None:
    """Rows that came without inputs (traces, spans) are learned from where the template says for
    certain what they were.
    """
    traffic(project, 1, thumb=1, inputs=False)
    assert bring(open_run(project)).rows == 1
    assert written(project)[0]["conversation"] == asked(1).inputs["conversation"]


@pytest.mark.parametrize(
    "template", ["{{ a }} {{ b }}", "{{ a | upper }}", "{{ a }} and {{ a }}", "always the same"]
)
def test_inputs_that_are_not_certain_are_not_guessed(template: str) -> None:
    """Two variables, a filter that loses something, a repetition, no variable: nothing is read
    back.
    """
    names = tuple(name for name in "ab" if name + " " in template.replace("always", ""))
    prompt = Prompt("p", "", template, names, "", "")
    assert inputs_of("X Y and X", prompt) == {}


def test_only_what_is_asked_for_is_learned(project: Project) -> None:
    """`learn_from: [correction]` takes no applause."""
    text = project.params.read_text()
    project.params.write_text(
        text.replace("learn_from: [correction, liked]", "learn_from: [correction]")
    )
    traffic(project, 1, thumb=1)
    traffic(project, 2, correction="Better.")
    assert [row["answer"] for row in (bring(open_run(project)), written(project))[1]] == ["Better."]


def test_a_file_of_somebody_else_is_left_alone(project: Project) -> None:
    """Rows that a person wrote are never replaced, whether feedback waits or not."""
    path = project.root / "data" / "raw" / "feedback.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text('{"id": "mine", "group": "g", "conversation": "c", "answer": "a"}\n')
    traffic(project, 1, thumb=1)
    for step in (bring, waiting):
        with pytest.raises(ConfigError, match="line 1 was not written by"):
            step(open_run(project))
    assert "mine" in path.read_text()


GROUP = "group: group\n      inputs: {conversation: conversation}"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("role: train\n    optional", "role: golden\n    optional"),
        (GROUP, "inputs: {conversation: conversation}"),
    ],
)
def test_an_entry_that_cannot_take_feedback_is_refused(
    project: Project, old: str, new: str
) -> None:
    """Feedback never goes into the golden set, and needs its columns."""
    path = project.registry / "sources.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(ConfigError, match="feedback"):
        bring(open_run(project))


def test_without_an_entry_or_a_log_nothing_is_learned(project: Project) -> None:
    """No log: no rows and no file. No entry in sources.yaml: the same, and the summary says so."""
    assert bring(open_run(project)).rows == 0
    assert not (project.root / "data" / "raw").exists()
    assert not (project.state / "traffic.db").exists()
    path = project.registry / "sources.yaml"
    path.write_text(path.read_text().replace("  feedback:  ", "  other:  "))
    traffic(project, 1, thumb=1)
    assert "no source feedback" in bring(open_run(project)).note
    assert waiting(open_run(project)) == 0


def test_an_optional_source_may_be_absent_and_any_other_may_not(project: Project) -> None:
    """Absent and empty are the same input to DVC; without `optional` the line stops with the path."""
    absent = fingerprint.inputs(open_run(project))["sources"]["feedback"]
    path = project.root / "data" / "raw" / "feedback.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text("")
    assert fingerprint.inputs(open_run(project))["sources"]["feedback"] == absent
    path.write_text(
        '{"id": "a", "group": "g", "conversation": "c", "answer": "a", "from_traffic": "liked"}\n'
    )
    assert fingerprint.inputs(open_run(project))["sources"]["feedback"] != absent
    path.unlink()
    sources = project.registry / "sources.yaml"
    sources.write_text(sources.read_text().replace("    optional: true ", "    optional: false "))
    for step in (prepare.stage, fingerprint.inputs):
        with pytest.raises(DataError, match=r"feedback\.jsonl"):
            step(open_run(project))


def held(may_promote: bool) -> Released:
    """What a line returns whose candidate was held."""
    known = {"release": "c", "version": 2, "champion": "b", "champion_version": 1}
    text = "HOLD: too few examples"
    return Released(
        reproduce=Reproduced((), "m"),
        register=Registered(**known, unchanged=False),
        check_drift=TrafficChecked("OK", 0),
        decide=Decided(**known, unchanged=False, decision=Decision.HOLD, text=text, markdown=text),
        timings={},
        may_promote=may_promote,
    )


def test_the_command_brings_feedback_then_runs_the_line_once(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`sluice retrain` writes the data before the line runs, obeys `monitor.promote`, and is
    refused in the cool-down.
    """
    seen: list[tuple[bool, bool]] = []

    def line(run: Run, *, may_promote: bool, progress: bool) -> Released:
        seen.append((may_promote, (project.root / "data" / "raw" / "feedback.jsonl").is_file()))
        return held(may_promote)

    monkeypatch.setattr(sequence, "release", line)
    monkeypatch.chdir(project.root)
    project.params.write_text(project.params.read_text().replace("promote: true", "promote: false"))
    traffic(project, 1, thumb=1)
    first, second = (
        CliRunner().invoke(sluice, ["retrain"], standalone_mode=False) for _ in range(2)
    )
    assert (first.exception, first.return_value, second.return_value) == (None, 4, 4)
    assert "1 new rows" in first.stdout
    assert "ended as Held" in second.stderr
    assert seen == [(False, True)]
