"""A declared worst loss hides nothing, and a change that improves nothing may pass where the policy
opens that way.
"""

from __future__ import annotations

import random
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from test_gates import BETTER, NOT_WORSE, evidence, noisy, policy

from sluicegate.errors import ConfigError
from sluicegate.gates import decide, load_policy
from sluicegate.hashing import digest_value
from sluicegate.records import Decision, Evidence

CLIPPED = {**NOT_WORSE, "worst_loss": 0.5}
FEW = {
    "name": "few lose much", "kind": "share_losing_more_than", "metric": "score",
    "worst_loss": 0.5, "threshold": 0.1,
}  # fmt: skip


def failing(share: float, rows: int = 60) -> tuple[Evidence, Evidence]:
    """A candidate that scores 0 in so many rows where the champion has 1, and as well elsewhere."""
    lost = round(share * rows)
    return evidence([0.0] * lost + [1.0] * (rows - lost)), evidence([1.0] * rows, "d" * 64)


def test_a_declared_worst_loss_needs_fewer_examples() -> None:
    """Equal answers of 40 rows are no proof by themselves, but are where no row can lose more."""
    same = failing(0.0, 40)
    whole = policy({**NOT_WORSE, "margin": 0.05})
    assert decide(*same, whole, facts={}).decision is Decision.HOLD
    clipped = policy({**CLIPPED, "margin": 0.05}, {**FEW, "compare": "mean"})
    verdict = decide(*same, clipped, facts={})
    assert verdict.decision is Decision.PROMOTE
    assert "counts as 0.5 at most" in verdict.rules[0].reason


def test_what_the_clipped_mean_does_not_see_the_share_does() -> None:
    """The share of rows that lose more holds or rejects, and says how many they are."""
    rules = policy(CLIPPED, FEW)
    verdict = decide(*failing(0.5), rules, facts={})
    assert verdict.rules[1].decision is Decision.REJECT
    assert verdict.rules[1].value == pytest.approx(0.5)
    assert verdict.rules[1].reason.startswith("30 of 60 lose more")
    assert decide(*failing(0.05), rules, facts={}).rules[1].decision is Decision.HOLD
    assert decide(*failing(0.0), rules, facts={}).rules[1].decision is Decision.PROMOTE


def test_a_loss_of_exactly_the_worst_is_not_more() -> None:
    """1 to 0.5 is a loss of 0.5, whatever the rounding; lower is better turns the side."""
    halves = evidence([0.1] * 60), evidence([0.6] * 60, "d" * 64)
    assert decide(*halves, policy(FEW), facts={}).rules[0].value == 0.0
    lower = policy({**FEW, "direction": "lower"})
    assert decide(*failing(1.0), lower, facts={}).rules[0].value == 0.0
    assert decide(*failing(1.0)[::-1], lower, facts={}).rules[0].value == 1.0


@pytest.mark.parametrize(
    "rules",
    [
        (CLIPPED,),
        (CLIPPED, {**FEW, "severity": "warn"}),
        (CLIPPED, {**FEW, "worst_loss": 0.6}),
        (CLIPPED, {**FEW, "metric": "other"}),
    ],
)
def test_hidden_losses_need_a_rule_that_limits_them(rules: tuple[dict[str, Any], ...]) -> None:
    """A worst loss whose share nobody limits, or not from there on, is refused with the line."""
    with pytest.raises(ConfigError, match="hides every loss") as refused:
        decide(*failing(0.0), policy(*rules), facts={})
    assert "share_losing_more_than" in refused.value.hint


def test_a_margin_reaches_below_the_worst_loss() -> None:
    """Else a loss of the whole margin in every row would pass."""
    with pytest.raises(ConfigError, match="below worst_loss"):
        decide(*failing(0.0), policy({**CLIPPED, "worst_loss": 0.1}, FEW), facts={})


NEUTRAL = {**NOT_WORSE, "name": "nothing lost", "way": "neutral"}
IMPROVES = {**BETTER, "way": "improve"}


def test_a_neutral_change_passes_where_it_is_meant() -> None:
    """An equal candidate is held as an improvement, and promoted as a neutral change; told apart."""
    both = policy(IMPROVES, NEUTRAL)
    pair = noisy(200, 0.0, 3, spread=0.01)
    held = decide(*pair, both, facts={})
    assert held.decision is not Decision.PROMOTE
    assert [rule.name for rule in held.rules] == ["gain"]
    passed = decide(*pair, both, facts={}, intent="neutral")
    assert (passed.decision, passed.way) == (Decision.PROMOTE, "neutral")
    assert [rule.name for rule in passed.rules] == ["nothing lost"]
    assert held.way == ""
    assert held.digest != passed.digest


def test_a_neutral_change_still_may_not_lose() -> None:
    """Nothing worse is asked of it, on every metric that the policy guards."""
    both = policy(IMPROVES, NEUTRAL)
    worse = noisy(200, -0.3, 3, spread=0.01)
    assert decide(*worse, both, facts={}, intent="neutral").decision is Decision.REJECT


def test_a_policy_without_that_way_lets_no_neutral_change_through() -> None:
    """The author of a change asks for a way, but the policy opens it."""
    with pytest.raises(ConfigError, match="no rule with `way: neutral`"):
        decide(*noisy(60, 0.0, 3), policy(BETTER), facts={}, intent="neutral")
    with pytest.raises(ValidationError, match="at least one rule must block"):
        policy(NEUTRAL)
    with pytest.raises(ValidationError, match="what they open"):
        policy(BETTER, rewards={"latency_p95": 0.1})


@pytest.mark.parametrize(("seconds", "passes"), [(0.89, True), (0.91, False)])
def test_a_saving_that_the_policy_rewards_opens_the_neutral_way(
    seconds: float, passes: bool
) -> None:
    """10 % less latency let an equal candidate pass; 9 % do not."""
    new, old = noisy(200, 0.0, 3, spread=0.01)
    faster = replace(new, operations={"latency_p95": seconds})
    rewarding = policy(IMPROVES, NEUTRAL, rewards={"latency_p95": 0.1})
    assert (decide(faster, old, rewarding, facts={}).way == "neutral") is passes


def test_the_new_fields_change_no_digest_of_a_policy_without_them() -> None:
    """Verdicts on a policy of an earlier version stay in force."""
    plain = policy(BETTER)
    assert not {"way", "worst_loss"} & set(plain.content["rules"][0])
    assert "rewards" not in plain.content
    assert policy(IMPROVES, NEUTRAL).digest != policy(BETTER, NOT_WORSE).digest


def test_the_digest_of_a_verdict_without_a_way_is_that_of_earlier_versions() -> None:
    """Promotions rest on verdicts by their digests, and old ones have no such field."""
    verdict = decide(*noisy(60, 0.2, 3), policy(BETTER), facts={})
    before = asdict(verdict)
    del before["way"]
    assert verdict.digest == digest_value(before)


def shipped(shift: float, lost: float = 0.0, seed: int = 1) -> tuple[Evidence, Evidence, Evidence]:
    """Candidate, champion and lead2 on 64 rows, each with a score of every metric of the shipped
    policy; in a share `lost` of the rows the candidate's answer is worthless.
    """
    chance = random.Random(seed)
    good = dict.fromkeys(
        ("copied_numbers", "copied_names", "copied_links", "same_language", "length_ratio"), 1.0
    ) | dict.fromkeys(("pii_found", "profanity", "repetition", "refusal"), 0.0)
    old, new = [], []
    for place in range(64):
        level = chance.uniform(0.55, 0.8)
        scores = {name: level + chance.gauss(0, 0.02) for name in ("chrf", "rouge1", "rougeL")}
        moved = {name: value + shift + chance.gauss(0, 0.08) for name, value in scores.items()}
        if place < lost * 64:
            moved = dict.fromkeys(moved, 0.0)
        old.append({**good, **scores})
        new.append({**good, **{name: min(1.0, value) for name, value in moved.items()}})
    lead = [dict.fromkeys(scores, 0.2) for scores in old]
    candidate, champion, beside = (scored(rows) for rows in (new, old, lead))
    return candidate, replace(champion, release="d" * 64), beside


def scored(rows: list[dict[str, float]]) -> Evidence:
    """Evidence with these scores, fast and with nothing cut or empty."""
    plain = evidence([0.0] * len(rows), operations={"latency_p95": 1.0, "empty_share": 0.0})
    made = tuple(replace(row, scores=scores) for row, scores in zip(plain.rows, rows, strict=True))
    return replace(
        plain, rows=made, summaries={}, operations={**plain.operations, "cut_share": 0.0}
    )


@pytest.mark.parametrize(
    ("shift", "lost", "intent", "decision"),
    [
        (0.0, 0.0, "neutral", Decision.PROMOTE),
        (0.0, 0.0, "improve", Decision.HOLD),
        (0.1, 0.0, "improve", Decision.PROMOTE),
        (-0.15, 0.0, "neutral", Decision.REJECT),
        (0.0, 0.05, "neutral", Decision.HOLD),
        (0.1, 0.15, "improve", Decision.HOLD),
        (0.0, 0.4, "neutral", Decision.REJECT),
    ],
)
def test_the_shipped_policy_has_both_ways(
    shift: float, lost: float, intent: str, decision: Decision
) -> None:
    """An equal change of 64 rows passes as neutral, a better one as such; catastrophes pass on no
    way.
    """
    rules = load_policy(Path(__file__).parents[2] / "registry" / "gates.yaml")
    candidate, champion, beside = shipped(shift, lost)
    facts = {"contamination_checked": "ok", "drift_checked": "ok"}
    verdict = decide(
        candidate, champion, rules, facts=facts, baselines={"lead2": beside}, intent=intent,
        directions=dict.fromkeys(("pii_found", "profanity", "repetition", "refusal"), "lower"),
    )  # fmt: skip
    assert verdict.decision is decision, verdict.reasons
    assert (verdict.way == "neutral") is (intent == "neutral")
