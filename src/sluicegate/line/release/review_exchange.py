"""Pairs to review as Label Studio's JSON, and what people said there brought back."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sluicegate.errors import DataError, UsageError
from sluicegate.evaluation.scoring import source_text
from sluicegate.gates.reviews import FAULTS
from sluicegate.hashing import write_atomic
from sluicegate.line.release.review import made_answer, task, turned
from sluicegate.line.run import Run
from sluicegate.releasing import ledger_to_write
from sluicegate.releasing.reviewing import Answer, answers_in, may_review, record_review

INTERFACE = """<View>
  <Text name="input" value="$input"/>
  <View style="display: grid; grid-template-columns: 1fr 1fr; gap: 1em">
    <Text name="answer1" value="$answer1"/>
    <Text name="answer2" value="$answer2"/>
  </View>
  <Pairwise name="better" toName="answer1,answer2"/>
  <Choices name="same" toName="input"><Choice value="same"/></Choices>
  <Choices name="left" toName="answer1" choice="multiple">{faults}</Choices>
  <Choices name="right" toName="answer2" choice="multiple">{faults}</Choices>
</View>
""".format(faults="".join(f'<Choice value="{fault}"/>' for fault in FAULTS))
"""Label Studio's labelling interface; the names in it are those that `import_tasks` reads."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written: `pairs` as tasks, and the labelling `interface` beside them."""

    file: str
    interface: str
    pairs: int
    equal: int


@dataclass(frozen=True, slots=True)
class Imported:
    """Person to number of answers recorded, and what was refused, with the reason."""

    recorded: Mapping[str, int]
    refused: tuple[str, ...]


def export_tasks(run: Run, out: Path) -> Exported:
    """Write every pair that people are asked about; which answer is whose is not in the file.

    Raises:
        UsageError: `out` does not end in .json; see `review.task` for the others.
    """
    if out.suffix != ".json":
        raise UsageError(f"{out}: a .json file is written.", hint="Choose that ending.")
    found = task(run)
    tasks = []
    for pair in sorted(found.pairs, key=lambda pair: pair.digest):
        sides = (pair.candidate, pair.champion)
        first, second = sides[::-1] if turned(pair) else sides
        data = {
            "pair": pair.digest,
            "input": source_text(found.inputs[pair.id]),
            "answer1": first,
            "answer2": second,
        }
        tasks.append({"data": data})
    interface = out.with_suffix(".xml")
    write_atomic(out, json.dumps(tasks, ensure_ascii=False, indent=1), mode=0o600)
    write_atomic(interface, INTERFACE)
    return Exported(str(out), str(interface), len(tasks), found.equal)


def import_tasks(run: Run, file: Path, person: str = "") -> Imported:
    """Record the annotations of Label Studio's JSON export; what a person said before stays.

    Args:
        run: the project whose last evaluation was exported.
        file: the export.
        person: who said all of it; by default whom each annotation names.

    Raises:
        DataError: it is not such a file.
        NotApprovedError: a person made the candidate, or whoever imports did.
    """
    found = task(run)
    pairs = {pair.digest: pair for pair in found.pairs}
    known = {(entry.actor, answer.pair) for entry, answer in answers_in(run.ledger.entries())}
    said: dict[str, list[Answer]] = {}
    refused = []
    for place, one in enumerate(_tasks(file), start=1):
        digest = str(one["data"].get("pair", ""))
        if digest not in pairs:
            refused.append(f"task {place}: its answers are not those of the last evaluation")
            continue
        for annotation in one.get("annotations", []):
            who = person or _person(annotation)
            try:
                answer = made_answer(pairs[digest], *_said(annotation))
            except (UsageError, KeyError, TypeError, IndexError) as error:
                refused.append(f"task {place}, {who}: {error}")
                continue
            if (who, digest) not in known:
                known.add((who, digest))
                said.setdefault(who, []).append(answer)
    names = {who: may_review(run.project, found.candidate.release, who) for who in said}
    ledger = ledger_to_write(run.project)
    for who, answers in sorted(said.items()):
        record_review(
            ledger, found.candidate, found.champion, who, names[who], answers, via="label_studio"
        )
    return Imported({who: len(said[who]) for who in sorted(said)}, tuple(refused))


def _tasks(file: Path) -> Iterator[dict[str, Any]]:
    hint = "Export from Label Studio as JSON (not JSON-MIN)."
    try:
        tasks = json.loads(file.read_text("utf-8"))
    except ValueError as error:
        raise DataError(f"{file}: not JSON: {error}", hint=hint) from error
    for place, one in enumerate(tasks if isinstance(tasks, list) else [None], start=1):
        if not isinstance(one, dict) or not isinstance(one.get("data"), dict):
            raise DataError(f"{file}, task {place}: no task with data.", hint=hint)
        yield one


def _person(annotation: Mapping[str, Any]) -> str:
    """Whom Label Studio names: an address, or the number of an account."""
    who = annotation.get("completed_by", "")
    who = who.get("email") or who.get("id", "") if isinstance(who, dict) else who
    return f"label-studio:{who}" if isinstance(who, int) else str(who) or "label-studio"


def _said(annotation: Mapping[str, Any]) -> tuple[str, list[str], list[str]]:
    """The choice, and the faults on the left and on the right.

    Raises:
        UsageError: neither an answer nor `same` was chosen, or both were.
    """
    values = {one["from_name"]: one["value"] for one in annotation["result"]}
    better = str(values.get("better", {}).get("selected", ""))
    same = bool(values.get("same", {}).get("choices"))
    if annotation.get("was_cancelled") or same == bool(better):
        raise UsageError(
            "neither an answer nor `same` was chosen, or both.", hint="Label it again."
        )
    left, right = (list(values.get(side, {}).get("choices", [])) for side in ("left", "right"))
    return "same" if same else better, left, right
