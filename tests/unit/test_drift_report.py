"""The drift report: cause in words, examples, what the golden set lacks, and a page that stands
alone.
"""

from __future__ import annotations

import json
import os
import random
import re
from pathlib import Path

import pytest

from sluicegate.cards.drift_report import (
    DriftPage,
    Moved,
    Sample,
    Spread,
    drift_markdown,
    drift_report_html,
    spread_chart,
)
from sluicegate.drift import profile_rows, read_profile
from sluicegate.monitoring import (
    check_profile,
    check_rows,
    golden_represents_traffic,
    likely_cause,
    moved_columns,
    profile_reference,
    samples,
)
from sluicegate.records import DriftReport, DriftScore

WORDS = [
    "my",
    "parcel",
    "was",
    "late",
    "and",
    "I",
    "want",
    "the",
    "refund",
    "now",
    "please",
    "it",
    "has",
    "not",
    "arrived",
]
GERMAN = [
    "ich",
    "habe",
    "mein",
    "paket",
    "noch",
    "nicht",
    "bekommen",
    "und",
    "das",
    "ist",
    "wie",
    "immer",
    "die",
    "post",
]


def rows(
    count: int, seed: int, *, longer: int = 1, german: float = 0.0, answer: int = 1
) -> list[dict[str, str]]:
    """Prompts of English words, `longer` times as long, a share of them German; answers `answer`
    times as long.
    """
    chance = random.Random(seed)
    found = []
    for _ in range(count):
        words = GERMAN if chance.random() < german else WORDS
        asked = " ".join(chance.choices(words, k=chance.randrange(8, 30) * longer))
        answered = " ".join(chance.choices(WORDS, k=chance.randrange(8, 30) * answer))
        found.append({"prompt": asked, "response": answered})
    return found


def page_of(before: list[dict[str, str]], after: list[dict[str, str]]) -> DriftPage:
    """The page of a check."""
    reference, window = profile_rows(before), profile_rows(after)
    report = check_profile(window, reference)
    moved = moved_columns(report, reference, window)
    missing = golden_represents_traffic(window, reference)[1]
    return DriftPage(
        report,
        likely_cause(moved),
        moved,
        samples(moved, reference, window, before, after),
        missing,
        len(before),
    )


def test_longer_prompts_are_called_longer_prompts() -> None:
    """Prompts twice as long: the cause names prompts and length and their growth, blames no answer
    and no language.
    """
    page = page_of(rows(200, 1), rows(100, 2, longer=2))
    assert page.report.status == "DRIFT"
    assert page.cause.startswith("What is asked has changed; the answers look as before.")
    assert re.search(r"Prompts: length \(\+\d+% on average\)", page.cause)
    assert "language" not in page.cause
    assert any(re.search(r"above .*: \d+% of the traffic", part) for part in page.missing)


def test_longer_answers_point_at_the_release() -> None:
    """Answers twice as long for the same prompts: the cause points at the release, and the golden
    set still represents.
    """
    before, after = rows(200, 1), rows(100, 2, answer=2)
    page = page_of(before, after)
    assert "look at the release" in page.cause
    assert "Responses: length" in page.cause
    assert golden_represents_traffic(profile_rows(after), profile_rows(before)) == ("ok", ())


def test_another_language_is_named_with_its_share() -> None:
    """A fifth of the prompts in German: cause and missing slices name it; examples show English
    before, German now.
    """
    page = page_of(rows(300, 1), rows(200, 2, german=0.2))
    assert "language (de: 0.0%" in page.cause
    assert any(part.startswith("prompts in de: ") for part in page.missing)
    shown = [sample for sample in page.samples if sample.column == "prompt.language"]
    assert {(sample.side, sample.value) for sample in shown} == {("before", "en"), ("after", "de")}
    assert all(
        ("paket" in s.prompt or "ich" in s.prompt) == (s.side == "after")
        for s in shown
        if len(s.prompt) > 100
    )


def test_both_sides() -> None:
    """Prompts and answers moved together are said to have moved together."""
    page = page_of(rows(200, 1), rows(100, 2, longer=2, answer=2))
    assert page.cause.startswith("What is asked has changed, and the answers with it.")


def test_missing_texts_alarm() -> None:
    """A window in which a third of the answers are missing or blank is drift, and says so."""
    after = [row | ({"response": None} if n % 3 == 0 else {}) for n, row in enumerate(rows(120, 2))]
    page = page_of(rows(200, 1), after)  # type: ignore[arg-type]
    assert "missing or blank texts (no: 0.0%, now 33.3%)" in page.cause


def test_golden_represents_traffic_without_traffic() -> None:
    """No window, or too small a one, is no_data with a reason; the same traffic is ok."""
    reference = profile_rows(rows(200, 1))
    assert golden_represents_traffic(None, reference)[0] == "no_data"
    assert golden_represents_traffic(profile_rows(rows(10, 2)), reference) == (
        "no_data", ("10 rows of traffic; at least 30 are needed.",),
    )  # fmt: skip
    assert golden_represents_traffic(profile_rows(rows(100, 3)), reference) == ("ok", ())


HOSTILE = '"><script>alert(1)</script>\x00\ud800{{ 7*7 }} & | `x` \n# y'


def test_the_page_stands_alone_and_is_inert() -> None:
    """Texts, labels and names from outside are escaped; nothing is loaded or run; the file can be
    written.
    """
    score = DriftScore(f"prompt.{HOSTILE}", HOSTILE, 0.5, 0.2, True, 1.0, 2.0, 0.7, 0.002)
    spread = Spread((0.5, 0.5), (0.2, 0.8), labels=(HOSTILE, ""))
    page = DriftPage(
        DriftReport("DRIFT", 100, (score,), (HOSTILE,)), HOSTILE, (Moved(score, spread),),
        (Sample(score.column, "after", HOSTILE, HOSTILE * 200, HOSTILE),), (HOSTILE,), 50, HOSTILE,
        HOSTILE,
        {HOSTILE: "javascript:alert(1)"},
    )  # fmt: skip
    html = drift_report_html(page)
    html.encode("utf-8")
    assert "<script" not in html
    assert "javascript:" not in html
    assert "49" not in re.findall(r">\s*(\d+)\s*<", html)
    assert not re.findall(r"(?:src|href)=\"(?!#)", html)
    assert "\x00" not in html
    assert "<svg" in html
    markdown = drift_markdown(page)
    assert "<script" not in markdown


def test_empty_reports_are_pages_too() -> None:
    """OK without moved columns and NO_DATA without anything are pages that say so."""
    ok = drift_report_html(DriftPage(DriftReport("OK", 80)))
    none = drift_report_html(
        DriftPage(DriftReport("NO_DATA", 0, notes=("0 rows; at least 30 are needed.",)))
    )
    assert "No drift" in ok
    assert "No data" in none
    assert "0 rows; at least 30" in none
    assert "What moved" not in ok + none


def test_a_flat_column_can_be_drawn() -> None:
    """A distribution whose edges are all alike is drawn without an error."""
    assert "NaN" not in spread_chart(Spread((1.0,), (1.0,), edges=(2.0, 2.0)), "x")
    reference, window = (
        profile_rows([{"prompt": "a", "response": "b"}] * 40),
        profile_rows(rows(40, 1)),
    )
    report = check_profile(window, reference)
    assert "<svg" in drift_report_html(
        DriftPage(report, moved=moved_columns(report, reference, window))
    )


def test_a_shift_too_small_for_one_window_is_found_in_three(tmp_path: Path) -> None:
    """Windows that each lack the rows to show a shift show it together with those before, at the
    same promise.
    """
    reference = tmp_path / "reference.parquet"
    profile_reference(rows(600, 1), reference)
    windows = [rows(60, seed, german=0.03) for seed in range(10, 22)]
    alone = [check_rows(window, reference)[0].status for window in windows]
    recent = [profile_rows(window, start=n * 60) for n, window in enumerate(windows[:-1])]
    report, _ = check_rows(windows[-1], reference, recent=recent)
    assert alone.count("DRIFT") < 6
    assert report.status == "DRIFT"
    assert {score.column for score in report.scores if score.alarm} == {"prompt.language"}
    assert any(
        score.statistic.endswith("over 12 windows") for score in report.scores if score.alarm
    )


def test_short_and_long_conversations_of_tweetsumm(tmp_path: Path) -> None:
    """The 50 longest conversations of TWEETSUMM against the 50 shortest: drift, and its cause is
    length.
    """
    folder = Path(os.environ.get("SLUICE_SHARED_DATA", "")) / "tweetsumm"
    if "SLUICE_SHARED_DATA" not in os.environ or not folder.is_dir():
        pytest.skip("SLUICE_SHARED_DATA does not name a folder with tweetsumm/")
    found = [
        json.loads(line)
        for name in ("train", "test")
        for line in (folder / f"{name}.jsonl").open(encoding="utf-8")
    ]
    texts = [
        {
            "prompt": "\n".join(
                f"{turn['role'].capitalize()}: {turn['text']}" for turn in one["turns"]
            ),
            "response": one["summaries"][0],
        }
        for one in found
    ]
    texts.sort(key=lambda row: len(row["prompt"]))
    profile_reference(texts[:50], tmp_path / "short.parquet")
    report, window = check_rows(texts[-50:], tmp_path / "short.parquet")
    assert window is not None
    moved = moved_columns(report, read_profile(tmp_path / "short.parquet"), window)
    assert report.status == "DRIFT"
    assert moved[0].score.column == "prompt.character_count"
    assert "Prompts: length (+" in likely_cause(moved)


def test_less_of_a_bad_thing_is_not_told_as_one() -> None:
    """A score of attacks that fell is no attack; one that rose is."""
    for before, after, said in (
        (0.005, 0.003, "fewer signs of attempts"),
        (0.003, 0.005, "Prompts: attempts"),
    ):
        score = DriftScore(
            "prompt.injection_score", "mean_shift", 0.7, 0.6, True, before, after, 0.5
        )
        assert said in likely_cause([Moved(score)])
