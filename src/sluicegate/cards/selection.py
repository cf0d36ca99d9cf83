"""A comparison of base models, for a terminal and as one HTML page that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from markupsafe import Markup

from sluicegate.cards.charts import padded, ticks
from sluicegate.cards.page import html_page
from sluicegate.cards.svg import dot, path, svg, text
from sluicegate.cards.wording import columns


@dataclass(frozen=True, slots=True)
class Table:
    """A title, headings, and rows of as many cells."""

    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class Question:
    """One step of the decision: (candidate, answer, whether that ruled it out)."""

    text: str
    answers: Sequence[tuple[str, str, bool]]


@dataclass(frozen=True, slots=True)
class Point:
    """A candidate in the plot: cost across, quality up; `front`: none beats it in all respects."""

    name: str
    cost: float
    quality: float
    low: float
    high: float
    front: bool


@dataclass(frozen=True, slots=True)
class SelectionPage:
    """What the page says; `across` and `up` name the axes of the plot."""

    chosen: str
    because: str
    tables: Sequence[Table] = ()
    questions: Sequence[Question] = ()
    points: Sequence[Point] = ()
    across: str = ""
    up: str = ""
    assumptions: Sequence[tuple[str, str]] = ()
    notes: Sequence[str] = field(default=())


def selection_text(page: SelectionPage) -> str:
    """For a terminal: the table, the way to the decision, what the costs assume."""
    lines = []
    for table in page.tables:
        lines += [table.title, *columns([table.headings, *table.rows]), ""]
    lines.append("The way to the decision")
    for number, question in enumerate(page.questions, start=1):
        lines.append(f"  {number}. {question.text}")
        lines += [
            f"       {'out ' if out else '    '} {name}: {answer}"
            for name, answer, out in question.answers
        ]
    lines += [
        "",
        "The costs assume: " + ", ".join(f"{name} {value}" for name, value in page.assumptions),
        *page.notes,
    ]
    return "\n".join([*lines, "", f"{page.chosen or 'NOBODY'}: {page.because}", ""])


def selection_html(page: SelectionPage) -> str:
    """One self-contained page."""
    return html_page("selection.html.jinja", {}, page=page, plot=pareto_plot(page))


def pareto_plot(page: SelectionPage) -> Markup:
    """Quality against cost, one dot a candidate with its interval; empty markup for none."""
    if not page.points:
        return Markup("")
    x0, x1 = padded([0.0, *(point.cost for point in page.points)])
    y0, y1 = padded([edge for point in page.points for edge in (point.low, point.high)])
    left, right, top, bottom = 60, 700, 14, 300

    def across(value: float) -> float:
        return round(left + (right - left) * (value - x0) / (x1 - x0), 1)

    def up(value: float) -> float:
        return round(bottom - (bottom - top) * (value - y0) / (y1 - y0), 1)

    parts = []
    for tick in ticks(y0, y1):
        parts.append(path("grid", f"M{left} {up(tick)}H{right}"))
        parts.append(text(left - 8, up(tick) + 4, f"{tick:g}", "end"))
    for tick in ticks(max(x0, 0.0), x1, 6):
        parts.append(text(across(tick), bottom + 20, f"{tick:,g}", "middle"))
    parts += [text(right, bottom + 38, page.across, "end"), text(left, top - 2, page.up)]
    for point in page.points:
        x, kind = across(point.cost), "validation" if point.front else "train"
        parts.append(path(f"line {kind}", f"M{x} {up(point.low)}V{up(point.high)}"))
        parts.append(dot(kind, x, up(point.quality), 5))
        beside, anchor = (x - 10, "end") if x > (left + right) / 2 else (x + 10, "start")
        parts.append(text(beside, up(point.quality) + 4, point.name, anchor))
    return svg(720, 344, f"{page.up} against cost", parts)
