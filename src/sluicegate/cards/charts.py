"""Small charts as inline SVG, coloured by the page's style sheet: they follow light and dark."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from markupsafe import Markup, escape

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
    (x0, x1), (y0, y1) = (
        (min(x for x, _ in both), max(x for x, _ in both)),
        padded([y for _, y in both]),
    )
    left, right, top, bottom = 46, 700, 14, 214

    def place(point: tuple[float, float]) -> tuple[float, float]:
        x = left + (right - left) * (point[0] - x0) / ((x1 - x0) or 1)
        return round(x, 1), round(bottom - (bottom - top) * (point[1] - y0) / (y1 - y0), 1)

    parts = [
        '<svg class="chart" viewBox="0 0 720 250" role="img" aria-label="Loss by training step">'
    ]
    for tick in ticks(y0, y1):
        _, y = place((x0, tick))
        parts.append(f'<path class="grid" d="M{left} {y}H{right}"/>')
        parts.append(
            f'<text class="tick" x="{left - 8}" y="{y + 4}" text-anchor="end">{tick:g}</text>'
        )
    for tick in ticks(x0, x1, 6):
        x, _ = place((tick, y0))
        parts.append(
            f'<text class="tick" x="{x}" y="{bottom + 20}" text-anchor="middle">{tick:g}</text>'
        )
    parts.append(f'<text class="tick" x="{right}" y="{bottom + 34}" text-anchor="end">step</text>')
    for points, name in ((train, "train"), (validation, "validation")):
        placed = [place(point) for point in points]
        if len(placed) > 1:
            parts.append(
                f'<polyline class="line {name}" '
                f'points="{" ".join(f"{x},{y}" for x, y in placed)}"/>'
            )
        if name == "validation" or len(placed) == 1:
            parts += [f'<circle class="dot {name}" cx="{x}" cy="{y}" r="3.5"/>' for x, y in placed]
    return Markup("".join(parts) + "</svg>")


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

    parts = [
        f'<svg class="chart" viewBox="0 0 360 {height}" role="img" aria-label="Means with 95 % '
        'intervals">'
    ]
    for tick in ticks(low, high, 3):
        parts.append(f'<path class="grid" d="M{x(tick)} 2V{height - 20}"/>')
        parts.append(
            f'<text class="tick" x="{x(tick)}" y="{height - 6}" '
            f'text-anchor="middle">{tick:g}</text>'
        )
    for index, (label, style, summary) in enumerate(rows):
        y = line * index + 15
        parts.append(f'<text class="label" x="0" y="{y + 4}">{escape(label)}</text>')
        parts.append(f'<path class="whisker {style}" d="M{x(summary.low)} {y}H{x(summary.high)}"/>')
        parts.append(f'<circle class="dot {style}" cx="{x(summary.mean)}" cy="{y}" r="4.5"/>')
        parts.append(
            f'<text class="value" x="360" y="{y + 4}" '
            f'text-anchor="end">{number(summary.mean)}</text>'
        )
    return Markup("".join(parts) + "</svg>")


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
        '<svg class="bounds" viewBox="0 0 160 24" role="img" aria-label="Difference with its '
        'interval">'
    ]
    if margin:
        width = round(x(margin) - x(-margin), 1)
        parts.append(f'<rect class="margin" x="{x(-margin)}" y="2" width="{width}" height="20"/>')
    parts.append('<path class="zero" d="M80 2V22"/>')
    parts.append(f'<path class="whisker candidate" d="M{first} 12H{last}"/>')
    parts.append(f'<circle class="dot candidate" cx="{x(rule.difference)}" cy="12" r="4"/></svg>')
    return Markup("".join(parts))


def differences(values: Sequence[float]) -> Markup:
    """One bar an example, sorted: how much better (up) or worse (down) the candidate did."""
    if not values:
        return Markup("")
    ordered = sorted(values)
    reach = max(map(abs, ordered)) or 1.0
    ordered = ordered[:: math.ceil(len(ordered) / MOST_BARS)]
    width = 720 / len(ordered)
    parts = [
        '<svg class="chart" viewBox="0 0 720 120" role="img" aria-label="Difference for each '
        'example, sorted">'
    ]
    for index, value in enumerate(ordered):
        height = round(54 * abs(value) / reach, 1)
        y = 60 - height if value > 0 else 60
        style = "up" if value > 0 else "down"
        bar = (
            f'x="{index * width:.1f}" y="{y:.1f}" width="{max(width * 0.78, 0.6):.1f}" '
            f'height="{height}"'
        )
        parts.append(f'<rect class="bar {style}" {bar}/>')
    parts.append('<path class="zero" d="M0 60H720"/></svg>')
    return Markup("".join(parts))
