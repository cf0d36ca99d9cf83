"""A judge's word counts in a rule only where that judge was calibrated against people and answered
for every row.

Who decides that is `sluice judge calibrate`; here its standing arrives as a fact, `judge:<name>`,
and anything but `ok` holds the rule. No severity, slice or kind of rule gets round it. A metric of
a project's own that asks a model is a judge that cannot be calibrated: the evidence names it among
its judges, and a rule on it holds whatever the facts say. A metric that saw nothing in some rows
has no scores either, and a rule on it holds.
"""

from __future__ import annotations

from sluicegate.gates.checks import Case, result
from sluicegate.gates.policy import Rule
from sluicegate.records import Decision, Evidence, RuleResult

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
        reason = _obstacle(case, metric) if judged else _scorer(case, metric)
        if reason := reason or _unscored(case, metric):
            return result(
                rule, Decision.HOLD, reason, n=len(case.candidate.rows), margin=rule.margin
            )
    return None


def _obstacle(case: Case, metric: str) -> str:
    name = metric.removeprefix(PREFIX)
    for side, evidence in (("", case.candidate), (" of the champion", case.champion)):
        if evidence is not None and (reason := _incomplete(name, evidence, side)):
            return reason
    found = case.facts.get(metric, "uncalibrated")
    if found == "ok":
        return ""
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


def _incomplete(name: str, evidence: Evidence, side: str) -> str:
    use = evidence.judges.get(name)
    if use is None:
        return f"judge {name} was not asked about the answers{side}"
    if use.failed or use.scored != len(evidence.rows):
        missing = use.failed or len(evidence.rows) - use.scored
        why = f" ({use.reasons[0]})" if use.reasons else ""
        return f"judge {name} failed on {missing} of {len(evidence.rows)} rows{side}{why}"
    return ""
