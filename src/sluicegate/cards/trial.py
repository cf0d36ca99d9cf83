"""One trial on development rows, for a terminal and as one HTML page that needs nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher

from markupsafe import Markup, escape

from sluicegate.cards.page import html_page
from sluicegate.cards.wording import number

PROMISES = (
    "Development rows only: it promises nothing, and neither the golden set nor the ledger was "
    "touched."
)
MOST_WORDS = 1500
"""Of an answer; what comes after is shown without marks."""


@dataclass(frozen=True, slots=True)
class TrialRow:
    """One development row as both answered it; `before` is None where there is nothing to compare
    with. `gain` above 0 means that the new answer is better.
    """

    id: str
    inputs: Mapping[str, str]
    references: tuple[str, ...]
    before: str | None
    after: str
    scores_before: Mapping[str, float]
    scores: Mapping[str, float]
    gain: float

    @property
    def changed(self) -> bool:
        """Whether the two answers differ."""
        return self.before is not None and self.before != self.after


@dataclass(frozen=True, slots=True)
class Trial:
    """What `sluice try` found.

    Attributes:
        model: the release's name.
        against: what it was compared with, in words; empty for nothing.
        same: both are one release.
        metric: orders the rows, worst first.
        means: per metric, of what it was compared with (None without that) and of the new answers.
        directions: per metric, `higher` or `lower` is better.
        of: rows that the development set has.
        made: answers that were asked for; the others came from the cache.
        notes: what else there is to know.
        page: where the page is.
    """

    model: str
    against: str
    same: bool
    metric: str
    rows: Sequence[TrialRow]
    means: Mapping[str, tuple[float | None, float]]
    directions: Mapping[str, str]
    of: int
    made: int
    seconds: float
    notes: Sequence[str] = field(default=())
    page: str = ""

    @property
    def headline(self) -> str:
        """What happened, in a sentence."""
        rows = f"{len(self.rows)} of {self.of} development rows"
        if not self.against:
            return f"{rows}, compared with nothing"
        if self.same:
            return f"{rows}: nothing differs from {self.against}"
        counts = (
            sum(row.gain > 0 for row in self.rows),
            sum(row.gain < 0 for row in self.rows),
            sum(row.changed for row in self.rows),
        )
        better, worse, changed = counts
        return (
            f"{rows} against {self.against}: {changed} answers differ; by {self.metric} {better} "
            f"are better, {worse} worse"
        )


def marked(before: str, after: str) -> tuple[Markup, Markup]:
    """Both texts with the words that only one of them has marked.

    Example:
        >>> marked("a red box", "a blue box")[1]
        Markup('a <ins>blue</ins> box')
    """
    old, new = (re.split(r"(\s+)", text, maxsplit=MOST_WORDS) for text in (before, after))
    steps = SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
    shown = [
        (_marked(old[a:b], "del", kind), _marked(new[c:d], "ins", kind))
        for kind, a, b, c, d in steps
    ]
    return Markup().join(one for one, _ in shown), Markup().join(one for _, one in shown)


def _marked(words: Sequence[str], tag: str, kind: str) -> Markup:
    text = escape("".join(words))
    return text if kind == "equal" or not words else Markup(f"<{tag}>{text}</{tag}>")


def trial_html(trial: Trial) -> str:
    """The page: rows worst first, word differences marked."""
    return html_page(
        "trial.html.jinja", {"number": number}, trial=trial, marked=marked, promises=PROMISES
    )


def trial_lines(trial: Trial) -> Iterator[str]:
    """What is said around the table in a terminal."""
    yield f"{trial.headline}."
    for name, (before, after) in trial.means.items():
        arrow = "" if before is None else f"{number(before)} -> "
        better = "lower is better" if trial.directions.get(name) == "lower" else ""
        yield f"  {name:<16} {arrow}{number(after)}  {better}".rstrip()
    yield (
        f"{trial.made} answers asked for, the others from the cache; {trial.seconds:.1f} s. "
        f"{PROMISES}"
    )
    yield from trial.notes
