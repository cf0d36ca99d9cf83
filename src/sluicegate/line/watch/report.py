"""A drift report kept where people look: reports/drift.html, an MLflow run with the profile, and
Markdown for Prefect.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from sluicegate import releasing
from sluicegate.cards.drift_report import DriftPage, Sample, drift_markdown, drift_report_html
from sluicegate.data.examples import read_examples
from sluicegate.data.redaction import redact
from sluicegate.drift import Profile, read_profile, write_profile
from sluicegate.evaluation import read_evidence
from sluicegate.hashing import digest_file, write_atomic
from sluicegate.line.run import Run
from sluicegate.line.watch.window import champion_reference
from sluicegate.monitoring import (
    Row,
    findings,
    golden_represents_traffic,
    likely_cause,
    moved_columns,
    samples,
)
from sluicegate.personal_data import KINDS
from sluicegate.prompts import shown_input
from sluicegate.records import DriftReport

_CUT = 4_000  # characters of an example; a page that shows 10 MB is read by nobody


@dataclass(frozen=True, slots=True)
class Published:
    """Where the report is: `html` (path), `run_id` in MLflow, and as `markdown` for an artefact of
    the flow.
    """

    html: str
    run_id: str
    markdown: str


def publish(
    run: Run, report: DriftReport, window: Profile | None, rows: Callable[[], Iterable[Row]]
) -> Published:
    """Write the report of a drift check to reports/drift.html and keep it, with the profile, in a
    new MLflow run.

    Args:
        run: the project.
        report, window: what `monitoring.check_rows` returned.
        rows: gives the window's rows once more, for example texts; personal data in them is
            replaced.

    Raises:
        TrackingError: MLflow cannot be written; the HTML file is there by then.
        IntegrityError: the reference profile is gone or damaged.
        EnvironmentFailure: the disk refuses.
    """
    project, path = run.project, reference_path(run)
    page = _page(run, report, window, read_profile(path), rows)
    html = project.reports / "drift.html"
    write_atomic(html, drift_report_html(page))
    kept = project.build / "monitor" / "window.parquet"
    if window is not None:
        write_profile(kept, window)
    run_id = _track(run, page, html, kept if window is not None else None, path)
    return Published(str(html), run_id, drift_markdown(page))


def reference_path(run: Run) -> Path:
    """The profile that traffic is compared with: that of the champion's answers, else the
    candidate's of the last run.
    """
    champion = run.champion
    if champion is not None:
        return champion_reference(run, champion)
    return run.project.profile / "reference.parquet"


def _page(
    run: Run,
    report: DriftReport,
    window: Profile | None,
    reference: Profile,
    rows: Callable[[], Iterable[Row]],
) -> DriftPage:
    page = DriftPage(
        report,
        reference_rows=reference.rows,
        title=f"{run.name}: drift report",
        created=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )
    if window is None:
        return page
    status, missing = golden_represents_traffic(window, reference)
    moved = moved_columns(report, reference, window)
    known = reference_rows(run) if moved else []
    shown = samples(moved, reference, window, known, rows()) if moved else ()
    found = findings(report, reference, window, known, rows()) if moved else ()
    shown += tuple(sample for finding in found for sample in finding.samples)
    return replace(
        page,
        cause=" ".join([likely_cause(moved), *(finding.text for finding in found)]),
        moved=moved,
        samples=tuple(_clean(sample) for sample in shown),
        missing=missing if status == "drift" else (),
    )


def _clean(sample: Sample) -> Sample:
    prompt, response = (redact(text[:_CUT], KINDS)[0] for text in (sample.prompt, sample.response))
    return replace(sample, prompt=prompt, response=response)


def reference_rows(run: Run) -> list[Row]:
    """The golden set's prompts with the champion's answers (the candidate's before there is one);
    [] where none are.
    """
    project = run.project
    if not project.golden.is_file():
        return []
    champion = run.champion
    golden = digest_file(project.golden)
    for name in ("candidate", "champion"):
        path = project.evidence / f"{name}.parquet"
        evidence = read_evidence(path) if path.is_file() else None
        if evidence is None or evidence.golden != golden:
            continue
        if champion is None or evidence.release == champion.release:
            prompt = None if run.params.release.is_code else run.prompt
            if champion is not None:
                prompt = releasing.load_stored(project, champion.release).asks
            outputs = {row.id: row.output for row in evidence.rows}
            return [
                {
                    "prompt": shown_input(prompt, example.inputs),
                    "response": outputs[example.id],
                    "group": example.group,
                }
                for example in read_examples(project.golden)
            ]
    return []


def _track(run: Run, page: DriftPage, html: Path, profile: Path | None, reference: Path) -> str:
    report = page.report
    tags = {"sluice.stage": "monitor", "sluice.drift": report.status}
    with run.tracking.start_run(run.name, "monitor", {"reference": reference.stem}, tags) as kept:
        values: dict[str, float] = {"rows": report.rows, "columns_moved": len(page.moved)}
        for score in report.scores:
            name = f"drift/{score.column}/{score.statistic.replace(' ', '_')}"
            values |= {name: score.value, f"{name}/threshold": score.threshold}
        kept.log_metrics(values)
        kept.log_file(html)
        kept.log_text("drift.md", drift_markdown(page))
        for path in (profile, profile.with_suffix(".json")) if profile else ():
            kept.log_file(path, "profile")
        return str(kept.id)
