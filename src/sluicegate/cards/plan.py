"""What golden set a policy needs, for a terminal and as a page with its curves."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

from sluicegate.cards.page import html_page
from sluicegate.cards.svg import dot, path, svg, text
from sluicegate.gates.health import Health
from sluicegate.gates.plans import Need, Plan

_EACH = "Each rule passes with that chance by itself; that all of them do is less likely."


def plan_text(plan: Plan, source: str, health: Sequence[Health]) -> str:
    """For a terminal; ends with a newline."""
    width = max(4, *(len(one.name) for one in plan.needs))
    lines = [f"From {source}: {plan.rows} rows in {plan.groups} groups."]
    lines += [assumption(plan), "", f"  {'rule':{width}}  {'rows':>7}  {'groups':>7}"]
    for need in plan.needs:
        rows, groups = needed(need), "" if not need.groups else f"{need.groups:,}"
        lines.append(f"  {need.name:{width}}  {rows:>7}  {groups:>7}  {remark(need)}".rstrip())
    lines += ["", *(f"  {line}" for line in conclusions(plan))]
    for need in plan.needs:
        lines += _curve_text(need, width)
    told = [f"  {one.name}: {one.finding} in {one.verdicts} verdicts" for one in told_of(health)]
    if told:
        lines += ["", "Rules that told nothing apart so far:", *told]
    return "\n".join([*lines, "", _EACH]) + "\n"


def told_of(health: Sequence[Health]) -> list[Health]:
    """The rules that decide nothing."""
    return [one for one in health if one.finding]


def assumption(plan: Plan) -> str:
    """Of what candidate the numbers are, and how sure."""
    who = f"a candidate better by {plan.gain:g}" if plan.gain else "a candidate as good"
    return f"For {who}, at alpha {plan.alpha:.4f} and power {plan.power:.0%}."


def needed(need: Need) -> str:
    """Rows, in a word."""
    if need.rows is None:
        return "never"
    return f"{need.rows:,}" if need.rows else "any"


def remark(need: Need) -> str:
    """Severity, way and reason of a line."""
    way = f"only for changes that {_CHANGES[need.way]}" if need.way else ""
    warns = "warns only" if need.severity == "warn" else ""
    return "; ".join(filter(None, (need.reason, way, warns)))


_CHANGES = {"improve": "improve", "neutral": "improve nothing"}


def conclusions(plan: Plan) -> list[str]:
    """What it comes to, a line for each way."""
    found = []
    for way in plan.ways:
        never, last, rows = plan.never(way), plan.last(way), plan.enough(way)
        if never:
            found.append(f"{way}: never passes, for {', '.join(one.name for one in never)}")
        elif last and rows:
            more = max(0, rows - plan.rows)
            by = last.name if rows == last.rows else "minimum_examples"
            found.append(f"{way}: {rows:,} rows ({more:,} more); {by} decides last")
        else:
            found.append(f"{way}: {rows:,} rows (minimum_examples)")
    return found


def _curve_text(need: Need, width: int) -> list[str]:
    if not need.curve:
        return []
    tables = [(need.over, [(f"{value:g}", rows) for value, rows in need.curve])]
    if need.repeats:
        tables.append(("repeats", [(str(count), rows) for count, rows in need.repeats]))
    lines = ["", f"  {need.name}"]
    for over, pairs in tables:
        lines.append(f"    {over:10}" + "".join(f"{value:>9}" for value, _ in pairs))
        cells = ["never" if rows is None else f"{rows:,}" for _, rows in pairs]
        lines.append(f"    {'rows':10}" + "".join(f"{cell:>9}" for cell in cells))
    return lines


def plan_html(plan: Plan, source: str, health: Sequence[Health]) -> str:
    """One page that needs nothing else."""
    filters = {"needed": needed, "remark": remark, "curve": curve_chart}
    return html_page(
        "plan.html.jinja",
        filters,
        plan=plan,
        source=source,
        told=told_of(health),
        lines=[assumption(plan), *conclusions(plan), _EACH],
    )


def curve_chart(need: Need) -> Markup:
    """Rows, on a scale of powers of ten, over what the curve is over; empty markup with fewer than
    two points to draw.
    """
    points = [(value, rows) for value, rows in need.curve if rows]
    if len(points) < 2:
        return Markup("")
    left, right, top, bottom = 60, 700, 14, 204
    first, last = points[0][0], points[-1][0]
    low = math.floor(math.log10(min(rows for _, rows in points)))
    high = math.ceil(math.log10(max(rows for _, rows in points)) + 1e-9)

    def x(value: float) -> float:
        return round(left + (right - left) * (value - first) / (last - first), 1)

    def y(rows: float) -> float:
        share = (math.log10(rows) - low) / max(high - low, 1)
        return round(bottom - (bottom - top) * share, 1)

    parts = []
    for power in range(low, high + 1):
        place = y(10.0**power)
        parts.append(path("grid", f"M{left} {place}H{right}"))
        parts.append(text(left - 8, place + 4, f"{10**power:,}", "end"))
    line = " ".join(
        f"{'L' if number else 'M'}{x(value)} {y(rows)}"
        for number, (value, rows) in enumerate(points)
    )
    parts.append(path("line train", line))
    for value, rows in points:
        parts.append(dot("train", x(value), y(rows), 3.5))
        parts.append(text(x(value), y(rows) - 9, f"{rows:,}", "middle"))
        parts.append(text(x(value), bottom + 20, f"{value:g}", "middle"))
    parts.append(text(right, bottom + 36, need.over, "end"))
    return svg(720, 244, f"Rows needed over {need.over}", parts)
