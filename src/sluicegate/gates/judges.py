"""A judge's word counts in a rule only where that judge was calibrated against people for that use.

Who decides that is `sluice judge calibrate`; here its standing arrives as a fact, `judge:<name>`:
`ok` for every kind of rule, `comparative` for those that compare two releases; anything else holds
the rule. Rows without a usable answer count at their worst for the candidate (the evidence has them
so) and are told; where there are more than `MOST_UNUSABLE`, the rule holds. No severity, slice or
kind of rule gets round it. A metric of a project's own that asks a model is a judge that cannot be
calibrated: the evidence names it among its judges, and a rule on it holds whatever the facts say. A
metric that saw nothing in some rows has no scores either, and a rule on it holds.
"""

from __future__ import annotations

from dataclasses import replace

from sluicegate.gates.checks import Case, result
from sluicegate.gates.policy import Rule
from sluicegate.gates.rules import RULES
from sluicegate.records import MOST_UNUSABLE, Decision, Evidence, RuleResult

PREFIX = "judge:"
_STANDING = {
    "uncalibrated": "is not calibrated",
    "stale": "has a calibration that expired",
    "failed": "failed its calibration",
    "other_digest": "was calibrated with another model, prompt or settings",
}


def held_without_scores(case: Case, rule: Rule) -> RuleResult | None:
    """HOLD with the reason, where a metric of `rule` has no scores that count; else None.

    That is a judge's that does not count, or one that saw nothing in some rows of either side.
    """
    for metric in (rule.metric, *rule.metrics):
        judged = metric.startswith(PREFIX)
        reason = _obstacle(case, rule, metric) if judged else _scorer(case, metric)
        if reason := reason or _unscored(case, metric):
            return result(
                rule, Decision.HOLD, reason, n=len(case.candidate.rows), margin=rule.margin
            )
    return None


def with_unusable(case: Case, rule: Rule, found: RuleResult) -> RuleResult:
    """`found`, with the rows that no usable answer of a judge was for in its reason."""
    told = [
        f"{use.failed} of {side.answers} answers{whose} had no usable score of {metric} and count "
        "at their worst for the candidate"
        for metric in (rule.metric, *rule.metrics)
        for whose, side in (("", case.candidate), (" of the champion", case.champion))
        if metric.startswith(PREFIX) and side is not None
        if (use := side.judges.get(metric.removeprefix(PREFIX))) and use.failed
        if not whose or RULES[rule.kind].against == "champion"
    ]
    return replace(found, reason="; ".join([found.reason, *told])) if told else found


def covers(standing: str, rule: Rule) -> bool:
    """Whether a judge of this standing was calibrated for what the rule uses it for.

    Example:
        >>> rule = Rule(name="r", kind="at_least", metric="judge:tone", threshold=0.5)
        >>> covers("ok", rule), covers("comparative", rule)
        (True, False)
    """
    return standing == "ok" or (standing == "comparative" and RULES[rule.kind].compares)


def _obstacle(case: Case, rule: Rule, metric: str) -> str:
    name = metric.removeprefix(PREFIX)
    for side, evidence in (("", case.candidate), (" of the champion", case.champion)):
        if evidence is not None and (reason := _incomplete(metric, evidence, side)):
            return reason
    found = case.facts.get(metric, "uncalibrated")
    if covers(found, rule):
        return ""
    if found == "comparative":
        return (
            f"judge {name} is calibrated for comparisons only: its levels are not people's, and a "
            f"rule of kind {rule.kind} uses them"
        )
    said = _STANDING.get(found, f"has the standing {found!r}, which is not ok")
    return (
        f"judge {name} {said}; what it says decides nothing until `sluice judge calibrate "
        f"{name}` passes"
    )


def _scorer(case: Case, metric: str) -> str:
    if not any(
        side is not None and metric in side.judges for side in (case.candidate, case.champion)
    ):
        return ""
    return (
        f"{metric} asks a model and is not calibrated: it decides nothing; "
        "a criterion (prompts/judge_<name>.yaml) that passes `sluice judge calibrate` does"
    )


def _unscored(case: Case, metric: str) -> str:
    for side, evidence in (("", case.candidate), (" of the champion", case.champion)):
        found = evidence.unscored.get(metric) if evidence is not None else None
        if evidence is not None and found is not None:
            of = f"{found.rows} of {len(evidence.rows)} rows{side}"
            return f"{metric} has no score on {of}: {found.reason}"
    return ""


def _incomplete(metric: str, evidence: Evidence, side: str) -> str:
    name = metric.removeprefix(PREFIX)
    use = evidence.judges.get(name)
    if use is None:
        return f"judge {name} was not asked about the answers{side}"
    rows = evidence.answers
    unscored = use.failed > 0 and any(metric not in row.scores for row in evidence.rows)
    if unscored or use.failed > MOST_UNUSABLE * rows or use.scored + use.failed != rows:
        missing = use.failed or rows - use.scored
        why = f" ({use.reasons[0]})" if use.reasons else ""
        return f"judge {name} failed on {missing} of {rows} rows{side}{why}"
    return ""
