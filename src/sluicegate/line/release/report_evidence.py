"""For the report: every slice with its intervals, and every judge with its standing."""

from __future__ import annotations

from collections.abc import Mapping

from sluicegate.cards.report_evidence import JudgeShown, SliceRow
from sluicegate.evaluation.judging import PREFIX, Measure
from sluicegate.evaluation.scoring import summarise
from sluicegate.gates.repeats import Noise, noise
from sluicegate.line.run import Run
from sluicegate.records import Evidence, ScoredExample, Summary, Verdict, judged_metric

MOST_VALUES = 50
"""A column with more values than this says who an example is, not which part of the whole it
belongs to.
"""


def slice_rows(
    candidate: Evidence, champion: Evidence | None, measures: Mapping[str, Measure]
) -> list[SliceRow]:
    """Every metric on every slice, in the order of the columns' names and values."""
    others = {row.id: row for row in champion.rows} if champion else {}
    found = []
    for column, value, rows in _slices(candidate):
        for metric in candidate.summaries:
            if metric in measures and (champion is None or metric in champion.summaries):
                pairs = [(row, others.get(row.id)) for row in rows]
                found.append(_row(column, value, metric, pairs, measures[metric]))
    return found


def noise_shown(
    candidate: Evidence, champion: Evidence | None, measures: Mapping[str, Measure]
) -> list[Noise]:
    """The noise of every metric, where rows were answered several times."""
    found = [
        noise(candidate, champion, metric, measures[metric].range)
        for metric in candidate.summaries
        if metric in measures
    ]
    return [one for one in found if one is not None]


def judges_shown(
    run: Run, candidate: Evidence, champion: Evidence | None, verdict: Verdict
) -> list[JudgeShown]:
    """Every judge of the evaluation: what it scored, whether it counts, and its calibration."""
    from sluicegate.judges.calibration import recorded
    from sluicegate.line.judge.calibrate import judge_facts

    facts = judge_facts(run, candidate)
    return [
        JudgeShown(
            name=name,
            candidate=use,
            champion=champion.judges.get(name) if champion else None,
            standing=facts[f"{PREFIX}{name}"],
            rules=tuple(
                rule.name
                for rule in verdict.rules
                if judged_metric(name) in rule.metric.split(", ")
            ),
            record=recorded(run.project.judgements, use.digest),
        )
        for name, use in candidate.judges.items()
    ]


def _slices(evidence: Evidence) -> list[tuple[str, str, list[ScoredExample]]]:
    found: dict[str, dict[str, list[ScoredExample]]] = {}
    for row in evidence.rows:
        for column, value in row.slices.items():
            found.setdefault(column, {}).setdefault(value, []).append(row)
    return [
        (column, value, rows)
        for column, values in sorted(found.items())
        if len(values) <= MOST_VALUES
        for value, rows in sorted(values.items())
    ]


def _row(
    column: str,
    value: str,
    metric: str,
    pairs: list[tuple[ScoredExample, ScoredExample | None]],
    measure: Measure,
) -> SliceRow:
    groups = [row.group for row, _ in pairs]
    own = [row.scores[metric] for row, _ in pairs]
    candidate = summarise(own, groups, measure.range)
    champion: Summary | None = None
    difference: Summary | None = None
    if all(other is not None for _, other in pairs):
        theirs = [other.scores[metric] for _, other in pairs if other is not None]
        width = measure.range[1] - measure.range[0]
        champion = summarise(theirs, groups, measure.range)
        gaps = [mine - old for mine, old in zip(own, theirs, strict=True)]
        difference = summarise(gaps, groups, (-width, width))
    gain = difference.mean if difference else candidate.mean
    return SliceRow(
        column,
        value,
        metric,
        candidate,
        champion,
        difference,
        gain if measure.direction == "higher" else -gain,
    )
