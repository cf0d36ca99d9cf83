"""What people see of a selection: the measures of each candidate as cells, points and sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sluicegate.cards.selection import Point, Question, SelectionPage, Table
from sluicegate.selecting import Choice, Option, SelectionFile

NONE = "-"


def page_of(options: Sequence[Option], choice: Choice, plan: SelectionFile) -> SelectionPage:
    """All that the report shows of `options`, in their order."""
    money = plan.assumptions.currency
    return SelectionPage(
        chosen=choice.chosen or "",
        because=choice.because,
        tables=[
            _overview(options, choice, plan),
            _quality(options, plan),
            _latency(options),
            _costs(options, money),
        ],
        questions=[
            Question(
                step.question,
                [(name, text, name in step.out) for name, text in step.answers.items()],
            )
            for step in choice.steps
        ],
        points=[point for option in options if (point := _point(option, choice, plan)) is not None],
        across=f"{money} a month",
        up=plan.quality,
        assumptions=_flat(plan.assumptions.model_dump(mode="json")),
        notes=[
            f"{option.name} was not measured: {option.failed}"
            for option in options
            if option.failed
        ],
    )


def _overview(options: Sequence[Option], choice: Choice, plan: SelectionFile) -> Table:
    rows = []
    for option in options:
        speed, cost = option.speed, option.cost
        summary = option.evidence.summaries[plan.quality] if option.evidence else None
        rows.append(
            (
                option.name + (" (chosen)" if option.name == choice.chosen else ""),
                f"{summary.mean:.3f} [{summary.low:.3f}, {summary.high:.3f}]" if summary else NONE,
                f"{speed.p50:.2f} / {speed.p95:.2f} s" if speed else NONE,
                f"{speed.throughput:.0f} tokens/s" if speed else NONE,
                f"{speed.memory_gib:.1f} GiB" if speed and speed.memory_gib is not None else NONE,
                f"{option.licence or 'unknown'}{_word(option.commercial)}",
                option.residency or "unknown",
                f"{cost.per_month:,.2f}" if cost else NONE,
                "yes" if option.name in choice.front else "",
            )
        )
    headings = (
        "model", plan.quality, "answer p50 / p95", "throughput", "memory", "licence", "data",
        f"{plan.assumptions.currency} a month", "Pareto",
    )  # fmt: skip
    return Table("Side by side", headings, rows)


def _word(commercial: bool | None) -> str:
    return {True: ", commercial use", False: ", no commercial use", None: ""}[commercial]


def _quality(options: Sequence[Option], plan: SelectionFile) -> Table:
    rows = []
    for metric in plan.metrics:
        found = [
            option.evidence.summaries[metric] if option.evidence else None for option in options
        ]
        rows.append(
            (metric, *(f"{s.mean:.3f} [{s.low:.3f}, {s.high:.3f}]" if s else NONE for s in found))
        )
    return Table(
        "Quality, means with 95 % intervals", ("metric", *(option.name for option in options)), rows
    )


def _latency(options: Sequence[Option]) -> Table:
    rows: list[tuple[str, ...]] = []
    for option in options:
        for timing in option.speed.timings if option.speed else ():
            cells = (
                timing.prompt_tokens,
                timing.answer_tokens,
                f"{timing.p50:.3f}",
                f"{timing.p95:.3f}",
                timing.n,
            )
            rows.append((option.name, *map(str, cells)))
        if option.speed and option.speed.decode is not None:
            rows.append(
                (option.name, "any", "each token more", f"{option.speed.decode:.4f}", NONE, NONE)
            )
    headings = ("model", "prompt tokens", "answer tokens", "p50 s", "p95 s", "requests")
    return Table(
        "Response times, one request at a time: the first token is what reading the prompt takes",
        headings,
        rows,
    )


def _costs(options: Sequence[Option], money: str) -> Table:
    rows = []
    for option in options:
        cost = option.cost
        parts = (
            "; ".join(f"{name} {value:,.2f}" for name, value in cost.parts.items())
            if cost
            else "no price known"
        )
        figures = (f"{cost.per_month:,.2f}", f"{cost.per_1000:,.3f}") if cost else (NONE, NONE)
        rows.append((option.name, *figures, parts))
    return Table(
        "Total cost of ownership",
        ("model", f"{money} a month", f"{money} per 1,000 answers", "made of (a month)"),
        rows,
    )


def _point(option: Option, choice: Choice, plan: SelectionFile) -> Point | None:
    if option.evidence is None or option.cost is None:
        return None
    summary = option.evidence.summaries[plan.quality]
    return Point(
        option.name,
        option.cost.per_month,
        summary.mean,
        summary.low,
        summary.high,
        option.name in choice.front,
    )


def _flat(value: Mapping[str, Any], before: str = "") -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for name, item in value.items():
        if isinstance(item, Mapping):
            found += _flat(item, f"{before}{name}.")
        else:
            found.append((f"{before}{name}", str(item)))
    return found
