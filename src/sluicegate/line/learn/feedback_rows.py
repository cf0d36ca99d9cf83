"""Feedback that becomes data: corrections and liked answers of the traffic log, written as a source
to train on.

The file is made anew from the log each time: it holds every row once, and what is purged from the
log is gone from it. Details of persons are redacted where all data is, by `prepare`. What the
golden set holds is left out here, so that an unattended retraining does not stop at it; `prepare`
checks again, and stops.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sluicegate import releasing
from sluicegate.config import PrepareParams, SourceSpec
from sluicegate.data.duplicates import shingles, words
from sluicegate.data.examples import read_examples
from sluicegate.data.overlap import find_overlaps
from sluicegate.data.redaction import redact_all
from sluicegate.data.rows import Fields, fields_of
from sluicegate.errors import ConfigError, EnvironmentFailure, PromptError, SluiceError
from sluicegate.hashing import atomic_file, canonical_json, digest_bytes, digest_value
from sluicegate.line.run import FeedbackWaiting, Learned, Run
from sluicegate.line.watch.window import open_log
from sluicegate.project import Project
from sluicegate.prompts import Prompt, render
from sluicegate.records import Example
from sluicegate.traffic import TrafficRow

SOURCE = "feedback"
"""Name of the entry in registry/sources.yaml whose file is written."""
MARK = "from_traffic"
"""A field of every row written here; a file without it is somebody else's, and left alone."""
MAX_CHARACTERS = 100_000
_PLACE = "\x02here\x02"


@dataclass(frozen=True, slots=True)
class Lesson:
    """What one row of traffic teaches: for these inputs, this answer.

    `kind`: correction or liked.
    """

    id: str
    group: str
    inputs: Mapping[str, str]
    answer: str
    kind: str

    @property
    def example(self) -> Example:
        return Example(self.id, self.group, self.inputs, (self.answer,), SOURCE)


def bring(run: Run) -> Learned:
    """Write the feedback source; a project whose sources.yaml has no entry `feedback` learns from
    none.

    Raises:
        ConfigError: the entry cannot take feedback, or its file was written by somebody else.
        EnvironmentFailure: the traffic log or the disk fails; the file stays as it was.
    """
    project, found = run.project, _source(run)
    if found is None:
        missing = f"registry/sources.yaml has no source {SOURCE}"
        return Learned(0, 0, 0, 0, note=f"{missing}: nothing is learned from feedback")
    spec, fields = found
    path = project.root / spec.path
    known = _known(path)
    lessons, left_out = _lessons(run)
    lines = [canonical_json(_record(lesson, fields)) for lesson in lessons]
    new = sum(digest_bytes(line.encode()) not in known for line in lines)
    if lines or path.exists():
        with atomic_file(path, mode=0o600) as stream:  # it holds what people wrote
            stream.write("".join(f"{line}\n" for line in lines).encode())
    kinds = Counter(lesson.kind for lesson in lessons)
    return Learned(len(lessons), new, kinds["correction"], kinds["liked"], left_out)


def feedback_waiting(run: Run) -> FeedbackWaiting:
    """How many rows of feedback wait to be learned from, and whether these are enough
    (`monitor.feedback_rows`).

    What is wrong with them is a warning: it must not cost the verdict on the traffic.
    """
    wanted = run.params.monitor.feedback_rows
    number, warning = 0, ""
    try:
        number = waiting(run) if wanted else 0
    except SluiceError as error:
        warning = f"feedback cannot be learned from: {error}"
    return FeedbackWaiting(number, wanted, bool(wanted) and number >= wanted, warning)


def waiting(run: Run) -> int:
    """How many rows of feedback `bring` would add."""
    found = _source(run)
    if found is None:
        return 0
    spec, fields = found
    known = _known(run.project.root / spec.path)
    lessons, _ = _lessons(run)
    return sum(
        digest_bytes(canonical_json(_record(lesson, fields)).encode()) not in known
        for lesson in lessons
    )


def _source(run: Run) -> tuple[SourceSpec, Fields] | None:
    spec = run.sources.get(SOURCE)
    if spec is None:
        return None
    where = f"registry/sources.yaml: {SOURCE}"
    fields = fields_of(SOURCE, spec)
    if (spec.kind, spec.role) != ("jsonl", "train") or not spec.path.endswith(".jsonl"):
        raise ConfigError(
            f"{where}: feedback goes into a .jsonl file with kind jsonl and role train."
        )
    if not fields.id or not fields.group or fields.slices:
        raise ConfigError(
            f"{where}.fields: id and group are needed, and slices are not allowed: traffic has "
            "none."
        )
    return spec, fields


def _record(lesson: Lesson, fields: Fields) -> dict[str, Any]:
    """The row as sources.yaml says that it is read."""
    inputs = {column: lesson.inputs[variable] for variable, column in fields.inputs.items()}
    return {
        fields.id: lesson.id,
        fields.group: lesson.group,
        **inputs,
        **dict.fromkeys((*fields.expected.values(), *filter(None, [fields.critical]))),
        fields.reference: lesson.answer,
        MARK: lesson.kind,
    }


def _known(path: Path) -> set[str]:
    """Digests of the lines that are there already.

    Raises:
        ConfigError: the file holds a row that was not written here.
    """
    try:
        lines = path.read_bytes().splitlines() if path.exists() else []
    except OSError as error:
        raise EnvironmentFailure(
            f"cannot read {path}: {error.strerror}", hint="Check permissions and disk."
        ) from error
    for number, line in enumerate(lines, 1):
        try:
            ours = MARK in json.loads(line)
        except (ValueError, TypeError, RecursionError):
            ours = False
        if not ours:
            raise ConfigError(
                f"{path}, line {number} was not written by `sluice`: the file would be replaced.",
                hint=f"Give the source {SOURCE} in registry/sources.yaml a path of its own.",
            )
    return {digest_bytes(line) for line in lines}


def _lessons(run: Run) -> tuple[list[Lesson], dict[str, int]]:
    """All lessons of the log, one for the same inputs, none that the golden set holds; and what was
    left out, by reason.
    """
    project, left_out = run.project, Counter[str]()
    log = open_log(project.traffic_url)
    if log is None:
        return [], {}
    prompts = _prompts(run)
    chosen: dict[str, Lesson] = {}
    for row in log.window(commented=True):
        kind, answer = said(row, run.params.monitor.learn_from)
        if not kind:
            continue
        lesson = _lesson(row, kind, answer, prompts)
        if isinstance(lesson, str):
            left_out[lesson] += 1
            continue
        key = digest_value(dict(lesson.inputs))
        before = chosen.get(key)
        left_out["same inputs"] += before is not None
        if before is None or (before.kind, lesson.kind) != ("correction", "liked"):
            chosen[key] = (
                # rows come oldest first: the latest word counts, a correction more than applause
                lesson
            )
    kept = without_golden(list(chosen.values()), project, run.params.prepare)
    left_out["in the golden set"] += len(chosen) - len(kept)
    return sorted(kept, key=lambda lesson: lesson.id), {
        reason: n for reason, n in left_out.items() if n
    }


def said(row: TrafficRow, learn_from: Iterable[str] = ("correction", "liked")) -> tuple[str, str]:
    """What the feedback on a row teaches: ("correction", its text), ("liked", the response), or
    ("", "").

    The latest correction counts; without one, the latest thumb. A correction equal to the response
    is applause.
    """
    told = sorted(row.feedback, key=lambda feedback: feedback.time)
    corrections = [feedback.correction for feedback in told if feedback.correction.strip()]
    thumbs = [feedback.thumb for feedback in told if feedback.thumb is not None]
    liked = bool(thumbs) and thumbs[-1] == 1
    if corrections and corrections[-1].strip() != row.response.strip():
        return ("correction", corrections[-1]) if "correction" in learn_from else ("", "")
    return ("liked", row.response) if (liked or corrections) and "liked" in learn_from else ("", "")


def _prompts(run: Run) -> list[Prompt]:
    """The prompts that traffic may have been sent with: today's, and the champion's."""
    champion = run.champion
    if champion is None:
        return [run.prompt]
    stored = releasing.load_stored(run.project, champion.release).prompt
    return [run.prompt] if stored.digest == run.prompt.digest else [run.prompt, stored]


def _lesson(row: TrafficRow, kind: str, answer: str, prompts: Sequence[Prompt]) -> Lesson | str:
    """The lesson, or why there is none."""
    variables = prompts[0].inputs
    inputs = {name: row.inputs[name] for name in variables if name in row.inputs}
    for prompt in prompts:
        if len(inputs) < len(variables):
            inputs = inputs_of(row.prompt, prompt) or inputs
    if len(inputs) < len(variables):
        return "the prompt's inputs are not known"
    texts = [answer, *inputs.values()]
    if not all(text.strip() for text in texts):
        return "empty"
    if any(len(text) > MAX_CHARACTERS for text in texts):
        return f"longer than {MAX_CHARACTERS} characters"
    if any("\x00" in text or any("\ud800" <= char <= "\udfff" for char in text) for text in texts):
        return "not text"
    name = f"{SOURCE}/{digest_value(row.key)[:16]}"
    return Lesson(name, " ".join(row.group.split()) or name, inputs, answer, kind)


def inputs_of(sent: str, prompt: Prompt) -> dict[str, str]:
    """Read the one variable of a prompt back from the text that was sent; {} where that is not
    certain.

    Example:
        >>> prompt = Prompt("p", "", "Sum up: {{ text }}!", ("text",), "", "")
        >>> inputs_of("Sum up: my bag is lost!", prompt), inputs_of("Hello", prompt)
        ({'text': 'my bag is lost'}, {})
    """
    if len(prompt.inputs) != 1 or prompt.history:
        return {}
    (name,) = prompt.variables
    try:
        before, found, after = render(prompt, {name: _PLACE})[-1]["content"].partition(_PLACE)
        value = sent[len(before) : len(sent) - len(after)]
        again = render(prompt, {name: value})[-1]["content"]
    except PromptError:
        return {}
    return {name: value} if found and again == sent else {}


def without_golden(lessons: list[Lesson], project: Project, params: PrepareParams) -> list[Lesson]:
    """The lessons that bring no golden row into training, by the measure of `prepare`, together
    with the rows there are.

    Before the first `prepare` there is no golden set to compare with.
    """
    if not lessons or not project.golden.is_file():
        return lessons
    golden = read_examples(project.golden)
    ids = {lesson.id for lesson in lessons}
    parts = [project.prepared / f"{name}.jsonl" for name in ("train", "validation")]
    learned = [
        row for part in parts if part.is_file() for row in read_examples(part) if row.id not in ids
    ]
    left = {lesson.id: _redacted(lesson.example, params) for lesson in lessons}
    limits: dict[str, Any] = {
        "ngram": params.overlap_ngram,
        "share": params.overlap_share,
        "near": params.near_duplicate,
    }
    while found := find_overlaps([*left.values(), *learned], golden, **limits):
        touched = {overlap.golden for overlap in found}
        pieces = {
            piece
            for row in golden
            if row.id in touched
            for piece in shingles(words(row), params.overlap_ngram)
        }
        drop = {overlap.train for overlap in found} & left.keys()
        drop |= {
            name
            for name, row in left.items()
            if not pieces.isdisjoint(shingles(words(row), params.overlap_ngram))
        }
        if not drop:
            break  # the other sources overlap among themselves: `prepare` says so
        left = {name: row for name, row in left.items() if name not in drop}
    return [lesson for lesson in lessons if lesson.id in left]


def _redacted(row: Example, params: PrepareParams) -> Example:
    return replace(row, inputs=redact_all(row.inputs, params.redact, Counter()))
