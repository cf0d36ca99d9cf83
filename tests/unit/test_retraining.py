"""One retraining in a cool-down, however many alarms ask for it, at whatever moment, and whatever
ends the one at work.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from faults import Child
from sluicegate.errors import DataError, IntegrityError
from sluicegate.line.learn.cooldown import TRIES, claim, killed, last_retraining
from sluicegate.line.run import open_run
from sluicegate.project import Project
from soak_scale import scaled

PROMPT = "name: p\nvariables: [text]\ntemplate: 'Sum up: {{ text }}'\n"
PARAMS = (
    "release: {name: m, model: b, prompt: p}\nevaluate: {metrics: [rouge1]}\nmonitor: "
    "{cooldown_hours: 1}\n"
)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project whose retrainings are at least an hour apart."""
    (tmp_path / "params.yaml").write_text(PARAMS)
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "p.yaml").write_text(PROMPT)
    return Project(tmp_path)


def asked(project: Project, outcome: str = "Promoted", **options: bool) -> str:
    """Ask once; "" or why not."""
    with claim(open_run(project), "sluicegate.drift", **options) as answer:
        answer.outcome = outcome
        return answer.refused


def aged(project: Project, hours: float) -> None:
    """Let the record be so much older."""
    path = project.state / "retraining.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | {"started": record["started"] - hours * 3600}))


@pytest.mark.parametrize("hold", [0.0, 0.3])
def test_alarms_that_arrive_at_once_start_exactly_one(project: Project, hold: float) -> None:
    """Of many processes that ask at the same moment one is let in, whether it is done in no time or
    takes a while.
    """
    for _ in range(scaled(1, 20)):
        (project.state / "retraining.json").unlink(missing_ok=True)
        start = time.time() + 0.3

        def alarm(start: float = start) -> str:
            time.sleep(max(0.0, start - time.time()))
            with claim(open_run(project)) as answer:
                if answer.granted:
                    time.sleep(hold)
                return answer.refused

        answers = [child.wait().value for child in [Child(alarm) for _ in range(scaled(20, 100))]]
        assert answers.count("") == 1
        assert all("running" in answer or "cool-down" in answer for answer in answers if answer)


def test_the_cool_down_counts_from_the_start_and_ends(project: Project) -> None:
    """Within the hours of params.yaml the answer says how the last one ended; after them the next
    one may start.
    """
    assert asked(project, "Rejected") == ""
    assert "1.0 hours left; the last retraining ended as Rejected" in asked(project)
    aged(project, 0.99)
    assert "0.0 hours left" in asked(project)
    aged(project, 0.02)
    assert asked(project) == ""


def test_a_person_may_pass_over_the_cool_down_but_not_over_one_at_work(project: Project) -> None:
    """`force` starts another one at once, unless one runs."""
    assert asked(project) == ""
    assert asked(project, force=True) == ""
    with claim(open_run(project), force=True) as first:
        assert first.granted
        assert "running" in asked(project, force=True)


def test_a_killed_one_frees_it_and_one_that_is_always_killed_does_not(project: Project) -> None:
    """SIGKILL lets the next alarm start again at once; after three tries the cool-down holds all
    the same.
    """

    def dies() -> None:
        with claim(open_run(project)) as answer:
            assert answer.granted
            os.kill(os.getpid(), signal.SIGKILL)

    for attempt in range(1, TRIES + 1):
        assert Child(dies).wait().end == "killed"
        assert (last_retraining(project)["attempt"], last_retraining(project)["ended"]) == (
            attempt,
            None,
        )
    assert "was killed 3 times" in asked(project)
    aged(project, 1.1)
    assert asked(project) == ""
    assert last_retraining(project)["attempt"] == 1


def test_one_that_was_killed_is_known_until_it_is_run_again(project: Project) -> None:
    """While it works it is not said to be killed; after SIGKILL it is, with what had asked for it,
    until another one has ended or the tries are used up.
    """

    def dies() -> None:
        with claim(open_run(project), "sluicegate.drift"):
            os.kill(os.getpid(), signal.SIGKILL)

    assert killed(open_run(project)) == ""
    with claim(open_run(project)):
        assert killed(open_run(project)) == ""
    assert killed(open_run(project)) == ""
    aged(project, 1.1)
    assert Child(dies).wait().end == "killed"
    assert killed(open_run(project)) == "sluicegate.drift"
    assert asked(project) == ""
    assert killed(open_run(project)) == ""
    aged(project, 1.1)
    for _ in range(TRIES):
        assert Child(dies).wait().end == "killed"
    assert killed(open_run(project)) == ""


def test_one_that_fails_starts_the_cool_down_and_says_why(project: Project) -> None:
    """An error is an end: a hundred alarms do not run into the same wrong row."""
    with pytest.raises(DataError), claim(open_run(project), "sluicegate.feedback"):
        raise DataError("rows.jsonl, line 3: no text")
    record = last_retraining(project)
    assert (record["outcome"], record["error"]) == ("Failed", "rows.jsonl, line 3: no text")
    assert record["cause"] == "sluicegate.feedback"
    assert "ended as Failed" in asked(project)


def test_a_clock_set_back_does_not_stop_retraining_for_ever(project: Project) -> None:
    """A start in the future counts for nothing."""
    assert asked(project) == ""
    aged(project, -1000)
    assert asked(project) == ""


@pytest.mark.parametrize("text", ["{oops", "[]", '{"started": 1}'])
def test_a_damaged_record_is_an_error(project: Project, text: str) -> None:
    """What cannot be read is told, with its path, and starts nothing."""
    project.state.mkdir()
    (project.state / "retraining.json").write_text(text)
    with pytest.raises(IntegrityError, match=r"retraining\.json"):
        asked(project)


def test_whether_it_may_promote_is_configured(project: Project) -> None:
    """By default a retraining may promote what passes the gate; `monitor.promote: false` forbids
    it.
    """
    assert open_run(project).params.monitor.promote
    project.params.write_text(PARAMS.replace("cooldown_hours: 1", "promote: false"))
    assert not open_run(project).params.monitor.promote
