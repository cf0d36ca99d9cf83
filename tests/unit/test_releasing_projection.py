"""What people see and write in MLflow, with a registry in memory; test_approving_mlflow.py asks MLflow itself."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from sluicegate.errors import StaleEpochError, TrackingError
from sluicegate.gates.policy import Approvals
from sluicegate.ledger import Ledger
from sluicegate.project import Project
from sluicegate.records import Decision, Verdict
from sluicegate.releasing import (
    Standing,
    approve,
    bootstrap,
    collect_approvals,
    judge,
    promote,
    reconcile,
    register,
    rollback,
    standing,
    time_out,
    verify,
)
from sluicegate.releasing.approving import invitation, outdated
from sluicegate.tracking import Tracking

sys.path.insert(0, str(Path(__file__).parents[1]))
from kept_evidence import kept
from reviewed_project import RULES, ask, decided, entered, reviewed, stored, with_candidate


class Registry:
    """The Model Registry as releasing sees it: tags, descriptions and aliases; `away` makes it unreachable."""

    def __init__(self, project: Project) -> None:
        self.ledger = Ledger(project.ledger_url)
        self.tags: dict[int, dict[str, str]] = {}
        self.pages: dict[int, str] = {}
        self.aliases: dict[str, int | None] = {}
        self.labels: dict[str, str] = {}
        self.away = False

    def _reached(self) -> None:
        if self.away:
            raise TrackingError("MLflow is away")

    def register_version(self, *_given: Any, tags: Mapping[str, str], **_named: Any) -> int:
        self.labels = dict(tags)
        return 1

    def version_of(self, _model: str, release: str) -> int | None:
        self._reached()
        known = self.ledger.entries("register", release)
        return int(known[0].payload["version"]) if known else None

    def tags_of(self, _model: str) -> dict[int, dict[str, str]]:
        self._reached()
        return {version: dict(tags) for version, tags in self.tags.items()}

    def set_tags(self, _model: str, version: int, tags: Mapping[str, str | None]) -> None:
        self._reached()
        kept = self.tags.setdefault(version, {}) | tags
        self.tags[version] = {key: value for key, value in kept.items() if value is not None}

    def describe(self, model: str, version: int, markdown: str, tags: Mapping[str, str]) -> None:
        self.pages[version] = markdown
        self.set_tags(model, version, tags)

    def alias(self, _model: str, alias: str) -> int | None:
        self._reached()
        return self.aliases.get(alias)

    def project_champion(
        self, model: str, champion: int, challenger: int | None, tags: Mapping[str, str]
    ) -> None:
        self.aliases = {"champion": champion, "challenger": challenger}
        self.set_tags(model, champion, tags)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return reviewed(tmp_path)


@pytest.fixture
def registry(project: Project) -> Registry:
    return Registry(project)


@pytest.fixture
def tracking(registry: Registry) -> Tracking:
    return cast(Tracking, registry)


def proposed(project: Project, candidate: str, **changes: Any) -> Verdict:
    """The verdict last recorded on `candidate`, changed, not recorded."""
    found = Ledger(project.ledger_url).entries("verdict", candidate)[-1].payload
    names = ("candidate", "champion", "policy", "golden", "evidence", "champion_evidence")
    return replace(
        Verdict(
            decision=Decision.PROMOTE,
            rules=(),
            reasons=("better",),
            **{name: found[name] for name in names},
        ),
        **changes,
    )


def test_tags_become_approvals_version_by_version(
    project: Project, registry: Registry, tracking: Tracking
) -> None:
    """Each asked-for version has its own answer; versions that nobody asks about or the ledger lacks stay as they are."""
    bootstrap(project, entered(project, 1), actor="maker")
    two, three = entered(project, 2), entered(project, 3)
    decided(project, two, tracking=tracking)
    decided(project, three, why="also better", tracking=tracking)
    registry.tags[2] |= {"sluice.approve.ana": "reads well", "sluice.approved": "ana, dora"}
    registry.tags[3] |= {
        "sluice.approve.ben": " Never ",
        "sluice.approve.cleo": "fine",
        "sluice.approve.ana": "good",
    }
    registry.tags[9] = {"sluice.approve.ana": "not ours"}
    registry.tags[1] = {"note": "kept"}
    found = collect_approvals(project, tracking=tracking, model="m")
    assert [(entry.release, entry.actor) for entry in found.recorded] == [
        (two, "ana"),
        (three, "ana"),
    ]
    assert found.refused == (
        "version 3, ben: the value ' Never ' is not an approval; write your reason.",
        "version 3, cleo: cleo does not have the role reviewer.",
    )
    assert registry.tags[2]["sluice.approved"] == "dora, ana"
    assert "sluice.approve_refused" not in registry.tags[2]
    assert registry.tags[3]["sluice.approved"] == "ana"
    assert registry.tags[3]["sluice.approve_refused"].startswith("ben: the value ' Never '")
    assert "; cleo: " in registry.tags[3]["sluice.approve_refused"]
    assert (registry.tags[9], registry.tags[1]) == (
        {"sluice.approve.ana": "not ours"},
        {"note": "kept"},
    )


def test_only_the_verdict_on_the_page_can_be_approved(
    project: Project, registry: Registry, tracking: Tracking
) -> None:
    """Where the page shows no verdict, or an earlier one, a tag is refused; a policy that asks nobody reads none."""
    candidate = with_candidate(project)
    registry.tags[2] = {"sluice.approve.ana": "reads well"}
    assert collect_approvals(project, tracking=tracking, model="m").refused == (
        "version 2, ana: this version shows no verdict.",
    )
    registry.tags[2] = {"sluice.approve.ana": "reads well", "sluice.verdict_entry": "3"}
    (said,) = collect_approvals(project, tracking=tracking, model="m").refused
    assert "judged again since" in said
    registry.away = True
    with pytest.raises(TrackingError):
        collect_approvals(project, tracking=tracking, model="m")
    (project.registry / "gates.yaml").write_text(RULES)
    assert collect_approvals(project, tracking=tracking, model="m").recorded == ()
    assert Ledger(project.ledger_url).entries("approval", candidate) == []


def test_tags_about_an_earlier_verdict_are_outdated(project: Project) -> None:
    """All that is about approving goes, and nothing else; the verdict's own tags stay."""
    with_candidate(project)
    verdict = Ledger(project.ledger_url).entries("verdict")[-1]
    about = {
        "sluice.approve.ana": "fine",
        "sluice.approved": "ana",
        "sluice.approve_refused": "ben: no",
    }
    tags = {**about, "sluice.verdict_entry": "1", "note": "kept"}
    assert outdated(tags, verdict) == dict.fromkeys(about)
    assert outdated({**tags, "sluice.verdict_entry": str(verdict.sequence)}, verdict) == {}


def test_a_page_invites_only_who_may_approve_this_verdict(
    project: Project, registry: Registry, tracking: Tracking
) -> None:
    """A PROMOTE verdict's page names the reviewers; that of a HOLD does not, and neither asks for leads."""
    candidate = with_candidate(project)
    decided(project, candidate, Decision.HOLD, tracking=tracking)
    assert registry.pages[2] == "# why"
    assert registry.tags[2]["sluice.verdict"] == "HOLD"
    decided(project, candidate, tracking=tracking)
    asked = Approvals.model_validate(
        {
            "required": 1,
            "role": "reviewer",
            "people": {"ana": ["reviewer"], "ben": ["reviewer"], "maker": ["reviewer"]},
        }
    )
    assert registry.pages[2] == f"{invitation(asked)}\n\n# why"
    entry = Ledger(project.ledger_url).entries("verdict")[-1]
    assert registry.tags[2]["sluice.verdict_entry"] == str(entry.sequence)
    assert entry.payload["required"] == 1


def test_a_verdict_is_recorded_though_mlflow_is_away(
    project: Project, registry: Registry, tracking: Tracking
) -> None:
    """What MLflow could not be told is a warning; a verdict under another policy asks for no approvals of this one."""
    candidate = with_candidate(project)
    registry.away = True
    found = judge(
        project,
        proposed(project, candidate, reasons=("x",)),
        actor="gate",
        tracking=tracking,
        model="m",
    )
    assert found.warnings == ("MLflow does not know the verdict yet: MLflow is away",)
    assert Ledger(project.ledger_url).entries("verdict")[-1] == found.entry
    other = judge(project, proposed(project, candidate, policy="0" * 64), actor="gate")
    assert (other.entry.payload["required"], other.warnings) == (0, ())


def test_a_verdict_against_the_merge_base_counts_only_while_nothing_serves(
    project: Project,
) -> None:
    """`nothing_serves` lets a verdict without champion in as long as there is none; afterwards it is stale."""
    first, second = entered(project, 1), entered(project, 2)
    about = Verdict(
        Decision.PROMOTE,
        second,
        first,
        "0" * 64,
        "a" * 64,
        kept(project),
        kept(project, "c"),
        (),
        ("better",),
    )
    with pytest.raises(StaleEpochError):
        judge(project, about, actor="gate")
    found = judge(project, about, actor="gate", nothing_serves=True)
    assert (found.entry.payload["judged_epoch"], found.version) == (0, 2)
    champion = bootstrap(project, first, actor="maker")
    with pytest.raises(StaleEpochError):
        judge(project, replace(about, champion=second), actor="gate", nothing_serves=True)
    later = judge(project, about, actor="gate", nothing_serves=True)
    assert later.entry.payload["judged_epoch"] == champion.epoch == 1


def test_the_challenger_is_who_was_registered_or_judged_last(
    project: Project, registry: Registry, tracking: Tracking
) -> None:
    """In this reign only, never the champion, and nobody after a REJECT; what had to change is told once."""
    (project.registry / "gates.yaml").write_text(RULES)
    assert reconcile(project, tracking=tracking, model="m").champion is None
    bootstrap(project, entered(project, 1), actor="maker")
    first = reconcile(project, tracking=tracking, model="m")
    assert first.changed == ("alias champion: none became version 1",)
    two, three = entered(project, 2), entered(project, 3)
    found = reconcile(project, tracking=tracking, model="m")
    assert (found.champion, found.challenger, found.changed) == (
        1,
        3,
        ("alias challenger: none became version 3",),
    )
    decided(project, two)
    assert reconcile(project, tracking=tracking, model="m").changed == (
        "alias challenger: version 3 became version 2",
    )
    decided(project, two, Decision.REJECT)
    assert reconcile(project, tracking=tracking, model="m").challenger is None
    decided(project, three, Decision.HOLD)
    assert reconcile(project, tracking=tracking, model="m").challenger == 3
    decided(project, two, why="better now")
    assert promote(project, two, actor="ann", tracking=tracking, model="m").warnings == ()
    assert registry.aliases == {"champion": 2, "challenger": None}
    sequence, digest = Ledger(project.ledger_url).head()
    assert registry.tags[2]["sluice.epoch"] == "2"
    assert registry.tags[2]["sluice.ledger_head"] == f"{sequence}:{digest}"
    registry.away = True
    back = rollback(project, actor="ann", tracking=tracking, model="m")
    assert (back.champion.version, back.champion.epoch) == (1, 3)
    assert len(back.warnings) == 1
    assert len(rollback(project, actor="ann", to=1, tracking=tracking, model="m").warnings) == 1


def test_the_champion_is_never_its_own_challenger(project: Project, tracking: Tracking) -> None:
    """Whatever their digests, others are; a verdict on the champion itself leaves the challenger as it was."""
    (project.registry / "gates.yaml").write_text(RULES)
    versions = sorted(range(1, 6), key=lambda version: stored(project, version).digest)
    middle = versions[2]
    champion = entered(project, middle)
    bootstrap(project, champion, actor="maker")
    for version in versions[:2] + versions[3:]:
        entered(project, version)
        assert reconcile(project, tracking=tracking, model="m").challenger == version
        decided(project, champion, why=f"after {version}")
        assert reconcile(project, tracking=tracking, model="m").challenger == version


def test_a_version_is_labelled_with_where_it_came_from(
    project: Project, registry: Registry, tracking: Tracking
) -> None:
    """Commit (with a mark for changes not committed), parent or none, and the caller's own labels."""
    plain = stored(project, 5)
    dirty = replace(plain, lineage=replace(plain.lineage, dirty=True, parent="9" * 64))
    for release, commit, parent in ((dirty, "c0ffee+changes", "9" * 64), (plain, "c0ffee", "none")):
        fresh = Project(project.root / commit)
        register(
            fresh,
            release,
            tracking=tracking,
            model="m",
            run_id="r",
            actor="ann",
            tags={"team": "a"},
        )
        assert registry.labels["sluice.commit"] == commit
        assert registry.labels["sluice.parent"] == parent
        assert registry.labels["team"] == "a"


def test_the_timeout_is_of_the_verdict_in_force(project: Project) -> None:
    """Each verdict has a wait of its own, and what is recorded at its end names that one."""
    ask(project, wait_hours=1e-9)
    candidate = with_candidate(project)
    first = time_out(project, candidate, actor="line")
    decided(project, candidate, why="better still")
    second = time_out(project, candidate, actor="line")
    assert first is not None
    assert second is not None
    verdicts = [entry.sequence for entry in Ledger(project.ledger_url).entries("verdict")]
    assert [entry.payload["verdict_entry"] for entry in (first, second)] == verdicts
    assert second.payload["version"] == 2


@pytest.mark.parametrize(
    ("hours", "waits"), [(71.0, timedelta(hours=71)), (1e300, timedelta(days=3650))]
)
def test_the_longest_wait_is_ten_years(project: Project, hours: float, waits: timedelta) -> None:
    """However many hours the policy names, the end of the wait is a date; until then it is not over."""
    ask(project, wait_hours=hours)
    candidate = with_candidate(project)
    judged = datetime.fromisoformat(Ledger(project.ledger_url).entries("verdict")[-1].time)
    found = standing(project, candidate)
    assert datetime.fromisoformat(found.until) - judged == waits
    assert not found.over
    assert standing(project, candidate, now=datetime.now(UTC) + waits).over


def test_nobody_is_missing_where_more_than_enough_approved(project: Project) -> None:
    """The number missing is never below zero, and one line says where a release stands."""
    candidate = with_candidate(project)
    for person in ("ana", "ben"):
        approve(project, candidate, person=person)
    found = standing(project, candidate)
    assert (found.missing, found.given, found.text) == (0, ("ana", "ben"), "approved by ana, ben")
    move = promote(project, candidate, actor="maker")
    assert move.entry is not None
    assert len(move.entry.payload["approvals"]) == 2
    assert verify(project).entries == move.entry.sequence
    late = Standing("r", 2, 2, "editor", ("ana",), "2026-01-02T03:04:05+00:00", over=True)
    assert late.text == "1 approval by an editor did not come until 2026-01-02T03:04 UTC"
