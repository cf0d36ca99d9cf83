"""What reviewers wrote in MLflow on the answers of evaluations, brought back as labels."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sluicegate.chat import as_read
from sluicegate.errors import DataError
from sluicegate.evaluation.scoring import source_text
from sluicegate.hashing import digest_value, write_atomic
from sluicegate.judges import METRIC, Criterion, list_criteria
from sluicegate.judges.labels import label_value
from sluicegate.line.judge.labels import import_labels
from sluicegate.line.run import Run
from sluicegate.project import Project
from sluicegate.tracking import HumanWord

FILE = Path("data") / "labels" / "reviews.jsonl"


@dataclass(frozen=True, slots=True)
class Pulled:
    """What reviewers said.

    Attributes:
        file, lines: what was written.
        new, gone: lines that are new or changed, and that were taken back.
        judges: name to labels added and changed.
        refused: lines that are no label of their judge, with the reason.
    """

    file: str
    lines: int
    new: int
    gone: int
    judges: Mapping[str, Mapping[str, int]]
    refused: Sequence[str]


def pull(run: Run, out: Path | None = None) -> Pulled:
    """Write what people said on traces to `out`, and add to each judge's labels what is about that
    judge.

    One line for each person, answer and name; a later word takes the place of an earlier one.
    Pulled twice, the file is the same. A line stays when MLflow's traces are gone, and goes when
    its person took the word back.

    Args:
        run: the project; its experiment in MLflow.
        out: the file; `data/labels/reviews.jsonl` by default.

    Raises:
        TrackingError: MLflow cannot be read.
        DataError: the file that is there is not one of these.
    """
    project = run.project
    target = out or project.root / FILE
    words, known = run.tracking.human_words(run.name)
    criteria = {one.metric: one for one in list_criteria(project.prompts)}
    before = _read(target)
    kept = [line for line in before.values() if line["trace"] not in known]
    lines = _latest([*kept, *(_line(word, criteria) for word in words)])
    if lines or before:
        write_atomic(
            target,
            "".join(json.dumps(line, ensure_ascii=False, sort_keys=True) + "\n" for line in lines),
            mode=0o600,  # it holds what people wrote
        )
    judges, refused = _import(project, lines, criteria)
    return Pulled(
        file=str(target),
        lines=len(lines),
        new=sum(before.get(_key(line)) != line for line in lines),
        gone=len(before.keys() - {_key(line) for line in lines}),
        judges=judges,
        refused=refused,
    )


def _line(word: HumanWord, criteria: Mapping[str, Criterion]) -> dict[str, Any]:
    """One label, in the columns of `judges.label_files`, and where it comes from."""
    criterion = criteria.get(word.name)
    other = word.other if criterion is not None and criterion.compares else ""
    line = {
        "id": f"{word.example}-{digest_value([word.output, other])[:8]}",
        "example": word.example,
        "group": word.group,
        "judge": word.name.removeprefix(METRIC) if criterion is not None else word.name,
        "kind": "expected" if word.expected else "assessment",
        "label": word.value,
        "rater": word.by,
        "rationale": word.rationale,
        "time": word.time,
        "release": word.release,
        "trace": word.trace,
        "source": source_text(word.inputs),
        "output": word.output,
        "references": list(word.references),
        "inputs": as_read(word.inputs),
    }
    return {**line, "other": other} if other else line


def _key(line: Mapping[str, Any]) -> tuple[str, str, str, str]:
    return str(line["id"]), str(line["judge"]), str(line["kind"]), str(line["rater"])


def _latest(lines: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """One line for each person, answer and name: the last one by time; in one order."""
    found: dict[tuple[str, str, str, str], dict[str, Any]] = {}
    for line in sorted(lines, key=lambda line: str(line["time"])):
        found[_key(line)] = line
    return [found[key] for key in sorted(found)]


def _read(path: Path) -> dict[tuple[str, str, str, str], dict[str, Any]]:
    if not path.is_file():
        return {}
    found = {}
    for number, text in enumerate(path.read_text("utf-8").splitlines(), start=1):
        try:
            line = json.loads(text)
            found[_key(line)] = line
            assert isinstance(line["trace"], str)
        except (ValueError, KeyError, TypeError, AssertionError) as error:
            raise DataError(
                f"{path}, line {number}: not written by `sluice feedback pull`.",
                hint="Name another file with --out.",
            ) from error
    return found


def _import(
    project: Project, lines: Sequence[dict[str, Any]], criteria: Mapping[str, Criterion]
) -> tuple[dict[str, dict[str, int]], list[str]]:
    """Give each judge the labels that are about it; what cannot be a label of its scale is refused,
    not bent.
    """
    good: dict[str, list[dict[str, Any]]] = {}
    refused = []
    for line in lines:
        criterion = criteria.get(f"{METRIC}{line['judge']}")
        if criterion is None or line["kind"] != "assessment":
            continue
        try:
            label_value(
                line["label"],
                criterion,
                f"{line['example']}, judge {criterion.name}, {line['rater']}",
            )
        except DataError as error:
            refused.append(str(error))
            continue
        good.setdefault(criterion.name, []).append(line)
    added = {}
    for name, own in sorted(good.items()):
        part = project.state / "labels" / f"{name}.jsonl"
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in own)
        write_atomic(part, text, mode=0o600)
        try:
            done = import_labels(project, name, part)
        finally:
            part.unlink(missing_ok=True)
        added[name] = {"added": done.added, "changed": done.changed}
    return added, refused
