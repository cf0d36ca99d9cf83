"""The gate on the development set: shown, recorded nowhere, and no way to a promotion."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from sluicegate.cli import sluice
from sluicegate.data.examples import read_examples
from sluicegate.errors import SluiceError
from sluicegate.ledger import Ledger
from sluicegate.line.release.promote import promote
from sluicegate.line.run import open_run
from sluicegate.project import Project
from sluicegate.scaffold import HOSTED, Endpoint, init
from sluicegate.versioning import git

sys.path.insert(0, str(Path(__file__).parents[1]))
from chat_server import ChatServer
from hosted_model import Hosted

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
REFUSED = r"is missing|not registered|no verdict"
"""It is neither stored nor registered nor judged."""


@pytest.fixture(scope="module")
def server() -> Iterator[ChatServer]:
    with ChatServer(Hosted()) as found:
        yield found


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, server: ChatServer) -> Path:
    """A hosted project in which a pull request changes the prompt."""
    folder = tmp_path_factory.mktemp("gate") / "p"
    init(folder, HOSTED, Endpoint(server.url, "fake"))
    return folder


def gate(root: Path, *more: str) -> Result:
    files = ("--comment", "reports/c.md", "--html", "reports/g.html", "--junit", "reports/g.xml")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("SLUICE_LEDGER_URL", "MLFLOW_TRACKING_URI"):
            patch.delenv(name, raising=False)
        patch.chdir(root)
        return CliRunner().invoke(sluice, ["gate", "--json", *files, *more])


def ask_for(root: Path, old: str, new: str) -> None:
    path = root / "prompts" / "summarize.yaml"
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), "utf-8")


def test_a_pull_request_is_judged_on_development_rows(root: Path, server: ChatServer) -> None:
    """No golden row is sent or shown, the comment shows development rows and says which set; the
    ledger, MLflow's registry and the golden set's error budget stay as they are, and nothing can be
    promoted on it.
    """
    git(root, "checkout", "-q", "-b", "change")
    ask_for(root, "a two sentence summary", "a summary in one word")
    git(root, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qam", "shorter")
    asked = len(server.asked)
    done = gate(root, "--base", "main")
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    found = json.loads(done.stdout)
    assert found["set"] == "development"
    assert found["decision"] in ("REJECT", "HOLD")
    assert found["verdict"]["looks"] == 0
    project = Project(root)
    rows, golden = read_examples(project.development), read_examples(project.golden)
    assert len(rows) == 88
    assert len(server.asked) - asked == 2 * 88
    sent = "\n".join(one.text for one in server.asked[asked:])
    assert golden
    assert not any(row.inputs["conversation"] in sent for row in golden)
    comment = (root / "reports" / "c.md").read_text("utf-8")
    page = (root / "reports" / "g.html").read_text("utf-8")
    assert "development set (88 rows)" in comment
    assert "development set" in page
    assert "Worst regressions" in comment
    assert any(row.id in comment for row in rows)
    shown = comment + page + (root / "reports" / "g.xml").read_text("utf-8")
    assert not any(f"{row.id}<" in shown or f"{row.id} " in shown for row in golden)
    kinds = {entry.kind for entry in Ledger(project.ledger_url).entries()}
    assert kinds & {"verdict", "register"} == set()
    with pytest.raises(SluiceError, match=REFUSED):
        promote(open_run(root), found["decide"]["release"])
    again = len(server.asked)
    assert json.loads(gate(root, "--base", "main").stdout)["generations"]["made"] == 0
    assert len(server.asked) == again


def test_a_promote_on_development_rows_promotes_nothing(root: Path) -> None:
    """Also where every rule passes: the release is not even registered."""
    policy = root / "registry" / "gates.yaml"
    policy.write_text(
        "alpha: 0.05\nsubmissions: 20\npower: 0.8\nminimum_examples: 10\nrules:\n"
        "  - {name: speaks, kind: at_most, metric: empty_share, threshold: 0.5, compare: mean}\n",
        "utf-8",
    )
    done = gate(root, "--base", "")
    found = json.loads(done.stdout)
    assert (found["decision"], found["exit_code"]) == ("PROMOTE", 0)
    assert "promotes nothing" in (root / "reports" / "c.md").read_text("utf-8")
    for release in (found["decide"]["release"], found["verdict"]["candidate"]):
        with pytest.raises(SluiceError, match=REFUSED):
            promote(open_run(root), release)
    assert open_run(root).champion is None


def test_golden_rows_are_shown_to_nobody_by_default(root: Path) -> None:
    """On the golden set no answer or row is in comment, page or JUnit file; a setting shows them."""
    done = gate(root, "--base", "main", "--set", "golden")
    found = json.loads(done.stdout)
    assert found["set"] == "golden"
    names = ("c.md", "g.html", "g.xml")
    hidden = "\n".join((root / "reports" / name).read_text("utf-8") for name in names)
    assert "golden set" in hidden
    golden = read_examples(Project(root).golden)
    assert len(golden) > 10
    references = [row.reference[0] for row in golden]
    assert not any(text in hidden for text in references)
    path = root / "params.yaml"
    path.write_text(path.read_text("utf-8").replace("show_golden: false", "show_golden: true"))
    gate(root, "--base", "main", "--set", "golden")
    page = (root / "reports" / "g.html").read_text("utf-8")
    assert any(text in page for text in references)
