"""Complete answers of judges, in the forms in which servers send them, are scored."""

from __future__ import annotations

from pathlib import Path

import pytest

from sluicegate.judges.parsing import Unreadable, read_object

LINES = (Path(__file__).parent / "judge_answers.txt").read_text("utf-8").splitlines()
FIELDS = {"reason": str, "score": int}


def _sent(line: str) -> str:
    """A line of the file as the judge sent it; how the server ended is not part of the text."""
    text = line.partition(" with finish_reason")[0]
    return text.replace("\\r", "\r").replace("\\n", "\n")


@pytest.mark.parametrize("line", LINES)
def test_a_complete_answer_is_read(line: str) -> None:
    """Fences with either line end, words before one, a thought without its beginning, 4.0 for 4."""
    found = read_object(_sent(line), FIELDS)
    assert found == {"reason": "ok", "score": 4}
    assert type(found["score"]) is int


@pytest.mark.parametrize(
    "text",
    [
        '{"reason":"a","score":1}\n```json\n{"reason":"b","score":4}\n```',
        '```json\n{"reason":"a","score":1}\n```\n```json\n{"reason":"b","score":4}\n```',
        'Words {"reason":"a","score":4}',
        '```json\n{"reason":"a","score":4}\n``` and more',
        '{"reason":"a","score":4.5}',
        '{"reason":"a","score":1} </think> </think> {"reason":"b","score":4}',
        "4</think>",
    ],
)
def test_an_answer_that_could_be_two_is_refused(text: str) -> None:
    """Whatever might hold a second answer, or breaks off, has no score."""
    with pytest.raises(Unreadable):
        read_object(text, FIELDS)
