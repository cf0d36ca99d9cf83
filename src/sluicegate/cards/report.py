"""The release report: one HTML file that needs nothing else, for screens and paper."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sluicegate.cards import wording
from sluicegate.cards.examples import ExamplePair, counts, paired, primary_metric, shown_text
from sluicegate.cards.page import html_page
from sluicegate.cards.report_evidence import JudgeShown, SliceRow, spreads, worst_slices
from sluicegate.gates.repeats import Noise
from sluicegate.records import (
    DriftReport,
    Evidence,
    Example,
    Lineage,
    Release,
    Summary,
    TuneSummary,
    Verdict,
)

EXAMPLES_SHOWN = 5


@dataclass(frozen=True, slots=True)
class ReportContext:
    """Everything the report shows; what is None, or empty, is left out of it.

    Attributes:
        release, lineage: what the candidate is and came from.
        candidate, champion: their evidence; `champion` is None for the first release.
        baselines: evidence of the simple methods beside them, by name.
        examples: the golden rows, for inputs and references.
        show_rows: whether single rows are shown at all.
        timings: seconds by step of the line.
        links: name to address (http, https or relative).
        directions: `higher` or `lower` by metric; `higher` where it is silent.
        primary: the metric that orders the examples; by default the first one compared with the
            champion.
        title, created: the project's name and a date, as they shall be shown.
        version, champion_version: MLflow versions.
        slices: every metric on every slice.
        judges: the judges of the evaluation, and whether they counted.
        noise: of each metric, where rows were answered several times.
        notes: what else people should know, in sentences.
    """

    verdict: Verdict
    release: Release
    lineage: Lineage
    candidate: Evidence
    champion: Evidence | None = None
    baselines: Mapping[str, Evidence] = field(default_factory=dict)
    examples: Sequence[Example] = ()
    show_rows: bool = True
    tune: TuneSummary | None = None
    drift: DriftReport | None = None
    timings: Mapping[str, float] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    directions: Mapping[str, str] = field(default_factory=dict)
    primary: str = ""
    title: str = "Release report"
    created: str = ""
    version: int | None = None
    champion_version: int | None = None
    slices: Sequence[SliceRow] = ()
    judges: Sequence[JudgeShown] = ()
    noise: Sequence[Noise] = ()
    notes: Sequence[str] = ()


def report_html(context: ReportContext) -> str:
    """Render the report.

    Returns:
        A complete HTML document; see `page.html_page`.
    """
    from sluicegate.cards import charts

    filters: dict[str, Callable[..., Any]] = {
        "number": wording.number, "short": wording.short, "seconds": wording.seconds,
        "spoken": wording.spoken, "interval": wording.interval, "why": wording.why,
        "limit": wording.limit, "outcome": wording.outcome, "titled": wording.titled,
        "bounds": charts.bounds,
    }  # fmt: skip
    return html_page(
        "report.html.jinja",
        filters,
        context=context,
        verdict=context.verdict,
        headline=" ".join(
            (wording.headline(context.verdict), wording.which_evaluation(context.verdict))
        ).strip(),
        rules=wording.by_weight(context.verdict.rules),
        forests=_forests(context),
        worst=worst_slices(context.slices),
        operations=_operations(context),
        curve=charts.loss_curve(context.tune.curve) if context.tune else "",
        made_of=wording.made_of(context.release, context.lineage),
        timing_bars=_timings(context.timings),
        **_examples(context),
    )


def _direction(context: ReportContext, metric: str) -> str:
    return context.directions.get(metric, "higher")


def _contenders(context: ReportContext) -> list[tuple[str, str, Evidence]]:
    """(label, style class, evidence), the candidate first."""
    rows = [("candidate", "candidate", context.candidate)]
    if context.champion is not None:
        rows.append(("champion", "champion", context.champion))
    return rows + [(name, "baseline", evidence) for name, evidence in context.baselines.items()]


def _metrics(context: ReportContext) -> list[tuple[str, list[tuple[str, str, Summary]]]]:
    contenders = _contenders(context)
    return [
        (
            name,
            [
                (label, style, summary)
                for label, style, e in contenders
                if (summary := e.summaries.get(name) or e.set_scores.get(name))
            ],
        )
        for name in (*context.candidate.summaries, *context.candidate.set_scores)
    ]


def _forests(context: ReportContext) -> list[tuple[str, str, Any, Any]]:
    """(metric, direction, means with intervals, how the scores spread) of every metric."""
    from sluicegate.cards import charts

    spread = spreads(context.candidate, context.champion)
    return [
        (name, _direction(context, name), charts.forest(rows), spread.get(name, ""))
        for name, rows in _metrics(context)
    ]


def _operations(context: ReportContext) -> list[tuple[str, list[str]]]:
    """(name, a text for each contender that generates); baselines that measured nothing are out."""
    measured = [evidence for _, _, evidence in _contenders(context) if evidence.operations]
    names = list(context.candidate.operations)
    return [
        (
            name,
            [
                wording.operation(name, e.operations[name]) if name in e.operations else "-"
                for e in measured
            ],
        )
        for name in names
    ]


def _timings(timings: Mapping[str, float]) -> list[tuple[str, float, float]]:
    """(step, seconds, share of the longest step in percent)."""
    longest = max(timings.values(), default=0.0) or 1.0
    return [(name, value, round(100 * value / longest, 1)) for name, value in timings.items()]


def _examples(context: ReportContext) -> dict[str, Any]:
    """What the examples section needs: pairs at both ends, the sorted differences, the counts."""
    from sluicegate.cards import charts

    metric = context.primary or primary_metric(context.verdict, context.candidate)
    higher = _direction(context, metric) != "lower"
    pairs = paired(context.candidate, context.champion, context.examples, metric, higher=higher)
    against = context.champion is not None
    worst = [pair for pair in pairs if not against or pair.gain < 0][:EXAMPLES_SHOWN]
    rest = pairs[len(worst) :]
    best: list[ExamplePair] = [pair for pair in reversed(rest) if not against or pair.gain > 0][
        :EXAMPLES_SHOWN
    ]
    gains = [pair.gain for pair in pairs if math.isfinite(pair.gain)]
    return {
        "primary": metric,
        "against": against,
        "groups": [("worst", worst), ("best", best)] if context.show_rows else [],
        "bars": charts.differences(gains) if against else "",
        "better_worse": counts(gains),
        "shown_text": shown_text,
    }
