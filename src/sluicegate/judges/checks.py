"""What a judge has to show before it counts: one `Check` each, with the figures in words.

Whatever it is used for, it has to agree with people about as well as they do with each other, and
its error must not depend on which release answered. Absolute use also asks for people's levels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from sluicegate.config import CalibrationParams
from sluicegate.judges import agreement, differential
from sluicegate.judges.agreement import Floats, Interval, mean_interval
from sluicegate.judges.annotators import (
    ALPHA,
    FEWEST,
    Replaced,
    alternative_annotator,
    half_replaced,
)
from sluicegate.judges.differential import Estimate, more_rows
from sluicegate.judges.measuring import Sample
from sluicegate.records import MOST_UNUSABLE

ONE_SIDED = 0.9
"""Confidence of the two-sided interval whose either bound is 95 % sure."""
CLOSE = 0.4
"""So many of the pairs, those whose answers share the most words, are the close ones."""
SCORES_FAVOUR = 0.75
"""Scores err less than preferences, so that so much of `favour` can be asked of them."""
WILD = 0.25
"""An error of a score counts as so much at most, or as one level: few wild ones hide no favour."""
FEWEST_CLASS = 5
"""Labels for either side that are needed to tell a judge from one that always takes a side."""
HALF = 0.5


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that a judge has to show, whether it did, and the figures in words.

    Attributes:
        use: `any`, or `absolute` where only rules with a threshold of their own ask for it.
        more: about how many more labelled rows would show it; None where it is shown, or where
            more rows would not help.
    """

    name: str
    passed: bool
    said: str
    use: str = "any"
    more: int | None = None


def checks_of(
    data: Sample,
    measured: Mapping[str, Interval],
    missed: Sequence[str],
    known: Mapping[str, int],
    params: CalibrationParams,
) -> tuple[Check, ...]:
    """What has to be shown, in reading order; a measure that is missing has not been shown."""
    found = [_rows(known, params), _usable(known)]
    if known["failed"] < known["rows"]:
        found += [*_agreement(data, params), *_favour(data, params)]
    if data.pairwise:
        found.append(_at_most("order of the answers", "position_bias", measured, params.position))
    found += [_again(measured, params), _sentinels(missed, known, params)]
    if not data.pairwise and known["failed"] < known["rows"]:
        found.append(_levels(data, params))
    return tuple(found)


def uses_of(checks: Sequence[Check]) -> tuple[str, ...]:
    """What a judge that showed this may be used for; empty where it is refused."""
    failed = {check.use for check in checks if not check.passed}
    if "any" in failed:
        return ()
    return ("comparative",) if failed else ("comparative", "absolute")


def _rows(known: Mapping[str, int], params: CalibrationParams) -> Check:
    groups, least = known["groups"], params.minimum_groups
    said = f"{groups} independent rows, {least} are required"
    more = None if groups >= least else least - groups
    return Check("enough rows", groups >= least, said, more=more)


def _usable(known: Mapping[str, int]) -> Check:
    failed, rows = known["failed"], known["rows"]
    said = (
        f"{failed} of {rows} rows without a usable answer, {MOST_UNUSABLE:.0%} are allowed; each "
        "counts as wrong"
    )
    return Check("usable answers", failed <= MOST_UNUSABLE * rows, said)


def _agreement(data: Sample, params: CalibrationParams) -> list[Check]:
    """The alternative annotator test where people share rows, else the assumed reliability."""
    replaced = alternative_annotator(
        data.aligned, data.table, data.raters, data.groups, params.epsilon
    )
    floor = params.accuracy if data.pairwise else params.correlation
    about = f"nobody shares {FEWEST} rows with another person: "
    least = floor
    if not replaced:
        least = max(floor, params.reliability - params.epsilon)
        about += f"people's own reliability is assumed as {params.reliability:g}; "
    found = [_agrees(data, least, "" if replaced else about)]
    if replaced:
        p = half_replaced(replaced)
        each = ", ".join(
            f"{one.rater or 'unnamed'} {one.judge:.2f} to {one.person:.2f}" for one in replaced
        )
        said = (
            f"alternative annotator test, epsilon {params.epsilon:g}: for half of {len(replaced)} "
            f"raters or more, p {p:.3f}, below {ALPHA:g} is required (judge to person: {each})"
        )
        more = None if p < ALPHA else _more_shared(replaced, params.epsilon)
        found.append(Check("stands in for a person", p < ALPHA, said, more=more))
    if data.pairwise:
        found.append(_close_pairs(data))
    return found


def _more_shared(replaced: Sequence[Replaced], epsilon: float) -> int | None:
    """More rows for the rater in the middle, from how far p is from its bound."""
    middle = sorted(replaced, key=lambda one: one.p)[math.ceil(len(replaced) / 2) - 1]
    lost, z = middle.person - middle.judge, float(stats.norm.isf(max(middle.p, 1e-12)))
    if lost >= epsilon or z <= 0:
        return None
    return more_rows(lost, (epsilon - lost) / z, epsilon, middle.rows)


def _agrees(data: Sample, least: float, about: str) -> Check:
    name = "agrees with people"
    if data.pairwise:
        exact = 1.0 - np.abs(data.judge - data.human)
        return _share_above(name, "right in", exact, data.groups, least, about)
    rho = agreement.spearman(data.judge, data.human)
    return _correlated(name, "rank correlation", rho, len(set(data.groups)), least, about)


def _close_pairs(data: Sample) -> Check:
    """A judge that is right on easy pairs alone is none where two releases are nearly alike."""
    rank = max(math.ceil(len(data.close) * CLOSE), 1)
    chosen = data.close >= np.sort(data.close)[-rank]
    groups = [group for group, kept in zip(data.groups, chosen, strict=True) if kept]
    exact = (1.0 - np.abs(data.judge - data.human))[chosen]
    about = f"the {len(groups)} pairs whose answers share the most words: "
    return _share_above("right on close pairs", "right in", exact, groups, HALF, about)


def _favour(data: Sample, params: CalibrationParams) -> list[Check]:
    found = _favours(data, data.longer, "length", "the longer answer", params)
    if data.side.any():
        side = f"the answers of {data.side_name}"
        found += _favours(data, data.side, "release", side, params)
    if not data.pairwise:
        rho = agreement.partial_spearman(data.judge, data.human, data.length)
        groups = len(set(data.groups)) - 1
        name = "reads beyond length"
        found.append(_correlated(name, "rank correlation without length", rho, groups, 0.0, ""))
    return found


def _favours(
    data: Sample, side: Floats, what: str, whom: str, params: CalibrationParams
) -> list[Check]:
    """`side` is 1 where the answer is on the side in question, -1 where the other one is."""
    asked = side != 0
    groups = [group for group, kept in zip(data.groups, asked, strict=True) if kept]
    error, place = (data.judge - data.human)[asked], side[asked]
    if not data.pairwise:
        most = max(WILD, 1 / (len(data.levels) - 1))
        found = differential.gap(np.clip(error, -most, most), place > 0, groups)
        return [_within(f"no favour by {what}", whom, found, SCORES_FAVOUR * params.favour)]
    bias = differential.mean(error * place, groups)
    says = HALF + (data.judge[asked] - HALF) * place
    people = HALF + (data.human[asked] - HALF) * place
    return [
        _within(f"no favour by {what}", whom, bias, params.favour),
        _informed(f"reads beyond {what}", whom, says, people, groups),
    ]


def _within(name: str, whom: str, found: Estimate | None, bound: float) -> Check:
    if found is None:
        return Check(name, False, "too few rows on either side to measure it")
    passed = -bound < found.low and found.high < bound
    said = (
        f"favours {whom} by {found.value:+.2f} [{found.low:+.2f}, {found.high:+.2f}] more than "
        f"people do, {bound:g} either way is allowed"
    )
    inside = bound - abs(found.value)
    more = more_rows(inside, found.error, 0.0, found.groups) if inside > 0 else None
    return Check(name, passed, said, more=None if passed else more)


def _informed(name: str, whom: str, says: Floats, people: Floats, groups: Sequence[str]) -> Check:
    """Takes the side more often where people do than where they do not, by more than chance."""
    decided = people != HALF
    kept = [group for group, one in zip(groups, decided, strict=True) if one]
    for_it, against = int((people > HALF).sum()), int((people < HALF).sum())
    if min(for_it, against) < FEWEST_CLASS:
        said = f"people took {whom} in {for_it} pairs, not in {against}; {FEWEST_CLASS} are needed"
        return Check(name, False, said, more=FEWEST_CLASS - min(for_it, against))
    found = differential.gap(says[decided], people[decided] > HALF, kept, shares=True)
    if found is None:
        return Check(name, False, "too few rows to measure it")
    said = (
        f"takes {whom} {found.value:+.2f} more often where people do [at least {found.low:+.2f}], "
        "more than 0 is required"
    )
    return _shown(name, found.value, found.error, found.low, 0.0, said, found.groups)


def _levels(data: Sample, params: CalibrationParams) -> Check:
    """The mean difference from people's level, over the rows that leave room for one."""
    name, found = "levels", differential.mean(data.judge - data.human, data.groups)
    if found is None:
        return Check(name, False, "too few rows to measure it", "absolute")
    room = float((data.human < 1.0).mean()), float((data.human > 0.0).mean())
    above, below = (params.level * one for one in room)
    passed = -below < found.low and found.high < above
    said = (
        f"{found.value:+.3f} [{found.low:+.3f}, {found.high:+.3f}] from people's mean level, "
        f"-{below:.3f} to {above:.3f} is allowed ({room[0]:.0%} of the labels are below the top)"
    )
    inside = min(above - found.value, found.value + below)
    more = more_rows(inside, found.error, 0.0, found.groups) if inside > 0 else None
    return Check(name, passed, said, "absolute", None if passed else more)


def _again(measured: Mapping[str, Interval], params: CalibrationParams) -> Check:
    name, found = "same answer again", measured.get("self_consistency")
    if found is None:
        return Check(name, False, "self_consistency could not be measured")
    said = f"self_consistency {_figures(found)}, at least {params.consistency:g} is required"
    return Check(name, found.low >= params.consistency, said)


def _sentinels(missed: Sequence[str], known: Mapping[str, int], params: CalibrationParams) -> Check:
    noticed, total = known["sentinels"] - len(missed), known["sentinels"]
    share = noticed / total if total else 0.0
    said = f"{noticed} of {total} noticed, a share of {params.sentinels:g} is required"
    told = said if total else "there are none to notice"
    return Check("known-bad answers", share >= params.sentinels, told)


def _share_above(
    name: str, what: str, values: Floats, groups: Sequence[str], least: float, about: str
) -> Check:
    found = mean_interval(values, groups, confidence=ONE_SIDED)
    said = f"{about}{what} {found.value:.2f} [at least {found.low:.2f}], {least:.2g} is required"
    error = math.sqrt(max(found.value * (1 - found.value), 0.01) / found.groups)
    return _shown(name, found.value, error, found.low, least, said, found.groups)


def _correlated(name: str, what: str, rho: float, groups: int, least: float, about: str) -> Check:
    """Fisher's transformation with the variance of ranks (Fieller, Hartley and Pearson 1957)."""
    at, error = math.atanh(min(max(rho, -0.9999), 0.9999)), math.sqrt(1.06 / max(groups - 3, 1))
    low = math.tanh(at - float(stats.norm.ppf(differential.SURE)) * error)
    said = f"{about}{what} {rho:.2f} [at least {low:.2f}], {least:.2g} is required"
    return _shown(name, at, error, math.atanh(low), math.atanh(least), said, groups)


def _shown(
    name: str, value: float, error: float, low: float, least: float, said: str, groups: int
) -> Check:
    passed = low >= least and low > 0.0
    more = more_rows(value, error, least, groups) if not passed and value > least else None
    return Check(name, passed, said, more=more)


def _at_most(title: str, name: str, measured: Mapping[str, Interval], threshold: float) -> Check:
    found = measured.get(name)
    if found is None:
        return Check(title, False, f"{name} could not be measured")
    passed = max(abs(found.low), abs(found.high)) <= threshold
    return Check(title, passed, f"{name} {_figures(found)}, at most {threshold:g} is allowed")


def _figures(found: Interval) -> str:
    return f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]"
