"""What each rule of a policy needs before a candidate as good as the champion, or better, passes:
rows and groups, what a margin costs, and what repeats would save. Pure, as the gate is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sluicegate.gates.checks import ROUNDING, Case, amount, held_for_a_set
from sluicegate.gates.judges import held_without_scores
from sluicegate.gates.planning import enough
from sluicegate.gates.policy import Policy, Rule
from sluicegate.gates.questions import Assumed, Setup, question
from sluicegate.gates.rules import RULES
from sluicegate.gates.slices import large_enough, part

_FACTORS = (0.5, 0.75, 1.0, 1.5, 2.0, 3.0)
_GAINS = (0.02, 0.03, 0.05, 0.075, 0.1, 0.15)
"""True gains that a curve shows, as shares of the range."""
_REPEATS = (1, 2, 3, 5, 10)
_FAR = "4,096 times these rows would not show it"


@dataclass(frozen=True, slots=True)
class Need:
    """What one rule needs.

    Attributes:
        name, metric, severity, way: of the rule.
        rows: of the golden set; 0 where their number does not matter, None where none does.
        groups: independent ones among them.
        reason: why rows do not matter, or why it never passes.
        over: what `curve` is over: `margin`, `threshold` or `gain`; empty without a curve.
        curve: pairs of such a value, in the metric's unit, and the rows needed there.
        repeats: answers to each row, and the rows needed with so many; empty where the pilot asked
            once.
    """

    name: str
    metric: str
    severity: str
    way: str
    rows: int | None
    groups: int | None = None
    reason: str = ""
    over: str = ""
    curve: tuple[tuple[float, int | None], ...] = ()
    repeats: tuple[tuple[int, int | None], ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """What a policy needs.

    Attributes:
        gain: by how much the candidate is better on every metric; 0.0 for an equal one.
        alpha, power: error rate of the evaluation, and the chance that each rule passes.
        minimum: rows below which nothing is concluded.
        rows, groups: of the evaluation that this is planned from.
        needs: one a rule, in the policy's order.
        ways: the ways that the policy has.
    """

    gain: float
    alpha: float
    power: float
    minimum: int
    rows: int
    groups: int
    needs: tuple[Need, ...]
    ways: tuple[str, ...]

    def blocking(self, way: str) -> list[Need]:
        """The rules that have to pass on a way."""
        return [one for one in self.needs if one.severity == "block" and one.way in ("", way)]

    def never(self, way: str) -> list[Need]:
        """Those of them that cannot."""
        return [one for one in self.blocking(way) if one.rows is None]

    def last(self, way: str) -> Need | None:
        """The one that needs most rows; None where no number of them matters."""
        counted = [one for one in self.blocking(way) if one.rows]
        return max(counted, key=lambda one: one.rows or 0, default=None)

    def enough(self, way: str) -> int | None:
        """Rows with which every blocking rule passes with the policy's power; None if one never
        does.
        """
        if self.never(way):
            return None
        last = self.last(way)
        return max(self.minimum, (last.rows or 0) if last else 0)


def plan(case: Case, *, gain: float = 0.0, assumed: Assumed | None = None) -> Plan:
    """Plan from a pilot, or from evidence on the champion and assumed differences.

    Args:
        case: candidate and champion are the pilot; with `assumed` the candidate is the champion
            itself, and there is no other. `next_alpha` is what is planned with.
        gain: true gain on every metric, in its unit.
        assumed: in place of the pilot's differences from the champion.
    """
    setup = Setup(case, gain, assumed)
    policy, rows = case.policy, case.candidate.rows
    return Plan(
        gain=gain,
        alpha=case.next_alpha,
        power=policy.power,
        minimum=policy.minimum_examples,
        rows=len(rows),
        groups=len({row.group for row in rows}),
        needs=tuple(_need(setup, rule) for rule in policy.rules),
        ways=ways_of(policy),
    )


def ways_of(policy: Policy) -> tuple[str, ...]:
    """On which ways a change may pass."""
    return ("improve", "neutral") if policy.neutral else ("improve",)


@dataclass(frozen=True, slots=True)
class _Found:
    rows: int | None
    groups: int | None = None
    reason: str = ""


def _need(setup: Setup, rule: Rule) -> Need:
    subject = rule.metric or rule.fact or ", ".join(rule.metrics)
    settled = _without_rows(setup, rule)
    found = settled or _rows(setup, rule)
    need = Need(
        rule.name, subject, rule.severity, rule.way or "", found.rows, found.groups, found.reason
    )
    if settled is not None:
        return need
    over, curve = _curve(setup, rule)
    repeats = _with_repeats(setup, rule) if found.rows else ()
    return replace(need, over=over, curve=curve, repeats=repeats)


def _without_rows(setup: Setup, rule: Rule) -> _Found | None:
    """What is there to say where no number of rows decides."""
    case, kind = setup.case, RULES[rule.kind]
    if not rule.metric and not rule.metrics:
        return _Found(0, reason="people's votes, not planned" if kind.understands else "a fact")
    held = held_without_scores(case, rule) or held_for_a_set(case, rule)
    if held is not None:
        return _Found(None, reason=held.reason)
    scored = case.candidate.rows[0].scores
    absent = [metric for metric in rule.metrics or (rule.metric,) if metric not in scored]
    if kind.critical:
        marked = sum(row.critical for row in case.candidate.rows)
        return _Found(0 if marked else None, reason=f"{marked} critical rows, each by itself")
    if absent and not rule.metrics and rule.metric in setup.incumbent.operations:
        return _settled(setup, rule, float(setup.incumbent.operations[rule.metric]), "it is")
    if absent:
        return _Found(None, reason=f"{absent[0]} was not measured")
    if kind.against == "baseline" and rule.baseline not in case.baselines:
        return _Found(None, reason=f"{rule.baseline} was not evaluated")
    if rule.slice and not all(row.slices.get(rule.slice) for row in case.candidate.rows):
        return _Found(None, reason=f"some rows do not say their {rule.slice}")
    if rule.compare == "mean":
        mean = question(setup, rule, rule.metric).sample.mean
        return _settled(setup, rule, abs(mean), "the mean is")
    return None


def _settled(setup: Setup, rule: Rule, value: float, said: str) -> _Found:
    """A value that is compared as it is."""
    sign, threshold = RULES[rule.kind].sign, amount(rule.threshold)
    word = "at least" if sign > 0 else "at most"
    reason = f"{said} {value:.4g}, {word} {threshold:.4g} is required"
    return _Found(0 if sign * (value - threshold) >= -ROUNDING else None, reason=reason)


def _rows(setup: Setup, rule: Rule, repeats: int = 0) -> _Found:
    """Rows of the whole golden set; in slices, so many that the one that needs most has enough."""
    if not rule.slice:
        return _best(setup, rule, repeats)
    rows = setup.case.candidate.rows
    slices = large_enough(rows, rule)
    found = {
        value: _best(replace(setup, case=part(setup.case, places)), rule, repeats)
        for value, places in slices.items()
    }
    if not found:
        return _Found(None, reason=f"no value of {rule.slice} has enough rows to be judged")
    for value, one in found.items():
        if one.rows is None:
            return replace(one, reason=f"{rule.slice}={value}: {one.reason}")
    scaled = {
        value: math.ceil((one.rows or 0) * len(rows) / len(slices[value]))
        for value, one in found.items()
    }
    worst = max(scaled, key=lambda value: scaled[value])
    groups = math.ceil((found[worst].groups or 0) * len(rows) / len(slices[worst]))
    return _Found(scaled[worst], groups)


def _best(setup: Setup, rule: Rule, repeats: int) -> _Found:
    """By the metric that needs least, where any of several may decide."""
    metrics = rule.metrics or (rule.metric,)
    alpha = setup.case.next_alpha / len(metrics)
    found = [_by(setup, rule, metric, alpha, repeats) for metric in metrics]
    shown = [one for one in found if one.rows is not None]
    return min(shown, key=lambda one: one.rows or 0) if shown else found[0]


def _by(setup: Setup, rule: Rule, metric: str, alpha: float, repeats: int) -> _Found:
    asked = question(setup, rule, metric, repeats)
    sample, power = asked.sample, setup.case.policy.power
    if sample.mean <= asked.null + ROUNDING:
        return _Found(None, reason=_not_so(setup, rule, abs(sample.mean)))
    times = enough(sample, asked.null, sample.mean, alpha, power, certain=asked.certain)
    if times is None:
        return _Found(None, reason=_FAR if len(sample.means) > 1 else "one group says nothing")
    return _Found(math.ceil(times * sample.rows), math.ceil(times * len(sample.means)))


def _not_so(setup: Setup, rule: Rule, truth: float) -> str:
    kind, threshold = RULES[rule.kind], amount(rule.threshold)
    if kind.limits_losses:
        return f"{truth:.3g} of the rows lose more, at most {threshold:.4g} may"
    if not kind.compares:
        word = "at least" if kind.sign > 0 else "at most"
        return f"the mean is {truth:.4g}, {word} {threshold:.4g} is required"
    if kind.against == "champion":
        who = f"a gain of {setup.gain:g}" if setup.gain else "an equal candidate"
        return f"{who} is no gain above {amount(rule.margin):.4g}"
    loss = "a loss below" if kind.allows_loss else "a gain above"
    return f"it is not {loss} {amount(rule.margin):.4g} against {rule.baseline}"


def _with_repeats(setup: Setup, rule: Rule) -> tuple[tuple[int, int | None], ...]:
    asked = setup.case.champion and setup.case.candidate.rows[0].repeats
    if not asked or setup.assumed is not None or RULES[rule.kind].against != "champion":
        return ()
    return tuple((count, _rows(setup, rule, count).rows) for count in _REPEATS)


def _curve(setup: Setup, rule: Rule) -> tuple[str, tuple[tuple[float, int | None], ...]]:
    """Rows over margin, over the share that may lose much, or over the true gain."""
    kind = RULES[rule.kind]
    own = rule.model_copy(update={"metric": (rule.metrics or (rule.metric,))[0]})
    low, high = setup.case.bounds(own)
    if kind.limits_losses or kind.allows_loss:
        field = "threshold" if kind.limits_losses else "margin"
        asked = amount(getattr(rule, field))
        most = 1.0 if kind.limits_losses else min(high - low, rule.worst_loss or high - low)
        values = _values([asked * factor for factor in _FACTORS if asked * factor < most])
        changed = [
            (value, setup, rule.model_copy(update={field: value})) for value in values if value > 0
        ]
    elif kind.against == "champion":
        field = "gain"
        values = _values([amount(rule.margin) + share * (high - low) for share in _GAINS])
        changed = [(value, replace(setup, gain=value), rule) for value in values]
    else:
        return "", ()
    return field, tuple((value, _rows(other, one).rows) for value, other, one in changed)


def _values(values: Sequence[float]) -> list[float]:
    return [float(f"{value:.4g}") for value in values]
