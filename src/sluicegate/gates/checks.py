"""What the kinds of rules share: the case before them, a threshold, a comparison, and the result in
figures.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sluicegate.gates.bounds import Clusters, clusters, lower_bound, p_mean_at_most, upper_bound
from sluicegate.gates.pairing import effective_size, improvements, sample_of, unpaired
from sluicegate.gates.planning import detectable, more_examples
from sluicegate.gates.policy import Policy, Rule
from sluicegate.gates.reviews import Reviews
from sluicegate.records import Decision, Evidence, RuleResult

ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Case:
    """What a rule may look at.

    Attributes:
        obstacle: why candidate and champion cannot be compared, or empty.
        alpha: error rate at which something is shown in this evaluation.
        reject_alpha: the same for what counts against the candidate; smaller where several slices
            may each do so.
        next_alpha: error rate of the next evaluation, for plans.
        baselines: evidence on the answers that cost nothing, by name.
        reviews: what people said of pairs of answers.
    """

    candidate: Evidence
    champion: Evidence | None
    obstacle: str
    policy: Policy
    facts: Mapping[str, str]
    directions: Mapping[str, str]
    ranges: Mapping[str, tuple[float, float]]
    alpha: float
    reject_alpha: float
    next_alpha: float
    baselines: Mapping[str, Evidence] = field(default_factory=dict)
    reviews: Reviews = field(default_factory=dict)

    def bounds(self, rule: Rule) -> tuple[float, float]:
        """Smallest and largest possible score: the rule's, else the metric's, else 0 to 1."""
        return rule.range or self.ranges.get(rule.metric, (0.0, 1.0))

    def direction(self, rule: Rule) -> str:
        """The rule's, else the metric's, else higher is better."""
        return rule.direction or self.directions.get(rule.metric, "higher")


OF_SET = (
    "{} is one number for the whole set, and no bound on it is sure at small numbers: a rule on "
    "accuracy with `slice: label` looks at every class"
)
"""Why such a metric decides nothing."""

Check = Callable[[Case, Rule], RuleResult]


def held_for_a_set(case: Case, rule: Rule) -> RuleResult | None:
    """HOLD, where a metric of `rule` is one number for the whole set; else None."""
    for metric in (rule.metric, *rule.metrics):
        if metric in case.candidate.set_scores:
            return result(rule, Decision.HOLD, OF_SET.format(metric), n=len(case.candidate.rows))
    return None


def against_threshold(case: Case, rule: Rule, sign: float) -> RuleResult:
    """The metric against `threshold`; `sign` is 1 for at least, -1 for at most."""
    threshold, n = amount(rule.threshold), len(case.candidate.rows)
    word = "at least" if sign > 0 else "at most"
    if rule.metric not in case.candidate.rows[0].scores:
        if rule.metric not in case.candidate.operations:
            return result(rule, Decision.HOLD, f"{rule.metric} was not measured", n=n)
        value = float(case.candidate.operations[rule.metric])
        good = sign * (value - threshold) >= 0
        reason = f"{value:.4g}, {word} {threshold:.4g} is required"
        return result(
            rule,
            Decision.PROMOTE if good else Decision.REJECT,
            reason,
            value=value,
            margin=threshold,
            n=n,
        )
    values = [row.scores[rule.metric] for row in case.candidate.rows]
    raw = sample_of(case.candidate, rule.metric, case.bounds(rule))
    return _thresholded(case, rule, raw, values, sign)


def share_of_losses(case: Case, rule: Rule) -> RuleResult:
    """The share of examples that lose more than `worst_loss` against the champion, at most
    `threshold`.
    """
    champion = case.champion
    if champion is None or case.obstacle:
        return held(case, rule, case.obstacle or "there is no champion to compare with")
    if any(rule.metric not in side.rows[0].scores for side in (case.candidate, champion)):
        return held(case, rule, f"{rule.metric} was not measured on both sides")
    sign = 1.0 if case.direction(rule) == "higher" else -1.0
    most = amount(rule.worst_loss) + ROUNDING
    pairs = zip(case.candidate.rows, champion.rows, strict=True)
    losses = [
        float(sign * (old.scores[rule.metric] - new.scores[rule.metric]) > most)
        for new, old in pairs
    ]
    raw = clusters(losses, [row.group for row in case.candidate.rows], 0.0, 1.0)
    found = _thresholded(case, rule, raw, losses, -1.0)
    lost = int(sum(losses))
    return replace(found, reason=f"{lost} of {len(losses)} lose more: {found.reason}")


def _thresholded(
    case: Case, rule: Rule, raw: Clusters, values: list[float], sign: float
) -> RuleResult:
    """The mean of `values`, of which `raw` are the groups, against `threshold`."""
    threshold = amount(rule.threshold)
    word = "at least" if sign > 0 else "at most"
    sample = raw if sign > 0 else raw.mirrored()
    null = sign * threshold
    numbers = figures(case, raw, variance_of(values))
    numbers |= {"value": raw.mean, "margin": threshold, "p": p_mean_at_most(sample, null)}
    interval = f"{raw.mean:.4g} [{numbers['low']:.4g}, {numbers['high']:.4g}]"
    if rule.compare == "mean":
        good = sample.mean >= null
        decision = Decision.PROMOTE if good else Decision.REJECT
        return result(
            rule, decision, f"mean {interval}, {word} {threshold:.4g} is required", **numbers
        )
    decision = decision_on(case, sample, null, numbers["p"])
    said = {
        Decision.PROMOTE: "is shown",
        Decision.REJECT: "is shown to fail",
        Decision.HOLD: "is not shown",
    }[decision]
    if decision is Decision.HOLD:
        numbers["more_examples"] = more_examples(
            sample, null, sample.mean, case.next_alpha, case.policy.power
        )
    return result(rule, decision, f"{interval}: {word} {threshold:.4g} {said}", **numbers)


def against_champion(
    case: Case, rule: Rule, null: float, *, planned_truth: float | None
) -> RuleResult:
    """`null` is the improvement (positive is better) to exceed; plans assume `planned_truth`, or
    the mean when None.
    """
    if case.champion is None or case.obstacle:
        return held(case, rule, case.obstacle or "there is no champion to compare with")
    return _against(case, rule, case.champion, "the champion", null, planned_truth)


def against_baseline(
    case: Case, rule: Rule, null: float, *, planned_truth: float | None
) -> RuleResult:
    """The same against `rule.baseline`, on the same golden rows."""
    baseline = case.baselines.get(rule.baseline)
    if baseline is None:
        return held(
            case,
            rule,
            f"{rule.baseline} was not evaluated; params.yaml names it in evaluate.baselines",
        )
    if obstacle := unpaired(case.candidate, baseline):
        return held(case, rule, obstacle.replace("the champion", rule.baseline))
    return _against(case, rule, baseline, rule.baseline, null, planned_truth)


def held(case: Case, rule: Rule, reason: str) -> RuleResult:
    return result(rule, Decision.HOLD, reason, n=len(case.candidate.rows), margin=rule.margin)


def _against(
    case: Case, rule: Rule, other: Evidence, who: str, null: float, planned_truth: float | None
) -> RuleResult:
    if any(rule.metric not in side.rows[0].scores for side in (case.candidate, other)):
        return held(case, rule, f"{rule.metric} was not measured on both sides")
    direction = case.direction(rule)
    limits = case.bounds(rule)
    sample = improvements(case.candidate, other, rule.metric, limits, direction, rule.worst_loss)
    raw = sample if direction == "higher" else sample.mirrored()
    differences = [
        new.scores[rule.metric] - old.scores[rule.metric]
        for new, old in zip(case.candidate.rows, other.rows, strict=True)
    ]
    numbers = figures(case, raw, variance_of(differences))
    means = [sample_of(side, rule.metric, limits).mean for side in (case.candidate, other)]
    numbers |= {
        "value": means[0],
        "champion_value": means[1],
        "difference": raw.mean,
        "margin": abs(null),
    }
    low = numbers["low"] if direction == "higher" else -numbers["high"]
    numbers |= {
        "p": p_mean_at_most(sample, null),
        "detectable": detectable(sample, low, case.policy.power),
    }
    decision = decision_on(case, sample, null, numbers["p"])
    if decision is Decision.HOLD:
        truth = sample.mean if planned_truth is None else planned_truth
        numbers["more_examples"] = more_examples(
            sample, null, truth, case.next_alpha, case.policy.power
        )
    said = sentence(decision, null, numbers, who)
    if rule.worst_loss is not None:
        said += f"; a row's loss counts as {rule.worst_loss:.4g} at most"
    if means == [limits[0 if direction == "higher" else 1]] * 2:
        said += f". Both score {means[0]:.3f}, the worst there is: can {rule.metric} see anything?"
    return result(rule, decision, said, **numbers)


def result(rule: Rule, decision: Decision, reason: str, **numbers: Any) -> RuleResult:
    """Numbers are kept to ten digits, so that the last bits of another processor change no byte of
    the verdict.
    """
    kept: dict[str, Any] = {
        name: float(f"{value:.10g}") if isinstance(value, float) else value
        for name, value in numbers.items()
    }
    subject = rule.metric or rule.fact or ", ".join(rule.metrics)
    return RuleResult(rule.name, rule.kind, subject, decision, rule.severity, reason, **kept)


def amount(value: float | None) -> float:
    """A field's value; 0.0 where it was left out."""
    return 0.0 if value is None else float(value)


def decision_on(case: Case, sample: Clusters, null: float, p: float) -> Decision:
    if p < case.alpha:
        return Decision.PROMOTE
    return (
        Decision.REJECT
        if p_mean_at_most(sample.mirrored(), -null) < case.reject_alpha
        else Decision.HOLD
    )


def sentence(decision: Decision, null: float, numbers: Mapping[str, Any], who: str) -> str:
    claim = f"a gain above {null:.4g}" if null >= 0 else f"a loss below {-null:.4g}"
    said = {
        Decision.PROMOTE: f"{claim} is shown",
        Decision.REJECT: f"{claim} is ruled out",
        Decision.HOLD: f"neither {claim} nor the opposite is shown",
    }[decision]
    interval = (
        f"{numbers['difference']:+.4g} [{numbers['low']:+.4g}, {numbers['high']:+.4g}] "
        f"against {who}"
    )
    return f"{interval}: {said}"


def figures(case: Case, raw: Clusters, variance: float) -> dict[str, Any]:
    return {
        "low": lower_bound(raw, case.alpha),
        "high": upper_bound(raw, case.alpha),
        "n": len(case.candidate.rows),
        "effective_n": effective_size(raw, variance),
    }


def variance_of(values: list[float]) -> float:
    mean = math.fsum(values) / len(values)
    return math.fsum((value - mean) ** 2 for value in values) / max(len(values) - 1, 1)
