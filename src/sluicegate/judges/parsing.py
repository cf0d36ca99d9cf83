"""Judges' answers, read strictly: one JSON object of the wanted shape, or no score at all."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NoReturn

MAX_ANSWER = 100_000
MAX_REASON = 600
_THOUGHT = re.compile(r"\s*(?:<think>)?(?:(?!</?think>).)*</think>", re.DOTALL)
_DIGIT = re.compile(r"[ \t\r\n]*([0-9])[.,;:)]?[ \t\r\n]*")
_FENCE = re.compile(r"[^{}\[\]`]*```(?:json|JSON)?[ \t]*\r?\n([^`]*|.*\n(?=```$))```", re.DOTALL)
"""One fence to the very end; what stands before it holds no brackets, so no second answer."""


class Unreadable(ValueError):
    """An answer is not what was asked for; the text says in what way.

    Always caught, and counted as a failure.
    """


def read_object(text: str, fields: Mapping[str, type]) -> dict[str, Any]:
    """Return the one JSON object that is all of `text`, with exactly `fields` of these types.

    White space around it, a single fence of three backticks around it, words before that fence and,
    first of all, one thought that ends with `</think>` are let go. A whole number may be written as
    `4.0`.

    Raises:
        Unreadable: anything else: other text, a repeated, missing or unknown field, another type
            (True is no int).

    Example:
        >>> read_object('<think>maybe 0 or 1</think> {"score": 3}', {"score": int})
        {'score': 3}
        >>> read_object("-1", {"score": int})
        Traceback (most recent call last):
        sluicegate.judges.parsing.Unreadable: the answer is not a JSON object
    """
    value = _load(answer_of(text))
    if not isinstance(value, dict):
        raise Unreadable("the answer is not a JSON object")
    value = {
        name: int(one) if fields.get(name) is int and _is_whole(one) else one
        for name, one in value.items()
    }
    check_fields(value, fields)
    return value


def _is_whole(value: object) -> bool:
    return isinstance(value, float) and value.is_integer()


def check_fields(value: Mapping[str, Any], fields: Mapping[str, type]) -> None:
    """See `read_object`; for objects inside an answer.

    Raises:
        Unreadable: see there.
    """
    if value.keys() != fields.keys():
        wrong = sorted(value.keys() ^ fields.keys())
        raise Unreadable(
            f"the answer's fields are not {', '.join(fields)}: {readable(', '.join(wrong), 80)}"
        )
    for name, kind in fields.items():
        if type(value[name]) is not kind:
            raise Unreadable(f"{name} is not of type {kind.__name__}")


def answer_of(text: str) -> str:
    """`text` without an initial thought, without white space and without a fence around it, with
    the words before that.

    Raises:
        Unreadable: a thought does not end, or the text is too long.
    """
    if len(text) > MAX_ANSWER:
        raise Unreadable(f"the answer has {len(text):,} characters")
    thought = _THOUGHT.match(text)
    rest = (text[thought.end() :] if thought else text).strip()
    if rest.startswith("<think>"):
        raise Unreadable("the reasoning before the answer has no end")
    fence = _FENCE.fullmatch(rest)
    return fence[1].strip() if fence else rest


def read_score(value: int, low: int, high: int) -> int:
    """`value`, if it is in the scale.

    Raises:
        Unreadable: it is not.
    """
    if not low <= value <= high:
        raise Unreadable(
            f"the score {value if abs(value) < 10**12 else 'given'} is not between {low} and {high}"
        )
    return value


def read_token(text: str, low: int, high: int) -> int:
    """The score that is all of a one-token answer; one punctuation mark may follow the digit.

    Raises:
        Unreadable: it is anything but one digit in the scale.

    Example:
        >>> read_token(" 4", 1, 5)
        4
        >>> read_token("-1", 0, 3)
        Traceback (most recent call last):
        sluicegate.judges.parsing.Unreadable: the answer is not a score: '-1'
    """
    digit = _DIGIT.fullmatch(text)
    if digit is None:
        raise Unreadable(f"the answer is not a score: {readable(text, 40)!r}")
    return read_score(int(digit[1]), low, high)


def readable(text: str, longest: int = MAX_REASON) -> str:
    """`text` on one line, printable, encodable and at most `longest` characters.

    Example:
        >>> readable("good \\ud800\\n\\n flow", 9)
        'good ? f…'
    """
    line = " ".join(text[: longest * 8].encode("utf-8", "replace").decode("utf-8").split())
    shown = "".join(letter for letter in line if letter.isprintable())
    return shown if len(shown) <= longest else f"{shown[: longest - 1]}…"


def _load(text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_no_repeats, parse_constant=_no_constant)
    except Unreadable:
        raise
    except RecursionError as error:
        raise Unreadable("the answer is nested too deeply") from error
    except ValueError as error:  # not JSON, or a number too long to be one
        raise Unreadable("the answer is not a JSON object") from error


def _no_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise Unreadable("a field of the answer occurs twice")
    return value


def _no_constant(name: str) -> NoReturn:
    raise Unreadable(f"{name} is not a number")
