"""JUnit XML of the gate: counts, kinds of outcome, and text that XML cannot hold."""

from __future__ import annotations

from datetime import UTC, datetime
from xml.etree import ElementTree as Xml

import pytest

from sluicegate.cards import GateReport, junit_xml
from sluicegate.records import Decision, RuleResult, Verdict

NOW = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)


def verdict(*rules: RuleResult, decision: Decision, reasons: tuple[str, ...] = ()) -> Verdict:
    """A verdict with these rules."""
    return Verdict(
        decision, "a" * 64, "b" * 64, "c" * 64, "d" * 64, "e" * 64, "f" * 64, rules, reasons
    )


def rule(
    name: str, decision: Decision, severity: str = "block", reason: str = "because"
) -> RuleResult:
    """A rule's result."""
    return RuleResult(
        name, "at_least", "rougeL", decision, severity, reason, value=0.4, margin=0.3, n=60
    )


def suite(report: GateReport) -> Xml.Element:
    """The one test suite of the file, its shape checked."""
    root = Xml.fromstring(junit_xml(report, moment=NOW, seconds=1.5))
    assert root.tag == "testsuites"
    (found,) = root
    assert found.tag == "testsuite"
    assert {
        "name",
        "tests",
        "failures",
        "errors",
        "skipped",
        "time",
        "timestamp",
        "hostname",
    } <= set(found.attrib)
    assert found.get("timestamp") == "2026-03-01T12:30:00"
    assert [child.tag for child in found] == [
        "properties",
        *["testcase"] * int(found.get("tests", "0")),
        "system-out",
    ]
    for case in found.iter("testcase"):
        assert {"name", "classname", "time"} == set(case.attrib)
        assert len(case) == 1
        assert case[0].tag in ("failure", "error", "system-out")
    assert int(found.get("failures", "")) == len(list(found.iter("failure")))
    assert int(found.get("errors", "")) == len(list(found.iter("error")))
    return found


def test_each_outcome() -> None:
    """A broken rule is a failure, an undecided one an error of type HOLD, a warning and a pass are
    passes.
    """
    rules = (
        rule("good", Decision.PROMOTE),
        rule("bad", Decision.REJECT, reason="too low"),
        rule("open", Decision.HOLD),
        rule("warned", Decision.REJECT, "warn", "slow"),
    )
    found = suite(
        GateReport("m", Decision.REJECT, verdict=verdict(*rules, decision=Decision.REJECT))
    )
    cases = {case.get("name"): case[0] for case in found.iter("testcase")}
    assert (found.get("tests"), found.get("failures"), found.get("errors")) == ("4", "1", "1")
    assert (cases["bad"].get("type"), cases["bad"].get("message")) == ("REJECT", "too low")
    assert cases["open"].get("type") == "HOLD"
    assert "warning: slow" in (cases["warned"].text or "")
    assert cases["good"].tag == "system-out"


def test_never_better_than_the_exit_code() -> None:
    """A release that is held although every rule passes, or without any verdict, still shows an
    error.
    """
    passing = verdict(
        rule("good", Decision.PROMOTE), decision=Decision.HOLD, reasons=("the golden set is spent",)
    )
    for report in (
        GateReport("m", Decision.HOLD, verdict=passing),
        GateReport("m", Decision.HOLD, summary="the token budget is spent"),
    ):
        found = suite(report)
        assert found.get("errors") == "1"
        (error,) = found.iter("error")
        assert "spent" in (error.text or "")


def test_nothing_to_judge_passes() -> None:
    """Where nothing changed there is one case, and it passes."""
    found = suite(GateReport("m", Decision.PROMOTE, summary="nothing changed"))
    assert (found.get("tests"), found.get("failures"), found.get("errors")) == ("1", "0", "0")


@pytest.mark.parametrize(
    "text", ["<a>&\"']]>", "\x00\x08\x1b[31m\ufffe\ud800", "täglich ✅ \U0001f600", "a\nb\tc"]
)
def test_any_text(text: str) -> None:
    """Text that looks like XML, control characters and broken Unicode leave a file that parses."""
    broken = rule(f"name {text}", Decision.REJECT, reason=text)
    report = GateReport(
        text, Decision.REJECT, verdict=verdict(broken, decision=Decision.REJECT), against=text
    )
    found = suite(report)
    (case,) = found.iter("testcase")
    assert (case.get("name") or "").startswith("name ")
