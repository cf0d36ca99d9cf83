"""The kinds of rules: one function each, listed in `RULES` with the policy fields that it takes.

Every function gets a `Case` and a `Rule` and returns a `RuleResult`. What is missing or too little is HOLD; only what
is shown passes, and only what is shown to be bad is REJECT.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sluicegate.errors import ConfigError
from sluicegate.gates.bounds import Clusters, lower_bound, p_mean_at_most, upper_bound
from sluicegate.gates.pairing import effective_size, improvements, sample_of
from sluicegate.gates.planning import detectable, more_examples
from sluicegate.gates.policy import Policy, Rule
from sluicegate.records import Decision, Evidence, RuleResult


@dataclass(frozen=True, slots=True)
class Case:
    """What a rule may look at. `obstacle` says why candidate and champion cannot be compared, or is empty."""

    candidate: Evidence
    champion: Evidence | None
    obstacle: str
    policy: Policy
    facts: Mapping[str, str]
    directions: Mapping[str, str]
    ranges: Mapping[str, tuple[float, float]]

    def bounds(self, rule: Rule) -> tuple[float, float]:
        """Smallest and largest possible score: the rule's, else the metric's, else 0 to 1."""
        return rule.range or self.ranges.get(rule.metric, (0.0, 1.0))

    def direction(self, rule: Rule) -> str:
        """The rule's, else the metric's, else higher is better."""
        return rule.direction or self.directions.get(rule.metric, "higher")


Check = Callable[[Case, Rule], RuleResult]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of rule: its function, the fields it needs, and those it may have."""

    check: Check
    needs: tuple[str, ...]
    may: tuple[str, ...] = ()


def at_least(case: Case, rule: Rule) -> RuleResult:
    """`metric` is at least `threshold`: its confidence bound (default) or its mean; an operation's value as it is."""
    return _absolute(case, rule, 1.0)


def at_most(case: Case, rule: Rule) -> RuleResult:
    """`metric`, or an operation such as `latency_p95` (seconds), is at most `threshold`."""
    return _absolute(case, rule, -1.0)


def not_worse_than_champion(case: Case, rule: Rule) -> RuleResult:
    """Non-inferiority: the loss against the champion is shown to be smaller than `margin`."""
    return _against_champion(case, rule, -_number(rule.margin), planned_truth=0.0)


def better_than_champion(case: Case, rule: Rule) -> RuleResult:
    """Superiority: the gain over the champion is shown to be larger than `margin` (default 0)."""
    return _against_champion(case, rule, _number(rule.margin), planned_truth=None)


def requires(case: Case, rule: Rule) -> RuleResult:
    """A recorded `fact` has one of the values in `accept` (default: ok), upper or lower case; anything else holds."""
    found = case.facts.get(rule.fact)
    accepted = tuple(value.casefold() for value in rule.accept or ("ok",))
    if found is None:
        return _result(rule, Decision.HOLD, f"nothing is recorded about {rule.fact}")
    if found.casefold() not in accepted:
        return _result(rule, Decision.HOLD, f"{rule.fact} is {found}; {' or '.join(accepted)} is asked for")
    return _result(rule, Decision.PROMOTE, f"{rule.fact} is {found}")


_CHAMPION_FIELDS = ("direction", "range")
RULES: dict[str, Kind] = {
    "at_least": Kind(at_least, ("metric", "threshold"), ("compare", "range")),
    "at_most": Kind(at_most, ("metric", "threshold"), ("compare", "range")),
    "not_worse_than_champion": Kind(not_worse_than_champion, ("metric", "margin"), _CHAMPION_FIELDS),
    "better_than_champion": Kind(better_than_champion, ("metric",), ("margin", *_CHAMPION_FIELDS)),
    "requires": Kind(requires, ("fact",), ("accept",)),
}


def check_rule(rule: Rule, where: str) -> None:
    """Refuse a rule of unknown kind, one that lacks a field, and one with a field its kind does not take.

    Raises:
        ConfigError: names file, rule and field.
    """
    kind = RULES.get(rule.kind)
    if kind is None:
        message = f"{where}: rule {rule.name!r}: kind {rule.kind!r} is unknown."
        raise ConfigError(message, hint=f"Kinds: {', '.join(RULES)}.")
    given = rule.model_fields_set - {"name", "kind", "severity"}
    for field in kind.needs:
        if field not in given or getattr(rule, field) in ("", None):
            raise ConfigError(f"{where}: rule {rule.name!r}: {field} is missing.")
    for field in sorted(given - {*kind.needs, *kind.may}):
        raise ConfigError(f"{where}: rule {rule.name!r}: {rule.kind} takes no {field}.")
    if rule.kind == "not_worse_than_champion" and not _number(rule.margin) > 0:
        raise ConfigError(f"{where}: rule {rule.name!r}: margin must be above 0; no sample shows a loss of exactly 0.")


def _absolute(case: Case, rule: Rule, sign: float) -> RuleResult:
    threshold, n = _number(rule.threshold), len(case.candidate.rows)
    word = "at least" if sign > 0 else "at most"
    if rule.metric not in case.candidate.rows[0].scores:
        if rule.metric not in case.candidate.operations:
            return _result(rule, Decision.HOLD, f"{rule.metric} was not measured", n=n)
        value = float(case.candidate.operations[rule.metric])
        good = sign * (value - threshold) >= 0
        reason = f"{value:.4g}, {word} {threshold:.4g} is asked for"
        return _result(rule, Decision.PROMOTE if good else Decision.REJECT, reason, value=value, margin=threshold, n=n)
    raw = sample_of(case.candidate, rule.metric, case.bounds(rule))
    sample = raw if sign > 0 else raw.mirrored()
    null, alpha = sign * threshold, case.policy.alpha
    numbers = _numbers(case, raw, _variance([row.scores[rule.metric] for row in case.candidate.rows]))
    numbers |= {"value": raw.mean, "margin": threshold, "p": p_mean_at_most(sample, null)}
    interval = f"{raw.mean:.4g} [{numbers['low']:.4g}, {numbers['high']:.4g}]"
    if rule.compare == "mean":
        good = sample.mean >= null
        decision = Decision.PROMOTE if good else Decision.REJECT
        return _result(rule, decision, f"mean {interval}, {word} {threshold:.4g} is asked for", **numbers)
    decision = _decision(sample, null, numbers["p"], alpha)
    said = {Decision.PROMOTE: "is shown", Decision.REJECT: "is shown to fail", Decision.HOLD: "is not shown"}[decision]
    if decision is Decision.HOLD:
        numbers["more_examples"] = more_examples(sample, null, sample.mean, alpha, case.policy.power)
    return _result(rule, decision, f"{interval}: {word} {threshold:.4g} {said}", **numbers)


def _against_champion(case: Case, rule: Rule, null: float, *, planned_truth: float | None) -> RuleResult:
    """`null` is the improvement (positive is better) to exceed; plans assume `planned_truth`, or the mean when None."""
    n, champion = len(case.candidate.rows), case.champion
    if champion is None:
        return _result(rule, Decision.HOLD, "there is no champion to compare with", n=n, margin=rule.margin)
    if case.obstacle:
        return _result(rule, Decision.HOLD, case.obstacle, n=n, margin=rule.margin)
    if any(rule.metric not in side.rows[0].scores for side in (case.candidate, champion)):
        return _result(rule, Decision.HOLD, f"{rule.metric} was not measured on both sides", n=n, margin=rule.margin)
    direction, alpha = case.direction(rule), case.policy.alpha
    sample = improvements(case.candidate, champion, rule.metric, case.bounds(rule), direction)
    raw = sample if direction == "higher" else sample.mirrored()
    differences = [
        new.scores[rule.metric] - old.scores[rule.metric]
        for new, old in zip(case.candidate.rows, champion.rows, strict=True)
    ]
    numbers = _numbers(case, raw, _variance(differences))
    means = [math.fsum(row.scores[rule.metric] for row in side.rows) / n for side in (case.candidate, champion)]
    numbers |= {"value": means[0], "champion_value": means[1], "difference": raw.mean, "margin": abs(null)}
    numbers |= {"p": p_mean_at_most(sample, null), "detectable": detectable(sample, alpha, case.policy.power)}
    decision = _decision(sample, null, numbers["p"], alpha)
    if decision is Decision.HOLD:
        truth = sample.mean if planned_truth is None else planned_truth
        numbers["more_examples"] = more_examples(sample, null, truth, alpha, case.policy.power)
    return _result(rule, decision, _sentence(decision, null, numbers), **numbers)


def _decision(sample: Clusters, null: float, p: float, alpha: float) -> Decision:
    if p < alpha:
        return Decision.PROMOTE
    return Decision.REJECT if p_mean_at_most(sample.mirrored(), -null) < alpha else Decision.HOLD


def _sentence(decision: Decision, null: float, numbers: Mapping[str, Any]) -> str:
    claim = f"a gain above {null:.4g}" if null >= 0 else f"a loss below {-null:.4g}"
    said = {
        Decision.PROMOTE: f"{claim} is shown",
        Decision.REJECT: f"{claim} is ruled out",
        Decision.HOLD: f"neither {claim} nor the opposite is shown",
    }[decision]
    interval = f"{numbers['difference']:+.4g} [{numbers['low']:+.4g}, {numbers['high']:+.4g}] against the champion"
    return f"{interval}: {said}"


def _numbers(case: Case, raw: Clusters, variance: float) -> dict[str, Any]:
    alpha = case.policy.alpha
    return {
        "low": lower_bound(raw, alpha),
        "high": upper_bound(raw, alpha),
        "n": len(case.candidate.rows),
        "effective_n": effective_size(raw, variance),
    }


def _variance(values: list[float]) -> float:
    mean = math.fsum(values) / len(values)
    return math.fsum((value - mean) ** 2 for value in values) / max(len(values) - 1, 1)


def _number(value: float | None) -> float:
    return 0.0 if value is None else float(value)


def _result(rule: Rule, decision: Decision, reason: str, **numbers: Any) -> RuleResult:
    """Numbers are kept to ten digits, so that the last bits of another processor change no byte of the verdict."""
    kept: dict[str, Any] = {
        name: float(f"{value:.10g}") if isinstance(value, float) else value for name, value in numbers.items()
    }
    subject = rule.metric or rule.fact
    return RuleResult(rule.name, rule.kind, subject, decision, rule.severity, reason, **kept)
