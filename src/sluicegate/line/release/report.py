"""The last step of the line: reports/release.html and the model card, also kept with the evaluation
run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

from sluicegate import releasing
from sluicegate.cards import ReportContext, render_model_card, report_html
from sluicegate.data.examples import read_examples
from sluicegate.evaluation import read_evidence
from sluicegate.evaluation.judging import measures
from sluicegate.hashing import write_atomic
from sluicegate.line.judge.clients import model_identity
from sluicegate.line.pipeline.base_model import model_spec, tuned
from sluicegate.line.pipeline.evaluation_run import evaluation_run
from sluicegate.line.release.decide import links
from sluicegate.line.release.report_evidence import judges_shown, noise_shown, slice_rows
from sluicegate.line.run import Decided, Reported, Run, TrafficChecked
from sluicegate.records import TuneSummary, Verdict


def report(
    run: Run,
    decided: Decided,
    traffic: TrafficChecked,
    timings: Mapping[str, float],
    *,
    show_rows: bool = True,
) -> Reported:
    """Write reports/release.html and reports/model_card.md for a verdict.

    Where nothing changed, the report of the verdict that made the champion stays as it is.

    Args:
        run: the project.
        decided, traffic: what the steps before returned.
        timings: seconds by step.
        show_rows: whether the page shows golden rows.
    """
    project = run.project
    page, card = project.reports / "release.html", project.reports / "model_card.md"
    if decided.verdict is None:
        return Reported(str(page) if page.is_file() else "")
    contents = replace(
        _contents(run, decided, decided.verdict, traffic, timings), show_rows=show_rows
    )
    write_atomic(page, report_html(contents))
    spec = model_spec(run)
    base = spec.model_dump(include={"licence", "notes"})
    by = Counter(row.answered_by for row in contents.candidate.rows if row.answered_by)
    asked = "" if spec.weights else ", ".join(map(str, model_identity(spec).values()))
    write_atomic(
        card,
        render_model_card(
            project.registry / "model_card.md.jinja",
            contents,
            model=run.name,
            base={"name": run.params.release.model, "asked": asked, "answered_by": by, **base},
            prompt=run.prompt.template,
            sources={
                name: spec.model_dump(include={"role", "licence", "owner", "notes"})
                for name, spec in run.sources.items()
            },
        ),
    )
    kept = run.tracking.open_run(evaluation_run(run))
    kept.log_file(page)
    kept.log_file(card)
    return Reported(str(page), str(card))


def _contents(
    run: Run,
    decided: Decided,
    verdict: Verdict,
    traffic: TrafficChecked,
    timings: Mapping[str, float],
) -> ReportContext:
    project = run.project
    stored = releasing.load_stored(project, verdict.candidate)
    summary = tuned(run).get("summary")
    names = ("candidate", "champion", *run.params.evaluate.baselines)
    evidence = {name: read_evidence(project.evidence / f"{name}.parquet") for name in names}
    candidate, champion = evidence["candidate"], evidence["champion"]
    known = measures(run.params.evaluate.metrics, project.prompts)
    return ReportContext(
        verdict=verdict,
        release=stored.release,
        lineage=stored.lineage,
        candidate=candidate,
        champion=champion,
        baselines={name: evidence[name] for name in run.params.evaluate.baselines},
        examples=read_examples(project.golden),
        tune=TuneSummary(**{**summary, "curve": tuple(summary["curve"])}) if summary else None,
        drift=traffic,
        timings=timings,
        links=links(run, decided),
        directions={name: measure.direction for name, measure in known.items()},
        title=f"{run.name}: release report",
        created=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        version=decided.version,
        champion_version=decided.champion_version,
        slices=slice_rows(candidate, champion, known),
        judges=judges_shown(run, candidate, champion, verdict),
        noise=noise_shown(candidate, champion, known),
        notes=decided.warnings,
    )
