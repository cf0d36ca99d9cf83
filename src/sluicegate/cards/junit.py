"""The gate as JUnit XML: one test case a rule, as every CI system shows them."""

from __future__ import annotations

import re
from collections import Counter
from datetime import UTC, datetime
from xml.etree import ElementTree as Xml

from sluicegate.cards.gate_report import GateReport
from sluicegate.cards.wording import by_weight, interval, limit, number, outcome, why
from sluicegate.records import Decision, RuleResult

_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit_xml(report: GateReport, *, moment: datetime, seconds: float = 0.0) -> bytes:
    """Lay the gate out as JUnit XML (UTF-8).

    A broken rule is a `failure` of type REJECT, one without enough evidence an `error` of type
    HOLD; a rule that only warns passes. Where no rule stands in the way of a release that was not
    let through, a case called `verdict` does: the file never looks better than the exit code.

    Args:
        moment, seconds: when it ended, and how long it took.
    """
    cases = (
        [_case(report, rule) for rule in by_weight(report.verdict.rules)] if report.verdict else []
    )
    found = Counter(part.tag for case in cases for part in case)
    stopped = found["failure"] + found["error"]
    if not cases or (report.decision is not Decision.PROMOTE and not stopped):
        cases.append(_whole(report))
        found.update(part.tag for part in cases[-1])
    counts = {
        "tests": str(len(cases)),
        "failures": str(found["failure"]),
        "errors": str(found["error"]),
    }
    took = f"{max(seconds, 0.0):.3f}"
    root = Xml.Element("testsuites", {"name": "sluice gate", **counts, "time": took})
    suite = Xml.SubElement(
        root,
        "testsuite",
        {
            "name": f"sluice gate: {_clean(report.model)}",
            **counts,
            "skipped": "0",
            "time": took,
            "timestamp": moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S"),
            "hostname": "localhost",
        },
    )
    properties = Xml.SubElement(suite, "properties")
    facts = {
        "decision": report.decision.value,
        "made": str(report.made),
        "cached": str(report.cached),
    }
    for name, value in {**facts, "against": report.against, "judged on": report.judged_on}.items():
        Xml.SubElement(properties, "property", {"name": name, "value": _clean(value)})
    suite.extend(cases)
    Xml.SubElement(suite, "system-out").text = _clean(report.headline)
    Xml.indent(root)
    return bytes(Xml.tostring(root, encoding="utf-8", xml_declaration=True)) + b"\n"


def _case(report: GateReport, rule: RuleResult) -> Xml.Element:
    case = Xml.Element(
        "testcase",
        {"classname": f"{_clean(report.model)}.gate", "name": _clean(rule.name), "time": "0"},
    )
    found, told = outcome(rule), _clean(_numbers(rule))
    if found in ("fail", "hold"):
        tag, kind = ("failure", "REJECT") if found == "fail" else ("error", "HOLD")
        Xml.SubElement(case, tag, {"type": kind, "message": _clean(why(rule))}).text = told
    else:
        said = f"warning: {_clean(why(rule))}\n{told}" if found == "warn" else told
        Xml.SubElement(case, "system-out").text = said
    return case


def _whole(report: GateReport) -> Xml.Element:
    """The gate as one case, where no rule was judged or none says why it is not let through."""
    case = Xml.Element(
        "testcase", {"classname": f"{_clean(report.model)}.gate", "name": "verdict", "time": "0"}
    )
    reasons = "\n".join(report.verdict.reasons) if report.verdict else report.summary
    if report.decision is Decision.PROMOTE:
        Xml.SubElement(case, "system-out").text = _clean(reasons)
        return case
    tag = "failure" if report.decision is Decision.REJECT else "error"
    attributes = {"type": report.decision.value, "message": _clean(report.headline)}
    Xml.SubElement(case, tag, attributes).text = _clean(reasons)
    return case


def _numbers(rule: RuleResult) -> str:
    """The rule's row of the table as lines."""
    rows = {
        "metric": rule.metric or "-",
        "slice": rule.slice,
        "candidate": number(rule.value),
        "champion": number(rule.champion_value),
        "difference": number(rule.difference, signed=True),
        "interval": interval(rule),
        "asked for": limit(rule),
        "n": str(rule.n) if rule.n else "-",
        "reason": rule.reason,
    }
    return "\n".join(f"{name}: {value}" for name, value in rows.items() if value)


def _clean(text: str) -> str:
    """Without the characters that XML 1.0 cannot hold."""
    return _FORBIDDEN.sub("\ufffd", text)
