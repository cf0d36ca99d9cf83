"""The gate: (candidate, champion, policy) -> verdict. Pure: no files, no clock, no chance.

`RULES` lists the kinds of rules; a new kind is a function and a row there. The statistics are in
`bounds`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from sluicegate.gates.budget import allowance, earlier_evaluations
from sluicegate.gates.checks import Case, held_for_a_set
from sluicegate.gates.judges import covers, held_without_scores, with_unusable
from sluicegate.gates.pairing import checked, unpaired
from sluicegate.gates.policy import Approvals, Policy, Rule
from sluicegate.gates.reviews import Reviews
from sluicegate.gates.rules import RULES, Kind, check_rules
from sluicegate.gates.ways import ways_of
from sluicegate.records import Decision, Evidence, RuleResult, Verdict
from sluicegate.yaml_file import load

__all__ = [
    "RULES",
    "Approvals",
    "Kind",
    "Policy",
    "Rule",
    "absolute",
    "allowance",
    "covers",
    "decide",
    "earlier_evaluations",
    "load_policy",
]


def load_policy(path: Path) -> Policy:
    """Read registry/gates.yaml.

    Raises:
        ConfigError: missing, malformed, an unknown kind, or a rule without a field it needs; names
            rule and field.
    """
    policy = load(path, Policy)
    check_rules(policy.rules, str(path))
    return policy


def decide(
    candidate: Evidence,
    champion: Evidence | None,
    policy: Policy,
    *,
    facts: Mapping[str, str],
    directions: Mapping[str, str] | None = None,
    ranges: Mapping[str, tuple[float, float]] | None = None,
    earlier: Sequence[bool] = (),
    inherited: float = 0.0,
    baselines: Mapping[str, Evidence] | None = None,
    reviews: Reviews | None = None,
    alone: bool = False,
    intent: str = "improve",
) -> Verdict:
    """Judge `candidate` by every rule of `policy`; equal inputs give equal bytes.

    PROMOTE needs every blocking rule to pass; one that is shown to fail makes REJECT, else HOLD.
    Rules that warn never decide. In each result `low` and `high` bound `difference` where there is
    one and `value` otherwise, each at one-sided confidence 1 - alpha (what `allowance` leaves; once
    that is nothing the verdict is HOLD, and the bounds are those of a first evaluation).
    `difference` is candidate minus champion in the metric's own unit.

    Args:
        candidate: evidence on the release that wants to serve.
        champion: evidence on the one that does, by the same digests; None holds all comparisons.
        facts: what else was checked, by name, e.g. `{"contamination_checked": "ok"}`; a rule on the
            metric `judge:<name>` holds unless the fact of that name is `ok` (or `comparative`, for
            a rule that compares) and the judge answered for nine rows in ten.
        directions: metric name to `higher` or `lower` (which is better); higher where absent.
        ranges: metric name to smallest and largest possible score; 0 to 1 where absent.
        earlier: the verdicts that this golden set gave before, oldest first, True for PROMOTE; see
            `earlier_evaluations`.
        inherited: how many evaluations its rows saw in earlier golden sets; see `budget.inherited`.
        baselines: evidence on the answers that cost nothing, by name, on the same digests.
        reviews: what people said of pairs of answers, for rules of kind `human_review`.
        alone: judge by the rules that need no champion, for the release that would be the first;
            with no blocking rule among them the verdict is HOLD.
        intent: `neutral` for the rules of changes that are to improve nothing. A saving that the
            policy rewards opens that way, too; then the better of the two verdicts counts.

    Raises:
        EvidenceError: an evaluation is empty, incomplete, not finite or out of range, or the ids do
            not match.
        ConfigError: the policy was not made by `load_policy` and has an unknown rule.
    """
    check_rules(policy.rules, "policy")
    candidate = checked(candidate, "candidate")
    champion = checked(champion, "champion") if champion is not None else None
    left = allowance(earlier, policy, inherited)
    beside = {name: checked(found, name) for name, found in (baselines or {}).items()}
    case = _case(candidate, champion, policy, facts, directions, ranges, earlier, inherited)
    case = replace(case, baselines=beside, reviews=reviews or {})
    verdicts = []
    for way in ("improve",) if alone else ways_of(case, intent):
        rules = absolute(policy, way) if alone else policy.on(way)
        results = _results(case, rules, spent=left == 0.0)
        verdicts.append(_verdict(case, results, left, len(earlier), way))
    return max(verdicts, key=lambda each: _BETTER.index(each.decision))


_BETTER = (Decision.REJECT, Decision.HOLD, Decision.PROMOTE)


def _verdict(
    case: Case, results: tuple[RuleResult, ...], left: float, given: int, way: str
) -> Verdict:
    candidate, champion, policy = case.candidate, case.champion, case.policy
    decision = _overall(results)
    reasons = _reasons(decision, results) if left else (_used_up(given, policy.submissions),)
    return Verdict(
        decision=decision,
        candidate=candidate.release,
        champion=champion.release if champion is not None else None,
        policy=policy.digest,
        golden=candidate.golden,
        evidence=candidate.digest,
        champion_evidence=champion.digest if champion is not None else None,
        rules=results,
        reasons=reasons,
        alpha=left,
        look=given + 1,
        looks=policy.submissions,
        way=way if way == "neutral" else "",
    )


def _case(
    candidate: Evidence,
    champion: Evidence | None,
    policy: Policy,
    facts: Mapping[str, str],
    directions: Mapping[str, str] | None,
    ranges: Mapping[str, tuple[float, float]] | None,
    earlier: Sequence[bool],
    inherited: float,
) -> Case:
    obstacle = unpaired(candidate, champion) if champion is not None else ""
    alpha, following = (
        allowance(before, policy, inherited) or allowance((), policy)
        for before in (earlier, (*earlier, False))
    )
    return Case(
        candidate,
        champion,
        obstacle,
        policy,
        facts,
        directions or {},
        ranges or {},
        alpha,
        alpha,
        following,
    )


_SPENT = "the golden set's share of error is used up"


def _used_up(given: int, allowed: int) -> str:
    return (
        f"this golden set gave {given} verdicts, and the policy allows {allowed}: one more would "
        "say nothing sure; put fresh examples in its place"
    )


def absolute(policy: Policy, way: str = "improve") -> tuple[Rule, ...]:
    """The rules that need no champion."""
    return tuple(rule for rule in policy.on(way) if RULES[rule.kind].against != "champion")


def _results(case: Case, rules: Sequence[Rule], *, spent: bool) -> tuple[RuleResult, ...]:
    policy = case.policy
    results = tuple(
        held_without_scores(case, rule)
        or held_for_a_set(case, rule)
        or with_unusable(case, rule, RULES[rule.kind].check(case, rule))
        for rule in rules
    )
    missing = policy.minimum_examples - len(case.candidate.rows)
    if missing > 0:
        results = tuple(_too_few(result, missing, policy.minimum_examples) for result in results)
    if spent:
        results = tuple(
            replace(result, decision=Decision.HOLD, reason=_SPENT, more_examples=None)
            for result in results
        )
    return results


def _overall(results: tuple[RuleResult, ...]) -> Decision:
    blocking = {result.decision for result in results if result.severity == "block"}
    if Decision.REJECT in blocking:
        return Decision.REJECT
    return Decision.PROMOTE if blocking == {Decision.PROMOTE} else Decision.HOLD


def _too_few(result: RuleResult, missing: int, minimum: int) -> RuleResult:
    """With too few examples nothing is concluded, for or against."""
    reason = f"{minimum - missing} examples, {minimum} are needed before anything is concluded"
    more = max(missing, result.more_examples or 0)
    return replace(result, decision=Decision.HOLD, reason=reason, more_examples=more)


def _reasons(decision: Decision, results: tuple[RuleResult, ...]) -> tuple[str, ...]:
    """What decided: for PROMOTE all blocking rules, else those that stand in the way; warnings
    after them.
    """
    decisive = [
        result for result in results if result.severity == "block" and result.decision is decision
    ]
    warnings = [
        result
        for result in results
        if result.severity == "warn" and result.decision is not Decision.PROMOTE
    ]
    return (
        *(f"{result.name}: {result.reason}" for result in decisive),
        *(f"warning: {result.name}: {result.reason}" for result in warnings),
    )
