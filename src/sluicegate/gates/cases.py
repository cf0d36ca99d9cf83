"""Cases that must pass: rows marked critical, each of which has to be right by itself.

No mean and no interval: a suite at 98 % in which one such case is never right is not fit to serve.
"""

from __future__ import annotations

from sluicegate.gates.checks import Case, amount, result
from sluicegate.gates.policy import Rule
from sluicegate.records import Decision, RuleResult

NAMED = 5


def every_case(case: Case, rule: Rule) -> RuleResult:
    """Every critical row has `metric` at `threshold` or better in at least `at_least` of its
    repeats; by default in all.
    """
    rows = [row for row in case.candidate.rows if row.critical]
    if not rows:
        return result(
            rule,
            Decision.HOLD,
            f"no row is critical: {rule.metric} has nothing to hold for; fields.critical in "
            "registry/sources.yaml marks them",
            margin=rule.threshold,
        )
    if rule.metric not in rows[0].scores:
        return result(rule, Decision.HOLD, f"{rule.metric} was not measured", n=len(rows))
    repeats = min(len(row.each(rule.metric)) for row in rows)
    needed = rule.at_least or repeats
    if needed > repeats:
        return result(
            rule,
            Decision.HOLD,
            f"{needed} right answers are asked of each critical row, but only {repeats} were "
            f"given; evaluate.repeats in params.yaml says how many",
            n=len(rows),
            margin=rule.threshold,
        )
    sign, threshold = (1.0 if case.direction(rule) == "higher" else -1.0), amount(rule.threshold)
    right = {
        row.id: sum(sign * (score - threshold) >= 0 for score in row.each(rule.metric))
        for row in rows
    }
    failed = {name: count for name, count in right.items() if count < needed}
    asked = f"{needed} of {repeats} times" if repeats > 1 else "once"
    said = f"{len(rows) - len(failed)} of {len(rows)} critical rows are right at least {asked}"
    if failed:
        named = ", ".join(f"{name} ({failed[name]})" for name in sorted(failed)[:NAMED])
        more = f" and {len(failed) - NAMED} more" if len(failed) > NAMED else ""
        said += f"; not {named}{more}"
    return result(
        rule,
        Decision.REJECT if failed else Decision.PROMOTE,
        said,
        value=1 - len(failed) / len(rows),
        margin=threshold,
        n=len(rows),
    )
