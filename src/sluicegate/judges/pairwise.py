"""Pairwise: which answer is better, asked in both orders; a verdict that turns is none."""

from __future__ import annotations

from collections.abc import Sequence

from sluicegate.generating import Reply, Request
from sluicegate.judges.base import JudgeRow, Opinion
from sluicegate.judges.criteria import Criterion
from sluicegate.judges.defence import clean
from sluicegate.judges.parsing import Unreadable, read_object, read_token, readable
from sluicegate.judges.weighting import likeliest, score_place
from sluicegate.judges.wording import ALTERNATIVES, SHORT, Asking, parts_of, question

FIELDS = {"reason": str, "better": str}
_PICKS = {"first": "1", "second": "2", "equal": "="}
_WINS = {"12": 1.0, "21": 0.0, "==": 0.5}


def questions(criterion: Criterion, row: JudgeRow, seed: int = 0) -> tuple[Request, ...]:
    """Two questions about `row`: its output shown first, then its output shown second.

    Raises:
        Unjudgeable: the row lacks what the criterion shows.
    """
    task = (
        f"The criterion:\n{criterion.text.strip()}\n\nSay which of the two answers is better by it."
    )
    shown, other = parts_of(criterion, row), clean(row.other)
    place = next(place for place, (label, _) in enumerate(shown) if label == "answer")
    own = shown[place][1]
    asked = []
    for first, second in ((own, other), (other, own)):
        both = [("first answer", first), ("second answer", second)]
        asked.append(
            question(
                criterion,
                task,
                [*shown[:place], *both, *shown[place + 1 :]],
                _asking(criterion),
                seed,
            )
        )
    return tuple(asked)


def opinion(criterion: Criterion, row: JudgeRow, replies: Sequence[Reply]) -> Opinion:
    """1 when the output is better in both orders, 0 when the other is, else 0.5.

    Raises:
        Unreadable: a reply is not the one JSON object, or the one token, that was asked for.
    """
    read = [_read(criterion, reply) for reply in replies]
    picks = "".join(pick for pick, _ in read)
    reason = " / ".join(said for _, said in read)
    if picks in _WINS:
        return Opinion(_WINS[picks], reason, picks=picks)
    return Opinion(
        0.5, f"the verdict depends on the order, so it counts as equal: {reason}", picks=picks
    )


def _asking(criterion: Criterion) -> Asking:
    if criterion.answer == "token":
        wanted = (
            "Judge by the criterion. Answer 1 if the first answer is better, 2 if the second "
            "is, and nothing else."
        )
        return Asking(wanted, max_tokens=SHORT, alternatives=ALTERNATIVES, opener="Better answer:")
    shape = '{"reason": "<one or two sentences>", "better": "first" or "second" or "equal"}'
    return Asking(
        f"Judge by the criterion. Answer with one JSON object and nothing else: {shape}",
        criterion.max_tokens,
    )


def _read(criterion: Criterion, reply: Reply) -> tuple[str, str]:
    if criterion.answer == "token":
        # a forced choice: whichever of 1 and 2 is likelier at the first place where either is among
        # the likely tokens
        pick = likeliest(score_place(reply, 1, 2), 1, 2) or read_token(reply.text, 1, 2)
        return str(pick), f"said {pick}"
    value = read_object(reply.text, FIELDS)
    if value["better"] not in _PICKS:
        raise Unreadable(f"better is not first, second or equal: {readable(value['better'], 40)!r}")
    return _PICKS[value["better"]], readable(value["reason"], 300)
