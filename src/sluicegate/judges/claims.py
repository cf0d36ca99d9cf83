"""Groundedness: each of the answer's claims is supported by a numbered sentence, or not.

Both texts are split by rule, not by the judge, so that no claim can be left out and every sentence
that is named exists.
"""

from __future__ import annotations

from collections.abc import Sequence

from sluicegate.generating import Reply, Request
from sluicegate.judges.base import JudgeRow, Opinion
from sluicegate.judges.criteria import Criterion
from sluicegate.judges.parsing import Unreadable, check_fields, read_object, readable
from sluicegate.judges.sentences import claims, sentences
from sluicegate.judges.wording import Asking, Unjudgeable, parts_of, question

TOKENS_A_CLAIM = 32
MAX_CLAIMS = 200
_SUPPORTED = {"claim": int, "supported": bool, "sentence": int}
_SHAPE = (
    '{"claims": [{"claim": 1, "supported": true, "sentence": 4}, {"claim": 2, "supported": '
    'false, "sentence": 0}]}'
)


def questions(criterion: Criterion, row: JudgeRow, seed: int = 0) -> tuple[Request, ...]:
    """One question about all claims of `row`.

    Raises:
        Unjudgeable: the row lacks what the criterion shows, or has over 200 claims.
    """
    given, said = _split(criterion, row)
    if len(said) > MAX_CLAIMS:
        raise Unjudgeable(
            f"the answer makes {len(said)} claims; at most {MAX_CLAIMS} can be judged"
        )
    task = (
        f"The criterion:\n{criterion.text.strip()}\n\nThe answer is given as numbered claims, the "
        "texts that it is held against as numbered sentences. A claim is supported only if all of "
        "it follows from the sentences; name the one sentence that supports it most. A claim that "
        "is not supported has the sentence 0."
    )
    parts = [("sentences", _numbered(given)), ("claims", _numbered(said))]
    wanted = (
        "Judge each of the claims, in their order. "
        f"Answer with one JSON object and nothing else, in this form: {_SHAPE}"
    )
    room = max(criterion.max_tokens, TOKENS_A_CLAIM * len(said) + 64)
    return (question(criterion, task, parts, Asking(wanted, room), seed),)


def opinion(criterion: Criterion, row: JudgeRow, replies: Sequence[Reply]) -> Opinion:
    """The share of claims that are supported; the reason names the sentence for each.

    Raises:
        Unreadable: a claim is missing, or a sentence that is named does not exist.
    """
    given, said = _split(criterion, row)
    verdicts = read_object(replies[0].text, {"claims": list})["claims"]
    if len(verdicts) != len(said):
        raise Unreadable(f"{len(verdicts)} verdicts on {len(said)} claims")
    words, supported = [], 0
    for number, verdict in enumerate(verdicts, start=1):
        if not isinstance(verdict, dict):
            raise Unreadable(f"the verdict on claim {number} is not an object")
        check_fields(verdict, _SUPPORTED)
        place = verdict["sentence"]
        if verdict["claim"] != number:
            raise Unreadable(f"the verdict on claim {number} is missing or out of order")
        if not (1 <= place <= len(given) if verdict["supported"] else place == 0):
            raise Unreadable(
                f"claim {number}: sentence {str(place)[:12]} does not exist or does not fit the "
                "verdict"
            )
        supported += verdict["supported"]
        source = f"from {given[place - 1]!r}" if place else "not supported"
        words.append(f"{said[number - 1]!r}: {source}")
    shown = readable("; ".join(words), 2000)
    return Opinion(supported / len(said), f"{supported} of {len(said)} claims supported: {shown}")


def _split(criterion: Criterion, row: JudgeRow) -> tuple[list[str], list[str]]:
    parts = parts_of(criterion, row)
    given = [sentence for label, text in parts if label != "answer" for sentence in sentences(text)]
    said = [claim for label, text in parts if label == "answer" for claim in claims(text)]
    if not given or not said:
        raise Unjudgeable(
            "there is no sentence to check a claim against" if said else "the answer states nothing"
        )
    return given, said


def _numbered(texts: Sequence[str]) -> str:
    return "\n".join(
        f"{number}. {' '.join(text.split())}" for number, text in enumerate(texts, start=1)
    )
