"""The comment on a pull request: complete, short enough, and nothing in it that hostile text could
use.
"""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluicegate.cards import GateReport, comment_markdown, gate_html
from sluicegate.cards.comment import LONGEST, marker
from sluicegate.cards.examples import ExamplePair
from sluicegate.records import Decision, RuleResult, ScoredExample, Verdict

HOSTILE = (
    "@everyone |x| `code` <script>alert(1)</script>\n\n# heading\n<!-- --> "
    "![i](http://evil.example/x.png) #12 !3 "
    "[l](javascript:alert(1)) \u202e www.evil.example ~label \ud800 \x00 </details>"
)


def rule(
    name: str = "kept",
    decision: Decision = Decision.HOLD,
    severity: str = "block",
    reason: str = "r",
) -> RuleResult:
    """A rule's result with numbers in all columns."""
    return RuleResult(
        name, "not_worse_than_champion", "rougeL", decision, severity, reason,
        value=0.3, champion_value=0.35, difference=-0.05, low=-0.1, high=0.01, margin=0.02, p=0.2,
        n=60,
    )  # fmt: skip


def pair(text: str, number: int = 1) -> ExamplePair:
    """One golden row on which the candidate lost."""
    sides = [
        ScoredExample(f"{text}{number}", "g", text, {"rougeL": score}, 1.0, 10, 5)
        for score in (0.1, 0.5)
    ]
    return ExamplePair(
        f"{text}{number}", "g", {"conversation": text}, (text,), sides[0], sides[1], -0.4
    )


def report(text: str = "plain", decision: Decision = Decision.HOLD, rules: int = 1) -> GateReport:
    """A report with `text` wherever text comes from outside."""
    results = tuple(rule(f"{text} {number}", decision, reason=text) for number in range(rules))
    verdict = Verdict(
        decision, "a" * 64, "b" * 64, "c" * 64, "d" * 64, "e" * 64, "f" * 64, results, (text,)
    )
    return GateReport(
        model="support", decision=decision, verdict=verdict, against=text,
        changed=[("prompt", "1" * 64, "2" * 64, text)], other=[text] * 9, metric="rougeL",
        worst=[pair(text, number) for number in range(5)], made=3, cached=4,
        links={text: "https://mlflow.example/#/runs/1", "here": "http://127.0.0.1:5000/",
        "bad": "javascript:alert(1)"},
        notes=[text],
    )  # fmt: skip


def table_rows(markdown: str) -> list[str]:
    """Lines that belong to a table."""
    return [line for line in markdown.splitlines() if line.startswith("|")]


def test_everything_is_said() -> None:
    """Verdict, rules, what changed, three worst regressions beside the champion's answers, counts
    and links are there.
    """
    text = comment_markdown(report("words"))
    assert text.startswith(marker("support") + "\n## ⏸️ HOLD: support")
    assert "| prompt | `111111111111` | `222222222222` | words |" in text
    assert "| ⏸️ hold | words 0 (rougeL) | 0.300 | 0.350 | -0.050 |" in text
    assert len(re.findall(r"^\| words\d<br>", text, re.M)) == 3
    assert "3 answers generated, 4 from the cache." in text
    assert "[words](https://mlflow.example/#/runs/1)" in text
    assert "127.0.0.1" not in text
    assert "javascript" not in text


@pytest.mark.parametrize("decision", list(Decision))
def test_hostile_text(decision: Decision) -> None:
    """Text from prompts, rows and rules makes no HTML, no mention, no reference, no image, no link
    and no table cell.
    """
    text = comment_markdown(report(HOSTILE, decision))
    check_harmless(text)
    assert len(table_rows(text)) == len(table_rows(comment_markdown(report("plain", decision))))


def check_harmless(text: str) -> None:
    """What must hold of every comment."""
    body = text.partition("\n")[2]
    tags = set(re.findall(r"<[^>]*>", body))
    assert tags <= {"<br>", "<sub>", "</sub>"}
    assert not re.search(r"@\w", body)
    assert not re.search(r"(?<!\\)!\[", body)
    assert not re.search(r"(?<![\\&/(])#\d", body)
    assert "www.evil" not in body
    assert not re.search(r"[\x00-\x09\x0b-\x1f\u202e]", body)
    for row in table_rows(body):
        cells = len(re.findall(r"(?<!\\)\|", row)) - 1
        assert cells in (4, 8), row
    text.encode("utf-8")


@given(st.text(max_size=400))
@settings(max_examples=60, deadline=None)
def test_any_text(text: str) -> None:
    """Whatever characters come in, the comment's tables keep their cells and nothing becomes HTML
    or a mention.
    """
    check_harmless(comment_markdown(report(text)))


@pytest.mark.parametrize("text", ["x" * 100_000, "<|@`" * 30_000, "\n" * 50_000])
def test_never_too_long(text: str) -> None:
    """However long the answers and however many the rules, the comment fits into GitHub's limit."""
    for rules in (1, 400):
        assert len(comment_markdown(report(text, rules=rules))) < LONGEST


def test_without_a_verdict() -> None:
    """A run that a budget stopped, or that had nothing to judge, still makes a comment and a page."""
    held = GateReport(model="m", decision=Decision.HOLD, summary="the time is up <b>", against="x")
    assert "the time is up &lt;b&gt;" in comment_markdown(held)
    assert "### Rules" not in comment_markdown(held)
    page = gate_html(held)
    assert "<h1>HOLD: m</h1>" in page
    assert "the time is up &lt;b&gt;" in page


def test_marker_is_the_same_for_a_project() -> None:
    """The hidden first line does not depend on the verdict, so that one comment is kept up to date."""
    lines = {comment_markdown(report("t", decision)).splitlines()[0] for decision in Decision}
    assert lines == {marker("support")}
    assert marker("a --> b").count(">") == 1
