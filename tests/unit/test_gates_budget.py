"""The budget of a golden set: all evaluations on it together promise alpha, and the ledger says
which one this is.
"""

from __future__ import annotations

import math
import random
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from test_gates import BETTER, NOT_WORSE, evidence, noisy, policy

from sluicegate.cards import verdict_text
from sluicegate.errors import ConfigError
from sluicegate.gates import allowance, decide, earlier_evaluations, load_policy
from sluicegate.gates.budget import holm
from sluicegate.hashing import canonical_json
from sluicegate.ledger import Ledger
from sluicegate.records import Decision, Verdict
from soak_scale import scaled


def test_evaluations_share_alpha_and_the_first_has_the_most() -> None:
    """Without a promotion the error rates fall as 1 / k^2 and add up to alpha; after the last there
    is nothing.
    """
    for submissions in (1, 3, 20, 1000):
        rules = policy(BETTER, submissions=submissions)
        rates = [allowance([False] * number, rules) for number in range(submissions)]
        assert math.fsum(rates) == pytest.approx(0.05, rel=1e-9)
        assert all(
            rate == pytest.approx(rates[0] / (number + 1) ** 2) for number, rate in enumerate(rates)
        )
        assert allowance([False] * submissions, rules) == 0.0
        assert allowance([True] * submissions, rules) == 0.0


def test_a_promotion_hands_its_share_on() -> None:
    """After a PROMOTE the next look has its own share and the former one's; after a HOLD that is
    lost again.
    """
    rules = policy(BETTER)
    first, second, third = (allowance([False] * number, rules) for number in range(3))
    assert allowance([True], rules) == pytest.approx(first + second)
    assert allowance([True, True], rules) == pytest.approx(first + second + third)
    assert allowance([True, False], rules) == pytest.approx(third)
    assert allowance([False, True], rules) == pytest.approx(second + third)


def test_before_the_first_wrong_promotion_no_more_than_alpha_was_spent() -> None:
    """Whatever right promotions come between, the shares that wrong candidates got add up to at
    most alpha.
    """
    chance = random.Random(2)
    rules = policy(BETTER, submissions=12)
    for _ in range(500):
        wrong = [chance.random() < 0.6 for _ in range(12)]
        looks: list[bool] = []
        spent = []
        for is_wrong in wrong:
            if is_wrong:
                spent.append(allowance(looks, rules))
            looks.append(not is_wrong and chance.random() < 0.7)
        assert math.fsum(spent) <= 0.05 + 1e-12


def test_a_later_look_asks_for_more() -> None:
    """What a first look promotes a later one may hold, and both the numbers and the texts say at
    which alpha.
    """
    pair = noisy(100, 0.045, 1, 0.15)
    first = decide(*pair, policy(BETTER), facts={})
    later = decide(*pair, policy(BETTER), facts={}, earlier=[False] * 9)
    assert (first.decision, later.decision) == (Decision.PROMOTE, Decision.HOLD)
    assert (first.alpha, first.look, first.looks) == (pytest.approx(0.0313, abs=1e-4), 1, 20)
    assert (later.alpha, later.look, later.looks) == (pytest.approx(0.000313, abs=1e-6), 10, 20)
    assert first.rules[0].p == later.rules[0].p
    assert later.rules[0].low is not None
    assert first.rules[0].low is not None
    assert later.rules[0].low < 0 < first.rules[0].low
    assert "Evaluation 10 of 20 on this golden set, alpha 0.00031." in verdict_text(later)


def test_plans_are_made_for_the_next_look() -> None:
    """A HOLD says how many examples the next look needs, which is more than this one would."""
    pair = noisy(40, 0.0, 3, 0.3)
    one = decide(*pair, policy({**NOT_WORSE, "margin": 0.05}), facts={}).rules[0]
    other = decide(
        *pair, policy({**NOT_WORSE, "margin": 0.05}), facts={}, earlier=[False] * 5
    ).rules[0]
    assert one.more_examples is not None
    assert other.more_examples is not None
    assert other.more_examples > one.more_examples


@pytest.mark.parametrize("shift", [0.3, -0.3])
def test_when_it_is_spent_nothing_is_decided(shift: float) -> None:
    """After the last look even a perfect or terrible candidate is held; the reason counts them and
    asks for fresh ones.
    """
    verdict = decide(
        *noisy(100, shift, 1, 0.01),
        policy(NOT_WORSE, submissions=3),
        facts={},
        earlier=[True, False, True],
    )
    assert verdict.decision is Decision.HOLD
    assert (verdict.alpha, verdict.look, verdict.looks) == (0.0, 4, 3)
    assert "gave 3 verdicts" in verdict.reasons[0]
    assert "fresh examples" in verdict.reasons[0]
    assert "decides nothing more" in verdict_text(verdict)


def test_twenty_equal_candidates_pass_at_most_as_often_as_promised() -> None:
    """20 equal candidates a golden set, through the whole gate: any passes in 5 % at most, by the
    mean in nearly all.
    """
    sets, wrong, naive = scaled(8, 100), 0, 0
    rules = policy(BETTER, minimum_examples=2)
    for seed in range(sets):
        chance = random.Random(seed)
        old = [float(chance.random() < 0.5) for _ in range(30)]
        looks: list[bool] = []
        means = []
        for _ in range(20):
            new = [float(chance.random() < 0.5) for _ in range(30)]
            verdict = decide(evidence(new), evidence(old, "d" * 64), rules, facts={}, earlier=looks)
            looks.append(verdict.decision is Decision.PROMOTE)
            means.append(sum(new) > sum(old))
        wrong += any(looks)
        naive += any(means)
    assert wrong <= 0.05 * sets + 3 * math.sqrt(0.05 * 0.95 * sets)
    assert naive > 0.8 * sets


def _record(ledger: Ledger, verdict: Verdict, **changes: Any) -> None:
    ledger.append("verdict", verdict.candidate, "ana", {**asdict(verdict), **changes})


def _asked(ledger: Ledger, verdict: Verdict) -> tuple[bool, ...]:
    return earlier_evaluations(
        ledger.entries("verdict"),
        golden=verdict.golden,
        evidence=verdict.evidence,
        champion_evidence=verdict.champion_evidence,
        policy=verdict.policy,
    )


def test_the_ledger_says_which_look_it_is(tmp_path: Path) -> None:
    """Other verdicts on this golden set count once each, in order; those on other golden sets do
    not.
    """
    ledger = Ledger(f"sqlite:///{tmp_path}/ledger.db")
    verdicts = [decide(*noisy(60, 0.3, seed, 0.05), policy(BETTER), facts={}) for seed in range(3)]
    assert _asked(ledger, verdicts[0]) == ()
    _record(ledger, verdicts[0], decision="HOLD")
    _record(ledger, verdicts[0], golden="another set")
    assert _asked(ledger, verdicts[1]) == (False,)
    _record(ledger, verdicts[1])
    _record(ledger, verdicts[1], judged_epoch=7)
    assert _asked(ledger, verdicts[2]) == (False, True)
    _record(ledger, verdicts[1], policy="another policy", decision="REJECT")
    assert _asked(ledger, verdicts[2]) == (False, True, False)


def test_a_rerun_is_the_same_look_and_gives_the_same_bytes(tmp_path: Path) -> None:
    """Judged again, later, the same evidence sees the history that it saw at first."""
    ledger = Ledger(f"sqlite:///{tmp_path}/ledger.db")
    pairs = [noisy(60, 0.05, seed) for seed in range(3)]
    made = []
    for pair in (*pairs, *pairs, pairs[1]):
        plain = decide(*pair, policy(BETTER), facts={})
        verdict = decide(*pair, policy(BETTER), facts={}, earlier=_asked(ledger, plain))
        _record(ledger, verdict)
        made.append(canonical_json(verdict))
    assert made[:3] == made[3:6]
    assert made[1] == made[6]
    assert ['"look":1,' in made[0], '"look":2,' in made[1], '"look":3,' in made[2]] == [True] * 3


def test_holm_on_a_case_worked_by_hand() -> None:
    """Sorted p values times the number left, never falling, at most 1, in the order given."""
    assert holm([0.03, 0.01, 0.04]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.5, 0.6]) == [1.0, 1.0]
    assert holm([0.02]) == [0.02]
    assert holm([]) == []


@pytest.mark.parametrize(
    "text",
    [
        "submissions: 0",
        "submissions: 1001",
        "approvals: {required: 2, role: lead, people: {ana: [lead], ben: [reviewer]}}",
        "approvals: {required: 0, role: lead, people: {ana: [lead]}}",
        "approvals: {required: 1, role: '', people: {ana: ['']}}",
        "approvals: {required: 1, role: lead, people: {ana: [lead]}, wait_hours: 0}",
        "approvals: {required: 1, role: lead, people: {ana: [lead]}, wait_hours: .inf}",
        "approvals: {required: 1, role: lead, people: {ana: [lead]}, phone: 1}",
    ],
)
def test_wrong_budgets_and_approvals_are_refused(tmp_path: Path, text: str) -> None:
    """A budget outside its range, and approvals that nobody could give, are errors of the policy."""
    path = tmp_path / "gates.yaml"
    path.write_text(f"{text}\nrules: [{{name: a, kind: requires, fact: f}}]\n")
    with pytest.raises(ConfigError, match=r"gates\.yaml"):
        load_policy(path)


def test_the_policy_says_who_approves(tmp_path: Path) -> None:
    """Approvals are read as written, with three days to wait where nothing is said; by default
    nobody is asked.
    """
    path = tmp_path / "gates.yaml"
    rules = "rules: [{name: a, kind: requires, fact: f}]\n"
    path.write_text(
        f"approvals: {{required: 1, role: lead, people: {{ana: [lead], ben: []}}}}\n{rules}"
    )
    found = load_policy(path).approvals
    assert found is not None
    assert (found.required, found.role, found.wait_hours, found.people) == (
        1,
        "lead",
        72.0,
        {"ana": ("lead",), "ben": ()},
    )
    path.write_text(rules)
    assert load_policy(path).approvals is None
