"""Several answers to every row: asked for each, kept each, counted as one row."""

from __future__ import annotations

import json
import math
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sluicegate.cards import ReportContext, report_html
from sluicegate.errors import ConfigError, EvidenceError, IntegrityError
from sluicegate.evaluation import evaluate, read_evidence, write_evidence
from sluicegate.evaluation.answers import Questions, answer_all
from sluicegate.gates import Policy, decide
from sluicegate.gates.repeats import noise
from sluicegate.gates.rules import check_rule
from sluicegate.generating import Messages
from sluicegate.models.scripted import ScriptedModel
from sluicegate.records import (
    Decision,
    Evidence,
    Example,
    Generation,
    GenerationSettings,
    Lineage,
    Release,
)

ROWS, TIMES = 30, 3
RULE: dict[str, Any] = {
    "name": "must", "kind": "every_case", "metric": "exact_match", "threshold": 1.0,
}  # fmt: skip


def golden(critical: int = 0) -> list[Example]:
    return [
        Example(f"e{n:02}", f"g{n}", {"q": f"{n}?"}, ("yes",), "s", critical=n < critical)
        for n in range(ROWS)
    ]


def answered(right: list[list[bool]], release: str = "r", critical: int = 0) -> Evidence:
    """Evidence of rows that were right in each repeat or not, repeat by repeat."""
    outputs = [
        Generation("yes" if one else "no", 1, 1, 0.1 * (place + 1), True)
        for place, row in enumerate(right)
        for one in row
    ]
    return evaluate(release, golden(critical), "g", outputs, ["exact_match"])


def noisy(seed: int, share: float, release: str = "r") -> Evidence:
    chance = random.Random(seed)
    return answered([[chance.random() < share for _ in range(ROWS)] for _ in range(TIMES)], release)


def rendered(count: int) -> list[tuple[str, Messages]]:
    return [(f"e{n}", [{"role": "user", "content": f"say {n}"}]) for n in range(count)]


def asks(model: ScriptedModel, repeats: int) -> Questions:
    return Questions(lambda: model, rendered(4), GenerationSettings(seed=7), "k", repeats=repeats)


def test_each_repeat_is_a_call_of_its_own(tmp_path: Path) -> None:
    """None is served from another's answers, each has its own seed, and each is kept."""
    model = ScriptedModel(lambda request: f"{request.messages[-1]['content']} {request.seed}")
    found = answer_all({"a": asks(model, 3)}, tmp_path)["a"]
    assert [one.text for one in found] == [f"say {n} {7 + k}" for k in range(3) for n in range(4)]
    assert len(model.asked) == 12
    assert answer_all({"a": asks(model, 3)}, tmp_path)["a"] == found
    assert len(model.asked) == 12


def test_more_repeats_only_ask_for_what_is_missing(tmp_path: Path) -> None:
    """The answer that was there is the first repeat: its key is what it always was."""
    texts = iter("abcdefghijkl")
    model = ScriptedModel(lambda request: next(texts))
    first = answer_all({"a": asks(model, 1)}, tmp_path)["a"]
    found = answer_all({"a": asks(model, 3)}, tmp_path)["a"]
    assert found[:4] == first
    assert len(model.asked) == 12


def test_a_row_has_the_means_and_every_answer() -> None:
    """Scores and time are means, the text is the first answer's, operations count all answers."""
    right = [[True] * ROWS, [False] * ROWS, [True] * ROWS]
    evidence = answered(right)
    row = evidence.rows[0]
    assert (len(evidence.rows), evidence.summaries["exact_match"].n) == (ROWS, ROWS)
    assert row.scores["exact_match"] == pytest.approx(2 / 3)
    assert row.each("exact_match") == [1.0, 0.0, 1.0]
    assert (row.output, row.outputs) == ("yes", ["yes", "no", "yes"])
    assert row.seconds == pytest.approx(0.2)
    assert evidence.operations["latency_p99"] == pytest.approx(0.3)


def test_one_failed_answer_of_several_counts() -> None:
    """It scores the worst, the others what they are; the row says why."""
    outputs = [Generation("yes", 1, 1, 0.1, True)] * (2 * ROWS)
    outputs[ROWS] = replace(outputs[0], failure="KeyError: 'x'")
    row = evaluate("r", golden(), "g", outputs, ["exact_match"]).rows[0]
    assert row.scores["exact_match"] == 0.5
    assert [one.failure for one in row.repeats] == ["", "KeyError: 'x'"]
    assert row.failure == "KeyError: 'x'"


def test_answers_that_fill_no_repeat_are_refused() -> None:
    """A repeat of some rows only would weigh them more."""
    outputs = [Generation("yes", 1, 1, 0.1, True)] * (ROWS + 1)
    with pytest.raises(EvidenceError, match=f"{ROWS + 1} answers to {ROWS}"):
        evaluate("r", golden(), "g", outputs, ["exact_match"])


def test_they_are_kept_in_the_evidence(tmp_path: Path) -> None:
    """Read back equal; they count in the digest; without repeats there is no column."""
    evidence = noisy(1, 0.7)
    write_evidence(tmp_path / "e.parquet", evidence)
    assert read_evidence(tmp_path / "e.parquet") == evidence
    once = answered([[True] * ROWS])
    assert "repeats" not in once.rows[0].content()
    first = evidence.rows[0]
    other = replace(first, repeats=(replace(first.repeats[0], output="?"), *first.repeats[1:]))
    assert replace(evidence, rows=(other, *evidence.rows[1:])).digest != evidence.digest


def test_repeats_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    """Fewer in one row, or scores that are not their means: neither file nor gate takes them."""
    evidence = noisy(1, 0.7)
    first = evidence.rows[0]
    fewer = replace(evidence, rows=(replace(first, repeats=first.repeats[:2]), *evidence.rows[1:]))
    better = replace(first, scores={"exact_match": 1 - first.scores["exact_match"] / 2 + 0.01})
    forged = replace(evidence, rows=(better, *evidence.rows[1:]), summaries={})
    with pytest.raises((EvidenceError, IntegrityError), match="not repeated"):
        write_evidence(tmp_path / "e.parquet", fewer)
    policy = Policy.model_validate(
        {"rules": [{"name": "r", "kind": "at_least", "metric": "exact_match", "threshold": 0.5}]}
    )
    for one in (replace(fewer, summaries={}), forged):
        with pytest.raises(EvidenceError, match="means of its repeats"):
            decide(one, None, policy, facts={})


def test_repeats_of_a_row_are_one_observation() -> None:
    """Three equal answers to every row show no more than one does."""
    chance = random.Random(3)
    right = [chance.random() < 0.8 for _ in range(ROWS)]
    rule = {"name": "r", "kind": "at_least", "metric": "exact_match", "threshold": 0.7}
    policy = Policy.model_validate({"rules": [rule]})
    once, thrice = (
        decide(answered([right] * times), None, policy, facts={}).rules[0] for times in (1, 3)
    )
    assert (once.low, once.high, once.n) == (thrice.low, thrice.high, thrice.n)


def test_noise_is_taken_apart() -> None:
    """Of rows whose chances differ and whose answers are drawn, both variances come out right, and
    the standard errors follow from them.
    """
    chance = np.random.default_rng(5)
    rows, times = 4000, 4
    shares = chance.choice([0.5, 0.9], rows)
    right = chance.random((times, rows)) < shares
    examples = [Example(str(n), str(n), {"q": "?"}, ("yes",), "s") for n in range(rows)]
    outputs = [Generation("yes" if one else "no", 1, 1, 0.1, True) for one in right.ravel()]
    found = noise(evaluate("r", examples, "g", outputs, ["exact_match"]), None, "exact_match")
    assert found is not None
    assert found.within**2 == pytest.approx((0.25 + 0.09) / 2, rel=0.05)
    assert found.between**2 == pytest.approx(0.04, rel=0.2)
    assert found.error == pytest.approx(math.sqrt((0.04 + 0.17 / 4) / rows), rel=0.05)
    assert found.without_noise < found.with_rows < found.with_repeat < found.error
    assert len(found.flipped) == pytest.approx(rows * (0.875 + 0.3438) / 2, rel=0.1)


def test_noise_of_a_difference_and_of_nothing() -> None:
    """Against a champion the difference varies; one answer a row has no noise to look at."""
    pair = noise(noisy(1, 0.7), noisy(2, 0.7, "c"), "exact_match")
    alone = noise(noisy(1, 0.7), None, "exact_match")
    assert pair is not None
    assert alone is not None
    assert pair.compared
    assert not alone.compared
    assert pair.within > alone.within
    assert noise(answered([[True] * ROWS]), None, "exact_match") is None
    still = noise(answered([[True] * ROWS] * 2), None, "exact_match")
    assert still is not None
    assert "no noise" in still.advice


def test_the_report_shows_them() -> None:
    """Which rows flip, and what more answers would buy."""
    evidence = noisy(1, 0.7)
    found = noise(evidence, None, "exact_match")
    assert found is not None
    assert found.flipped
    policy = Policy.model_validate({"rules": [{**RULE, "kind": "at_least", "threshold": 0.1}]})
    verdict = decide(evidence, None, policy, facts={})
    lineage = Lineage("1" * 64, "2" * 64, {}, "4" * 64, "5" * 40, False, None)
    release = Release("b" * 64, None, "c" * 64, "d" * 64)
    page = report_html(ReportContext(verdict, release, lineage, evidence, noise=[found]))
    assert "answered 3 times" in page
    assert found.flipped[0] in page
    assert "one more repeat narrows the interval by" in page


@pytest.mark.parametrize(
    ("right", "at_least", "decision", "said"),
    [
        ([1, 1, 1], None, Decision.PROMOTE, "2 of 2 critical rows are right at least 3 of 3"),
        ([1, 0, 1], None, Decision.REJECT, "not e00 (2)"),
        ([1, 0, 1], 2, Decision.PROMOTE, "at least 2 of 3 times"),
        ([0, 0, 0], 1, Decision.REJECT, "1 of 2 critical rows"),
        ([1, 1, 1], 4, Decision.HOLD, "evaluate.repeats"),
    ],
)
def test_every_critical_case(
    right: list[int], at_least: int | None, decision: Decision, said: str
) -> None:
    """One case that fails too often rejects whatever the mean is; what was not asked often enough
    holds.
    """
    rows = [[bool(one), *[True] * (ROWS - 1)] for one in right]
    evidence = answered(rows, critical=2)
    more = {"at_least": at_least} if at_least else {}
    found = decide(evidence, None, Policy.model_validate({"rules": [{**RULE, **more}]}), facts={})
    assert found.decision is decision
    assert said in found.rules[0].reason


def test_a_suite_at_98_percent_with_a_dead_case_is_rejected() -> None:
    """The mean clears its threshold, the case does not."""
    evidence = answered([[False, *[True] * (ROWS - 1)]] * TIMES, critical=1)
    mean = {**RULE, "name": "mean", "kind": "at_least", "threshold": 0.8, "compare": "mean"}
    found = decide(evidence, None, Policy.model_validate({"rules": [mean, RULE]}), facts={})
    assert [one.decision for one in found.rules] == [Decision.PROMOTE, Decision.REJECT]
    assert found.decision is Decision.REJECT


def test_without_critical_rows_it_holds() -> None:
    """A rule about nothing passes nothing."""
    found = decide(noisy(1, 1.0), None, Policy.model_validate({"rules": [RULE]}), facts={})
    assert found.decision is Decision.HOLD
    assert "no row is critical" in found.rules[0].reason


def test_lower_is_better_turns_the_side() -> None:
    """Each case of a metric that is better low has to be at the threshold or below."""
    evidence = answered([[True] * ROWS] * 2, critical=2)
    rule = Policy.model_validate({"rules": [{**RULE, "threshold": 0.5, "direction": "lower"}]})
    assert decide(evidence, None, rule, facts={}).decision is Decision.REJECT


def test_policies_without_it_keep_their_digest() -> None:
    """The new field is hashed only where it is set, and only this kind takes it."""
    rule = {**RULE, "kind": "at_least", "threshold": 0.5}
    plain = Policy.model_validate({"rules": [rule]})
    assert "at_least" not in json.loads(json.dumps(plain.content))["rules"][0]
    wrong = Policy.model_validate({"rules": [{**rule, "at_least": 2}]})
    with pytest.raises(ConfigError, match="takes no at_least"):
        check_rule(wrong.rules[0], "policy")
