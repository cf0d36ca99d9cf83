"""The kinds of rules: one function each, listed in `RULES` with all that others need to know of it.

Every function gets a `Case` and a `Rule` and returns a `RuleResult`. What is missing or too little
is HOLD; only what is shown passes, and only what is shown to be bad is REJECT.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sluicegate.errors import ConfigError
from sluicegate.gates.budget import holm
from sluicegate.gates.cases import every_case
from sluicegate.gates.checks import (
    Case,
    Check,
    against_baseline,
    against_champion,
    against_threshold,
    amount,
    result,
    share_of_losses,
)
from sluicegate.gates.human_review import human_review
from sluicegate.gates.policy import Rule
from sluicegate.gates.slices import in_every_slice
from sluicegate.records import Decision, RuleResult


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of rule; tables, charts and `check_rule` read everything about it here.

    Attributes:
        check: decides.
        needs, may: the policy fields that it needs, and those it may have.
        asks: what stands before its threshold or margin where that is shown, e.g. `>= `.
        against: with whose answers it compares: the champion's or a baseline's; empty for none.
            The metric of a kind that compares orders the examples.
        allows_loss: whether `margin` is a loss that is put up with: above 0, drawn as a band.
        critical: whether it looks at critical rows alone.
        sign: -1 where a score has to stay below a threshold, 1 where it has to exceed it.
        limits_losses: whether it bounds how many rows lose more than `worst_loss`.
        understands: whether people who read the answers decide it.
    """

    check: Check
    needs: tuple[str, ...]
    may: tuple[str, ...] = ()
    asks: str = ""
    against: str = ""
    allows_loss: bool = False
    limits_losses: bool = False
    critical: bool = False
    understands: bool = False
    sign: float = 1.0

    @property
    def compares(self) -> bool:
        return bool(self.against)


def at_least(case: Case, rule: Rule) -> RuleResult:
    """`metric` is at least `threshold`: its confidence bound (default) or its mean; an operation's
    value as it is.
    """
    return against_threshold(case, rule, 1.0)


def at_most(case: Case, rule: Rule) -> RuleResult:
    """`metric`, or an operation such as `latency_p95` (seconds), is at most `threshold`."""
    return against_threshold(case, rule, -1.0)


def not_worse_than_champion(case: Case, rule: Rule) -> RuleResult:
    """Non-inferiority: the loss against the champion is shown to be smaller than `margin`."""
    return against_champion(case, rule, -amount(rule.margin), planned_truth=0.0)


def better_than_champion(case: Case, rule: Rule) -> RuleResult:
    """Superiority: the gain over the champion is shown to be larger than `margin` (default 0)."""
    return against_champion(case, rule, amount(rule.margin), planned_truth=None)


def share_losing_more_than(case: Case, rule: Rule) -> RuleResult:
    """At most the share `threshold` of the examples loses more than `worst_loss` against the
    champion: what a comparison with `worst_loss` does not see.
    """
    return share_of_losses(case, rule)


def not_worse_than_baseline(case: Case, rule: Rule) -> RuleResult:
    """The loss against the answers of `baseline`, which cost nothing, is smaller than `margin`."""
    return against_baseline(case, rule, -amount(rule.margin), planned_truth=0.0)


def better_than_baseline(case: Case, rule: Rule) -> RuleResult:
    """The gain over the answers of `baseline` is larger than `margin` (default 0)."""
    return against_baseline(case, rule, amount(rule.margin), planned_truth=None)


def any_better_than_champion(case: Case, rule: Rule) -> RuleResult:
    """A gain larger than `margin` (default 0) is shown on at least one of `metrics`, corrected for
    the choice (Holm).

    The numbers are those of the metric with the smallest p, the bounds at alpha / number of metrics
    (which is where Holm's procedure begins), p is Holm's adjusted one. REJECT only where the gain
    is ruled out on every metric.
    """
    count = len(rule.metrics)
    strict = replace(case, alpha=case.alpha / count, next_alpha=case.next_alpha / count)
    one_each = {metric: rule.model_copy(update={"metric": metric}) for metric in rule.metrics}
    found = {
        metric: against_champion(strict, one, amount(rule.margin), planned_truth=None)
        for metric, one in one_each.items()
    }
    unmeasured = [part for part in found.values() if part.p is None]
    if unmeasured:
        return result(
            rule, Decision.HOLD, unmeasured[0].reason, n=unmeasured[0].n, margin=rule.margin
        )
    adjusted = dict(zip(found, holm([part.p or 0.0 for part in found.values()]), strict=True))
    best = min(
        found, key=lambda metric: (adjusted[metric], found[metric].p, rule.metrics.index(metric))
    )
    passed = [metric for metric in rule.metrics if adjusted[metric] < case.alpha]
    decision = Decision.PROMOTE if passed else Decision.HOLD
    if not passed and all(part.decision is Decision.REJECT for part in found.values()):
        decision = Decision.REJECT
    more = [part.more_examples for part in found.values() if part.more_examples is not None]
    said = f"shown on {', '.join(passed)}" if passed else "not shown on any"
    if decision is Decision.REJECT:
        said = "ruled out on all"
    figures = found[best].reason.partition(":")[0]
    reason = f"best of {count}, {best} {figures}: a gain above {amount(rule.margin):.4g} is {said}"
    return replace(
        found[best],
        decision=decision,
        reason=reason,
        p=float(f"{adjusted[best]:.10g}"),
        more_examples=min(more) if more and decision is Decision.HOLD else None,
    )


def requires(case: Case, rule: Rule) -> RuleResult:
    """A recorded `fact` has one of the values in `accept` (default: ok), upper or lower case;
    anything else holds.
    """
    found = case.facts.get(rule.fact)
    accepted = tuple(value.casefold() for value in rule.accept or ("ok",))
    if found is None:
        return result(rule, Decision.HOLD, f"nothing is recorded about {rule.fact}")
    if found.casefold() not in accepted:
        return result(
            rule, Decision.HOLD, f"{rule.fact} is {found}; {' or '.join(accepted)} is required"
        )
    return result(rule, Decision.PROMOTE, f"{rule.fact} is {found}")


_OWN_RANGE = ("direction", "range")
_CHAMPION = (*_OWN_RANGE, "worst_loss")
_SLICE = ("slice", "minimum_slice")
RULES: dict[str, Kind] = {
    "at_least": Kind(
        in_every_slice(at_least),
        ("metric", "threshold"),
        ("compare", "range", *_SLICE),
        asks=">= ",
    ),
    "at_most": Kind(
        in_every_slice(at_most),
        ("metric", "threshold"),
        ("compare", "range", *_SLICE),
        asks="<= ",
        sign=-1.0,
    ),
    "not_worse_than_champion": Kind(
        in_every_slice(not_worse_than_champion),
        ("metric", "margin"),
        (*_CHAMPION, *_SLICE),
        asks="loss < ",
        against="champion",
        allows_loss=True,
    ),
    "better_than_champion": Kind(
        better_than_champion,
        ("metric",),
        ("margin", *_CHAMPION),
        asks="gain > ",
        against="champion",
    ),
    "share_losing_more_than": Kind(
        in_every_slice(share_losing_more_than),
        ("metric", "worst_loss", "threshold"),
        ("compare", *_OWN_RANGE, *_SLICE),
        asks="share <= ",
        against="champion",
        sign=-1.0,
        limits_losses=True,
    ),
    "not_worse_than_baseline": Kind(
        not_worse_than_baseline,
        ("metric", "baseline", "margin"),
        _OWN_RANGE,
        asks="loss < ",
        against="baseline",
        allows_loss=True,
    ),
    "better_than_baseline": Kind(
        better_than_baseline,
        ("metric", "baseline"),
        ("margin", *_OWN_RANGE),
        asks="gain > ",
        against="baseline",
    ),
    "any_better_than_champion": Kind(
        any_better_than_champion,
        ("metrics",),
        ("margin", *_CHAMPION),
        asks="gain > ",
        against="champion",
    ),
    "every_case": Kind(
        every_case,
        ("metric", "threshold"),
        ("at_least", "direction"),
        asks="each case ",
        critical=True,
    ),
    "human_review": Kind(
        human_review,
        ("margin",),
        ("pairs", "reviewers", "no_unsafe"),
        asks="loss < ",
        against="champion",
        allows_loss=True,
        understands=True,
    ),
    "requires": Kind(requires, ("fact",), ("accept",)),
}


def check_rules(rules: Sequence[Rule], where: str) -> None:
    """Refuse a wrong rule, and a `worst_loss` that hides losses which no other rule limits.

    Raises:
        ConfigError: names file, rule and field.
    """
    for rule in rules:
        check_rule(rule, where)
    check_losses(rules, where)


def check_losses(rules: Sequence[Rule], where: str) -> None:
    """Refuse a `worst_loss` that hides losses which no other rule limits.

    Raises:
        ConfigError: names file, rule and field.
    """
    blocking = [rule for rule in rules if rule.severity == "block"]
    limits = {rule.metric: rule for rule in blocking if RULES[rule.kind].limits_losses}
    for rule in blocking:
        if rule.worst_loss is None or RULES[rule.kind].limits_losses:
            continue
        for metric in rule.metrics or (rule.metric,):
            limit = limits.get(metric)
            if limit is None or amount(limit.worst_loss) > rule.worst_loss:
                raise ConfigError(
                    f"{where}: rule {rule.name!r}: worst_loss hides every loss of {metric} "
                    f"above {rule.worst_loss:g}, and no rule that blocks limits their share.",
                    hint=f"Add one: {{name: few lose much, kind: share_losing_more_than, metric: "
                    f"{metric}, worst_loss: {rule.worst_loss:g}, threshold: 0.1}}",
                )


def check_rule(rule: Rule, where: str) -> None:
    """Refuse a rule of unknown kind, one that lacks a field, and one with a field its kind does not
    take.

    Raises:
        ConfigError: names file, rule and field.
    """
    kind = RULES.get(rule.kind)
    if kind is None:
        message = f"{where}: rule {rule.name!r}: kind {rule.kind!r} is unknown."
        raise ConfigError(message, hint=f"Kinds: {', '.join(RULES)}.")
    given = rule.model_fields_set - {"name", "kind", "severity", "way"}
    for field in kind.needs:
        if field not in given or getattr(rule, field) in ("", None, ()):
            raise ConfigError(f"{where}: rule {rule.name!r}: {field} is missing.")
    for field in sorted(given - {*kind.needs, *kind.may}):
        raise ConfigError(f"{where}: rule {rule.name!r}: {rule.kind} takes no {field}.")
    if kind.allows_loss and not amount(rule.margin) > 0:
        raise ConfigError(
            f"{where}: rule {rule.name!r}: margin must be above "
            "0: no sample can show that the loss is exactly 0."
        )
    if rule.worst_loss is not None and amount(rule.margin) >= rule.worst_loss:
        raise ConfigError(
            f"{where}: rule {rule.name!r}: margin must be below worst_loss.",
            hint="Otherwise a loss of the whole margin in every row would not count as one.",
        )
    if rule.minimum_slice is not None and not rule.slice:
        raise ConfigError(
            f"{where}: rule {rule.name!r}: minimum_slice needs slice, the name of a column."
        )
