"""G-Eval (Liu et al. 2023, arXiv:2303.16634): steps, then a score weighted by probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sluicegate.generating import Model, Reply, Request
from sluicegate.judges.base import JudgeRow, Opinion
from sluicegate.judges.criteria import Criterion
from sluicegate.judges.direct import FIELDS, UNWEIGHTED, asking, scoring_task, share
from sluicegate.judges.parsing import Unreadable, read_object, read_score, readable
from sluicegate.judges.weighting import weighted_score
from sluicegate.judges.wording import ALTERNATIVES, parts_of, question

MAX_STEPS = 12
_STEPS = (
    "Write the steps by which a careful person would score a text by this criterion: three to six "
    "short imperative "
    'sentences. Answer with one JSON object and nothing else: {"steps": ["...", "..."]}'
)


def steps_question(criterion: Criterion) -> Request:
    """Ask for the evaluation steps; no row is in it, so its answer is the same for all."""
    shown = ", ".join("answer" if name == "output" else name for name in criterion.shows)
    text = f"{scoring_task(criterion)}\nThe judge sees: {shown}.\n\n{_STEPS}"
    return Request(({"role": "user", "content": text},), max(criterion.max_tokens, 512))


def with_steps(criterion: Criterion, reply: Reply) -> Criterion:
    """The criterion with the steps that a judge wrote.

    Raises:
        Unreadable: the reply is not a list of steps.
    """
    steps = read_object(reply.text, {"steps": list})["steps"]
    if not 1 <= len(steps) <= MAX_STEPS or not all(
        isinstance(step, str) and step.strip() for step in steps
    ):
        raise Unreadable(f"the evaluation steps are not 1 to {MAX_STEPS} texts")
    return replace(criterion, steps=tuple(readable(step) for step in steps))


def questions(criterion: Criterion, row: JudgeRow, seed: int = 0) -> tuple[Request, ...]:
    """One question about `row`; the steps have to be there.

    Raises:
        Unjudgeable: the row lacks what the criterion shows.
    """
    steps = "\n".join(
        f"{number}. {step.strip()}" for number, step in enumerate(criterion.steps, start=1)
    )
    task = f"{scoring_task(criterion)}\n\nThe steps:\n{steps}"
    return (
        question(criterion, task, parts_of(criterion, row), asking(criterion, ALTERNATIVES), seed),
    )


def opinion(criterion: Criterion, row: JudgeRow, replies: Sequence[Reply]) -> Opinion:
    """The score, weighted by p(s) over the scale; as said, and saying so, without probabilities.

    Raises:
        Unreadable: the reply is not the one JSON object that was asked for.
    """
    low, high = criterion.scale
    value = read_object(replies[0].text, FIELDS)
    said, reason = read_score(value["score"], low, high), readable(value["reason"])
    weighted = weighted_score(replies[0], low, high)
    if weighted is None:
        return Opinion(share(said, low, high), f"{reason} ({UNWEIGHTED})", weighted=False)
    return Opinion(
        share(weighted, low, high),
        f"{reason} ({weighted:.2f} by token probabilities)",
        weighted=True,
    )


def ask_steps(criterion: Criterion, model: Model) -> tuple[Criterion, Reply | None, str]:
    """The criterion with steps, the judge's reply, and why there are none (empty if there are).

    Raises:
        BudgetError: the model's budget is spent.
    """
    (answer,) = model.generate([steps_question(criterion)])
    if not isinstance(answer, Reply):
        return criterion, None, f"no evaluation steps: {answer.reason}"
    try:
        return with_steps(criterion, answer), answer, ""
    except Unreadable as error:
        return criterion, answer, f"no evaluation steps: {error}"
