"""Judges outside an evaluation: listed, tried, calibrated against labels; and the labels
themselves.

Labels live in `data/labels/<judge>.jsonl` (git or DVC, like other data); calibrations in
`.sluice/judgements/`; reports in `reports/judge_<name>.html` and `.txt`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sluicegate.budget import Budget
from sluicegate.cards.judge_report import calibration_html, calibration_text
from sluicegate.data.examples import read_examples
from sluicegate.errors import ConfigError, DataError, EnvironmentFailure, UsageError
from sluicegate.evaluation import read_evidence
from sluicegate.evaluation.scoring import source_text
from sluicegate.hashing import as_json, digest_value, write_atomic
from sluicegate.judges import (
    Criterion,
    JudgeRow,
    criterion_path,
    judge_digest,
    judge_rows,
    list_criteria,
    load_criterion,
)
from sluicegate.judges import calibration as records
from sluicegate.judges.label_files import blank_rows, read_labels, read_rows, write_labels
from sluicegate.judges.labels import Labels, merged
from sluicegate.line.judge.clients import open_judges
from sluicegate.line.progress import counter
from sluicegate.line.run import Run
from sluicegate.project import Project
from sluicegate.records import Evidence

TURNED = "-turned"


def find_criterion(project: Project, name: str) -> Criterion:
    """The criterion `name`, or `judge:<name>`, of this project.

    Raises:
        ConfigError: there is none, or its file is wrong.
    """
    path = criterion_path(project.prompts, name)
    if not path.is_file():
        known = ", ".join(one.name for one in list_criteria(project.prompts)) or "none"
        raise ConfigError(
            f"there is no judge {name!r}: {path} is missing.", hint=f"Judges: {known}."
        )
    return load_criterion(path)


def listing(run: Run, now: datetime | None = None) -> list[dict[str, Any]]:
    """Every criterion with its digest, its standing and until when it stands; and whether
    params.yaml uses it.

    Where a model cannot be opened the digest is empty and `standing` says why.
    """
    project, params = run.project, run.params
    found = []
    for criterion in list_criteria(project.prompts):
        row: dict[str, Any] = {
            "name": criterion.name,
            "form": criterion.form,
            "judges": list(criterion.judges),
        }
        row |= {"digest": "", "until": "", "used": criterion.metric in params.evaluate.metrics}
        try:
            digest = judge_digest(
                criterion, open_judges(project, criterion, dtype=params.release.dtype)
            )
        except (ConfigError, EnvironmentFailure) as error:
            found.append({**row, "standing": f"cannot be opened: {error}"})
            continue
        row["digest"], row["standing"] = (
            digest,
            standing(run, criterion.name, digest, now),
        )
        if (record := records.recorded(project.judgements, digest)) is not None and record[
            "passed"
        ]:
            row["until"] = record["expires"][:10]
        found.append(row)
    return found


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


def calibrate(
    run: Run,
    name: str,
    labels: Path | None = None,
    *,
    fields: Mapping[str, str] | None = None,
    budget: Budget | None = None,
    now: datetime | None = None,
) -> tuple[dict[str, Any], str, list[Path]]:
    """Hold a judge against labels, record what came of it, and write both reports.

    Args:
        run: the project.
        name: of the criterion.
        labels: a file of labels; `data/labels/<name>.jsonl` by default.
        fields: our column to the file's.
        budget: what may be spent.
        now: the time of the calibration.

    Returns:
        The record, the text for a terminal, and the files that were written.

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
    return record, text, [page, page.with_suffix(".txt")]


def try_rows(
    run: Run,
    name: str,
    path: Path,
    *,
    fields: Mapping[str, str] | None = None,
    budget: Budget | None = None,
) -> dict[str, Any]:
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
    scored = zip(rows, judged.scores, judged.reasons, judged.failures, strict=True)
    return {
        "judge": criterion.name,
        "digest": judge_digest(criterion, models),
        "standing": standing(run, criterion.name, judge_digest(criterion, models)),
        "rows": [
            {"id": row.id, "score": score, "reason": reason, "failure": failure}
            for row, score, reason, failure in scored
        ],
        "failed": judged.failed,
        "calls": judged.calls,
        "weighted": judged.weighted,
        "order_dependent": judged.order_dependent if criterion.compares else None,
    }


def labels_path(project: Project, criterion: Criterion) -> Path:
    """Where this project keeps the labels of a criterion."""
    return project.root / "data" / "labels" / f"{criterion.name}.jsonl"


def import_labels(
    project: Project, name: str, path: Path, *, fields: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Add the labels of a file to the project's own; a person's later label of the same answer
    replaces the earlier.

    Raises:
        DataError: a line is wrong; nothing is written then.
    """
    criterion = find_criterion(project, name)
    target = labels_path(project, criterion)
    old = read_labels(target, criterion) if target.is_file() else Labels(())
    together, added, changed = merged(old, read_labels(path, criterion, fields))
    write_atomic(target, write_labels(together.rows, criterion))
    return {
        "file": str(target),
        "added": added,
        "changed": changed,
        "unlabelled": together.unlabelled,
        "rows": len(together.rows),
    }


def export_rows(
    project: Project, name: str, out: Path, *, rows: Path | None = None, count: int = 60
) -> dict[str, Any]:
    """Write up to `count` answers that have no label yet, for people; which ones is decided by
    their digests.

    They come from the last evaluation (pairwise: candidate against champion, in an order that tells
    nothing), or from a file like those of labels.

    Raises:
        UsageError: `out` is neither .csv nor .jsonl.
        DataError, IntegrityError: there is no evaluation yet, or nothing is left to label.
    """
    criterion = find_criterion(project, name)
    if out.suffix not in (".csv", ".jsonl"):
        raise UsageError(
            f"{out}: a .csv or .jsonl file is written.", hint="Choose one of the two endings."
        )
    target = labels_path(project, criterion)
    known = (
        {row.row.id for row in read_labels(target, criterion).rows} if target.is_file() else set()
    )
    found = (
        [(row, row.id) for row in read_rows(rows, criterion)]
        if rows
        else _evaluated(project, criterion)
    )
    left = [one for one in found if not {one[0].id, f"{one[0].id}{TURNED}"} & known]
    if not left:
        raise DataError(
            f"all {len(found)} answers are labelled already.",
            hint="Evaluate another release first.",
        )
    chosen = sorted(left, key=lambda one: digest_value([criterion.name, one[0].id]))[:count]
    write_atomic(out, blank_rows(chosen, criterion, as_csv=out.suffix == ".csv"))
    return {"file": str(out), "rows": len(chosen), "left": len(left) - len(chosen)}


def _evaluated(project: Project, criterion: Criterion) -> list[tuple[JudgeRow, str]]:
    """The answers of the last evaluation with their groups; pairs that are equal have nothing to
    tell.
    """
    examples = {example.id: example for example in read_examples(project.golden)}
    candidate = read_evidence(project.evidence / "candidate.parquet")
    champion = {
        row.id: row.output for row in read_evidence(project.evidence / "champion.parquet").rows
    }
    found = []
    for scored in candidate.rows:
        example = examples.get(scored.id)
        if example is None:
            raise DataError(f"{project.golden}: the evaluated example {scored.id!r} is not in it.")
        other = champion[scored.id] if criterion.compares else ""
        if (
            not scored.output.strip()
            or scored.output == other
            or (criterion.compares and not other.strip())
        ):
            continue
        name = f"{scored.id}-{digest_value([scored.output, other])[:8]}"
        row = JudgeRow(
            name,
            source_text(example.inputs),
            scored.output,
            example.reference,
            other,
            example.inputs,
        )
        found.append((row, scored.group))
    return found
