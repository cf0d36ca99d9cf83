"""Rows, a criterion and judges become scores; sentinels show first whether the judges are any."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

from sluicegate.errors import ConfigError, EvidenceError
from sluicegate.generating import Failure, Model, Progress, Reply, Request, counting
from sluicegate.hashing import digest_file, digest_value
from sluicegate.judges.base import Judged, JudgeRow, Opinion
from sluicegate.judges.criteria import PARTS, Criterion
from sluicegate.judges.defence import canned_answers, echoes, settled
from sluicegate.judges.forms import FORMS
from sluicegate.judges.parsing import Unreadable
from sluicegate.judges.wording import Unjudgeable, apart

PRAISE = 0.5
"""A judge that gives a known-bad answer more than this, 1 being best, has failed."""
_APART = (
    "__init__", "agreement", "annotators", "calibration", "checks", "differential", "label_files",
    "labels", "measuring", "trulens_door",
)  # fmt: skip
"""Files that hold judges against people: all others of this folder make scores."""


@dataclass(slots=True)
class _Bill:
    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def add(self, answers: Sequence[Reply | Failure]) -> None:
        self.calls += len(answers)
        replies = [answer for answer in answers if isinstance(answer, Reply)]
        self.prompt_tokens += sum(reply.prompt_tokens for reply in replies)
        self.completion_tokens += sum(reply.completion_tokens for reply in replies)


@dataclass(frozen=True, slots=True)
class _Run:
    """One criterion over its open rows and the sentinels, for each judge in turn."""

    criterion: Criterion
    rows: Sequence[JudgeRow]
    seed: int
    bill: _Bill = field(default_factory=_Bill)


def judge_rows(
    criterion: Criterion,
    rows: Sequence[JudgeRow],
    models: Sequence[Model],
    progress: Progress | None = None,
    *,
    seed: int = 0,
    ask_all: bool = False,
) -> Judged:
    """Judge every row by `criterion`; the scores of several judges are their median.

    Blank, over-long and canned answers are scored without a call; where an answer repeats its
    source, the judge is shown both apart, and the reason begins with that. The sentinels of the
    criterion are asked about first: a judge that praises one, or does not answer, has failed; then
    no row is asked about, and none has a score.

    Args:
        rows: what is judged; ids only name rows in messages.
        models: the judges, in the order of `criterion.judges`.
        progress: called with the number of questions answered and of all.
        seed: of the judges' sampling; another one asks anew (self-consistency).
        ask_all: also of the rows that need no judge: what the judges themselves make of them.

    Raises:
        BudgetError: a budget is spent; what was answered stays in the cache of the models.
        ConfigError: not one model per judge, or no row at all has an input that the criterion
            shows.
        EvidenceError: a model did not answer each question.
    """
    if len(models) != len(criterion.judges):
        raise ConfigError(
            f"{criterion.metric} has the judges {', '.join(criterion.judges)}, and {len(models)} "
            "were opened.",
            hint="Open one model for each name under `judges`.",
        )
    _check_inputs(criterion, rows)
    canned = _canned(criterion, rows)
    done = [None if ask_all else settled(criterion, row, canned) for row in rows]
    left = [place for place, known in enumerate(done) if known is None]
    run = _Run(criterion, [rows[place] for place in left], seed)
    opinions: list[list[Opinion]] = []
    for number, model in enumerate(models) if left else ():
        opinions.append(_one_judge(run, model, _shifted(progress, number, len(models))))
    final = list(done)
    for place, views in zip(left, zip(*opinions, strict=True), strict=True):
        final[place] = _together(criterion, views)
    repeated = sum(bool(echoes(row)) for row in run.rows)
    judged = _judged([view for view in final if view is not None], run.bill)
    return replace(judged, uncalled=len(rows) - len(left), echoes=repeated)


def judge_digest(criterion: Criterion, models: Sequence[Model]) -> str:
    """SHA-256 of all that makes a judge's scores: criterion, settings, models, and this code.

    A calibration holds for one digest; another model, wording, scale or way of parsing is another
    judge.
    """
    return digest_value(
        {
            "criterion": criterion.digest,
            "askers": [model.identity for model in models],
            "code": _code_digest(),
        }
    )


@cache
def _code_digest() -> str:
    files = sorted(Path(__file__).parent.glob("*.py"))
    return digest_value({file.stem: digest_file(file) for file in files if file.stem not in _APART})


def _check_inputs(criterion: Criterion, rows: Sequence[JudgeRow]) -> None:
    for name in criterion.shows:
        if rows and name not in PARTS and not any(name in row.inputs for row in rows):
            known = ", ".join(sorted({key for row in rows for key in row.inputs})) or "none"
            raise ConfigError(
                f"{criterion.metric} shows {name!r}, which no row has.",
                hint=f"Inputs of these rows: {known}. Name one under `shows` in "
                f"prompts/judge_{criterion.name}.yaml.",
            )


def _canned(
    criterion: Criterion, rows: Sequence[JudgeRow]
) -> tuple[frozenset[str], frozenset[str]]:
    if criterion.repeats == "judged":
        return frozenset(), frozenset()
    return canned_answers((row.source, row.output) for row in rows), canned_answers(
        (row.source, row.other) for row in rows
    )


def _one_judge(run: _Run, model: Model, progress: Progress | None) -> list[Opinion]:
    """One judge's opinion of each open row; all failures, unasked, if a sentinel catches it."""
    criterion, problem = run.criterion, ""
    form = FORMS[criterion.form]
    if form.steps and not criterion.steps:
        criterion, reply, problem = form.code.ask_steps(criterion, model)
        run.bill.add([reply or Failure(problem)])
    problem = problem or _caught(
        criterion, _opinions(run, criterion, criterion.sentinels, model, None)
    )
    if problem:
        return [Opinion(None, failure=problem)] * len(run.rows)
    return _opinions(run, criterion, run.rows, model, progress)


def _opinions(
    run: _Run,
    criterion: Criterion,
    rows: Sequence[JudgeRow],
    model: Model,
    progress: Progress | None,
) -> list[Opinion]:
    asked = [_questions(criterion, row, run.seed) for row in rows]
    flat = [
        question for questions in asked if isinstance(questions, tuple) for question in questions
    ]
    answers = model.generate(flat, took=counting(progress, len(flat))) if flat else []
    if len(answers) != len(flat):
        raise EvidenceError(f"the judge gave {len(answers)} answers to {len(flat)} questions.")
    run.bill.add(answers)
    waiting = iter(answers)
    return [
        questions
        if isinstance(questions, Opinion)
        else _opinion(criterion, row, [next(waiting) for _ in questions])
        for row, questions in zip(rows, asked, strict=True)
    ]


def _questions(criterion: Criterion, row: JudgeRow, seed: int) -> tuple[Request, ...] | Opinion:
    try:
        asked = FORMS[criterion.form].questions(criterion, row, seed)
    except Unjudgeable as error:
        return Opinion(None, failure=str(error))
    return tuple(map(apart, asked)) if echoes(row) else asked


def _opinion(criterion: Criterion, row: JudgeRow, answers: Sequence[Reply | Failure]) -> Opinion:
    replies = []
    for answer in answers:
        if isinstance(answer, Failure):
            return Opinion(None, failure=answer.reason)
        if not answer.finished and criterion.answer == "json":
            return Opinion(
                None, failure=f"the answer was cut off after {answer.completion_tokens} tokens"
            )
        replies.append(answer)
    try:
        view = FORMS[criterion.form].opinion(criterion, row, replies)
    except Unreadable as error:
        return Opinion(None, failure=str(error))
    flaw = echoes(row)
    return replace(view, reason=f"{flaw}, shown apart: {view.reason}") if flaw else view


def _caught(criterion: Criterion, opinions: Sequence[Opinion]) -> str:
    """Why this judge is not to be believed, or nothing."""
    for number, view in enumerate(opinions, start=1):
        if view.score is None:
            return f"no verdict on known-bad answer {number}: {view.failure}"
        goodness = abs(view.score - criterion.worst)
        if goodness > PRAISE:
            return f"the judge praised known-bad answer {number}: {goodness:.2f} of 1"
    return ""


def _together(criterion: Criterion, views: Sequence[Opinion]) -> Opinion:
    """One opinion of several; one judge's failure is the jury's."""
    if len(views) == 1:
        return views[0]
    named = list(zip(criterion.judges, views, strict=True))
    failed = "; ".join(f"{name}: {view.failure}" for name, view in named if view.failure)
    if failed:
        return Opinion(None, failure=failed)
    scores = [view.score for view in views if view.score is not None]
    weights = {view.weighted for view in views}
    return Opinion(
        statistics.median(scores),
        "; ".join(f"{name}: {view.reason}" for name, view in named),
        weighted=None if weights == {None} else weights == {True},
        picks="".join(view.picks for view in views),
    )


def _judged(opinions: Sequence[Opinion], bill: _Bill) -> Judged:
    checked = [_finite(view) for view in opinions]
    weights = {view.weighted for view in checked if view.weighted is not None}
    return Judged(
        scores=tuple(view.score for view in checked),
        reasons=tuple(view.reason for view in checked),
        failures=tuple(view.failure for view in checked),
        calls=bill.calls,
        prompt_tokens=bill.prompt_tokens,
        completion_tokens=bill.completion_tokens,
        weighted=None if not weights else weights == {True},
        picks=tuple(view.picks for view in checked),
    )


def _finite(view: Opinion) -> Opinion:
    """A score is a number in [0, 1], or a failure, whatever a form may do wrong."""
    if view.score is None or (math.isfinite(view.score) and 0 <= view.score <= 1):
        return (
            view
            if view.score is not None or view.failure
            else replace(view, failure="the judge gave no score")
        )
    return replace(view, score=None, failure=f"the score {view.score} is not in [0, 1]")


def _shifted(progress: Progress | None, number: int, judges: int) -> Progress | None:
    """Progress of one judge among several."""
    if progress is None:
        return None
    return lambda done, total: progress(number * total + done, judges * total)
