"""The gate of judges: one that agrees with people passes, one that knows nothing or has a bias is
refused, fail closed.
"""

from __future__ import annotations

import json
import random
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from labelled_pairs import (
    DIRECT,
    PAIRWISE,
    coin_a_pair,
    coin_each,
    oracle,
    pairs,
    parts,
    pick,
    scored,
    scorer,
)
from sluicegate.config import CalibrationParams
from sluicegate.errors import DataError
from sluicegate.generating import Failure, Reply, Request
from sluicegate.hashing import as_json
from sluicegate.judges import Criterion, JudgeRow, judge_digest
from sluicegate.judges.calibration import (
    Calibration,
    calibrate,
    record,
    recorded,
    standing,
)
from sluicegate.judges.labels import LabelledRow, Labels
from sluicegate.models.scripted import ScriptedModel
from soak_scale import scaled

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
QUICK = CalibrationParams(resamples=100)
Said = Callable[[Request], str | Reply | Failure]


def calibrated(
    answer: Said, labels: Labels, criterion: Criterion = PAIRWISE, **changes: object
) -> Calibration:
    params = QUICK.model_copy(update=changes)
    return calibrate(criterion, labels, [ScriptedModel(answer)], params, now=NOW)


def failed(found: Calibration) -> set[str]:
    return {check.name for check in found.checks if not check.passed}


def test_an_oracle_with_noise_passes() -> None:
    """A judge that says in nine pairs of ten what people say passes every check: the gate of judges
    can be passed.
    """
    labels, worth = pairs(100)
    found = calibrated(oracle(worth, 0.1), labels)
    assert failed(found) == set()
    assert found.passed
    assert 0.8 < found.measures["accuracy"].value < 1.0
    assert found.measures["position_bias"].value == 0.0
    assert found.sentinels == 10
    assert found.calls == 2 * (100 + 100 + 10)
    assert (found.rows, found.groups, found.raters) == (100, 100, 1)


def test_a_scorer_near_people_passes() -> None:
    """The same for a judge that gives scores; its order with people's decides, and its levels are
    compared as well.
    """
    labels, worth = scored(80)
    found = calibrated(scorer(worth), labels, DIRECT)
    assert failed(found) == set()
    assert found.headline == "spearman"
    assert found.measures["weighted_kappa"].value > 0.8
    assert "position_bias" not in found.measures
    assert set(found.baselines) == {"longer", "shorter", "constant"}
    assert found.uses == ("comparative", "absolute")
    assert [point.human.rows for point in found.points]


def test_picking_by_position_is_refused() -> None:
    """A judge that takes what is shown first in every pair is refused, with its bias named and
    bounded.
    """
    labels, _ = pairs(60)
    found = calibrated(lambda question: pick(True), labels)
    assert not found.passed
    assert {"order of the answers", "agrees with people", "known-bad answers"} <= failed(found)
    assert found.measures["position_bias"].value == 1.0
    assert found.measures["always_first"].value == 1.0
    assert found.measures["always_second"].high < 0.1


def test_picking_the_longer_is_refused() -> None:
    """Where the longer answer is mostly right, going by length alone is still no better than going
    by length alone.
    """
    labels, _ = pairs(100, longer=0.85)

    def by_length(question: Request) -> str:
        shown = parts(question)
        return pick(len(shown["FIRST ANSWER"]) > len(shown["SECOND ANSWER"]))

    found = calibrated(by_length, labels)
    assert found.measures["accuracy"].low > 0.7
    assert "reads beyond length" in failed(found)


def test_a_constant_score_is_refused() -> None:
    """Giving everyone a four agrees with nobody, however high people's labels are."""
    labels, _ = scored(80)
    found = calibrated(lambda question: '{"reason": "good", "score": 4}', labels, DIRECT)
    assert {"agrees with people", "reads beyond length", "known-bad answers"} <= failed(found)
    assert found.measures["spearman"].value == 0.0


@pytest.mark.parametrize("coin", [coin_each, coin_a_pair])
def test_a_coin_passes_in_less_than_one_calibration_of_twenty(coin: Callable[[int], Said]) -> None:
    """Over many labelled sets a judge that tosses a coin passes in fewer than 5 %."""
    runs = scaled(12, 400)
    passed = sum(calibrated(coin(seed), pairs(60, seed)[0]).passed for seed in range(runs))
    assert passed < 0.05 * runs


def test_rows_without_a_verdict_count_as_wrong() -> None:
    """An answer that does not come counts as wrong, and one in ten is too many; the report says
    why.
    """
    labels, worth = pairs(60)
    right = oracle(worth, 0.0)

    def sometimes(question: Request) -> str | Failure:
        return (
            Failure("the endpoint is down")
            if re.match(down, parts(question)["SOURCE"])
            else right(question)
        )

    down = "task 7 of"
    found = calibrated(sometimes, labels)
    assert found.passed
    assert (found.failed, found.failures) == (1, ("the endpoint is down",))
    assert found.measures["accuracy"].value == pytest.approx(59 / 60)
    down = "task [1-7] of"
    assert "usable answers" in failed(calibrated(sometimes, labels))


def test_a_judge_that_never_parses_is_refused() -> None:
    """With no verdict at all nothing is measured, and nothing has passed."""
    found = calibrated(lambda question: "I like both!", pairs(60)[0])
    assert not found.passed
    assert found.measures == {}
    assert {"usable answers", "order of the answers", "same answer again"} <= failed(found)


def test_too_few_rows_refuse() -> None:
    """What is right on too few labelled rows has not been shown; copies in one group count once."""
    labels, worth = pairs(40)
    assert failed(calibrated(oracle(worth, 0.0), labels)) == {"enough rows"}
    labels, worth = pairs(100)
    grouped = Labels(
        tuple(replace(row, group=f"g{place % 40}") for place, row in enumerate(labels.rows))
    )
    assert "enough rows" in failed(calibrated(oracle(worth, 0.0), grouped))


def test_no_labels_is_an_error() -> None:
    """An empty set of labels is a mistake of the caller, with a hint how to make some."""
    with pytest.raises(DataError, match="no labelled row") as caught:
        calibrated(lambda question: pick(True), Labels(()))
    assert "labels export better" in caught.value.hint


def test_a_judge_that_changes_its_mind_is_refused() -> None:
    """Right the first time, and a coin under another seed: not the same answer again."""
    labels, worth = pairs(100)
    right, chance = oracle(worth, 0.0), random.Random(1)
    found = calibrated(
        lambda question: right(question) if question.seed == 0 else pick(chance.random() < 0.5),
        labels,
    )
    assert failed(found) == {"same answer again"}


def test_known_bad_answers_must_be_noticed() -> None:
    """One praised sentinel refuses; sentinels of the criterion and of the labels count; no sentinel
    at all refuses.
    """
    labels, worth = scored(80)
    good = scorer(worth)

    def praises(question: Request) -> str:
        return (
            '{"reason": "", "score": 5}'
            if parts(question)["ANSWER"] == "gibberish zzz"
            else good(question)
        )

    found = calibrated(praises, labels, DIRECT)
    assert failed(found) == {"known-bad answers"}
    assert found.missed == ("bad",)
    bare = replace(DIRECT, sentinels=())
    assert failed(calibrated(good, labels, bare)) == {"known-bad answers"}
    marked = LabelledRow(
        JudgeRow("x", "task", "nothing to say at all"), "gx", (0.0,), ("ana",), sentinel=True
    )
    assert calibrated(good, Labels((*labels.rows, marked)), bare).passed


def test_known_bad_answers_are_shown_to_the_judge() -> None:
    """Canned, echoed and short known-bad answers, which an evaluation settles itself, are asked
    about all the same.
    """
    labels, worth = scored(80)
    good, seen = scorer(worth), []
    bad = {"Great summary.": 4, "task 90 of many tasks to do": 1, "Yes": 1}

    def praises(question: Request) -> str:
        shown = parts(question)
        seen.append(shown["ANSWER"])
        return '{"reason": "", "score": 5}' if shown["ANSWER"] in bad else good(question)

    rows = tuple(
        LabelledRow(
            JudgeRow(f"{text} {n}", text if "task" in text else f"source {n}", text),
            f"b{n}",
            (0.0,),
            ("",),
            True,
        )
        for text, count in bad.items()
        for n in range(count)
    )
    found = calibrated(
        praises, Labels((*labels.rows, *rows)), replace(DIRECT, sentinels=(), min_words=2)
    )
    assert failed(found) == {"known-bad answers"}
    assert (len(found.missed), found.sentinels) == (6, 6)
    assert {text: seen.count(text) for text in bad} == bad


def test_equals_are_not_noticed_either() -> None:
    """Pairwise a known-bad answer has to lose in both orders; calling it equal is no notice."""
    labels, worth = pairs(60)
    right = oracle(worth, 0.0)

    def shy(question: Request) -> str:
        shown = parts(question)
        known = all(
            (shown["SOURCE"], shown[f"{place} ANSWER"]) in worth for place in ("FIRST", "SECOND")
        )
        return right(question) if known else '{"reason": "", "better": "equal"}'

    found = calibrated(shy, labels)
    assert failed(found) == {"known-bad answers"}
    assert len(found.missed) == found.sentinels == 10


def test_several_people_and_their_agreement() -> None:
    """With several labels a row their mean is the measure, and how far people agree among
    themselves stands beside it.
    """
    labels, worth = scored(60)
    two = Labels(
        tuple(
            replace(
                row, labels=(row.labels[0], min(1.0, row.labels[0] + 0.25)), raters=("ana", "ben")
            )
            for row in labels.rows
        )
    )
    found = calibrated(scorer(worth), two, DIRECT)
    assert found.raters == 2
    assert 0.5 < found.measures["raters_alpha"].value < 1.0
    assert "raters_alpha" not in calibrated(scorer(worth), labels, DIRECT).measures


def test_a_record_stands_for_one_digest_and_for_a_time(tmp_path: Path) -> None:
    """ok from the day it was made until it expires; for another model, prompt or threshold it is
    none.
    """
    labels, worth = pairs(60)
    found = calibrated(oracle(worth, 0.0), labels)
    path = record(tmp_path, found)
    assert path == tmp_path / "calibrations" / f"{found.digest}.json"
    assert recorded(tmp_path, found.digest) == as_json(found)
    assert standing(tmp_path, found.digest, NOW) == "ok"
    assert standing(tmp_path, found.digest, NOW, name="better", params=QUICK) == "ok"
    assert standing(tmp_path, found.digest, NOW + timedelta(days=89, hours=23)) == "ok"
    assert standing(tmp_path, found.digest, NOW + timedelta(days=90)) == "stale"
    assert standing(tmp_path, found.digest, NOW - timedelta(seconds=1)) == "stale"
    assert (
        standing(tmp_path, found.digest, NOW, params=QUICK.model_copy(update={"accuracy": 0.9}))
        == "stale"
    )
    other = judge_digest(
        replace(PAIRWISE, text="Which is longer?"), [ScriptedModel(lambda question: "")]
    )
    record(tmp_path, replace(found, uses=("comparative",)))
    assert standing(tmp_path, found.digest, NOW, params=QUICK) == "comparative"
    record(tmp_path, replace(found, uses=()))  # 0.1.0 wrote none
    assert standing(tmp_path, found.digest, NOW) == "stale"
    record(tmp_path, found)
    assert standing(tmp_path, other, NOW) == "uncalibrated"
    assert standing(tmp_path, other, NOW, name="better") == "other_digest"
    assert standing(tmp_path, found.digest, NOW, name="worse") == "uncalibrated"


def test_a_failed_or_damaged_record_never_stands(tmp_path: Path) -> None:
    """A refused judge is `failed`; a record edited into a pass, or cut short, is as good as none."""
    found = calibrated(lambda question: pick(True), pairs(60)[0])
    path = record(tmp_path, found)
    assert standing(tmp_path, found.digest, NOW) == "failed"
    value = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps({**value, "passed": True}), "utf-8")
    assert standing(tmp_path, found.digest, NOW) == "uncalibrated"
    path.write_text(path.read_text("utf-8")[:200], "utf-8")
    assert standing(tmp_path, found.digest, NOW) == "uncalibrated"


def test_the_same_labels_and_answers_give_the_same_record() -> None:
    """Nothing in a calibration depends on chance or on the order of the lines in the file."""
    labels, worth = pairs(60)
    first = calibrated(oracle(worth, 0.1), labels)
    again = calibrated(oracle(worth, 0.1), Labels(tuple(reversed(labels.rows))))
    assert first.labels == again.labels
    assert first.measures["accuracy"] == again.measures["accuracy"]
    assert as_json(first) == as_json(calibrated(oracle(worth, 0.1), labels))


def test_a_token_answer_may_begin_with_a_space_of_its_own() -> None:
    """Where a tokenizer puts a space first, the choice is read at the place where 1 or 2 is among
    the likely tokens.
    """
    labels, _ = pairs(10)
    places = ({" ": -0.3, "\n": -3.0}, {"9": -0.9, "1": -1.4, "2": -2.5})
    found = calibrated(
        lambda question: Reply("9.", 10, 2, 0.1, False, places),
        labels,
        replace(PAIRWISE, answer="token", max_tokens=2),
    )
    assert found.failed == 0
    assert found.measures["always_first"].value == 1.0
