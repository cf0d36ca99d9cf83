"""Rows in, scores out: failures counted and never averaged away, sentinels heeded, several judges
one median.
"""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from sluicegate.errors import BudgetError, ConfigError, EvidenceError
from sluicegate.generating import Failure, Reply, Request
from sluicegate.judges import Criterion, JudgeRow, judge_digest, judge_rows
from sluicegate.judges.defence import canned_answers
from sluicegate.models.scripted import ScriptedModel

CRITERION = Criterion("c", "direct", "How good.", ("j",), (0, 4))
JURY = replace(CRITERION, judges=("a", "b", "c"))
ROWS = [JudgeRow(f"r{n}", f"The source number {n}.", f"An answer about {n}.") for n in range(4)]
GARBAGE = JudgeRow("sentinel-1", "What is the time?", "Green ideas sleep furiously.")


def says(score: int | str, name: str = "fake") -> ScriptedModel:
    return ScriptedModel(lambda question: f'{{"reason": "r", "score": {score}}}', name)


def by_row(answers: dict[str, str | Failure], otherwise: str) -> ScriptedModel:
    """A judge whose answer depends on which text is in the question."""

    def answer(question: Request) -> str | Failure:
        asked = question.messages[1]["content"]
        return next((said for text, said in answers.items() if text in asked), otherwise)

    return ScriptedModel(answer)


def test_a_failed_row_has_no_number() -> None:
    """A dead endpoint, an unreadable answer and a cut one are failures of their rows with their
    reasons; others stand.
    """
    fine = '{"reason": "r", "score": 4}'

    def answer(question: Request) -> str | Reply | Failure:
        asked = question.messages[1]["content"]
        if "number 0" in asked:
            return Failure("the endpoint answered 503")
        if "number 1" in asked:
            return "I would say 4."
        return Reply(fine, 1, 512, 0.0, finished=False) if "number 2" in asked else fine

    result = judge_rows(CRITERION, ROWS, [ScriptedModel(answer)])
    assert result.scores == (None, None, None, 1.0)
    assert result.failed == 3
    assert result.failures[0] == "the endpoint answered 503"
    assert "not a JSON object" in result.failures[1]
    assert "cut off after 512 tokens" in result.failures[2]


def test_calls_and_tokens_are_counted() -> None:
    """Every question counts once, with the tokens of its answer."""
    result = judge_rows(replace(CRITERION, sentinels=(GARBAGE,)), ROWS, [says(0)])
    assert result.calls == 5
    assert result.prompt_tokens > 100
    assert result.completion_tokens == 5 * 4


def test_no_rows_no_calls() -> None:
    """Nothing to judge costs nothing, not even for the sentinels."""
    model = says(0)
    result = judge_rows(replace(CRITERION, sentinels=(GARBAGE,)), [], [model])
    assert (result.scores, result.calls, model.asked) == ((), 0, [])


def test_a_judge_that_praises_a_sentinel_has_failed() -> None:
    """A known-bad answer that is praised takes the scores from every row of the run, before any of
    them is asked about.
    """
    watched = replace(CRITERION, sentinels=(GARBAGE,))
    model = says(4)
    result = judge_rows(watched, ROWS, [model])
    assert result.scores == (None,) * 4
    assert (result.calls, len(model.asked)) == (1, 1)
    assert "praised known-bad answer 1: 1.00 of 1" in result.failures[0]
    assert (
        judge_rows(
            watched,
            ROWS,
            [by_row({"Green ideas": '{"reason": "r", "score": 0}'}, '{"reason": "r", "score": 4}')],
        ).failed
        == 0
    )


def test_a_judge_that_cannot_judge_a_sentinel_has_failed() -> None:
    """No verdict on a known-bad answer is no proof of a judge."""
    model = by_row({"Green ideas": "well..."}, '{"reason": "r", "score": 4}')
    result = judge_rows(replace(CRITERION, sentinels=(GARBAGE,)), ROWS, [model])
    assert result.failed == 4
    assert "no verdict on known-bad answer 1" in result.failures[0]


def test_praise_of_a_lower_is_better_criterion_is_a_low_score() -> None:
    """Where low is good, a sentinel that gets a low score was praised."""
    harm = replace(CRITERION, direction="lower", sentinels=(GARBAGE,))
    assert judge_rows(harm, ROWS, [says(0)]).failed == 4
    assert judge_rows(harm, ROWS, [says(4)]).scores == (1.0,) * 4


def test_sentinels_are_asked_like_rows() -> None:
    """Nothing in the question tells a sentinel from a row."""
    model = says(0)
    judge_rows(replace(CRITERION, sentinels=(GARBAGE,)), ROWS, [model])
    assert len(model.asked) == 5
    assert "sentinel" not in str(model.asked).lower()
    assert len({question.messages[0]["content"] for question in model.asked}) == 1


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        ("", "blank"), (" \n\t", "blank"), ("\u200b\u2060", "blank"), ("... !", "blank"),
        ("\ud800", "blank"),
        ("Solution:", "announces"), ("x" * 20_001, "20,001 characters"),
    ],
)  # fmt: skip
def test_what_is_no_answer_costs_no_call(output: str, reason: str) -> None:
    """Blank, announced and over-long answers score the worst without a call, in either
    direction.
    """
    for direction, worst in (("higher", 0.0), ("lower", 1.0)):
        model = says(4)
        criterion = replace(CRITERION, direction=direction)
        result = judge_rows(criterion, [JudgeRow("r", "The source number 9.", output)], [model])
        assert (result.scores, result.calls, result.uncalled, model.asked) == ((worst,), 0, 1, [])
        assert reason in result.reasons[0]
        assert "without asking" in result.reasons[0]


def test_answers_that_need_more_words() -> None:
    """`min_words` settles shorter answers."""
    result = judge_rows(
        replace(CRITERION, min_words=5), [replace(ROWS[0], output="Too short this.")], [says(4)]
    )
    assert (result.scores, result.calls) == ((0.0,), 0)
    assert "3 words, 5 are needed" in result.reasons[0]


@pytest.mark.parametrize("output", ["The source number 9.", "the SOURCE   number 9"])
@pytest.mark.parametrize("form", ["direct", "pairwise", "claims"])
def test_an_echo_is_shown_apart_and_judged(form: str, output: str) -> None:
    """A good extract of a short source is no flaw: the judge sees source and answer in turns of
    their own, is told of the echo, and decides; the reason says so.
    """
    said = {"direct": "score", "pairwise": "better", "claims": "claims"}[form]
    values = {
        "direct": 3,
        "pairwise": "first",
        "claims": [{"claim": 1, "supported": True, "sentence": 1}],
    }
    model = by_row(
        {},
        json.dumps(
            {"reason": "r", said: values[form]} if form != "claims" else {said: values[form]}
        ),
    )
    scale = CRITERION.scale if form == "direct" else (0, 1)
    criterion = replace(CRITERION, form=form, scale=scale)
    other = "Something else." if form == "pairwise" else ""
    row = JudgeRow("r", "The source number 9.", output, (), other)
    result = judge_rows(criterion, [row], [model])
    assert (result.failed, result.uncalled, result.echoes) == (0, 0, 1)
    assert result.reasons[0].startswith("echo of the source, shown apart: ")
    plain = judge_rows(criterion, [replace(row, output="Quite another text.")], [model])
    assert plain.echoes == 0
    apart, usual = model.asked[0].messages, model.asked[-1].messages
    assert [turn["role"] for turn in usual] == ["system", "user"]
    assert [turn["role"] for turn in apart][:4] == ["system", "user", "assistant", "user"]
    assert all(turn["content"].count("[BEGIN ") == 1 for turn in apart if turn["role"] == "user")
    assert "an answer repeats its source" in apart[-1]["content"]
    asked = [turns[-1]["content"].rpartition(" are above. ")[2] for turns in (apart, usual)]
    assert asked[0] == asked[1] != ""


def test_a_quote_of_the_source_is_no_echo() -> None:
    """An answer that says more than the source does, or only part of it, is judged."""
    for output in ("The source number 9 says a lot of other things too.", "The source"):
        assert (
            judge_rows(CRITERION, [JudgeRow("r", "The source number 9.", output)], [says(4)]).calls
            == 1
        )


def test_canned_answers_are_settled() -> None:
    """One answer to many sources scores the worst, unless the criterion wants repeats judged."""
    rows = [
        JudgeRow(str(n), f"Source {n}.", "It was solved." if n < 4 else f"Answer {n}.")
        for n in range(10)
    ]
    result = judge_rows(CRITERION, rows, [says(4)])
    assert result.scores == (0.0,) * 4 + (1.0,) * 6
    assert "canned" in result.reasons[0]
    assert judge_rows(replace(CRITERION, repeats="judged"), rows, [says(4)]).calls == 10


def test_what_is_not_canned() -> None:
    """Two sources, one source asked often, or a tenth of the rows are no reason; digits tell
    answers apart.
    """
    assert canned_answers([("a", "yes"), ("b", "yes")]) == frozenset()
    assert canned_answers([("a", "yes")] * 9) == frozenset()
    assert (
        canned_answers([(str(n), "yes" if n < 3 else f"no {n}") for n in range(30)]) == frozenset()
    )
    assert canned_answers([(str(n), f"It is {n}.") for n in range(9)]) == frozenset()
    assert canned_answers([(str(n), f"YES\u200b{'!' * n}") for n in range(9)]) == {"yes"}


@pytest.mark.parametrize(
    ("output", "other", "score"),
    [
        ("", "Fine answer here.", 0.0),
        ("Fine answer here.", " ", 1.0),
        ("", "", 0.5),
    ],
)
def test_pairs_with_no_answer_are_settled(output: str, other: str, score: float) -> None:
    """Pairwise: no answer loses to an answer without a call, and two of them are equal."""
    pair = replace(CRITERION, form="pairwise", scale=(0, 1))
    result = judge_rows(pair, [JudgeRow("r", "Source.", output, other=other)], [says(4)])
    assert (result.scores, result.calls, result.picks) == ((score,), 0, ("",))


def test_a_jury_is_its_median() -> None:
    """The score is the median, the reasons name who said what."""
    result = judge_rows(JURY, ROWS, [says(0), says(1), says(4)])
    assert result.scores == (0.25,) * 4
    assert result.reasons[0] == "a: r; b: r; c: r"
    assert result.calls == 12


def test_one_juror_that_fails_fails_the_row() -> None:
    """A median of those who answered would be another jury's."""
    limp = by_row({"number 2": "no idea"}, '{"reason": "r", "score": 1}')
    result = judge_rows(JURY, ROWS, [says(0), limp, says(4)])
    assert [score is None for score in result.scores] == [False, False, True, False]
    assert result.failures[2].startswith("b: ")


def test_one_juror_that_praises_a_sentinel_fails_the_run() -> None:
    """A jury with one false judge is no jury."""
    result = judge_rows(replace(JURY, sentinels=(GARBAGE,)), ROWS, [says(0), says(0), says(4)])
    assert result.failed == 4
    assert "c: the judge praised" in result.failures[0]


def test_a_jury_of_pairs_keeps_all_picks() -> None:
    """Each judge's two picks are kept, in the order of the judges."""
    pair = replace(JURY, form="pairwise", scale=(0, 1), judges=("a", "b"))
    first = ScriptedModel(lambda question: '{"reason": "r", "better": "first"}')
    equal = ScriptedModel(lambda question: '{"reason": "r", "better": "equal"}', "e")
    result = judge_rows(pair, [replace(ROWS[0], other="Another one.")], [first, equal])
    assert (result.scores, result.picks, result.order_dependent) == ((0.5,), ("11==",), 1)


def test_as_many_models_as_judges() -> None:
    """A jury with a juror missing is refused."""
    with pytest.raises(ConfigError, match="a, b, c"):
        judge_rows(JURY, ROWS, [says(1)])


def test_a_model_that_loses_answers_is_an_error() -> None:
    """Fewer answers than questions would shift them among the rows."""

    class Short(ScriptedModel):
        def generate(self, requests, **rest):  # type: ignore[no-untyped-def]
            return super().generate(requests, **rest)[:-1]

    with pytest.raises(EvidenceError, match="3 answers to 4 questions"):
        judge_rows(CRITERION, ROWS, [Short(lambda question: "x")])


def test_a_spent_budget_goes_through() -> None:
    """Nothing is concluded from half a run."""

    def answer(question: Request) -> str:
        raise BudgetError("spent")

    with pytest.raises(BudgetError):
        judge_rows(CRITERION, ROWS, [ScriptedModel(answer)])


def test_progress_runs_once_over_all_judges() -> None:
    """Progress counts up to the questions of the whole jury."""
    seen: list[tuple[int, int]] = []
    judge_rows(
        JURY, ROWS, [says(1), says(1), says(1)], lambda done, total: seen.append((done, total))
    )
    assert seen == [(n, 12) for n in range(1, 13)]


def test_rows_that_lack_what_is_shown() -> None:
    """A row without its input or reference fails; an input that no row has is a mistake in the
    file.
    """
    shows = replace(CRITERION, shows=("question", "output"))
    rows = [
        replace(ROWS[0], inputs={"question": "Why?"}),
        replace(ROWS[1], inputs={"question": " "}),
        ROWS[2],
    ]
    result = judge_rows(shows, rows, [says(4)])
    assert result.scores == (1.0, None, None)
    assert result.failures[1] == "the row has no question"
    with pytest.raises(ConfigError, match="'question'") as caught:
        judge_rows(shows, [replace(ROWS[0], inputs={"text": "x"})], [says(4)])
    assert "text" in caught.value.hint
    needs = replace(CRITERION, shows=("output", "reference"), needs_reference=True)
    result = judge_rows(needs, [ROWS[0], replace(ROWS[1], references=("One.", "Two."))], [says(4)])
    assert result.scores == (None, 1.0)


def test_every_reference_is_shown() -> None:
    """All right answers are shown, each between its own marks."""
    model = says(4)
    needs = replace(CRITERION, shows=("output", "reference"), needs_reference=True)
    judge_rows(needs, [replace(ROWS[0], references=("Uno.", "Due."))], [model])
    asked = model.asked[0].messages[1]["content"]
    assert "[BEGIN REFERENCE 1" in asked
    assert "[BEGIN REFERENCE 2" in asked
    assert "Uno." in asked
    assert "Due." in asked


def test_a_judge_of_inputs_alone() -> None:
    """A criterion that does not show the output (context relevance) judges rows whose output is
    blank.
    """
    context = replace(CRITERION, shows=("question", "context"))
    row = JudgeRow("r", "", "", inputs={"question": "Why?", "context": "Because."})
    assert judge_rows(context, [row], [says(2)]).scores == (0.5,)


def test_the_digest_is_the_judge() -> None:
    """Another model, order of models, wording, scale or sentinel is another judge; owner, notes and
    names are not.
    """
    one, two = says(1, "one"), says(1, "two")
    digest = judge_digest(CRITERION, [one])
    assert digest == judge_digest(
        replace(CRITERION, owner="x", notes="y", judges=("z",)), [says(4, "one")]
    )
    others = [
        judge_digest(CRITERION, [two]),
        judge_digest(CRITERION, [one, two]),
        judge_digest(CRITERION, [two, one]),
        *(
            judge_digest(replace(CRITERION, **change), [one])
            for change in (
                {"text": "How bad."}, {"scale": (0, 5)}, {"direction": "lower"},
                {"sentinels": (GARBAGE,)},
                {"temperature": 0.5},
                {"answer": "token"}, {"max_tokens": 9}, {"min_words": 2}, {"repeats": "judged"},
                {"shows": ("output",)},
            )
        ),
    ]  # fmt: skip
    assert len({digest, *others}) == len(others) + 1


def test_equal_rows_ask_equal_questions() -> None:
    """The same row asked again is the same question, so that the cache answers; another seed asks
    anew.
    """
    first, again, other = says(1), says(1), says(1)
    judge_rows(CRITERION, ROWS, [first])
    judge_rows(CRITERION, ROWS[::-1], [again])
    judge_rows(CRITERION, ROWS, [other], seed=7)
    assert first.asked == again.asked[::-1]
    assert {question.seed for question in other.asked} == {7}
