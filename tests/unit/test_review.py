"""Reviews by people: blind, in a kept order, safe from kills, in the ledger, and in the verdict."""

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
from compared_project import ask, at_the_keyboard, compared, task
from sluicegate.cli import sluice
from sluicegate.errors import (
    BusyError,
    DataError,
    EvidenceError,
    NotApprovedError,
    UsageError,
)
from sluicegate.evaluation import read_evidence, write_evidence
from sluicegate.gates import decide as judge_evidence
from sluicegate.ledger import Ledger
from sluicegate.line.release.decide import facts
from sluicegate.line.release.review import Session, turned
from sluicegate.line.release.review_exchange import export_tasks, import_tasks
from sluicegate.line.run import Run, TrafficChecked, open_run
from sluicegate.records import Decision, Verdict
from sluicegate.releasing import reviews_of

DIFFERING = 20


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return ask(compared(tmp_path_factory.mktemp("compared") / "p", DIFFERING))


@pytest.fixture
def run(made: Run, tmp_path: Path) -> Iterator[Run]:
    """The project without any review; somebody else than its maker sits there."""
    shutil.copytree(made.project.root, tmp_path / "p", symlinks=True)
    with at_the_keyboard("somebody@desk"):
        yield open_run(tmp_path / "p")


def answer_all(session: Session, choice: str = "same", count: int = DIFFERING) -> list[str]:
    """Answer the next pairs; which they were."""
    seen = []
    for _ in range(count):
        seen.append(str(session.view()["pair"]))
        session.answer(seen[-1], choice, [], [])
    return seen


def verdict(run: Run) -> Verdict:
    """What the policy makes of the reviews that are recorded."""
    folder = run.project.evidence
    candidate, champion = (
        read_evidence(folder / f"{side}.parquet") for side in ("candidate", "champion")
    )
    reviews = reviews_of(run.ledger.entries(), candidate.release)
    return judge_evidence(candidate, champion, run.policy, facts={}, reviews=reviews)


def test_only_differing_pairs_are_asked_and_it_is_blind(run: Run) -> None:
    """Equal rows are counted as saved; the view names no release and no side."""
    with Session(run, "ana") as session:
        view = session.view()
        assert (view["total"], view["done"]) == (DIFFERING, 0)
        assert view["equal"] == len(session.task.candidate.rows) - DIFFERING
        text = json.dumps(view)
        assert session.task.candidate.release[:8] not in text
        assert "candidate" not in text
        assert "champion" not in text
    sides = {turned(pair) for pair in session.task.pairs}
    assert sides == {True, False}


def test_votes_are_about_the_candidate_whatever_side_it_was_on(run: Run) -> None:
    """Whoever always prefers the longer answer votes for the candidate in each pair."""
    with Session(run, "ana") as session:
        pairs = {pair.digest: pair for pair in session.task.pairs}
        for _ in range(DIFFERING):
            digest = str(session.view()["pair"])
            right = turned(pairs[digest])
            session.answer(
                digest, "right" if right else "left", *([], ["form"])[:: 1 if right else -1]
            )
    (entry,) = run.ledger.entries("review")
    answers = entry.payload["answers"]
    assert {one["vote"] for one in answers} == {"better"}
    assert {tuple(one["candidate"]) for one in answers} == {("form",)}
    assert {tuple(one["champion"]) for one in answers} == {()}
    assert (entry.actor, entry.payload["via"]) == ("ana", "page")
    assert entry.payload["evidence"] == session.task.candidate.digest
    assert entry.payload["champion_evidence"] == session.task.champion.digest


def test_a_kill_loses_nothing_that_was_answered(run: Run) -> None:
    """The order and the answers come back; half a line, which a kill cut off, is asked again."""
    session = Session(run, "ana")
    session.__enter__()
    first = answer_all(session, count=3)
    upcoming = [pair.digest for pair in session.left]
    session._lock.release()  # killed: nothing was recorded
    with session._file.open("ab") as stream:
        stream.write(b'{"id": "cut off')
    assert not run.ledger.entries("review")
    with Session(run, "ana") as again:
        assert again.view()["done"] == 3
        assert [pair.digest for pair in again.left] == upcoming
        again.answer(upcoming[0], "left", [], [])
    (entry,) = run.ledger.entries("review")
    assert [one["pair"] for one in entry.payload["answers"]] == [*first, upcoming[0]]
    with Session(run, "ana") as last:
        assert last.view()["done"] == 4
    assert len(run.ledger.entries("review")) == 1


def test_undo_asks_again_and_a_second_press_answers_once(run: Run) -> None:
    """Undone answers are not recorded; a pair that is no longer shown takes no answer."""
    with Session(run, "ana") as session:
        (first,) = answer_all(session, "left", 1)
        session.answer(first, "right", [], [])
        assert session.view()["done"] == 1
        session.undo()
        assert session.view()["pair"] == first
        session.undo()
        session.answer(first, "same", [], [])
    (entry,) = run.ledger.entries("review")
    assert [one["vote"] for one in entry.payload["answers"]] == ["same"]


def test_wrong_answers_are_refused(run: Run) -> None:
    """A choice or a fault that is not on the list is an error and leaves nothing."""
    with Session(run, "ana") as session:
        pair = str(session.view()["pair"])
        with pytest.raises(UsageError, match="no choice"):
            session.answer(pair, "best", [], [])
        with pytest.raises(UsageError, match="no fault"):
            session.answer(pair, "left", ["ugly"], [])
        assert session.view()["done"] == 0


def test_each_person_has_an_order_and_agreement_is_shown(run: Run) -> None:
    """Another order for another person; agreement appears from five shared pairs on."""
    with Session(run, "ana") as session:
        ana = [pair.digest for pair in session.left]
        for place in range(DIFFERING):
            session.answer(ana[place], "left" if place % 2 else "right", [], [])
        assert session.view()["agreement"] == ""
    with Session(run, "ben") as session:
        ben = [pair.digest for pair in session.left]
        assert ben != ana
        assert sorted(ben) == sorted(ana)
        for place, pair in enumerate(ben):
            session.answer(pair, "left" if ana.index(pair) % 2 else "right", [], [])
            shown = session.view()["agreement"]
            assert bool(shown) == (place >= 4)
        assert "alpha 1.00" in shown


def test_the_gate_counts_them(run: Run) -> None:
    """HOLD with the number of open pairs, then PROMOTE; the meaning of answers is checked."""
    assert f"{DIFFERING} of {DIFFERING} pairs" in verdict(run).rules[0].reason
    with Session(run, "ana") as session:
        answer_all(session, count=5)
    assert f"{DIFFERING - 5} of {DIFFERING} pairs" in verdict(run).rules[0].reason
    with Session(run, "ana") as session:
        answer_all(session, count=DIFFERING - 5)
    found = verdict(run)
    assert found.decision is Decision.PROMOTE
    assert "reviewed by ana" in found.rules[0].reason
    prepared = run.project.build / "prepare.json"
    assert prepared.is_file()
    checked = facts(run, session.task.candidate, TrafficChecked(status="OK", rows=0))
    assert checked["meaning_checked"] == "ok"


def test_the_maker_does_not_review(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither under the own name, nor under another from the own account, nor in an old entry."""
    with pytest.raises(NotApprovedError, match="Maker made"):
        Session(run, "Maker")
    with at_the_keyboard("maker@laptop"), pytest.raises(NotApprovedError, match="maker@laptop"):
        Session(run, "ana")
    with Session(run, "ana") as session:
        answer_all(session)
    made = run.ledger.entries("register", session.task.candidate.release)[0]
    Ledger(run.project.ledger_url).append(
        "register", made.release, "ana", {**made.payload, "authors": ["ana"]}
    )
    assert f"{DIFFERING} of {DIFFERING} pairs" in verdict(run).rules[0].reason


def test_two_pages_of_one_person_are_refused(run: Run) -> None:
    """The second says so; another person may review meanwhile."""
    with Session(run, "ana"), Session(run, "ben"), pytest.raises(BusyError), Session(run, "ana"):
        pass


def test_evidence_of_another_golden_set_is_refused(run: Run) -> None:
    """What cannot be compared is not shown."""
    path = run.project.evidence / "champion.parquet"
    champion = read_evidence(path)
    write_evidence(path, replace(champion, golden="0" * 64))
    try:
        with pytest.raises(EvidenceError, match="another golden set"):
            Session(run, "ana")
    finally:
        write_evidence(path, champion)


def test_label_studio_both_ways(run: Run, tmp_path: Path) -> None:
    """Tasks go out blind; what people said comes back by the name that they have there."""
    found = export_tasks(run, tmp_path / "pairs.json")
    assert (found.pairs, found.equal > 0) == (DIFFERING, True)
    tasks = json.loads((tmp_path / "pairs.json").read_text())
    assert set(tasks[0]["data"]) == {"pair", "input", "answer1", "answer2"}
    assert "Pairwise" in (tmp_path / "pairs.xml").read_text()
    pairs = {pair.digest: pair for pair in Session(run, "x").task.pairs}
    done: list[dict[str, Any]] = []
    for one in tasks:
        digest = one["data"]["pair"]
        better = "right" if turned(pairs[digest]) else "left"
        assert one["data"]["answer2" if better == "right" else "answer1"] == pairs[digest].candidate
        result = [
            {"from_name": "better", "type": "pairwise", "value": {"selected": better}},
            {"from_name": better, "type": "choices", "value": {"choices": ["unsafe"]}},
        ]
        done.append(task(digest, result))
    done[0] = task(tasks[0]["data"]["pair"], [])
    same = [{"from_name": "same", "value": {"choices": ["same"]}}]
    done[1] = task(tasks[1]["data"]["pair"], same)
    done.append(task("0" * 64, same))
    file = tmp_path / "export.json"
    file.write_text(json.dumps(done))
    came = import_tasks(run, file)
    assert came.recorded == {"ana@x": DIFFERING - 1}
    assert len(came.refused) == 2
    (entry,) = run.ledger.entries("review")
    votes = [answer["vote"] for answer in entry.payload["answers"]]
    assert sorted(set(votes)) == ["better", "same"]
    assert entry.payload["via"] == "label_studio"
    assert import_tasks(run, file).recorded == {}
    with pytest.raises(DataError):
        import_tasks(run, tmp_path / "pairs.xml")
    assert verdict(ask(run, no_unsafe=True)).decision is Decision.REJECT


def test_the_commands(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Export and import from the command line."""
    monkeypatch.chdir(run.project.root)
    out = tmp_path / "pairs.json"
    done = CliRunner().invoke(sluice, ["review", "export", str(out)], catch_exceptions=False)
    assert done.exit_code == 0
    assert f"{DIFFERING} pairs" in done.output
    same = [{"from_name": "same", "value": {"choices": ["same"]}}]
    tasks = [task(one["data"]["pair"], same) for one in json.loads(out.read_text())]
    out.write_text(json.dumps(tasks))
    done = CliRunner().invoke(
        sluice, ["review", "import", str(out), "--person", "ben"], catch_exceptions=False
    )
    assert f"ben: {DIFFERING} answers recorded" in done.output
