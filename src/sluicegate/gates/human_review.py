"""People's votes on pairs of answers, as a rule."""

from __future__ import annotations

import math
from collections.abc import Sequence

from sluicegate.gates.bounds import clusters, p_mean_at_most
from sluicegate.gates.checks import (
    Case,
    amount,
    decision_on,
    figures,
    held,
    result,
    sentence,
    variance_of,
)
from sluicegate.gates.planning import detectable, more_examples
from sluicegate.gates.policy import Rule
from sluicegate.gates.reviews import Pair, Review, pairs_of
from sluicegate.records import Decision, RuleResult

_NAMED = 5


def human_review(case: Case, rule: Rule) -> RuleResult:
    """By people's votes the candidate is not worse than the champion by `margin` or more.

    A row where the candidate is better counts 1, where it is worse -1, where the answers are the
    same to people, or equal, 0: the mean is the share of rows that get better minus the share that
    get worse. HOLD with the number of pairs that people still have to review, out of `pairs` (all
    that differ, where it is absent), each by `reviewers` people. With `no_unsafe` one answer of the
    candidate that anybody marked unsafe is REJECT.
    """
    if case.champion is None or case.obstacle:
        return held(case, rule, case.obstacle or "there is no champion to compare with")
    every = pairs_of(case.candidate, case.champion)
    unsafe = [
        pair.id
        for pair in every
        if pair.differs and any(one.unsafe for one in case.reviews.get(pair.digest, ()))
    ]
    if rule.no_unsafe and unsafe:
        named = ", ".join(sorted(unsafe)[:_NAMED]) + (" ..." if len(unsafe) > _NAMED else "")
        said = f"{len(unsafe)} answers of the candidate are marked unsafe: {named}"
        return result(rule, Decision.REJECT, said, n=len(every), margin=rule.margin)
    needed = rule.reviewers or 1
    pairs = pairs_of(case.candidate, case.champion, rule.pairs)
    asked = [pair for pair in pairs if pair.differs]
    left = sum(len(case.reviews.get(pair.digest, ())) < needed for pair in asked)
    if left:
        said = (
            f"{left} of {len(asked)} pairs that differ are still to be reviewed, each by "
            f"{_people(needed)}: `sluice review`"
        )
        return result(rule, Decision.HOLD, said, n=len(pairs), margin=rule.margin)
    counted = {pair.digest: case.reviews[pair.digest][:needed] for pair in asked}
    return _voted(case, rule, pairs, counted)


def _voted(
    case: Case, rule: Rule, pairs: Sequence[Pair], counted: dict[str, Sequence[Review]]
) -> RuleResult:
    votes = [
        math.fsum(one.vote for one in said) / len(said)
        if (said := counted.get(pair.digest, ()))
        else 0.0
        for pair in pairs
    ]
    sample = clusters(votes, [pair.group for pair in pairs], -1.0, 1.0)
    null = -amount(rule.margin)
    numbers = figures(case, sample, variance_of(votes)) | {
        "n": len(pairs),
        "difference": sample.mean,
        "margin": -null,
        "p": p_mean_at_most(sample, null),
    }
    numbers["detectable"] = detectable(sample, numbers["low"], case.policy.power)
    decision = decision_on(case, sample, null, numbers["p"])
    if decision is Decision.HOLD:
        numbers["more_examples"] = more_examples(
            sample, null, 0.0, case.next_alpha, case.policy.power
        )
    people = ", ".join(sorted({one.person for said in counted.values() for one in said}))
    equal = sum(not pair.differs for pair in pairs)
    reason = (
        f"{sentence(decision, null, numbers, 'the champion')}; {len(pairs) - equal} pairs reviewed"
        f"{f' by {people}' if people else ''}, {equal} equal ones count 0"
    )
    return result(rule, decision, reason, **numbers)


def _people(count: int) -> str:
    return "1 person" if count == 1 else f"{count} people"
