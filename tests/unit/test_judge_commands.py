"""`sluice judge`: labels out and in, a calibration that is recorded and told, and its exit codes."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

sys.path.insert(0, str(Path(__file__).parents[1]))

from judge_server import Judge, judge_server
from labelled_pairs import oracle, pairs, pick
from sluicegate.cli import sluice
from sluicegate.errors import ConfigError, UsageError
from sluicegate.generating import Request
from sluicegate.judges import load_criterion
from sluicegate.judges.label_files import write_labels
from sluicegate.line.judge import calibrate as stage
from sluicegate.line.judge.labels import export_rows, find_criterion, import_labels
from sluicegate.line.run import open_run
from sluicegate.project import Project
from sluicegate.records import Evidence, JudgeUse

LABELS, WORTH = pairs(60)
PARAMS = """
release: {name: demo, model: fake, prompt: summarize}
evaluate: {metrics: [rouge1, 'judge:better']}
calibration: {resamples: 100, repeat_rows: 20}
"""
PROMPT = "name: summarize\nvariables: [text]\ntemplate: 'Sum up: {{ text }}'\n"
CRITERION = """
name: better
form: pairwise
judges: [fake]
criterion: Which answer does the task?
"""


def right(messages: Sequence[dict[str, str]]) -> str:
    """The oracle, over HTTP."""
    return oracle(WORTH, 0.1)(Request(tuple(messages)))


def first(messages: Sequence[dict[str, str]]) -> str:
    """Takes what is shown first."""
    return pick(True)


def made(root: Path, judge: Judge) -> Project:
    for folder in ("prompts", "registry"):
        (root / folder).mkdir(exist_ok=True)
    (root / "params.yaml").write_text(PARAMS, "utf-8")
    (root / "prompts" / "summarize.yaml").write_text(PROMPT, "utf-8")
    (root / "prompts" / "judge_better.yaml").write_text(CRITERION, "utf-8")
    endpoint = f"{{url: '{judge.url}', model: fake, allow_private: true, tries: 1, timeout: 10}}"
    (root / "registry" / "models.yaml").write_text(
        f"models: {{fake: {{endpoint: {endpoint}}}}}\n", "utf-8"
    )
    return Project(root)


@pytest.fixture
def good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    """A project whose judge is the oracle; the working folder is in it."""
    with judge_server(right) as judge:
        project = made(tmp_path, judge)
        monkeypatch.chdir(tmp_path)
        yield project


def labels_file(project: Project, name: str = "labels.jsonl", count: int = 60) -> Path:
    path = project.root / name
    path.write_text(
        write_labels(LABELS.rows[:count], load_criterion(project.prompts / "judge_better.yaml")),
        "utf-8",
    )
    return path


def call(*words: object) -> Result:
    return CliRunner().invoke(sluice, [str(word) for word in words], standalone_mode=False)


def test_from_labels_to_a_judge_that_counts(good: Project) -> None:
    """Import, calibrate, list: the judge is uncalibrated, then ok until it expires, and the reports
    are there.
    """
    assert json.loads(call("judge", "list", "--json").stdout)[0]["standing"] == "uncalibrated"
    imported = call("judge", "labels", "import", "better", labels_file(good))
    assert "60 labels added, 0 changed" in imported.stdout
    done = call("judge", "calibrate", "better")
    assert (done.exception, done.return_value) == (None, 0), done.stdout
    assert "judge better passed" in done.stdout
    (row,) = json.loads(call("judge", "list", "--json").stdout)
    assert (row["standing"], row["used"], row["form"]) == ("ok", True, "pairwise")
    assert row["until"] == (datetime.now(UTC) + timedelta(days=90)).strftime("%Y-%m-%d")
    page = (good.reports / "judge_better.html").read_text("utf-8")
    assert "Judge better: passed" in page
    assert "<script" not in page
    assert page.count("<circle") >= 3
    assert (good.reports / "judge_better.txt").read_text("utf-8").strip() in done.stdout
    assert "better" in call("judge", "list").stdout


def test_a_refused_judge_is_exit_1_and_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A judge that picks by position is refused with exit code 1, stands as failed, and says so to
    the gate.
    """
    with judge_server(first) as judge:
        project = made(tmp_path, judge)
        monkeypatch.chdir(tmp_path)
        done = call("judge", "calibrate", "better", "--labels", labels_file(project), "--json")
        record = json.loads(done.stdout[done.stdout.index("{") :])
        (row,) = stage.listing(open_run(project))
    assert done.return_value == 1
    assert record["measures"]["position_bias"]["value"] == 1.0
    assert (row.standing, row.until) == ("failed", "")
    use = {"better": JudgeUse(record["digest"], 10, 0), "unknown": JudgeUse("e" * 64, 10, 0)}
    evidence = Evidence("r", "g", "m", (), {}, judges=use)
    found = stage.judge_facts(open_run(project), evidence)
    assert found == {"judge:better": "failed", "judge:unknown": "uncalibrated"}


def test_another_wording_is_another_judge(good: Project) -> None:
    """After a change of the criterion the old calibration does not count, and the list says that
    there is one.
    """
    assert call("judge", "calibrate", "better", "--labels", labels_file(good)).return_value == 0
    (good.prompts / "judge_better.yaml").write_text(
        CRITERION.replace("does the task", "is longer"), "utf-8"
    )
    (row,) = stage.listing(open_run(good))
    assert (row.standing, row.until) == ("other_digest", "")


def test_too_few_labels_are_not_enough_evidence(good: Project) -> None:
    """Exit code 4 where nothing is wrong but the number of labelled rows."""
    done = call("judge", "calibrate", "better", "--labels", labels_file(good, count=40))
    assert done.return_value == 4
    assert "40 independent rows, 50 are required" in done.stdout


def test_a_spent_budget_records_nothing(good: Project) -> None:
    """With too small a budget nothing is concluded; with a larger one the run goes on where it
    stopped.
    """
    path = labels_file(good)
    stopped = call("judge", "calibrate", "better", "--labels", path, "--max-tokens", 20_000)
    assert type(stopped.exception).__name__ == "BudgetError"
    assert stage.listing(open_run(good))[0].standing == "uncalibrated"
    assert call("judge", "calibrate", "better", "--labels", path).return_value == 0


def test_a_look_at_some_answers(good: Project) -> None:
    """`run` scores a file, records nothing and says how the judge stands; a row without a score is
    exit code 3.
    """
    done = call("judge", "run", "better", labels_file(good, count=5))
    assert done.return_value == 0
    assert "p0" in done.stdout
    assert "judge uncalibrated" in done.stdout
    assert not (good.judgements / "calibrations").exists()
    with judge_server(lambda messages: "both are fine") as judge:
        made(good.root, judge)
        assert call("judge", "run", "better", labels_file(good, count=2)).return_value == 3


def test_rows_go_out_once(good: Project) -> None:
    """What is exported and labelled is not exported again; when nothing is left that is said."""
    rows = labels_file(good, "rows.jsonl", 8)
    out = good.root / "out.jsonl"
    found = export_rows(good, "better", out, rows=rows, count=5)
    assert (found.rows, found.left) == (5, 3)
    filled = [
        {**json.loads(line), "label": "tie", "rater": "ana"}
        for line in out.read_text("utf-8").splitlines()
    ]
    out.write_text("".join(json.dumps(line) + "\n" for line in filled), "utf-8")
    assert import_labels(good, "better", out).added == 5
    again = export_rows(good, "better", good.root / "more.csv", rows=rows)
    assert (again.rows, again.left) == (3, 0)
    assert not {json.loads(line)["id"] for line in out.read_text("utf-8").splitlines()} & {
        line.split(",")[2] for line in (good.root / "more.csv").read_text("utf-8").splitlines()
    }
    with pytest.raises(UsageError, match=r"\.csv or \.jsonl"):
        export_rows(good, "better", good.root / "out.txt", rows=rows)


def test_mistakes_are_told(good: Project) -> None:
    """An unknown judge, a missing file of labels and a malformed option are errors with a hint."""
    with pytest.raises(ConfigError, match="no judge 'worse'") as caught:
        find_criterion(good, "worse")
    assert "better" in caught.value.hint
    missing = call("judge", "calibrate", "better")
    assert "labels export better" in getattr(missing.exception, "hint", "")
    assert (
        type(call("judge", "run", "better", labels_file(good), "--fields", "x").exception)
        is UsageError
    )


def test_a_model_that_cannot_be_opened_is_listed_as_such(good: Project) -> None:
    """The list of judges survives a model that is not there."""
    (good.registry / "models.yaml").write_text("models: {other: {package: no_such}}\n", "utf-8")
    (row,) = stage.listing(open_run(good))
    assert row.standing.startswith("cannot be opened")
    assert row.digest == ""
    criterion = good.prompts / "judge_better.yaml"
    text = criterion.read_text("utf-8").replace("name: better", "name: nicer")
    (good.prompts / "judge_nicer.yaml").write_text(text, "utf-8")
    told = call("judge", "list")
    assert told.stdout.count("cannot be opened") == 2
    assert told.stderr.count("not opened: ") == 1
