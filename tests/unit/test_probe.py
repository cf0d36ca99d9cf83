"""`sluice probe`: a promised rate of false alarms, another model is found, names are told apart."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parents[1]))
from chat_server import Asked, ChatServer, send
from sluicegate.cli import sluice
from sluicegate.errors import (
    BudgetError,
    ConfigError,
    DataError,
    EnvironmentFailure,
    EvidenceError,
    IntegrityError,
    UsageError,
)
from sluicegate.line.run import open_run
from sluicegate.line.watch.recorded import recorded_path
from sluicegate.monitoring.probing import ALPHA, Said, compare_answers, distances, permuted
from sluicegate.project import Project
from watched_project import examples, watched

LETTERS = [Said(text) for text in ("Paris.", "It is Paris.", "Paris, I think.", "London.", "Rome.")]


def test_unchanged_days_alarm_as_rarely_as_promised() -> None:
    """Random answers of one model: no more than 2 % of 1,000 days, each with its own record."""
    chance = np.random.default_rng(5)
    [apart] = distances(LETTERS)
    alarms = 0
    for _ in range(1000):
        drawn = [chance.choice(5, 11, p=[0.4, 0.3, 0.1, 0.1, 0.1]) for _ in range(4)]
        alarms += permuted([[apart[np.ix_(one, one)]] for one in drawn], [3] * 4).changed
    assert 5 <= alarms <= 1000 * ALPHA + 13


def test_one_prompt_of_eight_that_changed_is_enough_where_answers_are_steady() -> None:
    """Twelve equal answers before, three other ones now: p is that of one order in 455."""
    steady = [[LETTERS[0]] * 12] * 8
    found = compare_answers(steady, [[LETTERS[0]] * 3] * 7 + [[LETTERS[3]] * 3])
    assert found.changed
    assert found.prompts[:7] == (1.0,) * 7
    assert found.prompts[7] == found.p < 0.01
    assert compare_answers(steady, [[LETTERS[0]] * 3] * 8).p == 1.0


def test_probabilities_show_what_texts_do_not() -> None:
    """Equal texts from another model: other probabilities are seen, noise of servers is not."""

    def said(chance: float) -> Said:
        return Said("Yes", ({"Yes": np.log(chance), "No": np.log(1 - chance)},))

    before = [[said(0.9 + step * 0.0005) for step in range(8)]] * 4
    same = [[said(0.902), said(0.904)]] * 4
    assert compare_answers(before, same).p == 1.0
    assert compare_answers(before, [[said(0.8), said(0.8)]] * 4).changed
    assert not compare_answers(before, [[Said("Yes"), Said("Yes")]] * 4).changed


def test_nothing_to_compare_is_an_error() -> None:
    """No prompt, no answer, or other prompts: never `the same`."""
    for before, now in (([], []), ([LETTERS], [[]]), ([LETTERS], [LETTERS, LETTERS])):
        with pytest.raises(EvidenceError):
            compare_answers(before, now)


class Server:
    """What answers, and under which name; `mood` goes into every answer."""

    def __init__(self) -> None:
        self.mood, self.model, self.fingerprint, self.fails = "kind", "m-2026", "fp_1", False
        self.other = ""

    async def __call__(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        if self.fails:
            return send(writer, b'{"error": {"message": "no"}}', 400)
        mood = self.other if self.other and asked.number % 2 else self.mood
        message = {"role": "assistant", "content": f"A {mood} answer to {asked.text[-20:]}"}
        body = {
            "model": self.model,
            "system_fingerprint": self.fingerprint,
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 30, "completion_tokens": 10},
        }
        send(writer, json.dumps(body).encode())


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A sample project with a champion, a golden set and an MLflow store; tests take copies."""
    made = watched(tmp_path_factory.mktemp("probe") / "project")
    open_run(made).tracking.experiment("support-summaries")
    return made


@pytest.fixture
def server() -> Iterator[tuple[Server, ChatServer]]:
    behave = Server()
    with ChatServer(behave) as running:
        yield behave, running


@pytest.fixture
def project(
    template: Project,
    server: tuple[Server, ChatServer],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Project:
    """A copy of it whose model `hosted` is that server, as the working folder."""
    root = tmp_path / "project"
    shutil.copytree(template.root, root, symlinks=True)
    endpoint = f"url: '{server[1].url}', model: alias, allow_private: true, tries: 1"
    models = root / "registry" / "models.yaml"
    price = "price: {input: 1.0, output: 2.0}"
    models.write_text(f"models:\n  hosted:\n    endpoint: {{{endpoint}, {price}}}\n")
    monkeypatch.chdir(root)
    return Project(root)


def command(*arguments: str) -> tuple[int, dict[str, Any]]:
    """Exit code and JSON of `sluice probe hosted`."""
    words = ["probe", "hosted", "--json", *arguments]
    done = CliRunner().invoke(sluice, words, standalone_mode=False)
    if done.exception is not None:
        raise done.exception
    return int(done.return_value), json.loads(done.stdout)


def set_probe(project: Project, before: str, after: str) -> None:
    text = project.params.read_text()
    assert before in text
    project.params.write_text(text.replace(before, after))


def test_another_model_behind_the_name_is_found(
    project: Project, server: tuple[Server, ChatServer]
) -> None:
    """0 while it answers the same, 1 from the day on which it does not; what it cost is told."""
    code, made = command("--record", "--reason", "first")
    assert (code, made["calls"], made["p"]) == (0, 96, None)
    assert made["recorded"][0]["reason"] == "first"
    ledger = (project.state / "ledger.db").read_bytes()
    code, found = command()
    assert (code, found["status"], found["p"], found["calls"]) == (0, "OK", 1.0, 24)
    assert found["cost"] == pytest.approx((found["tokens"] + 24 * 10) / 1e6)  # answers cost double
    server[0].mood = "curt"
    code, found = command()
    assert (code, found["status"], found["alarm"]) == (1, "CHANGED", True)
    assert found["p"] <= ALPHA
    assert "recorded: A kind answer" in found["text"]
    assert "today:    A curt answer" in found["text"]
    assert found["run_id"]
    assert (project.state / "ledger.db").read_bytes() == ledger


def test_golden_inputs_are_asked_and_no_reference(
    project: Project, server: tuple[Server, ChatServer]
) -> None:
    """The prompts are eight rows of the golden set, each request under a seed of its own."""
    command("--record", "--reason", "first")
    command()
    asked = server[1].asked
    texts = {one.text for one in asked}
    rows = examples(project)
    assert len(texts) == 8
    assert all(any(row.inputs["conversation"] in text for row in rows) for text in texts)
    references = [text for row in rows for text in row.reference]
    assert references
    assert not any(reference in text for reference in references for text in texts)
    assert len({one.body["seed"] for one in asked}) == len(asked) == 96 + 24


def test_names_are_told_apart_from_answers(
    project: Project, server: tuple[Server, ChatServer]
) -> None:
    """A new fingerprint with the same answers is a note; another model's name is an alarm."""
    command("--record", "--reason", "first")
    server[0].fingerprint = "fp_2"
    code, found = command()
    assert (code, found["notes"]) == (0, ["new system_fingerprint: fp_2."])
    server[0].model = "m-2027"
    code, found = command()
    assert (code, found["p"]) == (1, 1.0)
    assert "replies name m-2027; before, m-2026." in found["notes"]


def test_people_are_told_once(
    project: Project, server: tuple[Server, ChatServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The alarm goes out, not again the next day, and once more when it is over."""
    sent: list[str] = []

    def send(text: str, name: str) -> str:
        sent.append(text)
        return ""

    monkeypatch.setattr("sluicegate.line.watch.check.send", send)
    set_probe(project, 'webhook_env: ""', "webhook_env: ALARMS")
    command("--record", "--reason", "first")
    for mood in ("kind", "curt", "curt", "kind", "kind"):
        server[0].mood = mood
        command()
    server[0].mood = "curt"
    command("--quiet")
    assert [text.splitlines()[0].partition(" (")[0] for text in sent] == [
        "hosted: another model answers",
        "hosted: the same model answers",
    ]


def test_more_answers_can_be_added_and_recording_starts_anew(
    project: Project, server: tuple[Server, ChatServer]
) -> None:
    """Answers of another hour join the recorded ones; a new record replaces both."""
    command("--record", "--reason", "first")
    server[0].other = "busy"  # every second answer
    assert "24 answers to each of 8" in command("--add", "--reason", "at night")[1]["text"]
    assert command()[0] == 0
    server[0].mood, server[0].other = "curt", ""
    assert command()[0] == 1
    _, made = command("--record", "--reason", "the vendor announced it")
    assert [one["reason"] for one in made["recorded"]] == ["the vendor announced it"]
    assert command()[0] == 0
    for wrong in (("--record",), ("--add", "--record", "--reason", "x")):
        with pytest.raises(UsageError):
            command(*wrong)


def test_prompts_of_a_file(project: Project, server: tuple[Server, ChatServer]) -> None:
    """`probe.file` is asked instead; a line that is no prompt is named."""
    path = project.root / "probe.jsonl"
    path.write_text('{"id": "a", "prompt": "Capital of Peru?"}\n{"messages": [{"role": "user"}]}\n')
    set_probe(project, 'file: ""', "file: probe.jsonl")
    with pytest.raises(DataError, match="line 2"):
        command("--record", "--reason", "first")
    path.write_text('{"id": "a", "prompt": "Capital of Peru?"}\n')
    command("--record", "--reason", "first")
    assert list(command()[1]["prompts"]) == ["a"]
    assert {one.text for one in server[1].asked} == {"Capital of Peru?"}
    path.unlink()
    assert command()[0] == 0  # what was recorded is asked
    with pytest.raises(ConfigError, match="there is no"):
        command("--record", "--reason", "again")


def test_what_cannot_be_compared_is_an_error_and_nothing_is_kept(
    project: Project, server: tuple[Server, ChatServer]
) -> None:
    """Nothing recorded, other settings, a changed file, a failed request, a spent budget."""
    with pytest.raises(UsageError, match="no answers of hosted are recorded"):
        command()
    path = recorded_path(open_run(project), "hosted")
    with pytest.raises(BudgetError):
        command("--record", "--reason", "first", "--max-tokens", "50")
    server[0].fails = True
    with pytest.raises(EnvironmentFailure, match="96 of 96 requests got no answer"):
        command("--record", "--reason", "first")
    assert not path.exists()
    server[0].fails = False
    command("--record", "--reason", "first")
    assert path.stat().st_mode & 0o077 == 0
    with pytest.raises(BudgetError):
        command("--max-cost", "0.000001")
    set_probe(project, "temperature: 0.0                 # 0 sees", "temperature: 0.5 # 0 sees")
    with pytest.raises(UsageError, match="other settings"):
        command()
    set_probe(project, "temperature: 0.5 # 0 sees", "temperature: 0.0 # 0 sees")
    path.write_text(path.read_text().replace("kind", "curt"))
    with pytest.raises(IntegrityError, match="not written by this project"):
        command()
    done = CliRunner().invoke(sluice, ["probe", "hostd"], standalone_mode=False)
    assert isinstance(done.exception, ConfigError)
    assert "did you mean hosted?" in str(done.exception)
