"""A rule in every slice (say, every industry): all of them have to pass, so an average hides no
loss.

That all must pass needs no correction of alpha (intersection-union test: R. Berger, Technometrics
24, 1982). That any one of them may reject does: each of k slices gets alpha / k for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import wraps

from sluicegate.gates.checks import Case, Check, result
from sluicegate.gates.policy import Rule
from sluicegate.records import Decision, Evidence, RuleResult, ScoredExample

MINIMUM = 10
_ORDER = (Decision.REJECT, Decision.HOLD, Decision.PROMOTE)


def in_every_slice(check: Check) -> Check:
    """`check` as it is for a rule without `slice`, else checked in every slice that is large
    enough; see the module.
    """

    @wraps(check)
    def sliced(case: Case, rule: Rule) -> RuleResult:
        return _each_slice(case, rule, check) if rule.slice else check(case, rule)

    return sliced


def _each_slice(case: Case, rule: Rule, check: Check) -> RuleResult:
    rows, column = case.candidate.rows, rule.slice
    without = sum(not row.slices.get(column) for row in rows)
    if without:
        return result(
            rule,
            Decision.HOLD,
            f"{without} of {len(rows)} examples do not say their {column}",
            n=len(rows),
        )
    if rule.metric not in rows[0].scores:
        return result(
            rule, Decision.HOLD, f"{rule.metric} was not measured example by example", n=len(rows)
        )
    places = _places(rows, column)
    minimum = rule.minimum_slice or MINIMUM
    judged = large_enough(rows, rule)
    small = [len(found) for found in places.values() if len(found) < minimum]
    if not judged:
        reason = f"none of {len(places)} values of {column} has {minimum} examples"
        return result(rule, Decision.HOLD, reason, n=len(rows))
    strict = replace(case, reject_alpha=case.reject_alpha / len(judged))
    found = {value: check(part(strict, chosen), rule) for value, chosen in judged.items()}
    worst = min(
        found,
        key=lambda value: (_ORDER.index(found[value].decision), -(found[value].p or 0.0), value),
    )
    left_out = (
        f"; {len(small)} smaller than {minimum} ({sum(small)} examples) not judged" if small else ""
    )
    reason = f"worst of {len(judged)} slices, {column}={worst}: {found[worst].reason}{left_out}"
    more = _sum([part.more_examples for part in found.values() if part.decision is Decision.HOLD])
    if found[worst].decision is not Decision.HOLD:
        more = None
    return replace(found[worst], slice=f"{column}={worst}", reason=reason, more_examples=more)


def large_enough(rows: Sequence[ScoredExample], rule: Rule) -> dict[str, list[int]]:
    """The values of the rule's column that have rows enough to be judged, each with their places."""
    places, minimum = _places(rows, rule.slice), rule.minimum_slice or MINIMUM
    return {value: places[value] for value in sorted(places) if len(places[value]) >= minimum}


def _places(rows: Sequence[ScoredExample], column: str) -> dict[str, list[int]]:
    places: dict[str, list[int]] = {}
    for place, row in enumerate(rows):
        places.setdefault(row.slices[column], []).append(place)
    return places


def part(case: Case, places: Sequence[int]) -> Case:
    """The same case with the rows at these places only; baselines stay whole."""
    champion = case.champion
    if champion is not None and not case.obstacle:
        champion = _rows(champion, places)
    return replace(case, candidate=_rows(case.candidate, places), champion=champion)


def _rows(evidence: Evidence, places: Sequence[int]) -> Evidence:
    return replace(evidence, rows=tuple(evidence.rows[place] for place in places), summaries={})


def _sum(counts: Sequence[int | None]) -> int | None:
    """Slices share no example, so what each lacks adds up; None where one is never decided."""
    known = [count for count in counts if count is not None]
    return sum(known) if known and len(known) == len(counts) else None
