"""The author of a change does not judge it: what it does to its own judgement holds it."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from test_change import edited, git

from sluicegate import releasing
from sluicegate.cli import sluice
from sluicegate.errors import NotApprovedError, UsageError
from sluicegate.gates import Policy
from sluicegate.line.gate import judging as module
from sluicegate.line.gate.change import Change, compare
from sluicegate.line.gate.judging import Judging, accept, held_back, judging
from sluicegate.line.release.decide import decided
from sluicegate.line.run import Decided, Registered, Reproduced, TrafficChecked, open_run
from sluicegate.line.sequence import Judged
from sluicegate.records import Decision, Verdict
from sluicegate.releasing.policy_in_git import refuse_uncommitted
from sluicegate.scaffold import init
from sluicegate.versioning.history import merge_base

sys.path.insert(0, str(Path(__file__).parents[1]))
from reviewed_project import reviewed, with_candidate

PEOPLE = "approvals: {required: 1, role: reviewer, people: {ana: [reviewer], ben: [reviewer]}}\n"
GATES, PARAMS, SOURCES = "registry/gates.yaml", "params.yaml", "registry/sources.yaml"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A branch of a main whose policy names two people."""
    folder = tmp_path_factory.mktemp("made") / "project"
    init(folder)
    policy = folder / GATES
    policy.write_text(PEOPLE + policy.read_text("utf-8"), "utf-8")
    git(folder, "commit", "-qam", "people")
    git(folder, "checkout", "-q", "-b", "mine")
    return folder


@pytest.fixture
def root(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it; whoever is at the keyboard is nobody of them."""
    for name in ("SLUICE_LEDGER_URL", "MLFLOW_TRACKING_URI", "SLUICE_ACTOR"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "project"
    shutil.copytree(made, folder, symlinks=True)
    monkeypatch.setattr(module, "logins", lambda root: ("carl",))
    return folder


def committed(root: Path, author: str = "ben") -> Change:
    git(root, "-c", f"user.name={author}", "add", "-A")
    git(root, "commit", "-qm", "a change", "--author", f"{author} <{author}@example.invalid>")
    return compare(open_run(root), "main", merge_base(root, "main"))


WEAKER = {
    "a threshold": (GATES, "threshold: 0.9\n", "threshold: 0.1\n"),
    "a margin": (GATES, "margin: 0.05\n", "margin: 0.3\n"),
    "a rule warns": (GATES, "metric: copied_links\n", "metric: copied_links\n    severity: warn\n"),
    "a rule on another metric": (GATES, "metric: copied_numbers ", "metric: copied_names "),
    "a rule on a mean": (GATES, "metric: empty_share\n", "metric: empty_share\n    compare: mean\n"),
    "a fact that is accepted": (GATES, "fact: contamination_checked\n",
                                "fact: contamination_checked\n    accept: [ok, stale]\n"),
    "alpha": (GATES, "alpha: 0.05 ", "alpha: 0.2 "),
    "evaluations": (GATES, "submissions: 20 ", "submissions: 999 "),
    "few examples": (GATES, "minimum_examples: 50 ", "minimum_examples: 2 "),
    "fewer people": (GATES, PEOPLE, ""),
    "other people": (GATES, "people: {ana: [reviewer], ", "people: {eve: [reviewer], "),
    "golden rows": ("data/sample/support_golden.jsonl", "refund", "reward"),
    "another golden source": (SOURCES, "path: data/sample/support_golden.jsonl",
                              "path: data/sample/support_train.jsonl"),
    "golden rows drawn anew": (SOURCES, "    role: golden", "    role: pool"),
    "a metric less": (PARAMS, "pii_found, ", ""),
    "no baseline": (PARAMS, "baselines: [lead2] ", "baselines: [] "),
    "redaction of golden rows": (PARAMS, "redact: [secret, email", "redact: [email"),
    "overlap": (PARAMS, "overlap_share: 0.5 ", "overlap_share: 1.0 "),
    "near duplicates": (PARAMS, "near_duplicate: 0.85 ", "near_duplicate: 1.0 "),
    "the pipeline": ("dvc.yaml", "cmd: sluice stage evaluate", "cmd: python mine.py"),
    "the engine": ("requirements.txt", "sluicegate[", "mygate["),
    "the price of a token": (PARAMS, "  prompt: summarize",
                             "  price: {input: 0.0, output: 0.0}\n  prompt: summarize"),
    "calibration": (PARAMS, "expires_days: ", "expires_days: 9"),
}  # fmt: skip
"""Ways to be judged more kindly: file, text, what it becomes."""


@pytest.mark.parametrize("way", WEAKER)
def test_every_way_to_be_judged_more_kindly_waits_for_a_person(root: Path, way: str) -> None:
    """Each of more than twenty is named, judged by the base's policy, and open until somebody accepts it."""
    assert len(WEAKER) >= 20
    before = open_run(root).policy
    found = judging(open_run(root), edited(root, *WEAKER[way]))
    assert found.open
    assert found.parts
    assert found.policy is not None
    assert found.policy.digest == before.digest
    assert found.people == ("ana", "ben")


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        (PARAMS, "rank: 16", "rank: 8"),
        ("prompts/summarize.yaml", "Read the following", "Please read"),
        (PARAMS, "temperature: 0.0", "temperature: 0.5"),
        ("data/sample/support_train.jsonl", "refund", "money"),
    ],
)
def test_a_change_of_the_release_alone_waits_for_nobody(
    root: Path, file: str, old: str, new: str
) -> None:
    """Prompt, tuning, settings and training rows are what is judged."""
    change = edited(root, file, old, new)
    assert change.parts
    assert not judging(open_run(root), change).open


def test_a_schema_that_a_metric_is_named_with_judges(root: Path) -> None:
    """A looser schema is a looser metric, though params.yaml stays as it is."""
    (root / "answer.json").write_text('{"required": ["label"]}')
    text = (root / PARAMS).read_text("utf-8")
    named = text.replace("metrics: [chrf, ", "metrics: [chrf, 'json_schema:answer.json', ", 1)
    (root / PARAMS).write_text(named, "utf-8")
    git(root, "add", "-A")
    git(root, "commit", "-qm", "a schema")
    git(root, "branch", "-f", "main")
    found = judging(open_run(root), edited(root, "answer.json", '["label"]', "[]"))
    assert found.parts == ("metric files",)
    assert found.open


def test_own_code_judges_where_a_metric_is_the_projects_own(root: Path) -> None:
    """Then any of the project's code may be what the metric calls."""
    (root / "mine.py").write_text("def score(source, output, references):\n    return 1.0\n")
    change = committed(root)
    assert not judging(open_run(root), change).open
    own = "metrics: [chrf, 'mine:score', "
    declared = "evaluate:\n  own_metrics: {'mine:score': {asks_model: false}}\n"
    text = (root / PARAMS).read_text("utf-8").replace("metrics: [chrf, ", own, 1)
    (root / PARAMS).write_text(text.replace("evaluate:\n", declared, 1), "utf-8")
    assert set(judging(open_run(root), committed(root)).parts) == {"evaluation", "code"}


def weakened(root: Path) -> Change:
    text = (root / GATES).read_text("utf-8")
    (root / GATES).write_text(text.replace("threshold: 0.9\n", "threshold: 0.1\n"), "utf-8")
    return committed(root)


def test_a_person_of_the_base_accepts(root: Path) -> None:
    """Once; the ledger has who, why and what; it counts for these differences only."""
    change = weakened(root)
    accept(open_run(root), "main", person="ana", reason="agreed")
    accept(open_run(root), "main", person="ana", reason="agreed")
    (entry,) = open_run(root).ledger.entries("accept")
    assert (entry.actor, entry.payload["parts"], entry.payload["reason"]) == (
        "ana", ["policy"], "agreed",
    )  # fmt: skip
    found = judging(open_run(root), change)
    assert (found.accepted_by, found.open) == (("ana",), False)
    again = edited(root, GATES, "threshold: 0.95\n", "threshold: 0.2\n")
    assert judging(open_run(root), again).open


def test_the_author_and_strangers_may_not(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not under their own name, not by another's from their account; nor whom the change names."""
    weakened(root)
    with pytest.raises(NotApprovedError, match="wrote the change"):
        accept(open_run(root), "main", person="ben", reason="mine")
    with pytest.raises(NotApprovedError, match="names ana, ben"):
        accept(open_run(root), "main", person="eve", reason="please")
    monkeypatch.setattr(module, "logins", lambda root: ("ben@laptop",))
    with pytest.raises(NotApprovedError, match="account"):
        accept(open_run(root), "main", person="ana", reason="she said so")
    assert open_run(root).ledger.entries("accept") == []


def test_nothing_to_accept_and_no_reason_are_wrong_use(root: Path) -> None:
    """Each says so, and records nothing."""
    edited(root, PARAMS, "rank: 16", "rank: 8")
    with pytest.raises(UsageError, match="as they are"):
        accept(open_run(root), "main", person="ana", reason="x")
    weakened(root)
    with pytest.raises(UsageError, match="reason"):
        accept(open_run(root), "main", person="ana", reason=" ")


def test_the_command_says_what_was_accepted(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what to run next; without a branch it asks for one."""
    weakened(root)
    monkeypatch.chdir(root)
    for name in ("SLUICE_BASE", "GITHUB_BASE_REF", "GITHUB_ACTIONS", "CI"):
        monkeypatch.delenv(name, raising=False)
    done = CliRunner().invoke(
        sluice, ["accept", "--base", "main", "--person", "ana", "--reason", "agreed"]
    )
    assert done.exit_code == 0, done.output
    assert "ana accepted: policy" in done.output
    assert "sluice gate --base main" in done.output
    asked = CliRunner().invoke(sluice, ["accept", "--reason", "x"])
    assert isinstance(asked.exception, UsageError)


REGISTERED = Registered(release="a" * 64, version=2, champion="b" * 64, champion_version=1,
                        unchanged=False)  # fmt: skip


def judged(policy: Policy, decision: Decision) -> Judged:
    verdict = Verdict(decision, "a" * 64, "b" * 64, policy.digest, "g", "e", "f", ())
    found: Decided = decided(REGISTERED, decision, f"{decision.value}  as usual\n", "", verdict)
    traffic = TrafficChecked(status="NO_DATA", rows=0)
    return Judged(
        reproduce=Reproduced((), "m"), register=REGISTERED, check_drift=traffic, decide=found,
        timings={},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("by_base", "ends"), [("PROMOTE", "HOLD"), ("HOLD", "HOLD"), ("REJECT", "REJECT")]
)
def test_a_promotion_is_held_and_both_policies_are_told(
    root: Path, by_base: str, ends: str
) -> None:
    """Never better than the base's verdict; what its own policy says is told and decides nothing."""
    base = open_run(root).policy
    change = weakened(root)
    run = open_run(root)
    other = judged(run.policy, Decision.PROMOTE).decide.verdict
    assert other is not None
    decided_by_base = judged(base, Decision(by_base)).decide
    held = held_back(run, change, judging(run, change), decided_by_base, lambda _: other)
    assert held.decision is Decision(ends)
    assert f"by the base's policy: {by_base}; by its own: PROMOTE" in held.text
    assert "ana or ben accepts it: sluice accept --base main" in held.text


def test_nobody_named_means_nobody_can(root: Path) -> None:
    """The way out is said."""
    found = Judging(("policy",), "d", None, ())
    assert found.open
    assert "approvals.people" in found.what_to_do("main")


def test_a_policy_that_is_not_committed_never_promotes(root: Path) -> None:
    """It is refused while it only lies on the disk, also where git does not know the file; what
    changes no meaning is not.
    """
    project, policy = open_run(root).project, open_run(root).policy
    refuse_uncommitted(project, policy)
    file = root / GATES
    file.write_text("# a comment\n" + file.read_text("utf-8"), "utf-8")
    refuse_uncommitted(project, open_run(root).policy)
    weak = file.read_text("utf-8").replace("threshold: 0.9\n", "threshold: 0.1\n")
    file.write_text(weak, "utf-8")
    with pytest.raises(NotApprovedError, match="not committed"):
        refuse_uncommitted(project, open_run(root).policy)
    git(root, "commit", "-qam", "weaker")
    refuse_uncommitted(project, open_run(root).policy)
    git(root, "rm", "-q", "--cached", GATES)
    git(root, "commit", "-qm", "forgotten")
    with pytest.raises(NotApprovedError, match="not committed"):
        refuse_uncommitted(project, open_run(root).policy)


def test_promote_asks_for_it(tmp_path: Path) -> None:
    """An edited policy stands in the way of a promotion; the champion stays."""
    project = reviewed(tmp_path)
    digest = with_candidate(project)
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "registry")
    git(tmp_path, "commit", "-qm", "policy")
    policy = project.registry / "gates.yaml"
    policy.write_text(policy.read_text("utf-8").replace("required: 1", "required: 2"), "utf-8")
    with pytest.raises(NotApprovedError, match="not committed"):
        releasing.promote(project, digest, actor="ann")
