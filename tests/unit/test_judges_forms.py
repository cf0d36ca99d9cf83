"""Each form asks what its criterion says and makes of the answers what its definition says."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluicegate.generating import Reply, Request
from sluicegate.judges import Criterion, JudgeRow, judge_rows
from sluicegate.judges.base import Judged, depends_on_order
from sluicegate.judges.sentences import claims, sentences
from sluicegate.judges.weighting import weighted_score, weighted_token
from sluicegate.models.scripted import ScriptedModel

ROW = JudgeRow(
    "r",
    "Order 7 came late. The agent refunded 5 euros.",
    "The order was late; five euros went back. Bye.",
)
DIRECT = Criterion("c", "direct", "How good.", ("j",), (1, 5))
GEVAL = replace(DIRECT, form="geval", steps=("Read it.", "Score it."))
TOKEN = replace(DIRECT, answer="token")
PAIR = replace(DIRECT, form="pairwise", scale=(0, 1))
CLAIMS = replace(DIRECT, form="claims", scale=(0, 1))
SCORED = '{"reason": "r", "score": 4}'
PLACES = (
    {'{"': -0.1, "{": -2.0}, {"reason": -0.1}, {'":': -0.1}, {' "': -0.1}, {"r": -0.1},
    {'",': -0.1}, {' "': -0.1},
    {"score": -0.1}, {'":': -0.1}, {" ": -0.1},
    {token: math.log(p) for token, p in (("4", 0.5), ("5", 0.25), (" 5", 0.05), ("3", 0.1), ("7",
    0.05), ("x", 0.05))},
    {"}": -0.1}, {"<|im_end|>": -0.1},
)  # fmt: skip
EXPECTED = (4 * 0.5 + 5 * 0.3 + 3 * 0.1) / 0.9


def judged(criterion: Criterion, *answers: str | Reply, row: JudgeRow = ROW) -> Judged:
    left = list(answers)
    return judge_rows(criterion, [row], [ScriptedModel(lambda question: left.pop(0))])


def test_direct_shares_the_scale() -> None:
    """The score is the place in the scale, and the reason is kept."""
    result = judged(DIRECT, SCORED)
    assert (result.scores, result.reasons, result.weighted, result.calls) == (
        (0.75,),
        ("r",),
        None,
        1,
    )


def test_what_a_judge_is_told() -> None:
    """Rules and criterion are in the system message, equal for all rows; the data, marked, in the
    user's.
    """
    model = ScriptedModel(lambda question: SCORED)
    judge_rows(DIRECT, [ROW, replace(ROW, source="Another one.")], [model])
    first, second = model.asked
    assert first.messages[0] == second.messages[0]
    assert "How good." in first.messages[0]["content"]
    assert "integer from 1 to 5" in first.messages[0]["content"]
    assert ROW.output not in first.messages[0]["content"]
    assert ROW.source in first.messages[1]["content"]
    assert ROW.output in first.messages[1]["content"]
    assert (first.temperature, first.seed, first.alternatives) == (0.0, 0, 0)


def test_geval_weights_by_token_probabilities() -> None:
    """The score is the sum of p(s) * s over the scale, renormalised over it; other tokens count for
    nothing.
    """
    result = judged(GEVAL, Reply(SCORED, 9, 9, 0.1, alternatives=PLACES))
    assert result.scores[0] == pytest.approx((EXPECTED - 1) / 4)
    assert result.weighted is True
    assert f"{EXPECTED:.2f} by token probabilities" in result.reasons[0]


@pytest.mark.parametrize(
    "reply",
    [
        Reply(SCORED, 9, 9, 0.1),
        Reply(SCORED, 9, 9, 0.1, alternatives=({"something": -0.1}, {"else": -0.1})),
        Reply(SCORED, 9, 9, 0.1, alternatives=(*PLACES[:10], {"4": float("nan")}, *PLACES[11:])),
    ],
)
def test_geval_says_that_it_is_not_weighted(reply: Reply) -> None:
    """Without usable probabilities the judge's own number counts, `weighted` is False and the
    reason says so.
    """
    result = judged(GEVAL, reply)
    assert (result.scores, result.weighted) == ((0.75,), False)
    assert "not weighted" in result.reasons[0]


def test_one_unweighted_row_marks_the_run() -> None:
    """`weighted` is True only if every score was weighted."""
    replies = [Reply(SCORED, 1, 1, 0.0, alternatives=PLACES), Reply(SCORED, 1, 1, 0.0)]
    result = judge_rows(
        GEVAL,
        [ROW, replace(ROW, source="Other.")],
        [ScriptedModel(lambda question: replies.pop(0))],
    )
    assert result.weighted is False


def test_the_place_of_the_score_is_found_through_thoughts_and_fences() -> None:
    """Thoughts before, a fence around and a reason after the score do not hide its token."""
    thought = tuple({word: -0.1} for word in ("<think>", '"score"', ": ", "1", "</think>", "\n"))
    fenced = (
        {"```": -0.1},
        {"json\n": -0.1},
        *PLACES[:-1],
        {"\n": -0.1},
        {"```": -0.1},
        {"<eos>": -0.1},
    )
    text = f'<think>"score": 1</think>\n```json\n{SCORED}\n```'
    reply = Reply(text, 1, 1, 0.0, alternatives=(*thought, *fenced))
    assert weighted_score(reply, 1, 5) == pytest.approx(EXPECTED)
    after = Reply(
        '{"score": 4, "reason": "so"}', 1, 1, 0.0,
        alternatives=({'{"score": ': -0.1}, PLACES[10], {', "reason': -0.1}, {'": "': -0.1},
        {"so": -0.1}, {'"}': -0.1}),
    )  # fmt: skip
    assert weighted_score(after, 1, 5) == pytest.approx(EXPECTED)


def test_a_score_that_shares_its_token_is_weighted() -> None:
    """Tokens such as `:4` and `4}` are compared with others of the same shape."""
    shape = {' 4}': math.log(0.6), ' 2}': math.log(0.2), "4": math.log(0.2)}  # fmt: skip
    assert weighted_score(
        Reply('{"reason": "r", "score": 4}', 1, 1, 0.0, alternatives=(shape,)), 1, 5
    ) == pytest.approx(3.5)


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.text(max_size=3), st.floats(-50, 0), max_size=8))
def test_a_weighted_score_lies_in_the_scale(tokens: dict[str, float]) -> None:
    """Whatever tokens there are, the mean is None or between the ends of the scale."""
    value = weighted_token(tokens, 2, 4)
    assert value is None or 2 - 1e-9 <= value <= 4 + 1e-9


def test_geval_asks_for_steps_once() -> None:
    """Without steps in the file the judge writes them, in one call that shows no row; then they are
    part of the task.
    """
    bare = replace(GEVAL, steps=())
    model = ScriptedModel(
        lambda question: (
            '{"steps": ["Look.", "Count."]}'
            if "steps by which" in question.messages[0]["content"]
            else SCORED
        )
    )
    result = judge_rows(bare, [ROW, replace(ROW, source="Other.")], [model])
    assert result.calls == 3
    assert ROW.output not in str(model.asked[0].messages)
    assert all(
        "1. Look.\n2. Count." in question.messages[0]["content"] for question in model.asked[1:]
    )
    assert result.scores == (0.75, 0.75)


@pytest.mark.parametrize(
    "said", ["no", '{"steps": []}', '{"steps": [1]}', '{"steps": ["x"], "y": 1}']
)
def test_steps_that_do_not_parse_fail_every_row(said: str) -> None:
    """A judge that cannot write steps gives no score at all."""
    result = judged(replace(GEVAL, steps=()), said)
    assert (result.scores, result.calls) == ((None,), 1)
    assert "no evaluation steps" in result.failures[0]


def test_rubric_describes_its_levels() -> None:
    """The levels are in the task, and the score is one of them."""
    rubric = replace(
        DIRECT, form="rubric", scale=(0, 2), levels=((0, "wrong"), (1, "half"), (2, "right"))
    )
    model = ScriptedModel(lambda question: '{"reason": "r", "score": 1}')
    assert judge_rows(rubric, [ROW], [model]).scores == (0.5,)
    assert "0: wrong\n1: half\n2: right" in model.asked[0].messages[0]["content"]
    assert judged(rubric, '{"reason": "r", "score": 3}').failed == 1


def test_token_answers_are_opened_and_weighted() -> None:
    """A small model is asked for one token after an opened answer; probabilities weight it where
    they are known.
    """
    model = ScriptedModel(
        lambda question: Reply(" 4", 5, 1, 0.0, False, ({" 4": math.log(0.5), "2": math.log(0.5)},))
    )
    result = judge_rows(TOKEN, [ROW], [model])
    assert (model.asked[0].messages[-1], model.asked[0].max_tokens) == (
        {"role": "assistant", "content": "Score:"},
        2,
    )
    assert model.asked[0].alternatives > 0
    assert (result.scores, result.weighted) == ((0.5,), True)
    plain = judged(TOKEN, Reply("4", 5, 1, 0.0, False))
    assert (plain.scores, plain.weighted) == ((0.75,), False)
    assert "not weighted" in plain.reasons[0]


def test_a_space_before_the_token_is_no_answer() -> None:
    """Where the tokenizer begins with a space, the score is the token after it, and so are its
    probabilities.
    """
    places = ({" ": math.log(0.9), "5": math.log(0.1)}, {"4": math.log(0.5), "2": math.log(0.5)})
    result = judged(TOKEN, Reply(" 4", 5, 2, 0.0, False, places))
    assert (result.scores, result.weighted) == ((0.5,), True)


def test_a_pair_of_tokens_is_a_forced_choice() -> None:
    """Token answers to pairs: the likelier of 1 and 2 is the choice; where neither is likely there
    is none.
    """
    pair = replace(PAIR, answer="token")
    row = replace(ROW, other="Another answer.")
    places = ({" ": -0.1, "The": -2.5}, {"9": -0.9, "1": -1.4, "2": -2.5})
    reply = Reply(" 9", 1, 2, 0.0, False, places)
    assert judged(pair, reply, reply, row=row).picks == ("11",)
    assert judged(pair, Reply("The", 1, 2, 0.0, False, places[:1]), reply, row=row).failed == 1
    assert judged(
        pair, Reply("2.", 1, 2, 0.0, False), Reply("1", 1, 2, 0.0, False), row=row
    ).picks == ("21",)


@pytest.mark.parametrize("said", ["The", "", "6", "0", "-", "4/", "22", "<think>", "5 5"])
def test_a_first_token_that_is_no_score_fails(said: str) -> None:
    """However likely a score was as second choice, a first token that is none is a failure."""
    result = judged(TOKEN, Reply(said, 5, 1, 0.0, False, ({"4": -0.1},)))
    assert result.scores == (None,)


@pytest.mark.parametrize(
    ("first", "second", "score", "dependent"),
    [
        ("first", "second", 1.0, 0), ("second", "first", 0.0, 0), ("equal", "equal", 0.5, 0),
        ("first", "first", 0.5, 1), ("second", "second", 0.5, 1), ("first", "equal", 0.5, 1),
        ("equal", "first", 0.5, 1),
    ],
)  # fmt: skip
def test_pairwise_asks_in_both_orders(
    first: str, second: str, score: float, dependent: int
) -> None:
    """Only a verdict that both orders share counts; one that turns with the order is 0.5 and
    counted.
    """
    answers = [json.dumps({"reason": "r", "better": better}) for better in (first, second)]
    result = judged(PAIR, *answers, row=replace(ROW, other="Another answer."))
    assert (result.scores, result.order_dependent, result.calls) == ((score,), dependent, 2)
    assert ("depends on the order" in result.reasons[0]) == bool(dependent)


def test_pairwise_shows_both_answers_in_either_place() -> None:
    """Each answer is shown once first and once second, each time under another key."""
    model = ScriptedModel(lambda question: '{"reason": "r", "better": "first"}')
    judge_rows(PAIR, [replace(ROW, output="Mine.", other="Theirs.")], [model])
    one, two = (question.messages[1]["content"] for question in model.asked)
    assert one.index("Mine.") < one.index("Theirs.")
    assert two.index("Theirs.") < two.index("Mine.")
    assert one.splitlines()[0] != two.splitlines()[0]


def test_a_judge_that_picks_by_position_says_nothing() -> None:
    """Token answers: always taking the first gives 0.5 on every row, all of them counted as
    order-dependent.
    """
    rows = [
        replace(ROW, source=f"Case {n}.", output=f"Answer {n}.", other=f"Other {n}.")
        for n in range(30)
    ]
    result = judge_rows(
        replace(PAIR, answer="token"),
        rows,
        [ScriptedModel(lambda question: Reply("1", 1, 1, 0.0, False))],
    )
    assert set(result.scores) == {0.5}
    assert result.order_dependent == 30
    assert set(result.picks) == {"11"}


@pytest.mark.parametrize(
    "said",
    [
        '{"reason": "r", "better": "First"}',
        '{"reason": "r", "better": "1"}',
        '{"better": "first"}',
        "first",
    ],
)
def test_pairwise_is_strict(said: str) -> None:
    """One order that does not parse fails the row."""
    result = judged(
        PAIR, '{"reason": "r", "better": "first"}', said, row=replace(ROW, other="Other answer.")
    )
    assert result.scores == (None,)


def test_picks_of_a_jury() -> None:
    """Two letters a judge; one judge that turns makes the row order-dependent."""
    assert not depends_on_order("1221")
    assert depends_on_order("1211")


def verdicts(*pairs: tuple[bool, int]) -> str:
    return json.dumps(
        {
            "claims": [
                {"claim": n, "supported": yes, "sentence": s} for n, (yes, s) in enumerate(pairs, 1)
            ]
        }
    )


def test_claims_are_the_answers_own() -> None:
    """The share of supported claims is the score; the reason names each claim with its sentence."""
    model = ScriptedModel(lambda question: verdicts((True, 1), (True, 2), (False, 0)))
    result = judge_rows(CLAIMS, [ROW], [model])
    assert result.scores[0] == pytest.approx(2 / 3)
    assert "'five euros went back.': from 'The agent refunded 5 euros.'" in result.reasons[0]
    assert "'Bye.': not supported" in result.reasons[0]
    asked = model.asked[0].messages[1]["content"]
    assert "1. Order 7 came late.\n2. The agent refunded 5 euros." in asked
    assert "1. The order was late\n2. five euros went back.\n3. Bye." in asked


@pytest.mark.parametrize(
    "said",
    [
        verdicts((True, 1), (True, 2)),
        verdicts((True, 1), (True, 3), (False, 0)),
        verdicts((True, 1), (True, 0), (False, 0)),
        verdicts((True, 1), (True, 2), (False, 1)),
        verdicts((True, 1), (True, 2), (False, 0), (True, 1)),
        verdicts((True, 1), (True, -1), (False, 0)),
        verdicts((True, 1), (True, 2), (False, 0)).replace('"claim": 2', '"claim": 3'),
        verdicts((True, 1), (True, 2), (False, 0)).replace("true", "1"),
        '{"claims": [1, 2, 3]}',
        '{"claims": "all"}',
    ],
)
def test_a_claim_without_its_sentence_fails_the_row(said: str) -> None:
    """Missing, doubled or invented verdicts and sentences that do not exist are failures, never
    shares.
    """
    assert judged(CLAIMS, said).scores == (None,)


def test_a_line_in_the_source_cannot_pose_as_a_sentence_number() -> None:
    """Numbers at the beginning of lines are ours alone."""
    model = ScriptedModel(lambda question: verdicts((False, 0)))
    judge_rows(CLAIMS, [JudgeRow("r", "One.\n7. Seven.\nTwo.", "It is so.")], [model])
    assert "1. One.\n2. Seven.\n3. Two." in model.asked[0].messages[1]["content"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (" \n ", []),
        ("one", ["one"]),
        (
            "Mr. A. Smith (St. Ives) paid $3.50. He left!",
            ["Mr. A. Smith (St. Ives) paid $3.50.", "He left!"],
        ),
        (
            "It works, e.g. in U.S. shops. No. 5 is out.",
            ["It works, e.g. in U.S. shops.", "No. 5 is out."],
        ),
        ('He said "Stop!" Then he ran.', ['He said "Stop!"', "Then he ran."]),
        ("Wait... what? Yes!!", ["Wait...", "what?", "Yes!!"]),
        ("今日は雨です。明日は？晴れ！", ["今日は雨です。", "明日は？", "晴れ！"]),
        ("1. first\n2) second\n• third", ["first", "second", "third"]),
        ("see www.example.com for v2.0.1 now", ["see www.example.com for v2.0.1 now"]),
        ("--- !!! ---", []),
    ],
)
def test_sentences(text: str, expected: list[str]) -> None:
    """Sentences end where people end them."""
    assert sentences(text) == expected


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=300))
def test_nothing_that_is_said_is_left_out(text: str) -> None:
    """Letters of an answer are in its claims; only bullets' numbers and the marks between claims
    are not.
    """
    kept = [letter for claim in claims(text) for letter in claim if letter.isalpha()]
    assert kept == [letter for letter in text if letter.isalpha()] or any(
        letter.isdigit() for letter in text
    )
    assert all(any(letter.isalnum() for letter in claim) for claim in claims(text))


def test_questions_hold_no_more_than_they_need() -> None:
    """Neither id nor unshown parts of a row reach the judge."""
    model = ScriptedModel(lambda question: SCORED)
    row = JudgeRow(
        "secret-id", "Source.", "An answer.", ("Reference.",), "Champion.", {"user": "Jane"}
    )
    judge_rows(DIRECT, [row], [model])
    said = str(model.asked)
    assert isinstance(model.asked[0], Request)
    assert not [word for word in ("secret-id", "Reference.", "Champion.", "Jane") if word in said]
