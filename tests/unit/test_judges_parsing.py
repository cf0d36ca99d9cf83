"""A judge's answer is the one JSON object that was asked for, or it is a failure; never a number
made of something else.
"""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluicegate.generating import Reply
from sluicegate.judges import Criterion, JudgeRow, judge_rows
from sluicegate.judges.direct import FIELDS
from sluicegate.judges.direct import opinion as direct_opinion
from sluicegate.judges.parsing import (
    MAX_ANSWER,
    Unreadable,
    answer_of,
    read_object,
    read_score,
    read_token,
    readable,
)
from sluicegate.models.scripted import ScriptedModel

SCALE = Criterion("c", "direct", "How good.", ("j",), (0, 3))
ROW = JudgeRow("r", "the source text", "an answer of some words")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["score", "reason", "x"]), inner, max_size=3)
    ),
    max_leaves=8,
)


def said(text: str) -> Reply:
    return Reply(text, 1, 1, 0.0)


@pytest.mark.parametrize(
    "text",
    [
        "-1", "3", "0.33", "three", "", " ", "null", "true", "[]", "[3]", '"3"', "Score: 3", "3/3",
        "NaN",
        "<think>maybe 0 or 1</think> 3",
        '{"score": -1, "reason": "r"}',
        '{"score": 4, "reason": "r"}',
        '{"score": 3}',
        '{"reason": "r"}',
        '{"score": "3", "reason": "r"}',
        '{"score": true, "reason": "r"}',
        '{"score": null, "reason": "r"}',
        '{"score": NaN, "reason": "r"}',
        '{"score": [3], "reason": "r"}',
        '{"score": 3, "reason": 3}',
        '{"score": 3, "reason": null}',
        '{"score": 3, "reason": "r", "more": 1}',
        '{"score": 0, "score": 3, "reason": "r"}',
        '{"score": 3, "reason": "r"} and more',
        'So: {"score": 3, "reason": "r"}',
        '{"score": 0, "reason": "r"}\n{"score": 3, "reason": "r"}',
        '```json\n{"score": 0, "reason": "r"}\n```\n```json\n{"score": 3, "reason": "r"}\n```',
        '```\n```json\n{"score": 3, "reason": "r"}\n```\n```',
        '```json {"score": 3, "reason": "r"} ```',
        '<think>{"score": 3, "reason": "r"}',
        '<think>a</think><think>b</think>{"score": 3, "reason": "r"}',
        '{"score": 3, "reason": "r"}<think>no</think>',
        "{'score': 3, 'reason': 'r'}",
        '{"score": 3, "reason": "r",}',
        '{"score": ' + "9" * 5000 + ', "reason": "r"}',
        '{"score": 3, "reason": ' + "[" * 100_000,
        '\ufeff{"score": 3, "reason": "r"}',
    ],
)  # fmt: skip
def test_anything_but_the_object_is_a_failure(text: str) -> None:
    """No answer of another shape, type or range, and none with words around it, becomes a score."""
    with pytest.raises(Unreadable):
        direct_opinion(SCALE, ROW, [said(text)])


@pytest.mark.parametrize(
    "text",
    [
        '{"reason": "r", "score": 3}',
        ' \n{"score": 3, "reason": "r"}\t\n',
        '```json\n{"score": 3, "reason": "r"}\n```',
        '```\n{"score":\n 3, "reason": "r"}\n```\n',
        '<think>maybe 0 or 1</think> {"score": 3, "reason": "r"}',
        '\n<think>\n{"score": 0, "reason": "draft"}\n```\n</think>\n\n```json\n{"score": 3, '
        '"reason": "r"}\n```',
        '<think></think>{"score": 3, "reason": "r"}',
    ],
)
def test_the_object_is_read_in_its_wrappings(text: str) -> None:
    """White space, one fence and one thought before the object are let go; the number in the
    thought never counts.
    """
    view = direct_opinion(SCALE, ROW, [said(text)])
    assert (view.score, view.reason, view.failure) == (1.0, "r", "")


def test_what_trulens_makes_numbers_of_are_failures() -> None:
    """-1 (TruLens: 0.33) and a number after a thought with other numbers (TruLens: 0) are counted
    failures of their rows.
    """

    texts = iter(("-1", "<think>maybe 0 or 1</think> 3", '{"reason": "r", "score": 3}'))
    fixed = ScriptedModel(lambda request: next(texts))
    rows = [JudgeRow(str(n), f"the source {n}", f"some answer {n}") for n in range(3)]
    judged = judge_rows(SCALE, rows, [fixed])
    assert judged.scores == (None, None, 1.0)
    assert judged.failures == (
        "the answer is not a JSON object",
        "the answer is not a JSON object",
        "",
    )
    assert judged.failed == 2


def test_braces_in_a_criterion_are_text() -> None:
    """A criterion with braces, percent signs or template syntax is shown as it is written (TruLens:
    KeyError).
    """
    from dataclasses import replace

    from sluicegate.judges.direct import questions

    text = "Is {this} valid {{ json }}? %s %(x)s {0} $name"
    (question,) = questions(
        replace(SCALE, text=text), JudgeRow("r", "{source} {0}", "{{ 7*7 }} %s {output}")
    )
    assert text in question.messages[0]["content"]
    assert "{{ 7*7 }} %s {output}" in question.messages[1]["content"]


@settings(max_examples=300, deadline=None)
@given(
    st.text(max_size=200)
    | st.binary(max_size=100).map(lambda raw: raw.decode("latin-1"))
    | JSON.map(json.dumps)
)
def test_junk_never_crashes_and_never_scores(text: str) -> None:
    """Any text gives a score of the scale, if json itself reads exactly our object in it, or
    `Unreadable`.
    """
    try:
        view = direct_opinion(SCALE, ROW, [said(text)])
    except Unreadable:
        return
    value = json.loads(answer_of(text))
    assert value.keys() == FIELDS.keys()
    assert type(value["score"]) is int
    assert view.score == value["score"] / 3
    assert 0 <= view.score <= 1


@settings(max_examples=200, deadline=None)
@given(
    score=st.integers(-3, 6),
    reason=st.text(max_size=60),
    thought=st.none() | st.text(max_size=60).filter(lambda text: "</think>" not in text),
    fence=st.sampled_from(["", "```\n", "```json\n"]),
    space=st.text(" \n\t", max_size=4),
)
def test_our_object_is_always_read(
    score: int, reason: str, thought: str | None, fence: str, space: str
) -> None:
    """The object with any reason, thought, fence and white space gives its own score, or a failure
    outside the scale.
    """
    body = json.dumps({"reason": reason, "score": score})
    before = f"<think>{thought}</think>{space}" if thought is not None else ""
    text = f"{space}{before}{fence}{body}{fence and chr(10)}{fence[:3]}{space}"
    if not 0 <= score <= 3:
        with pytest.raises(Unreadable):
            direct_opinion(SCALE, ROW, [said(text)])
        return
    view = direct_opinion(SCALE, ROW, [said(text)])
    assert view.score == pytest.approx(score / 3)
    view.reason.encode("utf-8")


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=12))
def test_a_token_is_one_digit_of_the_scale(text: str) -> None:
    """The one-token answer is a single ASCII digit with nothing but white space around it."""
    try:
        score = read_token(text, 0, 5)
    except Unreadable:
        assert text.strip(" \t\r\n") not in list("012345")
    else:
        assert text.strip(" \t\r\n.,;:)") == str(score)


def test_digits_of_other_scripts_and_superscripts_are_no_scores() -> None:
    """What Python's int() or isdigit() would take for a number is not one here."""
    for text in ("٣", "３", "³", "③", "0x3", "3.5", "3..", ".3", "3%", "+3", "03", "3\x003"):
        with pytest.raises(Unreadable):
            read_token(text, 0, 5)


def test_a_backtick_in_a_fenced_reason_is_text() -> None:
    """The fence ends at its own line."""
    text = '```\n{"reason": "`", "score": 3}\n```'
    assert direct_opinion(SCALE, ROW, [said(text)]).score == pytest.approx(1.0)


def test_bounds_of_what_is_read() -> None:
    """An endless answer is refused unread, and a reason is kept short, on one line and encodable."""
    with pytest.raises(Unreadable, match="characters"):
        read_object(" " * (MAX_ANSWER + 1), FIELDS)
    with pytest.raises(Unreadable, match="not between 0 and 3"):
        read_score(10**30, 0, 3)
    assert len(readable("word " * 10**6)) <= 600
    assert readable("a\ud800\x1b[2Jb\r\nc") == "a?[2Jb c"
    assert not math.isnan(len(readable("")))
