"""What people say about answers: rows out to them, labels back in.

Labels live in `data/labels/<judge>.jsonl` (git or DVC, like other data).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sluicegate.chat import as_read
from sluicegate.data.examples import read_examples
from sluicegate.errors import ConfigError, DataError, UsageError
from sluicegate.evaluation import read_evidence
from sluicegate.evaluation.scoring import source_text
from sluicegate.hashing import digest_value, write_atomic
from sluicegate.judges import (
    Criterion,
    JudgeRow,
    criterion_path,
    list_criteria,
    load_criterion,
)
from sluicegate.judges.label_files import blank_rows, read_labels, read_rows, write_labels
from sluicegate.judges.labels import TURNED, Labels, merged
from sluicegate.project import Project


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


def labels_path(project: Project, criterion: Criterion) -> Path:
    """Where this project keeps the labels of a criterion."""
    return project.root / "data" / "labels" / f"{criterion.name}.jsonl"


@dataclass(frozen=True, slots=True)
class ImportedLabels:
    """What became of a file's labels; `rows`: all that `file` holds now, `unlabelled`: lines without one."""

    file: str
    added: int
    changed: int
    unlabelled: int
    rows: int


def import_labels(
    project: Project, name: str, path: Path, *, fields: Mapping[str, str] | None = None
) -> ImportedLabels:
    """Add the labels of a file to the project's own; a person's later label of the same answer
    replaces the earlier.

    Raises:
        DataError: a line is wrong; nothing is written then.
    """
    criterion = find_criterion(project, name)
    target = labels_path(project, criterion)
    old = read_labels(target, criterion) if target.is_file() else Labels(())
    together, added, changed = merged(old, read_labels(path, criterion, fields))
    write_atomic(target, write_labels(together.rows, criterion), mode=0o600)
    return ImportedLabels(str(target), added, changed, together.unlabelled, len(together.rows))


@dataclass(frozen=True, slots=True)
class ExportedRows:
    """Rows written for people to label, and how many more have no label yet."""

    file: str
    rows: int
    left: int


def export_rows(
    project: Project, name: str, out: Path, *, rows: Path | None = None, count: int = 60
) -> ExportedRows:
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
        [(row, row.id, "") for row in read_rows(rows, criterion)]
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
    blank = blank_rows(chosen, criterion, as_csv=out.suffix == ".csv")
    write_atomic(out, blank, mode=0o600)
    return ExportedRows(str(out), len(chosen), len(left) - len(chosen))


def _evaluated(project: Project, criterion: Criterion) -> list[tuple[JudgeRow, str, str]]:
    """The answers of the last evaluation with their groups, and which release answered; pairs that
    are equal have nothing to tell, and one of two equal answers is enough.
    """
    examples = {example.id: example for example in read_examples(project.golden)}
    candidate = read_evidence(project.evidence / "candidate.parquet")
    champion = read_evidence(project.evidence / "champion.parquet")
    theirs = {row.id: row.output for row in champion.rows}
    found = []
    for scored in candidate.rows:
        example = examples.get(scored.id)
        if example is None:
            raise DataError(f"{project.golden}: the evaluated example {scored.id!r} is not in it.")
        output, other = scored.output, theirs[scored.id]
        if criterion.compares:
            shown = [(output, other, "")] if output.strip() and other.strip() else []
            shown = shown if output != other else []
        else:
            both = {other: champion.release, output: candidate.release}
            shown = [(text, "", made[:12]) for text, made in both.items() if text.strip()]
        for text, beside, release in shown:
            name = f"{scored.id}-{digest_value([text, beside])[:8]}"
            row = JudgeRow(
                name,
                source_text(example.inputs),
                text,
                example.reference,
                beside,
                as_read(example.inputs),
            )
            found.append((row, scored.group, release))
    return found
