"""Random histories of a release line, beside a model that knows by itself what may be promoted."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)
from scenes import entered, new_project, verdict

import sluicegate.ledger
from sluicegate.errors import NotApprovedError, ReleaseError, StaleEpochError, UsageError
from sluicegate.ledger import MOVES, Ledger
from sluicegate.records import Champion, Decision
from sluicegate.releasing import approve, bootstrap, judge, promote, rollback, verify
from soak_scale import scaled

RULES = "rules: [{{name: gain, kind: better_than_champion, metric: {metric}}}]\n"
PEOPLE = "ann: [reviewer], ben: [reviewer], cleo: [reviewer, lead], dan: [lead]"
ASKS = f"approvals: {{required: 2, role: reviewer, people: {{{PEOPLE}}}}}\n"
POLICIES = (
    RULES.format(metric="rougeL"),
    RULES.format(metric="rouge1"),
    RULES.format(metric="rougeL") + ASKS,
)
REVIEWERS = {"ben", "cleo"}  # ann registers every release, dan has another role
NUMBERS = st.integers(1, 4)


@dataclass
class Judged:
    """The latest verdict on one release, as the model saw it being given."""

    key: tuple[Decision, str | None, int, int]
    consents: set[str] = field(default_factory=set)


class Line(RuleBasedStateMachine):
    """Four releases, three policies; the model keeps who serves, the latest verdicts, consents and
    what was taken out.
    """

    ledger: Callable[[], str]
    root: Path
    told: Counter[str]

    def __init__(self) -> None:
        super().__init__()
        self.ledger()
        shutil.rmtree(self.root, ignore_errors=True)
        self.project = new_project(self.root, POLICIES[0])
        self.policy = 0
        self.releases: dict[int, str] = {}
        self.champion: Champion | None = None
        self.verdicts: dict[int, Judged] = {}
        self.out: set[int] = set()
        self.moves: list[tuple[str, int]] = []

    def number_of(self, release: str | None) -> int | None:
        return next((number for number, digest in self.releases.items() if digest == release), None)

    def moved(self, kind: str, number: int) -> None:
        self.champion = Champion(self.releases[number], len(self.moves) + 1, number)
        self.moves.append((kind, number))
        self.told[kind] += 1

    @initialize(first=NUMBERS, second=NUMBERS, further=st.booleans())
    def begin(self, first: int, second: int, further: bool) -> None:
        for number in (first, second):
            self.releases[number] = entered(self.project, number)
        bootstrap(self.project, self.releases[first], actor="ann")
        self.moved("bootstrap", first)
        if further:
            self.go_the_whole_way(second, set())

    @rule(number=NUMBERS)
    def enter(self, number: int) -> None:
        self.releases[number] = entered(self.project, number)

    @rule(number=NUMBERS)
    def bootstrap_again(self, number: int) -> None:
        if number in self.releases:
            assert bootstrap(self.project, self.releases[number], actor="ann") == self.champion

    @rule(policy=st.integers(0, len(POLICIES) - 1))
    def change_policy(self, policy: int) -> None:
        new_project(self.root, POLICIES[policy])
        self.policy = policy

    @rule(
        number=NUMBERS,
        decision=st.sampled_from([Decision.PROMOTE, Decision.PROMOTE, Decision.PROMOTE, *Decision]),
    )
    def judge(self, number: int, decision: Decision) -> None:
        if number not in self.releases:
            return
        judge(self.project, verdict(self.project, self.releases[number], decision), actor="gate")
        assert self.champion is not None
        key = (decision, self.champion.release, self.champion.epoch, self.policy)
        if number not in self.verdicts or self.verdicts[number].key != key:
            self.verdicts[number] = Judged(key)

    @rule(number=NUMBERS, people=st.sets(st.sampled_from(["ann", "ben", "cleo", "dan"])))
    def go_the_whole_way(self, number: int, people: set[str]) -> None:
        """The usual order, so that histories get somewhere: judge, ask people, promote."""
        self.enter(number)
        self.judge(number, Decision.PROMOTE)
        if self.policy == 2:
            for person in sorted(people):
                self.approve(number, person)
        self.promote(number, False)

    @rule(number=NUMBERS, other=NUMBERS)
    def judge_against_who_does_not_serve(self, number: int, other: int) -> None:
        assert self.champion is not None
        if {number, other} <= self.releases.keys() and self.releases[
            other
        ] != self.champion.release:
            stale = replace(
                verdict(self.project, self.releases[number]), champion=self.releases[other]
            )
            with pytest.raises(StaleEpochError):
                judge(self.project, stale, actor="gate")

    @precondition(lambda self: self.policy == 2)
    @rule(number=NUMBERS, person=st.sampled_from(["ann", "ben", "cleo", "dan", "eve"]))
    def approve(self, number: int, person: str) -> None:
        if number not in self.releases:
            return
        assert self.champion is not None
        may = (
            self.allowed(number)
            and person in REVIEWERS
            and self.releases[number] != self.champion.release
        )
        self.told["approval asked"] += 1
        try:
            approve(self.project, self.releases[number], person=person)
        except (NotApprovedError, ReleaseError):
            assert not may
        else:
            assert may, f"{person} approved version {number}"
            self.verdicts[number].consents.add(person)

    def allowed(self, number: int) -> bool:
        """Is there a PROMOTE verdict for exactly this release, champion, reign and policy?"""
        assert self.champion is not None
        wanted = (Decision.PROMOTE, self.champion.release, self.champion.epoch, self.policy)
        return number in self.verdicts and self.verdicts[number].key == wanted

    @rule(number=NUMBERS, again=st.booleans())
    def promote(self, number: int, again: bool) -> None:
        if number not in self.releases:
            return
        assert self.champion is not None
        serves = self.releases[number] == self.champion.release
        self.told["promotion asked"] += 1
        may = self.allowed(number) and (again or number not in self.out)
        if self.policy == 2:
            may = may and number in self.verdicts and len(self.verdicts[number].consents) >= 2
        try:
            move = promote(self.project, self.releases[number], actor="ann", again=again)
        except NotApprovedError:
            assert not may
            assert not serves
            self.told["refused"] += 1
        else:
            assert may or serves, f"version {number} was promoted without leave"
            assert (move.entry is None) == serves
            if not serves:
                self.moved("promote", number)
                self.out.discard(number)

    @rule(number=NUMBERS)
    def roll_back(self, number: int) -> None:
        assert self.champion is not None
        left = self.champion.version
        self.told["rollback asked"] += 1
        may = any(number == served for _, served in self.moves)
        try:
            move = rollback(self.project, actor="ann", to=number)
        except UsageError:
            assert not may
        else:
            assert may, f"rolled back to version {number}, which never served"
            if move.entry is not None:
                self.moved("rollback", number)
                self.out.discard(number)
                self.out.add(left)

    def teardown(self) -> None:
        if self.champion is None:
            return
        ledger = Ledger(self.project.ledger_url)
        assert ledger.champion() == self.champion
        moves = [entry for entry in ledger.entries() if entry.kind in MOVES]
        assert [(entry.kind, self.number_of(entry.release)) for entry in moves] == self.moves
        verify(self.project)
        self.told["histories"] += 1


@pytest.fixture
def kept_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening a ledger is proved elsewhere; here each one is opened once."""
    monkeypatch.setattr(
        sluicegate.ledger, "open_engine", lru_cache(2)(sluicegate.ledger.open_engine)
    )


@pytest.mark.timeout(7200)
def test_no_promotion_without_evidence(
    fresh_ledger: Callable[[], str],
    quick_path: Path,
    kept_open: None,
    request: pytest.FixtureRequest,
) -> None:
    """In no history does a release serve without a PROMOTE verdict, and every consent, for exactly
    these digests.
    """
    told = Counter[str]()
    place = quick_path / "project"

    class Here(Line):
        ledger = staticmethod(fresh_ledger)
        root = place

    Here.told = told
    postgres = "postgresql" in request.node.name
    histories = scaled(30, 500) if postgres else scaled(300, 5000)
    profile = settings(
        max_examples=histories,
        stateful_step_count=scaled(12, 20),
        deadline=None,
        database=None,
        derandomize=not scaled(0, 1),
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(Here, settings=profile)
    print(f"histories: {dict(told)}")
    assert told["histories"] >= histories
    assert told["promote"] > histories / 20
    assert told["refused"] > 0
