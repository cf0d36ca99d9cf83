"""The bars of a judge's calibration, by small simulations: who has to pass does, who must not does
not. `benchmarks/judge_bars.py` has the large ones.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import judge_bars

from sluicegate.config import CalibrationParams
from sluicegate.judges import JudgeRow, differential, measuring
from sluicegate.judges.annotators import Replaced, alternative_annotator, half_replaced
from sluicegate.judges.checks import Check, checks_of
from sluicegate.judges.labels import TURNED, LabelledRow
from soak_scale import scaled

RUNS = scaled(40, 400)
PAIRS = {name: judge for name, judge, _ in judge_bars.PAIR_JUDGES}
SCORES = {name: judge for name, judge, _ in judge_bars.SCORE_JUDGES}
REFUSED = [
    *(("pairs", name) for name, _, wanted in judge_bars.PAIR_JUDGES if wanted == ""),
    *(("scores", name) for name, _, wanted in judge_bars.SCORE_JUDGES if wanted == ""),
]


def passed(form: str, name: str, count: int, raters: int, use: str = "comparative") -> float:
    judge = (PAIRS if form == "pairs" else SCORES)[name]
    return judge_bars.share(judge_bars.simulated(form, judge, count, raters, RUNS), use)


@pytest.mark.parametrize("raters", [1, 3])
@pytest.mark.parametrize("form", ["pairs", "scores"])
def test_right_in_nine_of_ten_passes(form: str, raters: int) -> None:
    """With 60 rows at least 90 % of such judges pass, for absolute use too; 80 % of few runs."""
    assert passed(form, "right in 90 %", 60, raters, "absolute") >= 0.8


@pytest.mark.parametrize("raters", [1, 3])
@pytest.mark.parametrize(("form", "name"), REFUSED)
def test_who_must_not_pass(form: str, name: str, raters: int) -> None:
    """At most 5 % of judges pass that are right in 60 % or on easy rows alone, go by length or
    favour a release; 15 % of few runs.
    """
    assert passed(form, name, 60, raters) <= 0.15


@pytest.mark.parametrize("raters", [1, 3])
def test_an_inflated_scale_has_no_absolute_use(raters: int) -> None:
    """A level more for everyone passes no absolute use; where each row has one rater, it may still
    compare.
    """
    found = judge_bars.simulated(
        "scores", SCORES["right in 90 %, inflated by a level"], 60, raters, RUNS
    )
    assert judge_bars.share(found, "absolute") <= 0.15
    if raters == 1:
        assert judge_bars.share(found, "comparative") >= 0.6


@pytest.mark.parametrize("form", ["pairs", "scores"])
def test_a_person_passes_as_a_judge(form: str) -> None:
    """One rater more, held against the others as if it were the judge, mostly passes."""
    assert judge_bars.share(judge_bars.a_person(form, 60, 3, RUNS), "comparative") >= 0.75


def test_the_real_experts_pass_as_judges() -> None:
    """Each of SummEval's experts, held against the two others, mostly passes for comparisons; an
    inflated judge never does for absolute use.
    """
    folder = os.environ.get("SLUICE_SHARED_DATA")
    if not folder:
        pytest.skip("needs SLUICE_SHARED_DATA")
    shared = Path(folder) / "summeval_consistency" / "summeval.json"
    experts = judge_bars.on_real(shared, "scores", None, 60, 2, RUNS)
    assert judge_bars.share(experts, "comparative") >= 0.7
    inflated = SCORES["right in 90 %, inflated by a level"]
    found = judge_bars.on_real(shared, "scores", inflated, 60, 2, RUNS)
    assert judge_bars.share(found, "absolute") <= 0.1


def test_the_alternative_annotator_test_by_hand() -> None:
    """Ana and ben agree in 30 of 40 rows, the judge sides with ben in all: it is nearer to ben than
    ana is, and as near to ana as ben is.
    """
    ben = np.array([1.0] * 20 + [0.0] * 20)
    ana = np.where(np.arange(40) < 10, 1 - ben, ben)
    names = [str(row) for row in range(40)]
    found = alternative_annotator(ben, np.array([ana, ben]), ["ana", "ben"], names, 0.1)
    assert [(one.rater, one.rows, one.judge, one.person) for one in found] == [
        ("ana", 40, 1.0, 0.75),
        ("ben", 40, 1.0, 1.0),
    ]
    assert max(one.p for one in found) < 0.01
    assert (
        alternative_annotator(ben[:20], np.array([ana, ben])[:, :20], ["a", "b"], names[:20], 0.1)
        == ()
    )
    alone = np.array([ana, np.full(40, np.nan)])
    assert alternative_annotator(ben, alone, ["ana", "ben"], names, 0.1) == ()


def test_half_of_the_raters_have_to_be_replaced() -> None:
    """The second smallest of three p values counts, times the number of raters left."""
    raters = [Replaced(str(p), 60, 1.0, 1.0, p) for p in (0.9, 0.001, 0.02)]
    assert half_replaced(raters) == pytest.approx(0.04)
    assert half_replaced(raters[:2]) == pytest.approx(0.002)


def test_rows_of_one_group_count_once() -> None:
    """Copies of the rows in their groups change no estimate and no error."""
    values, sides = np.array([0.1, 0.5, 0.2, 0.9]), np.array([True, False, True, False])
    one = differential.gap(values, sides, list("abcd"))
    two = differential.gap(np.tile(values, 3), np.tile(sides, 3), list("abcd") * 3)
    assert one is not None
    assert two is not None
    assert (two.value, two.error, two.groups) == pytest.approx((one.value, one.error, one.groups))


def checked(count: int, turned: bool = False) -> dict[str, Check]:
    """The checks of a judge that is always right, on pairs of which the candidate wins all."""
    rows = [
        LabelledRow(
            JudgeRow(f"{n}{TURNED * turned}", "task", f"good {n}", (), f"worse answer {n}"),
            str(n),
            (float(not turned),),
            ("ana",),
        )
        for n in range(count)
    ]
    data = measuring.sample(judge_bars.PAIRS, rows, [row.human for row in rows])
    known = {"groups": count, "rows": count, "failed": 0, "sentinels": 0}
    return {one.name: one for one in checks_of(data, {}, (), known, CalibrationParams())}


@pytest.mark.parametrize("turned", [False, True])
def test_labels_that_all_say_the_same_show_no_judgement(turned: bool) -> None:
    """Where people always took the candidate, who always takes it has shown nothing; how many
    labels are missing is told. A turned pair has the candidate in the second place.
    """
    found = checked(60, turned)
    assert found["agrees with people"].passed
    beyond = found["reads beyond release"]
    assert (beyond.passed, beyond.more) == (False, 5)
    assert "people took the answers of the candidate in 60 pairs, not in 0" in beyond.said


def test_what_is_missing_is_told_in_rows() -> None:
    """A judge that is right, on too few rows, is told how many more would show it."""
    assert checked(40)["enough rows"].more == 10
    assert checked(60)["enough rows"].more is None
