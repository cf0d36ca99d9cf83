"""Small charts as inline SVG, coloured by the page's style sheet: they follow light and dark."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from markupsafe import Markup

from sluicegate.cards.svg import box, dot, path, svg, text
from sluicegate.cards.wording import number
from sluicegate.gates.rules import RULES
from sluicegate.records import RuleResult, Summary

MOST_POINTS = 400
MOST_BARS = 720


def ticks(low: float, high: float, count: int = 4) -> list[float]:
    """About `count` round numbers within [low, high].

    Example:
        >>> ticks(0.13, 0.87)
        [0.2, 0.4, 0.6, 0.8]
        >>> ticks(5.0, 5.0)
        [5.0]
    """
    if not high > low:
        return [low]
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(
        (factor * power for factor in (1, 2, 2.5, 5) if factor * power >= rough), 10 * power
    )
    first = math.ceil(low / step - 1e-9)
    return [round(place * step, 12) for place in range(first, math.floor(high / step + 1e-9) + 1)]


def padded(values: Sequence[float], share: float = 0.06) -> tuple[float, float]:
    """The range of `values`, a little wider; never empty."""
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    room = (high - low) * share or max(abs(high) * share, 0.05)
    return low - room, high + room


def loss_curve(curve: Sequence[Mapping[str, float]]) -> Markup:
    """Training and validation loss by step; empty markup where there is nothing to draw."""
    train = _points(curve, "loss")
    validation = _points(curve, "validation_loss")
    both = train + validation
    if len(both) < 2:
        return Markup("")
    x0, x1 = min(both)[0], max(both)[0]
    y0, y1 = padded([y for _, y in both])
    left, right, top, bottom = 46, 700, 14, 214

    def place(point: tuple[float, float]) -> tuple[float, float]:
        x = left + (right - left) * (point[0] - x0) / ((x1 - x0) or 1)
        return round(x, 1), round(bottom - (bottom - top) * (point[1] - y0) / (y1 - y0), 1)

    parts = []
    for tick in ticks(y0, y1):
        _, y = place((x0, tick))
        parts += [path("grid", f"M{left} {y}H{right}"), text(left - 8, y + 4, f"{tick:g}", "end")]
    for tick in ticks(x0, x1, 6):
        parts.append(text(place((tick, y0))[0], bottom + 20, f"{tick:g}", "middle"))
    parts.append(text(right, bottom + 34, "step", "end"))
    for points, name in ((train, "train"), (validation, "validation")):
        placed = [place(point) for point in points]
        if len(placed) > 1:
            parts.append(
                f'<polyline class="line {name}" '
                f'points="{" ".join(f"{x},{y}" for x, y in placed)}"/>'
            )
        if name == "validation" or len(placed) == 1:
            parts += [dot(name, x, y, 3.5) for x, y in placed]
    return svg(720, 250, "Loss by training step", parts)


def _points(curve: Sequence[Mapping[str, float]], key: str) -> list[tuple[float, float]]:
    """Finite (step, value) pairs, thinned evenly to 400; the last one is always kept."""
    points = [
        (float(row.get("step", index)), float(row[key]))
        for index, row in enumerate(curve)
        if key in row and math.isfinite(row[key])
    ]
    stride = max(1, math.ceil(len(points) / MOST_POINTS))
    thinned = points[::stride]
    return thinned if not points or thinned[-1] == points[-1] else [*thinned, points[-1]]


def forest(rows: Sequence[tuple[str, str, Summary]]) -> Markup:
    """Mean and 95 % interval of one metric, a line for each (label, style class, summary)."""
    low, high = padded([bound for _, _, s in rows for bound in (s.low, s.mean, s.high)])
    left, right, line = 96, 300, 26
    height = line * len(rows) + 24

    def x(value: float) -> float:
        return round(left + (right - left) * (value - low) / (high - low), 1)

    parts = []
    for tick in ticks(low, high, 3):
        parts.append(path("grid", f"M{x(tick)} 2V{height - 20}"))
        parts.append(text(x(tick), height - 6, f"{tick:g}", "middle"))
    for index, (label, style, summary) in enumerate(rows):
        y = line * index + 15
        parts.append(text(0, y + 4, label, kind="label"))
        parts.append(path(f"whisker {style}", f"M{x(summary.low)} {y}H{x(summary.high)}"))
        parts.append(dot(style, x(summary.mean), y))
        parts.append(text(360, y + 4, number(summary.mean), "end", "value"))
    return svg(360, height, "Means with 95 % intervals", parts)


def bounds(rule: RuleResult) -> Markup:
    """A rule's difference and interval against zero and the margin; empty without a difference."""
    if rule.difference is None:
        return Markup("")
    loss = rule.kind in RULES and RULES[rule.kind].allows_loss
    margin = rule.margin if rule.margin and loss else 0.0
    shown = [
        value
        for value in (rule.difference, rule.low, rule.high, 0.0, -margin, margin)
        if value is not None
    ]
    reach = max(map(abs, shown)) * 1.08 or 1.0

    def x(value: float) -> float:
        return round(80 + 76 * value / reach, 1)

    first = x(rule.low) if rule.low is not None else 2
    last = x(rule.high) if rule.high is not None else 158
    parts = [
        path("zero", "M80 2V22"),
        path("whisker candidate", f"M{first} 12H{last}"),
        dot("candidate", x(rule.difference), 12, 4),
    ]
    if margin:
        parts.insert(0, box("margin", x(-margin), 2, round(x(margin) - x(-margin), 1), 20))
    return svg(160, 24, "Difference with its interval", parts, "bounds")


def differences(values: Sequence[float]) -> Markup:
    """One bar an example, sorted: how much better (up) or worse (down) the candidate did."""
    if not values:
        return Markup("")
    ordered = sorted(values)
    reach = max(map(abs, ordered)) or 1.0
    ordered = ordered[:: math.ceil(len(ordered) / MOST_BARS)]
    width = 720 / len(ordered)
    parts = []
    for index, value in enumerate(ordered):
        height = round(54 * abs(value) / reach, 1)
        kind, y = ("bar up", 60 - height) if value > 0 else ("bar down", 60)
        wide = f"{max(width * 0.78, 0.6):.1f}"
        parts.append(box(kind, f"{index * width:.1f}", f"{y:.1f}", wide, height))
    return svg(720, 120, "Difference for each example, sorted", [*parts, path("zero", "M0 60H720")])
