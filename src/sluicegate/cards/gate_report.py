"""What one run of the gate says: the value behind the comment, the JUnit file and the page."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sluicegate.cards.examples import ExamplePair
from sluicegate.cards.wording import by_weight, headline, number, outcome, short, titled, why
from sluicegate.records import Decision, Verdict


@dataclass(frozen=True, slots=True)
class GateReport:
    """One run of the gate.

    Attributes:
        decision: of the verdict; HOLD where a budget stopped the run, PROMOTE where nothing
            changed.
        summary: one sentence, used where there is no verdict.
        verdict: None where nothing was judged.
        against: what it was compared with, in words.
        judged_on: which set, in a sentence; empty where nothing was judged.
        changed: (part, digest before, digest after, in words), one a changed part.
        other: changed files that are no part of a release.
        metric: orders `worst`, the examples that lost most against the champion, worst first.
        made, cached: answers generated in this run, and found in the cache.
        links: name to address.
        notes: sentences for the end.
    """

    model: str
    decision: Decision
    summary: str = ""
    verdict: Verdict | None = None
    against: str = ""
    judged_on: str = ""
    changed: Sequence[tuple[str, str, str, str]] = ()
    other: Sequence[str] = ()
    metric: str = ""
    worst: Sequence[ExamplePair] = ()
    made: int = 0
    cached: int = 0
    links: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()

    @property
    def headline(self) -> str:
        """One sentence: what was decided, and why."""
        return headline(self.verdict) if self.verdict else self.summary


def gate_html(report: GateReport) -> str:
    """A short page for a run on the development set, or one without a verdict: nothing to judge, or
    stopped by a budget.
    """
    changed = "".join(
        f"<tr><td>{_shown(name)}<td><code>{short(before)}</code>"
        f"<td><code>{short(after)}</code><td>{_shown(words)}"
        for name, before, after, words in report.changed
    )
    table = (
        f"<h2>What changed</h2><table><tr><th>part<th>before<th>after<th>{changed}</table>"
        if changed
        else ""
    )
    table += _rules(report) + _worst(report)
    notes = "".join(f"<p>{_shown(note)}" for note in report.notes)
    title = f"{report.decision.value}: {_shown(report.model)}"
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        "<style>:root{color-scheme:light dark}body{font:16px/1.5 "
        "system-ui;max-width:50rem;margin:2rem auto;"
        "padding:0 1rem}td,th{text-align:left;padding:.2rem .8rem .2rem 0}</style>"
        f"<h1>{title}</h1><p>{_shown(report.headline)}<p>Compared with {_shown(report.against)}. "
        f"{_shown(report.judged_on)} "
        f"{report.made} answers generated, {report.cached} from the cache.{table}{notes}</html>\n"
    )


def _rules(report: GateReport) -> str:
    rules = by_weight(report.verdict.rules) if report.verdict else []
    lines = "".join(
        f"<tr><td>{outcome(rule)}<td>{_shown(titled(rule))}<td>{_shown(why(rule))}"
        for rule in rules
    )
    return f"<h2>Rules</h2><table><tr><th>outcome<th>rule<th>why{lines}</table>" if lines else ""


def _worst(report: GateReport) -> str:
    lines = "".join(
        f"<tr><td>{_shown(pair.id)}<td>{_shown(pair.candidate.output)}"
        f"<td>{_shown(pair.champion.output if pair.champion else '')}<td>{number(pair.gain)}"
        for pair in report.worst
    )
    head = f"<tr><th>row<th>candidate<th>before<th>{_shown(report.metric)}"
    return f"<h2>Worst rows</h2><table>{head}{lines}</table>" if lines else ""


def _shown(text: str) -> str:
    return html.escape(text.encode("utf-8", "replace").decode("utf-8").replace("\x00", ""))
