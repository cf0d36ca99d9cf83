"""Rubric: a direct score whose every level is described."""

from __future__ import annotations

from sluicegate.generating import Request
from sluicegate.judges.base import JudgeRow
from sluicegate.judges.criteria import Criterion
from sluicegate.judges.direct import asking, opinion, scoring_task
from sluicegate.judges.wording import parts_of, question

__all__ = ["opinion", "questions"]


def questions(criterion: Criterion, row: JudgeRow, seed: int = 0) -> tuple[Request, ...]:
    """One question about `row`, with the levels of the rubric.

    Raises:
        Unjudgeable: the row lacks what the criterion shows.
    """
    levels = "\n".join(f"{score}: {text.strip()}" for score, text in criterion.levels)
    task = f"{scoring_task(criterion)}\nIt is the level that describes the answer best:\n{levels}"
    return (question(criterion, task, parts_of(criterion, row), asking(criterion), seed),)
