"""Whether a policy can be met at all: its metrics are evaluated, its rules do not contradict each
other, there are rows enough.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from sluicegate.config import Params
from sluicegate.errors import ConfigError, did_you_mean
from sluicegate.evaluation import operations
from sluicegate.gates import RULES, Policy, Rule
from sluicegate.gates.checks import OF_SET
from sluicegate.gates.rules import check_losses, check_rule
from sluicegate.metrics import METRICS, Metric, find_metric

FACTS = (
    "contamination_checked",
    "drift_checked",
    "golden_represents_traffic",
    "meaning_checked",
    "policy_tested",
)
FIRST_TOKEN = ("first_token_p50", "first_token_p95")
COST = "cost_per_1000"
LEAST, MOST = ">= ", "<= "
"""How `gates.RULES` shows on which side of its threshold a score has to be."""
FILE = "registry/gates.yaml"


def policy_problems(
    policy: Policy, params: Params, golden: int | None, judged: Collection[str]
) -> Iterator[str]:
    """What is wrong with a policy, field first.

    Args:
        policy: as it was read.
        params: says what is evaluated.
        golden: the most rows that the golden set can have; None where nobody can tell.
        judged: the judged metrics that are sound.
    """
    if golden is not None and golden < policy.minimum_examples:
        yield (
            f"minimum_examples: {policy.minimum_examples}, but the sources have at most {golden} "
            "golden rows: no release could ever pass"
        )
    metrics = computed_metrics(params)
    for rule in policy.rules:
        where = f"rule {rule.name!r}: "
        if rule.kind not in RULES:
            near = did_you_mean(rule.kind, RULES) or f". Kinds: {', '.join(RULES)}"
            yield f"{where}kind: {rule.kind!r} is unknown{near}"
            continue
        try:
            check_rule(rule, FILE)
        except ConfigError as error:
            yield str(error).removeprefix(f"{FILE}: ")
            continue
        yield from (where + told for told in _rule(rule, params, metrics, judged))
    if all(rule.kind in RULES for rule in policy.rules):
        try:
            check_losses(policy.rules, FILE)
        except ConfigError as error:
            yield str(error).removeprefix(f"{FILE}: ")
    known = _operations(params, metrics)
    for name in policy.rewards:
        if name not in known:
            yield f"rewards: {name!r} is no operation{did_you_mean(name, known)}"
    if params.release.intent == "neutral" and not policy.neutral:
        yield "release.intent is neutral, but no rule that blocks has `way: neutral`"
    yield from _contradictions(policy)


def computed_metrics(params: Params) -> dict[str, Metric]:
    """The computed metrics that can be found; those that cannot are told elsewhere."""
    found = {}
    for name in params.evaluate.metrics:
        try:
            found[name] = find_metric(name)
        except ConfigError:
            continue
    return found


def _rule(
    rule: Rule, params: Params, metrics: dict[str, Metric], judged: Collection[str]
) -> Iterator[str]:
    evaluated = params.evaluate.metrics
    # A fact that is not known here may be another's; one that nearly is, is a slip.
    if rule.fact and rule.fact not in FACTS and (near := did_you_mean(rule.fact, FACTS)):
        yield f"fact: {rule.fact!r} is unknown{near}"
    compares = RULES[rule.kind].compares
    operating = () if compares else _operations(params, metrics)
    for name in filter(None, (rule.metric, *rule.metrics)):
        if name in metrics and metrics[name].of_set:
            yield f"metric: {OF_SET.format(name)}"
            continue
        if name in evaluated or name in operating:
            continue
        if name == COST and not compares:
            yield f"metric: {COST} needs release.price in params.yaml"
        elif name in METRICS or ":" in name:
            yield f"metric: {name} is not evaluated; add it to evaluate.metrics in params.yaml"
        elif name in _operations(params, metrics):
            yield f"metric: {name} is one number for all answers: {rule.kind} cannot compare it"
        else:
            near = did_you_mean(name, {*evaluated, *operating, *METRICS})
            yield f"metric: {name!r} is unknown{near}"
    if rule.at_least and rule.at_least > params.evaluate.repeats:
        yield (
            f"at_least: {rule.at_least} of evaluate.repeats: {params.evaluate.repeats} can never "
            "be right"
        )
    yield from _out_of_range(rule, metrics, judged)


def _operations(params: Params, metrics: dict[str, Metric]) -> set[str]:
    """What is measured of all answers together."""
    price = (0.0, 0.0) if params.release.price else None
    whole = {f"corpus_{name}" for name, metric in metrics.items() if metric.whole}
    return {*operations([], price), *FIRST_TOKEN, *whole}


def _out_of_range(rule: Rule, metrics: dict[str, Metric], judged: Collection[str]) -> Iterator[str]:
    """A threshold that no score can reach."""
    known = metrics[rule.metric].range if rule.metric in metrics else None
    low, high = rule.range or known or ((0.0, 1.0) if rule.metric in judged else (None, None))
    if rule.threshold is None or low is None or high is None:
        return
    if (_asks(rule, LEAST) and rule.threshold > high) or (
        _asks(rule, MOST) and rule.threshold < low
    ):
        yield (
            f"threshold: {rule.threshold:g} can never be met: {rule.metric} goes from {low:g} to "
            f"{high:g}"
        )


def _asks(rule: Rule, sign: str) -> bool:
    """Whether the metric's score has to be on that side of `threshold`."""
    return rule.kind in RULES and RULES[rule.kind].asks == sign and rule.threshold is not None


def _contradictions(policy: Policy) -> Iterator[str]:
    """Two rules that block, of which one forbids what the other asks for."""
    blocking = [rule for rule in policy.rules if rule.severity == "block"]
    for lower in (rule for rule in blocking if _asks(rule, LEAST)):
        for upper in (rule for rule in blocking if _asks(rule, MOST)):
            if lower.metric != upper.metric or lower.threshold is None or upper.threshold is None:
                continue
            if lower.threshold > upper.threshold:
                yield (
                    f"rules {lower.name!r} and {upper.name!r} contradict each other: "
                    f"{lower.metric} at least {lower.threshold:g} and at most "
                    f"{upper.threshold:g}"
                )
