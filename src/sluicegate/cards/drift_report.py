"""The drift report: one HTML file that needs nothing else, and a few lines of Markdown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup

from sluicegate.cards.page import html_page
from sluicegate.cards.svg import box, path, svg, text
from sluicegate.cards.verdict import escaped
from sluicegate.cards.wording import number, spoken
from sluicegate.records import DriftReport, DriftScore

HEADLINES = {"OK": "No drift", "DRIFT": "Drift", "NO_DATA": "No data"}
_TONES = {"OK": "pass", "DRIFT": "fail", "NO_DATA": "hold"}
_LONGEST = 1_200


@dataclass(frozen=True, slots=True)
class Spread:
    """A column's values as shares: between `edges` (one more than shares), or over `labels`."""

    before: tuple[float, ...]
    after: tuple[float, ...]
    edges: tuple[float, ...] = ()
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Moved:
    """A column that alarms: its most telling score, and its distributions where both are known."""

    score: DriftScore
    spread: Spread | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """An example of a moved column: its `side` (`before`, `after`) and the `value` of the text."""

    column: str
    side: str
    value: str
    prompt: str
    response: str


@dataclass(frozen=True, slots=True)
class DriftPage:
    """Everything the report shows; what is empty is left out of it.

    Attributes:
        cause: what the change probably is, in sentences.
        moved: the columns that alarm, the most telling first.
        samples: texts from both sides.
        missing: parts of the traffic that the golden set lacks.
        title, created: the project's name and a date, as they shall be shown.
        links: name to address.
    """

    report: DriftReport
    cause: str = ""
    moved: Sequence[Moved] = ()
    samples: Sequence[Sample] = ()
    missing: Sequence[str] = ()
    reference_rows: int = 0
    title: str = "Drift report"
    created: str = ""
    links: Mapping[str, str] = field(default_factory=dict)


def drift_report_html(page: DriftPage) -> str:
    """Render the report.

    Returns:
        A complete HTML document; see `page.html_page`.
    """
    filters: dict[str, Callable[..., Any]] = {
        "number": number,
        "titled": titled,
        "shown": _shown,
        "chance": _chance,
    }
    return html_page(
        "drift_report.html.jinja",
        filters,
        page=page,
        report=page.report,
        headline=HEADLINES.get(page.report.status, page.report.status),
        tone=_TONES.get(page.report.status, "hold"),
        charts={
            item.score.column: spread_chart(item.spread, titled(item.score.column))
            for item in page.moved
            if item.spread
        },
        scores=sorted(page.report.scores, key=lambda score: (not score.alarm, -surplus(score))),
        groups=_grouped(page.samples),
    )


def drift_markdown(page: DriftPage) -> str:
    """The same in a few lines of Markdown: status, cause, at most eight moved columns, what the
    golden set lacks.
    """
    report = page.report
    lines = [
        f"## {HEADLINES.get(report.status, report.status)}",
        "",
        f"{report.rows:,} rows of traffic",
        "",
    ]
    lines += [escaped(page.cause), ""] if page.cause else []
    lines += [f"- {escaped(note)}" for note in report.notes]
    if page.moved:
        lines += [
            "",
            "| column | before | after | change (sd) | distance | threshold |",
            "|:--|--:|--:|--:|--:|--:|",
        ]
        for item in page.moved[:8]:
            score = item.score
            distance = f"{number(score.value)} ({escaped(score.statistic)})"
            means = (number(score.before), number(score.after), number(score.change, signed=True))
            cells = (escaped(titled(score.column)), *means, distance, number(score.threshold))
            lines.append(f"| {' | '.join(cells)} |")
    if page.missing:
        lines += [
            "",
            "### The golden set lacks",
            "",
            *(f"- {escaped(part)}" for part in page.missing),
        ]
    if page.links:
        lines += ["", *(f"- {escaped(name)}: {address}" for name, address in page.links.items())]
    return "\n".join(lines) + "\n"


def surplus(score: DriftScore) -> float:
    """How many times its threshold a distance is."""
    return score.value / max(score.threshold, 1e-12)


def titled(column: str) -> str:
    """A column's name in words.

    Example:
        >>> titled("prompt.character_count")
        'prompt: character count'
    """
    side, _, kind = column.partition(".")
    return f"{side}: {spoken(kind)}" if kind else spoken(side)


def spread_chart(spread: Spread, title: str) -> Markup:
    """Both distributions as inline SVG: filled what is now, outlined what was.

    Example:
        >>> "<svg" in spread_chart(Spread((0.5, 0.5), (0.1, 0.9), edges=(0.0, 1.0, 2.0)),
        ...     "prompt: length")
        True
    """
    return _bars(spread, title) if spread.labels else _steps(spread, title)


def _steps(spread: Spread, title: str) -> Markup:
    from sluicegate.cards.charts import ticks

    left, right, top, bottom = 4, 356, 8, 118
    low, high = spread.edges[0], spread.edges[-1]
    # Shares are of bins of unequal width: a density is what the eye compares.
    widths = [
        max(after - before, 1e-12)
        for before, after in zip(spread.edges, spread.edges[1:], strict=False)
    ]
    before, after = (
        [share / width for share, width in zip(side, widths, strict=True)]
        for side in (spread.before, spread.after)
    )
    tallest = max([*before, *after, 1e-12])

    def x(value: float) -> float:
        return round(left + (right - left) * (value - low) / ((high - low) or 1.0), 1)

    def y(value: float) -> float:
        return round(bottom - (bottom - top) * value / tallest, 1)

    def outline(values: Sequence[float]) -> str:
        steps = "".join(
            f"V{y(value)}H{x(edge)}" for value, edge in zip(values, spread.edges[1:], strict=True)
        )
        return f"M{left} {bottom}{steps}V{bottom}"

    parts = [path("now", f"{outline(after)}Z"), path("was", outline(before))]
    parts.append(path("zero", f"M{left} {bottom}H{right}"))
    for tick in ticks(low, high, 4):
        anchor = "start" if x(tick) < 20 else "end" if x(tick) > 340 else "middle"
        parts.append(text(x(tick), bottom + 16, f"{tick:,g}", anchor))
    return svg(360, 146, f"{title}: before and now", parts)


def _bars(spread: Spread, title: str) -> Markup:
    height = 34 * len(spread.labels) + 6
    tallest = max([*spread.before, *spread.after, 1e-12])
    parts = []
    for place, (label, before, after) in enumerate(
        zip(spread.labels, spread.before, spread.after, strict=True)
    ):
        y = 34 * place
        parts.append(text(0, y + 19, label[:18] or "none", kind="label"))
        for share, style, down in ((before, "was bar", 4), (after, "now", 16)):
            width = round(170 * share / tallest, 1)
            parts.append(box(style, 120, y + down, max(width, 0.8), 10))
            parts.append(text(126 + width, y + down + 9, f"{share:.1%}"))
    return svg(360, height, f"{title}: before and now", parts)


def _grouped(samples: Sequence[Sample]) -> list[tuple[str, list[Sample], list[Sample]]]:
    """(column, texts before, texts now), in the order given."""
    columns = dict.fromkeys(sample.column for sample in samples)
    return [
        (column, _of(samples, column, "before"), _of(samples, column, "after"))
        for column in columns
    ]


def _of(samples: Sequence[Sample], column: str, side: str) -> list[Sample]:
    return [one for one in samples if (one.column, one.side) == (column, side)]


def _shown(text: str) -> str:
    rest = len(text) - _LONGEST
    return text[:_LONGEST] + (f" … {rest:,} more characters" if rest > 0 else "")


def _chance(p: float | None) -> str:
    return "-" if p is None else "< 0.01" if p < 0.01 else f"{p:.2f}"
