"""The gate's comment on a pull request: Markdown that hostile text can neither break nor abuse."""

from __future__ import annotations

import re
from collections.abc import Sequence

from sluicegate.cards.examples import ExamplePair
from sluicegate.cards.gate_report import GateReport
from sluicegate.cards.verdict import SIGNS, escaped, rules_markdown
from sluicegate.cards.wording import (
    by_weight,
    number,
    outcome,
    short,
    titled,
    which_evaluation,
    why,
)
from sluicegate.records import Decision

LONGEST = 60_000
"""Characters; GitHub takes 65,536, GitLab a million."""
EXAMPLES = 3
_LENGTHS = (1200, 600, 250, 100)
"""Characters of each shown text, from the first length at which the comment is short enough."""
_RULES = 60
_GAP = "\u200b"
_CALLS = re.compile(r"([@#!$%&~^]|://|www\.|GH-)(?=\S)")
_LOCAL = re.compile(r"https?://(127\.|0\.0\.0\.0|localhost|\[::1?\])", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def marker(model: str) -> str:
    """The hidden first line by which the comment is found again, to be replaced."""
    return f"<!-- sluice-gate {re.sub(r'[^A-Za-z0-9_.]', '-', model).strip('-')} -->"


def safe(text: str, most: int = 300) -> str:
    """Text from outside for a table cell: one line, no Markdown, HTML, mention or link.

    Example:
        >>> safe("a|b `x` <i>").encode("ascii", "backslashreplace").decode()
        'a\\\\|b \\\\`x\\\\` &lt;i&gt;'
        >>> "@everyone" in safe("ping @everyone"), "#12" in safe("see #12")
        (False, False)
    """
    plain = " ".join(_CONTROL.sub(" ", text).split())
    cut = plain if len(plain) <= most else f"{plain[:most]}…"
    return escaped(_CALLS.sub(lambda match: _broken(match[1]), cut))


def _broken(call: str) -> str:
    """The same with an invisible gap, so that no host makes a reference of it."""
    return call.replace("://", f":{_GAP}//") if "://" in call else f"{call}{_GAP}"


def comment_markdown(report: GateReport) -> str:
    """Verdict, rules, worst regressions, what changed; always under 60,000 characters."""
    for length in _LENGTHS:
        text = _comment(report, length)
        if len(text) < LONGEST:
            return text
    kept, size = [], 0
    for line in text.splitlines():
        size += len(line) + 1
        if size > LONGEST - 200:
            break
        kept.append(line)
    return "\n".join([*kept, "", "The rest is cut off here; the report has all of it."]) + "\n"


def _comment(report: GateReport, length: int) -> str:
    lines = [
        marker(report.model),
        f"## {SIGNS[report.decision]} {report.decision.value}: {safe(report.model)}",
        "",
    ]
    lines += [f"**{safe(report.headline, 1000)}**", ""]
    if report.against:
        lines += [f"Compared with {safe(report.against)}.", ""]
    if report.judged_on:
        lines += [safe(report.judged_on), ""]
    lines += _changed(report)
    lines += _rules(report)
    lines += _worst(report, length)
    lines += [f"<sub>{_counts(report)}</sub>", ""]
    lines += [f"- {safe(note)}" for note in report.notes]
    lines += ["", *_links(report)]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).rstrip() + "\n"


def _counts(report: GateReport) -> str:
    judged = which_evaluation(report.verdict) if report.verdict else ""
    return f"{report.made} answers generated, {report.cached} from the cache. {judged}".strip()


def _changed(report: GateReport) -> list[str]:
    if not report.changed and not report.other:
        return []
    lines = ["### What changed", ""]
    if report.changed:
        lines += ["| part | before | after | |", "|:--|:--|:--|:--|"]
        lines += [
            f"| {safe(name)} | `{_digest(before)}` | `{_digest(after)}` | {safe(words)} |"
            for name, before, after, words in report.changed
        ]
    else:
        lines.append("No part of the release.")
    if report.other:
        named = ", ".join(safe(name, 80) for name in report.other[:5])
        more = f" and {len(report.other) - 5} more" if len(report.other) > 5 else ""
        lines += ["", f"Beside the release: {named}{more}."]
    return [*lines, ""]


def _digest(value: str) -> str:
    return re.sub(r"[^0-9A-Za-z]", "", short(value)) or "none"


def _rules(report: GateReport) -> list[str]:
    if report.verdict is None:
        return []
    rules = by_weight(report.verdict.rules)
    lines = rules_markdown(rules[:_RULES], lambda text: safe(text, 160))
    if len(rules) > _RULES:
        lines += ["", f"{len(rules) - _RULES} more rules are in the report."]
    unsettled = [rule for rule in rules[:_RULES] if outcome(rule) != "pass"]
    told = {f"{rule.name}: {rule.reason}" for rule in rules} | {
        f"warning: {rule.name}: {rule.reason}" for rule in rules
    }
    reasons = [reason for reason in report.verdict.reasons if reason not in told]
    if unsettled or reasons:
        lines += [
            "",
            "### Warnings" if report.decision is Decision.PROMOTE else "### What stands in the way",
            "",
        ]
        lines += [f"- **{safe(titled(rule), 160)}**: {safe(why(rule), 400)}" for rule in unsettled]
        lines += [f"- {safe(reason, 400)}" for reason in reasons]
    return [*lines, ""]


def _worst(report: GateReport, length: int) -> list[str]:
    if not report.worst:
        return []
    lines = [
        f"### Worst regressions, by {safe(report.metric)}",
        "",
        "| | candidate | champion | reference |",
    ]
    lines.append("|:--|:--|:--|:--|")
    lines += [_example(pair, report.metric, length) for pair in report.worst[:EXAMPLES]]
    return [*lines, ""]


def _example(pair: ExamplePair, metric: str, length: int) -> str:
    champion = pair.champion
    scores = [pair.candidate.scores.get(metric), champion.scores.get(metric) if champion else None]
    texts = [pair.candidate.output, champion.output if champion else ""]
    cells = [
        f"{safe(text, length) or '(empty)'}<br>**{number(score)}**"
        for text, score in zip(texts, scores, strict=True)
    ]
    reference = safe(_first(pair.references), length)
    return (
        f"| {safe(pair.id, 80) or '-'}<br>{number(pair.gain, signed=True)} | "
        f"{' | '.join(cells)} | {reference} |"
    )


def _first(references: Sequence[str]) -> str:
    return references[0] if references else ""


def _links(report: GateReport) -> list[str]:
    """Links that work for everybody; an address on the machine that ran the gate is left out."""
    found = [
        f"[{safe(name)}]({address})"
        for name, address in report.links.items()
        if re.match(r"https?://[^\s<>()\[\]|`\"'\\]+$", address) and not _LOCAL.match(address)
    ]
    return [" · ".join([*found, "The whole report is among the files of this run."])]
