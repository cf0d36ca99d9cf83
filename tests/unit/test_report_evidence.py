"""The report's sections on the evidence: spreads, the worst slice by name, judges that counted and
those that did not.
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from test_cards import EVIL, Page, context, evidence

from sluicegate.cards import report_html
from sluicegate.cards.charts import differences
from sluicegate.cards.report_evidence import BINS, JudgeShown, SliceRow, distribution, worst_slices
from sluicegate.evaluation.judging import Measure
from sluicegate.line.release.report_evidence import slice_rows
from sluicegate.records import Evidence, JudgeUse, Release, ScoredExample, Summary

RELEASE = Release("b" * 64, None, "c" * 64, "d" * 64)
POINT = {"judge": 0.5, "human": {"value": 0.6, "low": 0.4, "high": 0.8, "rows": 20, "groups": 20}}
RECORD = {
    "points": [POINT],
    "passed": True,
    "made": "2026-01-02T00:00",
    "expires": "2026-04-02T00:00",
    "rows": 60,
}


def row(value: str, gain: float, n: int = 20, metric: str = "rougeL") -> SliceRow:
    summary = Summary(0.5, 0.4, 0.6, n, n)
    return SliceRow(
        "industry",
        value,
        metric,
        summary,
        summary,
        Summary(gain, gain - 0.1, gain + 0.1, n, n),
        gain,
    )


def sliced(scores: dict[str, list[float]], release: str) -> Evidence:
    """Evidence with one slice column; a value's scores in a row, each in a group of its own."""
    rows = tuple(
        ScoredExample(
            f"{value}{n}",
            f"{value}{n}",
            "x",
            {"rougeL": score},
            0.1,
            1,
            1,
            slices={"industry": value},
        )
        for value, own in scores.items()
        for n, score in enumerate(own)
    )
    return Evidence(
        release, "g", "m", rows, {"rougeL": Summary(0.5, 0.4, 0.6, len(rows), len(rows))}
    )


def test_every_slice_has_means_and_the_interval_of_the_difference() -> None:
    """A slice's difference is the mean over its examples, paired, with an interval; lower-is-better
    turns the gain.
    """
    new, old = (
        sliced({"bank": [0.5, 0.7], "gym": [0.2, 0.4]}, "c"),
        sliced({"bank": [0.4, 0.6], "gym": [0.4, 0.8]}, "d"),
    )
    found = {
        one.value: one for one in slice_rows(new, old, {"rougeL": Measure("higher", (0.0, 1.0))})
    }
    assert found["bank"].gain == pytest.approx(0.1)
    assert found["gym"].gain == pytest.approx(-0.3)
    assert found["gym"].difference is not None
    assert found["gym"].difference.low < -0.3 < found["gym"].difference.high
    turned = slice_rows(new, old, {"rougeL": Measure("lower", (0.0, 1.0))})
    assert {one.value: round(one.gain, 9) for one in turned} == {"bank": -0.1, "gym": 0.3}
    alone = slice_rows(new, None, {"rougeL": Measure("higher", (0.0, 1.0))})
    assert {one.value: one.gain for one in alone} == pytest.approx({"bank": 0.6, "gym": 0.3})


def test_a_column_of_ids_is_no_slice() -> None:
    """A column with more than 50 values is left out."""
    many = sliced({f"v{n}": [0.5] for n in range(51)}, "c")
    assert slice_rows(many, None, {"rougeL": Measure("higher", (0.0, 1.0))}) == []


def test_the_worst_slice_is_a_large_one() -> None:
    """Per metric the least gain among slices of ten or more; a tiny slice is named only where all
    are tiny.
    """
    rows = [
        row("bank", 0.1),
        row("gym", -0.2),
        row("spa", -0.9, n=2),
        row("bank", -0.3, metric="chrf", n=3),
    ]
    assert [(one.metric, one.value) for one in worst_slices(rows)] == [
        ("rougeL", "gym"),
        ("chrf", "bank"),
    ]


def test_report_names_the_worst_slice_and_says_when_none_is_worse() -> None:
    """The page has the slice by name, escaped; where no slice lost, it says so."""
    page = report_html(context(slices=[row(EVIL, -0.2), row("bank", 0.1)]))
    Page(page)
    assert "industry=&lt;script&gt;" in page
    assert "every slice, worst first" in page
    assert "none is worse" in report_html(context(slices=[row("bank", 0.1)]))


def test_judges_that_count_and_those_that_do_not() -> None:
    """Each judge with its standing or what failed, the rules on it, its notes, and the calibration
    plot where one exists.
    """
    whole, failed = (
        JudgeUse("1" * 64, 60, 0, ("not weighted",)),
        JudgeUse("2" * 64, 50, 10, (f"cut off {EVIL}",)),
    )
    judges = [
        JudgeShown("clear", whole, whole, "ok", ("clear enough",), RECORD),
        JudgeShown("grounded", failed, whole, "ok"),
        JudgeShown("helpful", whole, failed, "ok"),
        JudgeShown("kind", JudgeUse("3" * 64, 58, 2), whole, "comparative", (), RECORD),
        JudgeShown("polite", whole, whole, "stale"),
        JudgeShown("short", whole, None, "uncalibrated"),
    ]
    assert [judge.counts for judge in judges] == [True, False, False, True, False, False]
    page = report_html(context(judges=judges))
    Page(page)
    for words in (
        "calibrated against people, until 2026-04-02",
        "not weighted",
        "clear enough",
        "failed on 10 of 60 answers of the candidate (cut off &lt;script&gt;",
        "failed on 10 of 60 answers of the champion",
        "for comparisons only",
        "2 answers of the candidate without a usable verdict count at their worst",
        "its calibration has expired",
        "not calibrated against people",
    ):
        assert words in page, words
    assert page.count('aria-label="People over judge"') == 2
    assert "Judges" not in report_html(context())


def test_reasons_stand_below_the_answers() -> None:
    """A judge's words on an answer are shown with it, escaped."""
    full = context()
    rows = tuple(
        dataclasses.replace(one, reasons={"judge:clear": f"because {EVIL}"})
        for one in full.candidate.rows
    )
    page = report_html(
        dataclasses.replace(full, candidate=dataclasses.replace(full.candidate, rows=rows))
    )
    assert "<b>judge:clear</b> because &lt;script&gt;" in page


def test_spreads() -> None:
    """All scores are in the bars, whatever their range; one value, none and a huge set are drawn,
    too.
    """
    assert distribution([0.0] * 9 + [1.0], [0.5]).count('class="bin"') == 2
    assert distribution([0.5, 0.5], []).count('class="bin"') == 1
    assert "outline" in distribution([0.5], [0.5])
    assert "outline" not in distribution([0.5], [])
    assert len(distribution([n / 1000 for n in range(100_000)], [])) < 200 * BINS
    assert differences([n - 50_000.0 for n in range(100_000)]).count("<rect") <= 720


def test_a_baseline_without_the_judge_is_drawn() -> None:
    """A metric that a baseline or the champion lacks is shown for those that have it."""
    full = context()
    judged = dataclasses.replace(
        full.candidate,
        rows=tuple(
            dataclasses.replace(one, scores={**one.scores, "judge:clear": 0.5})
            for one in full.candidate.rows
        ),
        summaries={**full.candidate.summaries, "judge:clear": Summary(0.5, 0.4, 0.6, 4, 4)},
    )
    page = report_html(dataclasses.replace(full, candidate=judged))
    assert "judge:clear" in page
    assert evidence(RELEASE, [0.1], "x").judges == {}
