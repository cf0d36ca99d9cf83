"""Looking at production: quiet, drift, no data; against the champion's own answers; told once."""

from __future__ import annotations

import json
import shutil
import sys
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parents[1]))
from sluicegate.cli import sluice
from sluicegate.config import MonitorParams
from sluicegate.errors import ConfigError, IntegrityError, UsageError
from sluicegate.evaluation import read_evidence
from sluicegate.ledger import Ledger
from sluicegate.line.learn.feedback_rows import feedback_waiting
from sluicegate.line.release.decide import facts
from sluicegate.line.run import Alerted, FeedbackWaiting, Run, Watched, open_run
from sluicegate.line.sequence import watch
from sluicegate.line.watch import check as checking
from sluicegate.line.watch.check import alert, check, check_drift, resource
from sluicegate.line.watch.window import champion_reference, recent_profiles, window_of
from sluicegate.project import Project
from watched_project import enthrone, examples, log, rows, said, watched


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A sample project with a champion and an MLflow store, which takes seconds to make; tests take copies."""
    made = watched(tmp_path_factory.mktemp("monitor") / "project")
    open_run(made).tracking.experiment("support-summaries")
    return made


@pytest.fixture
def project(template: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A copy of it, without traffic, as the working folder."""
    root = tmp_path / "project"
    shutil.copytree(template.root, root, symlinks=True)
    monkeypatch.chdir(root)
    return Project(root)


def champion(project: Project) -> Any:
    found = Ledger(project.ledger_url).champion()
    assert found is not None
    return found


def command(*arguments: str) -> tuple[int, dict[str, Any]]:
    """Exit code and JSON of `sluice monitor`."""
    done = CliRunner().invoke(sluice, ["monitor", "--json", *arguments], standalone_mode=False)
    assert done.exception is None, done.exception
    return int(done.return_value), json.loads(done.stdout)


def test_the_command_answers_with_its_exit_code(project: Project) -> None:
    """No traffic is 4, traffic like the golden set 0, questions four times as long 1 with the column that moved."""
    assert command()[0] == 4
    log(project).write(rows(project, examples(project)))
    code, found = command()
    assert (code, found["status"], found["rows"], found["moved"]) == (0, "OK", 64, [])
    log(project).write(rows(project, examples(project), times=4, minutes=5))
    code, found = command("--hours", "0.3")
    assert (code, found["status"], found["rows"]) == (1, "DRIFT", 64)
    assert "prompt.character_count" in found["moved"]
    assert "version 1: drift in the last 0.3 hours (64 rows)" in found["text"]
    assert Path(found["html"]).is_file()


def test_the_window_is_by_time_or_by_count(project: Project) -> None:
    """The newest rows, the hours of params.yaml or those asked for; both at once, or none, are refused."""
    log(project).write(rows(project, examples(project), minutes=60 * 30))
    log(project).write(rows(project, examples(project)[:40], minutes=20))
    assert check(open_run(project)).rows == 40
    assert check(open_run(project), hours=48).rows == 104
    assert check(open_run(project), last=50).rows == 50
    for wrong in (
        {"hours": 1, "last": 5},
        {"hours": -1},
        {"last": 0},
        {"file": Path("nowhere.jsonl")},
    ):
        with pytest.raises(UsageError):
            check(open_run(project), **wrong)
    with pytest.raises(ValueError, match="not both"):
        MonitorParams(hours=1, last=5)


def test_a_file_takes_the_place_of_the_log(project: Project) -> None:
    """JSON lines are compared without a log, and nobody is told."""
    path = project.root / "day.jsonl"
    found = rows(project, examples(project))
    path.write_text(
        "".join(
            json.dumps({"prompt": row.prompt, "response": row.response}) + "\n" for row in found
        )
    )
    code, told = command("--file", str(path))
    assert (code, told["rows"], told["told"]) == (0, 64, False)
    assert not (project.state / "traffic.db").exists()


def test_late_rows_are_no_data(project: Project) -> None:
    """The newest 64 rows say nothing about today where the newest of them came days ago, and are told to be late."""
    log(project).write(rows(project, examples(project), minutes=60 * 30))
    found = check(open_run(project), last=64)
    assert (found.status, found.alarm, found.rows) == ("NO_DATA", True, 64)
    assert "30.0 hours old" in found.text
    assert not (project.build / "monitor" / "window.parquet").exists()
    log(project).write(rows(project, examples(project)[:1], minutes=20))
    assert check(open_run(project), last=64).status == "OK"


def test_few_and_constant_rows_are_no_data(project: Project) -> None:
    """Fewer rows than `minimum`, or the same row again and again, never count as quiet."""
    made = rows(project, examples(project))
    log(project).write(made[:29])
    assert "29 rows; at least 30" in check(open_run(project)).text
    later = rows(project, examples(project), minutes=5)
    log(project).write(
        [replace(made[0], key=f"same{n}", time=row.time) for n, row in enumerate(later)]
    )
    found = check(open_run(project), last=40)
    assert (found.status, found.alarm) == ("NO_DATA", True)
    assert "alike" in found.text


def test_rows_of_other_releases_are_left_out_and_told(project: Project) -> None:
    """What another release answered says nothing about this one; a shortened digest of the champion's is the champion's."""
    mine, other = champion(project).release, "f" * 64
    found = examples(project)
    log(project).write(rows(project, found, release=other))
    seen = check(open_run(project))
    assert (seen.status, seen.rows) == ("NO_DATA", 0)
    assert "64 rows were answered by other releases than version 1." in seen.notes
    log(project).write(rows(project, found[:32], minutes=9, release=mine))
    log(project).write(rows(project, found[32:], minutes=8, release=mine[:12]))
    seen = check(open_run(project))
    assert (seen.status, seen.rows) == ("OK", 64)


def test_the_reference_is_the_champions_whatever_is_built(project: Project) -> None:
    """A candidate that answers otherwise and was rejected does not become what traffic is compared with."""
    before = champion_reference(open_run(project), champion(project))
    content = before.read_bytes()
    enthrone(project, 2)  # another candidate's evidence is in build/ now
    assert champion_reference(open_run(project), champion(project)) == before
    assert before.read_bytes() == content
    before.write_bytes(b"torn")
    with pytest.raises(IntegrityError, match="there is no record") as caught:
        champion_reference(open_run(project), champion(project))
    assert "sluice release" in caught.value.hint


def test_a_torn_reference_is_made_again(project: Project) -> None:
    """A profile that was not written to the end is replaced while the evidence is there."""
    path = champion_reference(open_run(project), champion(project))
    content = path.read_bytes()
    path.write_bytes(content[:100])
    assert champion_reference(open_run(project), champion(project)).read_bytes() == content


def test_nothing_serves_nothing_to_watch(project: Project) -> None:
    """Before the first champion there is neither quiet nor alarm, but an error with what to do."""
    (project.state / "ledger.db").unlink()
    assert open_run(project).champion is None
    with pytest.raises(UsageError, match="no champion yet") as caught:
        check(open_run(project))
    assert "sluice release" in caught.value.hint


def test_an_unknown_detector_is_refused(project: Project) -> None:
    """A misspelt detector names the ones there are."""
    project.params.write_text(project.params.read_text().replace("detector: ks", "detector: kz"))
    with pytest.raises(ConfigError, match="kz"):
        check(open_run(project))


def test_the_line_reads_the_same_log(project: Project) -> None:
    """The release line's drift check takes the window of params.yaml and the champion's reference; its facts say so."""
    evidence = read_evidence(project.evidence / "candidate.parquet")
    quiet = check_drift(open_run(project))
    assert quiet.status == "NO_DATA"
    assert facts(open_run(project), evidence, quiet)["golden_represents_traffic"] == "no_data"
    log(project).write(rows(project, examples(project), times=4))
    drifted = check_drift(open_run(project))
    assert drifted.status == "DRIFT"
    found = facts(open_run(project), evidence, drifted)
    assert found["drift_checked"] == "drift"
    assert found["golden_represents_traffic"].startswith("drift (the golden set lacks: ")


def test_an_alarm_is_told_once_and_so_is_its_end(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same alarm is not repeated, another one is told, a failed message is tried again, and the end is told."""
    sent: list[str] = []
    answers = ["it answers 500", "", "", "", ""]

    def send(text: str, variable: str) -> str:
        sent.append(f"{variable} {text}")
        return answers.pop(0)

    monkeypatch.setattr(checking, "send", send)
    text = project.params.read_text()
    project.params.write_text(text.replace('webhook_env: ""', "webhook_env: ALARMS"))

    def seen(status: str, release: str = "r") -> Alerted:
        report = Watched(
            status=status, rows=0, window="", model="m", version=1, release=release, moved=(),
            notes=(), text=status, markdown="", html="d.html", run_id="",
        )  # fmt: skip
        return alert(open_run(project), report)

    assert seen("OK") == Alerted()
    assert seen("DRIFT") == Alerted(warning="it answers 500")
    assert seen("DRIFT") == Alerted(sent=True)
    assert not seen("DRIFT").sent
    assert seen("NO_DATA").sent
    assert seen("NO_DATA", "another release").sent
    assert seen("OK").sent
    assert not seen("OK").sent
    drift = "ALARMS DRIFT\nreport: d.html"
    no_data = "ALARMS NO_DATA\nreport: d.html"
    assert sent == [drift, drift, no_data, no_data, "ALARMS OK"]


def test_a_dead_webhook_loses_no_verdict(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """The drift is found and said although the message could not be sent; the warning holds no address."""
    project.params.write_text(
        project.params.read_text().replace('webhook_env: ""', "webhook_env: ALARMS")
    )
    monkeypatch.setenv("ALARMS", "http://127.0.0.1:9/secret")
    log(project).write(rows(project, examples(project), times=4))
    found = watch(open_run(project))
    assert (found.found.status, found.alert.sent) == ("DRIFT", False)
    assert "cannot be reached" in found.warnings[-1]
    assert "secret" not in json.dumps(found.as_json())


def test_enough_feedback_is_seen(project: Project) -> None:
    """`feedback_rows` new rows to learn from are enough; 0 never is."""
    log(project).write(rows(project, examples(project, "validation"), feedback=(said(thumb=1),)))
    assert feedback_waiting(open_run(project)) == FeedbackWaiting(7, 50, False)
    text = project.params.read_text()
    project.params.write_text(text.replace("feedback_rows: 50", "feedback_rows: 7"))
    assert feedback_waiting(open_run(project)).enough
    project.params.write_text(text.replace("feedback_rows: 50", "feedback_rows: 0"))
    assert feedback_waiting(open_run(project)) == FeedbackWaiting(0, 0, False)


def test_feedback_that_cannot_be_used_is_a_warning(project: Project) -> None:
    """A file of somebody else in the place of feedback costs neither the verdict nor its exit code."""
    path = project.root / "data" / "raw" / "feedback.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text('{"id": "mine"}\n')
    log(project).write(rows(project, examples(project)))
    code, found = command()
    assert code == 0
    assert "was not written by" in found["warnings"][-1]


def monitored(project: Project, **settings: Any) -> Run:
    """The project, with these settings of `monitor`."""
    run = open_run(project)
    changed = run.params.model_copy(update={"monitor": MonitorParams(**settings)})
    return replace(run, params=changed)


def test_two_projects_have_two_names(project: Project, tmp_path: Path) -> None:
    """An event says which project's model it is about, also where folders and models have the same names."""
    other = tmp_path / "elsewhere" / "project"
    shutil.copytree(project.root, other, symlinks=True)
    mine, theirs = resource(open_run(project)), resource(open_run(other))
    assert mine != theirs
    assert mine.startswith("sluicegate.project-")
    assert mine.endswith(".support-summaries")


def test_a_window_is_read_twice_alike(project: Project) -> None:
    """Rows that arrive between two readings of a window are in neither."""
    log(project).write(rows(project, examples(project)))
    window = window_of(monitored(project, last=1000))
    first = list(window.rows())
    log(project).write(rows(project, examples(project), minutes=-0.01))
    assert list(window.rows()) == first


def test_the_windows_before_are_looked_at_too(project: Project) -> None:
    """`recent` windows of the same length lie just before the newest and do not overlap; none is older than the champion."""
    made = rows(project, examples(project), minutes=0)
    log(project).write(
        [replace(row, key=f"{n}-{row.key}", time=row.time) for n in range(3) for row in made]
    )
    time.sleep(0.1)  # the last rows lie 64 ms ahead
    window = window_of(open_run(project), last=64)
    read = [
        [row.key for row in log(project).window(since=w.since, until=w.until, last=w.last)]
        for w in window.before(2)
    ]
    assert all(read)
    newest = {row.key for row in log(project).window(until=window.until, last=64)}
    keys = [key for one in read for key in one]
    assert len(keys) == len(set(keys))
    assert not newest & set(keys)
    assert len(recent_profiles(monitored(project, recent=2), window)) == 2
    assert recent_profiles(monitored(project, recent=0), window) == []
    assert not list(window.before(3, since=window.until))
    hours = window_of(open_run(project), hours=2)
    limits = [(w.since, w.until) for w in hours.before(2)]
    assert limits[0][1] == hours.since
    assert limits[1] == (limits[0][0] - timedelta(hours=2), limits[0][0])
    assert recent_profiles(monitored(project), hours) == []  # older than the champion
