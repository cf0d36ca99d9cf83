"""`sluice try`: development rows only, beside the champion, from the cache where nothing changed."""

from __future__ import annotations

import json
import shutil
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from sluicegate.cards.trial import marked
from sluicegate.cli import sluice
from sluicegate.data.examples import read_examples
from sluicegate.errors import EnvironmentFailure, UsageError
from sluicegate.hashing import digest_folder, write_atomic
from sluicegate.ledger import Ledger
from sluicegate.line.check import check_configuration
from sluicegate.line.pipeline import run_stage
from sluicegate.line.run import open_run
from sluicegate.line.try_out.trial import try_out
from sluicegate.project import Project
from sluicegate.scaffold import HOSTED, Endpoint, init
from sluicegate.versioning import git

sys.path.insert(0, str(Path(__file__).parents[1]))
from chat_server import ChatServer
from hosted_model import Hosted


@pytest.fixture(scope="module")
def server() -> Iterator[ChatServer]:
    with ChatServer(Hosted()) as found:
        yield found


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, server: ChatServer) -> Path:
    """A hosted project whose data is prepared."""
    folder = tmp_path_factory.mktemp("hosted") / "p"
    init(folder, HOSTED, Endpoint(server.url, "fake"))
    run_stage(open_run(folder), "prepare")
    return folder


@pytest.fixture
def root(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it to work in."""
    for name in ("SLUICE_LEDGER_URL", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    shutil.copytree(prepared, tmp_path / "p")
    monkeypatch.chdir(tmp_path / "p")
    return tmp_path / "p"


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), "utf-8")


def draft(root: Path, tmp_path: Path, words: str) -> Path:
    """A prompt file beside the project, with other words."""
    path = tmp_path / "summarize.yaml"  # the name that it has inside
    text = (root / "prompts" / "summarize.yaml").read_text("utf-8")
    path.write_text(text.replace("a two sentence summary", words), "utf-8")
    return path


def test_only_development_rows_are_asked_and_only_once(root: Path, server: ChatServer) -> None:
    """No golden row is sent; the second trial asks nothing; more rows ask only for the others."""
    run, asked = open_run(root), len(server.asked)
    first = try_out(run, rows=10)
    golden = {row.id for row in read_examples(run.project.golden)}
    assert golden
    assert {row.id for row in first.rows} & golden == set()
    assert (len(server.asked) - asked, first.made, len(first.rows)) == (10, 10, 10)
    again = try_out(run, rows=10)
    assert (len(server.asked) - asked, again.made) == (10, 0)
    assert again.rows == first.rows
    try_out(run, rows=14)
    assert len(server.asked) - asked == 14


def test_nothing_is_recorded(root: Path) -> None:
    """Neither the ledger nor the golden set, MLflow, build or the policy is touched."""
    before = {name: digest_folder(root / name) for name in ("data/golden", "build", "registry")}
    try_out(open_run(root), rows=3)
    assert {name: digest_folder(root / name) for name in before} == before
    assert list(Ledger(Project(root).ledger_url).entries()) == []
    assert not (root / ".sluice" / "mlflow").exists()
    assert git(root, "status", "--porcelain").strip() == ""


def test_a_better_prompt_beside_another(root: Path, tmp_path: Path) -> None:
    """Another prompt file and another commit are the same opponent; the gains say who is better."""
    path = draft(root, tmp_path, "a precise two sentence summary")
    worse = try_out(open_run(root), rows=8, against=str(path))
    assert worse.against == str(path)
    assert any(row.changed for row in worse.rows)
    gains = [row.gain for row in worse.rows]
    assert gains == sorted(gains)
    before = try_out(open_run(root), rows=8, against="HEAD")
    assert before.same
    assert "nothing differs" in before.headline
    edit(root / "prompts" / "summarize.yaml", "a two sentence", "a precise two sentence")
    since = try_out(open_run(root), rows=8, against="HEAD")
    assert not since.same
    assert sorted(-gain for gain in gains) == pytest.approx(sorted(row.gain for row in since.rows))
    assert since.made == 0
    assert git(root, "worktree", "list").count("\n") == 1


def test_the_page_stands_alone_and_shows_what_is_hostile(root: Path, tmp_path: Path) -> None:
    """Nothing is loaded from elsewhere, markup of an answer is text, differing words are marked."""
    trial = try_out(open_run(root), rows=4, against=str(draft(root, tmp_path, "one word")))
    page = Path(trial.page).read_text("utf-8")
    assert "promises nothing" in page
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "")
    one, other = marked("say <b>yes</b> now", "say <b>no</b> now")
    assert other == "say <ins>&lt;b&gt;no&lt;/b&gt;</ins> now"
    assert "<del>" in one


def test_what_cannot_be_tried_is_told(
    root: Path, server: ChatServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No rows, no champion, no such revision: what to do; a server that fails is exit code 3."""
    run = open_run(root)
    with pytest.raises(UsageError, match="nothing serves yet"):
        try_out(run, against="champion")
    with pytest.raises(UsageError, match="neither a prompt file nor a git revision"):
        try_out(run, against="no-such-branch")
    row = read_examples(run.project.development)[0]
    hosted = server.behave
    assert isinstance(hosted, Hosted)
    monkeypatch.setattr(hosted, "failing", row.inputs["conversation"].splitlines()[0][10:60])
    monkeypatch.setattr(hosted, "status", 400)
    with pytest.raises(EnvironmentFailure, match="got no answer"):
        try_out(run, rows=100)
    write_atomic(run.project.development, "")
    with pytest.raises(UsageError, match="no development rows") as caught:
        try_out(run)
    assert "role development" in caught.value.hint


@pytest.mark.parametrize("width", [60, 100, 160])
def test_the_table_is_as_wide_as_the_terminal(root: Path, tmp_path: Path, width: int) -> None:
    """No line of the table is longer, and the exit code is 0 whatever the scores."""
    path = draft(root, tmp_path, "a precise two sentence summary")
    arguments = ["try", "--rows", "3", "--against", str(path)]
    done = CliRunner().invoke(sluice, arguments, env={"COLUMNS": str(width)})
    assert done.exit_code == 0, done.output
    table = done.stdout.split("3 of ")[0]
    assert max(map(len, table.splitlines())) <= width
    assert "promises nothing" in done.stdout


def test_json_has_the_rows(root: Path) -> None:
    """A program gets inputs, answers and scores."""
    done = CliRunner().invoke(sluice, ["try", "--rows", "2", "--json"])
    found = json.loads(done.stdout)
    assert len(found["rows"]) == 2
    assert found["rows"][0]["scores"]["chrf"] >= 0


def test_watch_runs_again_on_save(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every saved prompt is tried; a broken one is told and the next is tried; Ctrl-C is the end."""
    from sluicegate.cli import try_out as command

    prompt = root / "prompts" / "summarize.yaml"
    good = prompt.read_text("utf-8")
    steps = iter([good + "\n# 1", "name: [", good + "\n# 2"])

    def looks(_: float) -> None:
        text = next(steps, None)
        if text is None:
            raise KeyboardInterrupt
        write_atomic(prompt, text)

    monkeypatch.setattr(command.time, "sleep", looks)
    done = CliRunner().invoke(sluice, ["try", "--rows", "2", "--watch"])
    assert done.exit_code == 0
    assert done.output.count("page:") == 3
    assert done.output.count("error:") == 1
    assert threading.active_count() < 20


def test_a_set_that_cannot_be_is_told_before_anything_runs(tmp_path: Path) -> None:
    """gate.set: development with golden rows only is a problem of the project's files."""
    init(tmp_path / "p", HOSTED, Endpoint("http://127.0.0.1:9/v1", "fake"))
    assert check_configuration(Project(tmp_path / "p")) == []
    path = tmp_path / "p" / "registry" / "sources.yaml"
    text = path.read_text("utf-8").partition("  support_development:")[0]
    path.write_text(text, "utf-8")
    found = check_configuration(Project(tmp_path / "p"))
    assert any("role development" in problem for problem in found)
