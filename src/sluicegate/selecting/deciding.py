"""Which candidate, and why: what rules one out, which are as good as the best, the cheapest."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sluicegate.errors import EvidenceError
from sluicegate.gates.bounds import clusters, p_mean_at_most
from sluicegate.selecting.options import Option
from sluicegate.selecting.plan import SelectionFile


@dataclass(frozen=True, slots=True)
class Step:
    """One question: its answer for each candidate still in; `out` are those it ruled out."""

    question: str
    answers: Mapping[str, str]
    out: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Choice:
    """The way through.

    `chosen` is None where nobody is left; `front` are the candidates that none beats in all
    respects.
    """

    chosen: str | None
    steps: tuple[Step, ...]
    front: tuple[str, ...]
    because: str


def choose(
    options: Sequence[Option], plan: SelectionFile, *, direction: str, bounds: tuple[float, float]
) -> Choice:
    """Walk through the questions of `plan`; every one is asked of those that the ones before left.

    Args:
        direction: `higher` or `lower` is better in the quality metric.
        bounds: smallest and largest possible score of it.
    """
    left = list(options)
    steps: list[Step] = []
    for question, answer in _questions(plan, direction):
        told = {option.name: answer(option) for option in left}
        out = tuple(name for name, (fine, _) in told.items() if not fine)
        steps.append(Step(question, {name: text for name, (_, text) in told.items()}, out))
        left = [option for option in left if option.name not in out]
    front = pareto_front(left, plan.quality, direction)
    if not left:
        return Choice(None, tuple(steps), front, "Every candidate was ruled out.")
    alone = len(left) == 1
    best, step = _as_good_as_the_best(left, plan, direction, bounds)
    steps.append(step)
    left = [option for option in left if option.name not in step.out]
    priced = [option for option in left if option.cost is not None]
    unpriced = tuple(option.name for option in left if option.cost is None)
    steps.append(
        Step(
            "Which of those costs least?",
            {option.name: _money(option, plan) for option in left},
            tuple(
                option.name
                for option in left
                if len(priced) and option.name not in {_cheapest(priced).name}
            ),
        )
    )
    if not priced:
        return Choice(
            best.name,
            tuple(steps),
            front,
            f"{best.name} has the best {plan.quality}; no price is known.",
        )
    chosen = _cheapest(priced)
    because = (
        f"{chosen.name} costs least of those whose {plan.quality} is shown to be as good as "
        "the best"
    )
    if chosen.name == best.name:
        because = (
            f"{chosen.name} has the best {plan.quality}, and none shown to be as good costs less"
        )
    if alone:
        because = f"{chosen.name} is the only one that could be measured and meets every need"
    note = f"; nothing is known of what {', '.join(unpriced)} costs" if unpriced else ""
    return Choice(chosen.name, tuple(steps), front, because + note + ".")


def pareto_front(
    options: Sequence[Option], quality: str, direction: str = "higher"
) -> tuple[str, ...]:
    """Names of those that no other equals or beats in quality, cost and latency, and beats in one.

    An unknown cost is taken for the highest.
    """
    measured = {
        option.name: _respects(option, quality, direction) for option in options if option.evidence
    }
    return tuple(
        name
        for name, mine in measured.items()
        if not any(
            other != mine and all(theirs <= ours for theirs, ours in zip(other, mine, strict=True))
            for other in measured.values()
        )
    )


Answer = tuple[bool, str]


def _questions(plan: SelectionFile, direction: str) -> list[tuple[str, Callable[[Option], Answer]]]:
    needs, money, higher = plan.needs, plan.assumptions.currency, direction == "higher"
    asked: list[tuple[str, Callable[[Option], Answer]]] = [
        ("Could it be measured?", lambda option: (not option.failed, option.failed or "yes"))
    ]
    if needs.commercial_use:
        asked.append(("Does its licence allow commercial use?", _commercial))
    if needs.residency:
        places = " or ".join(needs.residency)
        asked.append(
            (
                f"Does data stay in {places}?",
                lambda o: (o.residency in needs.residency, o.residency or "unknown"),
            )
        )
    floors = [
        (
            f"Is {plan.quality} certainly {'at least' if higher else 'at most'} {{:g}}?",
            needs.quality_limit,
            lambda o: _worse_end(o, plan.quality, higher),
            1.0 if higher else -1.0,
        ),
        (
            "Does a whole answer take at most {:g} s (p95)?",
            needs.latency_p95_at_most,
            lambda o: o.speed and o.speed.p95,
            -1.0,
        ),
        ("Does it fit in {:g} GiB of memory?", needs.memory_gib_at_most, _memory, -1.0),
        (
            f"Does it cost at most {{:g}} {money} a month?",
            needs.cost_per_month_at_most,
            lambda o: o.cost and o.cost.per_month,
            -1.0,
        ),
    ]
    for question, limit, value, sign in floors:
        if limit is not None:
            asked.append((question.format(limit), _limit(limit, value, sign)))
    return asked


def _limit(
    limit: float, value: Callable[[Option], float | None], sign: float
) -> Callable[[Option], Answer]:
    def answer(option: Option) -> Answer:
        found = value(option)
        return (
            (False, "unknown") if found is None else (sign * (found - limit) >= 0, f"{found:.4g}")
        )

    return answer


def _commercial(option: Option) -> Answer:
    word = {
        True: "yes",
        False: "no",
        None: "unknown: read it, then set `commercial` in models.yaml",
    }[option.commercial]
    return option.commercial is True, f"{option.licence or 'no licence named'}: {word}"


def _worse_end(option: Option, metric: str, higher: bool) -> float | None:
    if option.evidence is None:
        return None
    summary = option.evidence.summaries[metric]
    return summary.low if higher else summary.high


def _memory(option: Option) -> float | None:
    """A model elsewhere needs none of ours."""
    if not option.local:
        return 0.0
    return option.speed.memory_gib if option.speed else None


def _as_good_as_the_best(
    options: Sequence[Option], plan: SelectionFile, direction: str, bounds: tuple[float, float]
) -> tuple[Option, Step]:
    """The best mean, and who is shown to lose less than `close_enough` against it (Bonferroni).

    That the best was picked by the same scores flatters it, so that the test errs on its side.
    """
    sign = 1.0 if direction == "higher" else -1.0
    best = max(options, key=lambda option: sign * _mean(option, plan.quality))
    answers, out = {best.name: f"the best: {_mean(best, plan.quality):.4g}"}, []
    alpha = plan.alpha / max(1, len(options) - 1)
    for option in options:
        if option.name == best.name:
            continue
        gains, groups = _gains(option, best, plan.quality, sign)
        span = bounds[1] - bounds[0]
        sample = clusters(gains, groups, -span, span)
        p = p_mean_at_most(sample, -plan.close_enough)
        answers[option.name] = (
            f"{_mean(option, plan.quality):.4g}, {sign * sample.mean:+.4g} against it, p = {p:.2g}"
        )
        if p >= alpha:
            out.append(option.name)
    question = (
        f"Is a loss of {plan.close_enough:g} or more in {plan.quality} against the best ruled out?"
    )
    return best, Step(question, answers, tuple(out))


def _gains(option: Option, best: Option, metric: str, sign: float) -> tuple[list[float], list[str]]:
    """Example by example; positive where `option` is better.

    Raises:
        EvidenceError: they did not answer the same examples.
    """
    if option.evidence is None or best.evidence is None:
        raise EvidenceError(f"{option.name} or {best.name} was not measured.")
    mine, theirs = option.evidence.rows, best.evidence.rows
    if [row.id for row in mine] != [row.id for row in theirs]:
        raise EvidenceError(
            f"{option.name} and {best.name} answered different examples.",
            hint="Run `sluice select` again.",
        )
    gains = [
        sign * (row.scores[metric] - other.scores[metric])
        for row, other in zip(mine, theirs, strict=True)
    ]
    return gains, [row.group for row in mine]


def _mean(option: Option, metric: str) -> float:
    return option.evidence.summaries[metric].mean if option.evidence else float("-inf")


def _respects(option: Option, quality: str, direction: str) -> tuple[float, float, float]:
    """Three numbers, the smaller the better."""
    mean = _mean(option, quality)
    infinite = float("inf")
    cost = option.cost.per_month if option.cost else infinite
    return (
        (-mean if direction == "higher" else mean),
        cost,
        (option.speed.p95 if option.speed else infinite),
    )


def _cheapest(options: Sequence[Option]) -> Option:
    return min(options, key=lambda option: option.cost.per_month if option.cost else float("inf"))


def _money(option: Option, plan: SelectionFile) -> str:
    if option.cost is None:
        return "no price known"
    return f"{option.cost.per_month:,.2f} {plan.assumptions.currency} a month"
