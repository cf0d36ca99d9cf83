"""What every row of DAMAGES promises."""

from __future__ import annotations

import pytest

from sluicegate.evaluation.damage import DAMAGES, damaged
from sluicegate.records import Example, Generation

TEXT = (
    "The agent told the customer, Ana Berg, that his 20 euro were refunded before he found the new "
    "order with number 4711, and it is on its way."
)
JSON = '{"label": "late", "sum": 20}'
FIELDS = {"contexts": '["a text"]'}
ROWS = [
    Example(f"r{n}", f"g{n}", {"t": "Customer: hi"}, (("late", "lost")[n % 2],), "s")
    for n in range(6)
]
ANSWERS = [
    Generation(
        (TEXT, JSON, "late")[n % 3] + (f" {n}" if n % 3 == 0 else ""),
        9,
        9,
        0.5,
        True,
        fields=FIELDS,
    )
    for n in range(6)
]

every = pytest.mark.parametrize("kind", DAMAGES)


@every
def test_it_breaks_some_answer_the_same_way_each_time(kind: str) -> None:
    """One answer out for each in, some of them changed, no chance but the seeded one."""
    broken = damaged(kind, ROWS, ANSWERS)
    assert broken is not None
    assert len(broken) == len(ANSWERS)
    assert any(
        (one.text, one.finished, one.fields) != (other.text, other.finished, other.fields)
        for one, other in zip(broken, ANSWERS, strict=True)
    )
    assert broken == damaged(kind, ROWS, ANSWERS)


@every
def test_nothing_but_the_answer_changes(kind: str) -> None:
    """Times and tokens stay, so that only what the texts say can be noticed."""
    broken = damaged(kind, ROWS, ANSWERS)
    assert broken
    for one, other in zip(broken, ANSWERS, strict=True):
        assert (one.seconds, one.prompt_tokens) == (other.seconds, other.prompt_tokens)
        assert one.failure == other.failure == ""


@every
def test_odd_answers_do_no_harm(kind: str) -> None:
    """Empty, blank, half a JSON text, a row alone in its group: no error."""
    for text in ("", " ", "{", "[]", "\u0000", "\U0001f600" * 3):
        odd = [Generation(text, 1, 1, 0.1, True)] * len(ROWS)
        broken = damaged(kind, ROWS, odd)
        assert broken is None or len(broken) == len(ROWS)
    assert damaged(kind, [], []) is None
