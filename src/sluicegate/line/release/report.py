"""The last step of the line: reports/release.html and the model card, also kept with the evaluation run."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sluicegate import releasing
from sluicegate.cards import ReportContext, render_model_card, report_html
from sluicegate.config import SourcesFile, load
from sluicegate.data.examples import read_examples
from sluicegate.evaluation import read_evidence
from sluicegate.evaluation.judging import measures
from sluicegate.hashing import read_json, write_atomic
from sluicegate.line.pipeline.base_model import model_spec
from sluicegate.line.pipeline.evaluation_run import evaluation_run
from sluicegate.line.release.report_evidence import judges_shown, slice_rows
from sluicegate.line.release.steps import links, read_drift, timed
from sluicegate.line.run import Context, open_context, open_tracking
from sluicegate.project import find_project
from sluicegate.records import Decision, RuleResult, TuneSummary, Verdict


def report(root: str) -> dict[str, Any]:
    """Write reports/release.html and reports/model_card.md for the last verdict.

    Where nothing changed, the report of the verdict that made the champion stays as it is.
    """
    project = find_project(Path(root))
    page = project.reports / "release.html"
    registered = read_json(project.build / "line" / "register.json")
    if registered["unchanged"]:
        return {"report": str(page) if page.is_file() else ""}
    context = open_context(project)
    with timed(project, "report"):
        contents = _contents(context, registered)
        write_atomic(page, report_html(contents))
        card = project.reports / "model_card.md"
        sources = load(project.registry / "sources.yaml", SourcesFile).sources
        write_atomic(
            card,
            render_model_card(
                project.registry / "model_card.md.jinja",
                contents,
                model=context.name,
                base={
                    "name": context.params.release.base,
                    **model_spec(context).model_dump(include={"licence", "notes"}),
                },
                prompt=context.prompt.template,
                sources={
                    name: spec.model_dump(include={"role", "licence", "owner", "notes"})
                    for name, spec in sources.items()
                },
            ),
        )
        run = open_tracking(project).open_run(evaluation_run(context))
        run.log_file(page)
        run.log_file(card)
    return {"report": str(page), "model_card": str(card)}


def _contents(context: Context, registered: dict[str, Any]) -> ReportContext:
    project = context.project
    verdict = read_verdict(read_json(project.build / "line" / "verdict.json"))
    stored = releasing.load_stored(project, verdict.candidate)
    summary = read_json(project.build / "tune.json").get("summary")
    timings = project.build / "line" / "timings.json"
    candidate, champion = (
        read_evidence(project.evidence / f"{name}.parquet") for name in ("candidate", "champion")
    )
    known = measures(context.params.evaluate.metrics, project.prompts)
    return ReportContext(
        verdict=verdict,
        release=stored.release,
        lineage=stored.lineage,
        candidate=candidate,
        champion=champion,
        baselines={
            name: read_evidence(project.evidence / f"{name}.parquet")
            for name in context.params.evaluate.baselines
        },
        examples=read_examples(project.golden),
        tune=TuneSummary(**{**summary, "curve": tuple(summary["curve"])}) if summary else None,
        drift=read_drift(project),
        timings=read_json(timings),
        links=links(context, registered),
        directions={name: measure.direction for name, measure in known.items()},
        title=f"{context.name}: release report",
        created=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        version=registered["version"],
        champion_version=registered["champion_version"],
        slices=slice_rows(candidate, champion, known),
        judges=judges_shown(context, candidate, champion, verdict),
    )


def read_verdict(value: dict[str, Any]) -> Verdict:
    """Rebuild a verdict from its JSON."""
    rules = tuple(
        RuleResult(**{**rule, "decision": Decision(rule["decision"])}) for rule in value["rules"]
    )
    return Verdict(
        **{
            **value,
            "decision": Decision(value["decision"]),
            "rules": rules,
            "reasons": tuple(value["reasons"]),
        }
    )
