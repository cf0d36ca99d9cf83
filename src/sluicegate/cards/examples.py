"""Which examples a report shows: beside the champion's answer, unsupported numbers marked."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from sluicegate.chat import as_read
from sluicegate.gates.rules import RULES
from sluicegate.records import Evidence, Example, ScoredExample, Verdict

MOST_CHARACTERS = 6000
_NUMBER = re.compile(r"\d+(?:[.,:/-]\d+)*")
_ROLE = re.compile(r"^([A-Z][A-Za-z ]{1,20}):(?=\s)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class ExamplePair:
    """One golden row as both answered it. `gain` above 0 means that the candidate did better."""

    id: str
    group: str
    inputs: Mapping[str, str]
    references: tuple[str, ...]
    candidate: ScoredExample
    champion: ScoredExample | None
    gain: float

    @property
    def source(self) -> str:
        """All of the input, against which numbers in an answer are looked up."""
        return "\n".join(self.inputs.values())


def primary_metric(verdict: Verdict, candidate: Evidence) -> str:
    """The first metric that a rule compares with the champion, else the first measured, else ""."""
    compared = [
        rule.metric
        for rule in verdict.rules
        if rule.metric in candidate.summaries and rule.kind in RULES and RULES[rule.kind].compares
    ]
    return next(iter(compared or candidate.summaries), "")


def paired(
    candidate: Evidence,
    champion: Evidence | None,
    examples: Sequence[Example],
    metric: str,
    *,
    higher: bool,
) -> list[ExamplePair]:
    """Pair the rows by id, worst gain first; ties by id.

    Rows that the champion did not answer are left out where there is a champion. Without one,
    `gain` is the score itself (its negative where lower is better).
    """
    rows = {row.id: row for row in champion.rows} if champion else {}
    texts = {example.id: example for example in examples}
    pairs = []
    for row in candidate.rows:
        other = rows.get(row.id)
        if metric not in row.scores or (
            champion is not None and (other is None or metric not in other.scores)
        ):
            continue
        gain = row.scores[metric] - (other.scores[metric] if other else 0.0)
        text = texts.get(row.id)
        inputs, references = (as_read(text.inputs), text.reference) if text else ({}, ())
        pairs.append(
            ExamplePair(
                row.id, row.group, inputs, references, row, other, gain if higher else -gain
            )
        )
    return sorted(pairs, key=lambda pair: (pair.gain, pair.id))


def counts(gains: Sequence[float]) -> tuple[int, int, int]:
    """How many are better, worse, equal.

    Example:
        >>> counts([0.1, -0.2, 0.0, 0.3])
        (2, 1, 1)
    """
    better, worse = sum(gain > 0 for gain in gains), sum(gain < 0 for gain in gains)
    return better, worse, len(gains) - better - worse


def shown_text(text: str, source: str | None = None, *, roles: bool = False) -> Markup:
    """Escape `text` for the page, at most 6000 characters of it.

    Args:
        text: an answer, a reference or an input.
        source: the input; numbers of `text` that it does not hold are marked.
        roles: set `Customer:`, `Agent:` and their like apart at the start of a line.

    Example:
        >>> shown_text("Order 12 <b>", source="order 34")
        Markup('Order <mark>12</mark> &lt;b&gt;')
    """
    rest = len(text) - MOST_CHARACTERS
    body = str(escape(text[:MOST_CHARACTERS]))
    if source is not None:
        held = set(_NUMBER.findall(source))
        marked, last = [], 0
        # Numbers are found in the plain text: in the escaped one they would also be found in
        # `&#39;`.
        for match in _NUMBER.finditer(text[:MOST_CHARACTERS]):
            marked.append(str(escape(text[last : match.start()])))
            marked.append(match[0] if match[0] in held else f"<mark>{match[0]}</mark>")
            last = match.end()
        body = "".join([*marked, str(escape(text[last:MOST_CHARACTERS]))])
    if roles:
        body = _ROLE.sub(r"<b>\1</b>", body)
    return Markup(body + (f" <i>… {rest:,} more characters</i>" if rest > 0 else ""))
