"""What holds for every form of judging, present and future."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluicegate.generating import Failure, Reply, Request
from sluicegate.judges import FORMS, Criterion, JudgeRow, judge_rows
from sluicegate.models.scripted import ScriptedModel

ROW = JudgeRow(
    "r",
    "The order came late. Five euros went back.",
    "It was late. Money went back.",
    other="It was fine.",
)
CRITERIA = {
    "direct": Criterion("x", "direct", "How good.", ("j",), (0, 4)),
    "geval": Criterion("x", "geval", "How good.", ("j",), (0, 4), steps=("Look.",)),
    "rubric": Criterion(
        "x",
        "rubric",
        "How good.",
        ("j",),
        (0, 4),
        levels=tuple((n, f"level {n}") for n in range(5)),
    ),
    "pairwise": Criterion("x", "pairwise", "Which is better.", ("j",), (0, 1)),
    "claims": Criterion("x", "claims", "What is supported.", ("j",), (0, 1)),
}
VALUES = st.sampled_from(
    [-1, 0, 1, 2, 3, 4, 5, 0.5, True, False, None, "", "first", "second", "equal", "3", [], {}]
)
FIELDS = st.sampled_from(["reason", "score", "better", "claims", "claim", "supported", "sentence"])
NEARLY = st.recursive(
    VALUES,
    lambda inner: st.dictionaries(FIELDS, inner, max_size=3) | st.lists(inner, max_size=2),
    max_leaves=6,
)


def test_every_form_is_here() -> None:
    """A new form comes with a criterion for these tests."""
    assert CRITERIA.keys() == FORMS.keys()


@pytest.mark.parametrize("form", sorted(FORMS))
@settings(max_examples=60, deadline=None)
@given(
    answer=st.text(max_size=80) | NEARLY.map(json.dumps),
    row=st.builds(JudgeRow, st.just("r"), *[st.text(max_size=60)] * 2),
)
def test_a_row_has_a_score_or_a_failure(form: str, answer: str, row: JudgeRow) -> None:
    """Whatever the row and the judge's answer are: a score in [0, 1], or none and a reason; never
    both, never a crash.
    """
    judged = judge_rows(CRITERIA[form], [row, ROW], [ScriptedModel(lambda question: answer)])
    for score, failure, reason in zip(judged.scores, judged.failures, judged.reasons, strict=True):
        assert (score is None) == bool(failure)
        assert score is None or 0 <= score <= 1
        (failure + reason).encode("utf-8")


@pytest.mark.parametrize("form", sorted(FORMS))
def test_failures_are_failures(form: str) -> None:
    """A request without an answer, an empty one and one cut off give no score in any form."""

    def late(question: Request) -> Reply:
        return Reply('{"reason": "r", "score": 4}', 1, 1, 0.0, finished=False)

    for answer in (lambda question: Failure("down"), lambda question: "", late):
        judged = judge_rows(CRITERIA[form], [ROW], [ScriptedModel(answer)])
        assert (judged.scores, judged.failed) == ((None,), 1)


@pytest.mark.parametrize("form", sorted(FORMS))
def test_questions_are_pure(form: str) -> None:
    """The same row gives the same questions, a finite number of tokens each, the task in the system
    message.
    """
    first, again = (FORMS[form].questions(CRITERIA[form], ROW, 3) for _ in range(2))
    assert first == again
    for question in first:
        assert question.max_tokens > 0
        assert question.seed == 3
        assert CRITERIA[form].text in question.messages[0]["content"]
        assert question.messages[0]["role"] == "system"
