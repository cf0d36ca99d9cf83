"""Direct score: an integer of the scale with a reason; or, for the smallest models, a token."""

from __future__ import annotations

from collections.abc import Sequence

from sluicegate.generating import Reply, Request
from sluicegate.judges.base import JudgeRow, Opinion
from sluicegate.judges.criteria import Criterion
from sluicegate.judges.parsing import read_object, read_score, read_token, readable
from sluicegate.judges.weighting import first_place, weighted_token
from sluicegate.judges.wording import ALTERNATIVES, SHORT, Asking, parts_of, question

FIELDS = {"reason": str, "score": int}
UNWEIGHTED = "not weighted, the endpoint gave no token probabilities for the score"


def questions(criterion: Criterion, row: JudgeRow, seed: int = 0) -> tuple[Request, ...]:
    """One question about `row`.

    Raises:
        Unjudgeable: the row lacks what the criterion shows.
    """
    return (
        question(
            criterion, scoring_task(criterion), parts_of(criterion, row), asking(criterion), seed
        ),
    )


def opinion(criterion: Criterion, row: JudgeRow, replies: Sequence[Reply]) -> Opinion:
    """The score that the reply states.

    Raises:
        Unreadable: the reply is not the one JSON object, or the one token, that was asked for.
    """
    low, high = criterion.scale
    if criterion.answer == "token":
        return token_opinion(criterion, replies[0])
    value = read_object(replies[0].text, FIELDS)
    return Opinion(
        share(read_score(value["score"], low, high), low, high), readable(value["reason"])
    )


def scoring_task(criterion: Criterion) -> str:
    """The part of the instructions that is the same for all rows."""
    low, high = criterion.scale
    return (
        f"The criterion:\n{criterion.text.strip()}\n\nThe score is an integer from {low} to {high}."
    )


def asking(criterion: Criterion, alternatives: int = 0) -> Asking:
    """How the score is asked for."""
    low, high = criterion.scale
    if criterion.answer == "token":
        wanted = (
            f"Judge by the criterion. Answer with one digit from {low} to {high} and nothing else."
        )
        return Asking(wanted, max_tokens=SHORT, alternatives=ALTERNATIVES, opener="Score:")
    shape = '{"reason": "<one or two sentences>", "score": <integer>}'
    wanted = f"Judge by the criterion. Answer with one JSON object and nothing else: {shape}"
    return Asking(wanted, criterion.max_tokens, alternatives)


def token_opinion(criterion: Criterion, reply: Reply) -> Opinion:
    """The first token as the score, weighted by the probabilities of the others if known.

    Raises:
        Unreadable: the token is not a digit of the scale.
    """
    low, high = criterion.scale
    said = read_token(reply.text, low, high)
    weighted = weighted_token(first_place(reply), low, high)
    if weighted is None:
        return Opinion(share(said, low, high), f"said {said}; {UNWEIGHTED}", weighted=False)
    return Opinion(
        share(weighted, low, high),
        f"said {said}; {weighted:.2f} by token probabilities",
        weighted=True,
    )


def share(score: float, low: int, high: int) -> float:
    """Where `score` lies between the ends of the scale, from 0 to 1.

    Example:
        >>> share(4, 1, 5)
        0.75
    """
    return min(max((score - low) / (high - low), 0.0), 1.0)
