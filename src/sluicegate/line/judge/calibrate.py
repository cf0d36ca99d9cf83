"""Judges outside an evaluation: listed, tried, calibrated against labels.

Calibrations live in `.sluice/judgements/`; reports in `reports/judge_<name>.html` and `.txt`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sluicegate.budget import Budget
from sluicegate.cards.judge_report import calibration_html, calibration_text
from sluicegate.errors import ConfigError, DataError, EnvironmentFailure
from sluicegate.hashing import as_json, write_atomic
from sluicegate.judges import (
    Criterion,
    judge_digest,
    judge_rows,
    list_criteria,
)
from sluicegate.judges import calibration as records
from sluicegate.judges.calibration import Calibration
from sluicegate.judges.label_files import read_labels, read_rows
from sluicegate.line.judge.clients import open_judges
from sluicegate.line.judge.labels import find_criterion, labels_path
from sluicegate.line.progress import counter
from sluicegate.line.run import Run
from sluicegate.records import Evidence


@dataclass(frozen=True, slots=True)
class Listed:
    """A judge of the project.

    `digest` is empty where a model cannot be opened; `standing` then says why. `until` is the day
    on which it stops to count; `used`: params.yaml names it.
    """

    name: str
    form: str
    judges: tuple[str, ...]
    used: bool
    standing: str
    digest: str = ""
    until: str = ""


def listing(run: Run, now: datetime | None = None) -> list[Listed]:
    """Every judge, and whether it counts now."""
    return [_listed(run, criterion, now) for criterion in list_criteria(run.project.prompts)]


def _listed(run: Run, criterion: Criterion, now: datetime | None) -> Listed:
    project, params = run.project, run.params
    used = criterion.metric in params.evaluate.metrics
    known = (criterion.name, criterion.form, tuple(criterion.judges), used)
    try:
        models = open_judges(project, criterion, dtype=params.release.dtype)
        digest = judge_digest(criterion, models)
    except (ConfigError, EnvironmentFailure) as error:
        return Listed(*known, f"cannot be opened: {error}")
    record = records.recorded(project.judgements, digest)
    until = record["expires"][:10] if record is not None and record["passed"] else ""
    return Listed(*known, standing(run, criterion.name, digest, now), digest, until)


def standing(run: Run, name: str, digest: str, now: datetime | None = None) -> str:
    """Whether that judge counts now; see `judges.calibration.standing`."""
    moment = now or datetime.now(UTC)
    return records.standing(
        run.project.judgements, digest, moment, name=name, params=run.params.calibration
    )


def judge_facts(run: Run, evidence: Evidence) -> dict[str, str]:
    """For the gate: `judge:<name>` to the standing of each judge that scored this evidence."""
    return {
        f"judge:{name}": standing(run, name, use.digest)
        for name, use in sorted(evidence.judges.items())
    }


@dataclass(frozen=True, slots=True)
class Calibrated:
    """What came of it, as a `text` for a terminal too, and the `page` that was written."""

    record: Calibration
    text: str
    page: Path


def calibrate(
    run: Run,
    name: str,
    labels: Path | None = None,
    *,
    fields: Mapping[str, str] | None = None,
    budget: Budget | None = None,
    now: datetime | None = None,
) -> Calibrated:
    """Hold a judge against labels, record what came of it, and write both reports.

    Args:
        run: the project.
        name: of the criterion.
        labels: a file of labels; `data/labels/<name>.jsonl` by default.
        fields: our column to the file's.
        budget: what may be spent.
        now: the time of the calibration.

    Raises:
        DataError: no labels, or a wrong one.
        BudgetError: the budget is spent; nothing is recorded, and what was answered stays in the
            cache.
    """
    project, params = run.project, run.params
    criterion = find_criterion(project, name)
    path = labels or labels_path(project, criterion)
    if not path.is_file():
        raise DataError(
            f"{path} is missing: there are no labels for judge {criterion.name}.",
            hint=f"`sluice judge labels export {criterion.name}` writes rows for people to label.",
        )
    found = records.calibrate(
        criterion,
        read_labels(path, criterion, fields),
        open_judges(project, criterion, dtype=params.release.dtype, budget=budget),
        params.calibration,
        now=now or datetime.now(UTC),
        progress=counter(f"judge {criterion.name}"),
    )
    record = as_json(found)
    text, page = calibration_text(record), project.reports / f"judge_{criterion.name}.html"
    write_atomic(page, calibration_html(record))
    write_atomic(page.with_suffix(".txt"), text)
    records.record(project.judgements, found)
    return Calibrated(found, text, page)


@dataclass(frozen=True, slots=True)
class TriedRow:
    """One row: a score with the judge's reason, or None and why it failed."""

    id: str
    score: float | None
    reason: str
    failure: str


@dataclass(frozen=True, slots=True)
class Tried:
    """What a judge made of the rows of a file; see `judges.Judged` for the counts."""

    judge: str
    digest: str
    standing: str
    rows: tuple[TriedRow, ...]
    failed: int
    calls: int
    weighted: bool | None
    order_dependent: int | None


def try_rows(
    run: Run,
    name: str,
    path: Path,
    *,
    fields: Mapping[str, str] | None = None,
    budget: Budget | None = None,
) -> Tried:
    """Score the rows of a file, for a look: nothing is recorded, and nothing of it counts anywhere.

    Raises:
        DataError: the file is wrong.
        BudgetError: the budget is spent.
    """
    project, params = run.project, run.params
    criterion = find_criterion(project, name)
    rows = read_rows(path, criterion, fields)
    models = open_judges(project, criterion, dtype=params.release.dtype, budget=budget)
    judged = judge_rows(criterion, rows, models, counter(f"judge {criterion.name}"))
    digest = judge_digest(criterion, models)
    scored = zip(rows, judged.scores, judged.reasons, judged.failures, strict=True)
    return Tried(
        judge=criterion.name,
        digest=digest,
        standing=standing(run, criterion.name, digest),
        rows=tuple(TriedRow(row.id, score, why, failure) for row, score, why, failure in scored),
        failed=judged.failed,
        calls=judged.calls,
        weighted=judged.weighted,
        order_dependent=judged.order_dependent if criterion.compares else None,
    )
