"""The verdict for a terminal: decision, rules, what stands in the way, what to run next."""

from __future__ import annotations

import re
from collections.abc import Sequence

from sluicegate.cards.wording import (
    COLUMNS,
    by_weight,
    cells,
    headline,
    outcome,
    short,
    which_evaluation,
    why,
)
from sluicegate.records import Verdict

_LEFT = frozenset({0, 1})
_COLOURS = {
    "pass": "32",
    "PROMOTE": "1;32",
    "fail": "31",
    "REJECT": "1;31",
    "hold": "33",
    "HOLD": "1;33",
    "warn": "33",
}
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]+")


def verdict_text(verdict: Verdict, *, colour: bool = False, next_steps: Sequence[str] = ()) -> str:
    """Lay a verdict out as plain text.

    Args:
        colour: add ANSI colours (for a terminal, not for a file).
        next_steps: lines below the table.

    Returns:
        Text that ends with a newline. Control characters from outside (names, reasons) are removed.
    """
    word = verdict.decision.value
    lines = [
        f"{_paint(word, word, colour)}  release {short(verdict.candidate)}",
        f"  {_plain(headline(verdict))}",
    ]
    lines += [f"  {which_evaluation(verdict)}", ""] if verdict.looks else [""]
    rules = by_weight(verdict.rules)
    rows = [cells(rule, _plain) for rule in rules]
    lines += _table(rows, colour)
    open_ = [rule for rule in rules if outcome(rule) != "pass"]
    if open_ or verdict.reasons:
        lines.append("")
    for rule in open_:
        word = outcome(rule)
        lines.append(f"  {_paint(word, word, colour)}  {_plain(rule.name)}: {_plain(why(rule))}")
    lines += [f"  {_plain(reason)}" for reason in verdict.reasons]
    if next_steps:
        lines += ["", *(f"  {_plain(step)}" for step in next_steps)]
    return "\n".join(lines) + "\n"


def _table(rows: Sequence[tuple[str, ...]], colour: bool) -> list[str]:
    widths = [max(len(row[column]) for row in (COLUMNS, *rows)) for column in range(len(COLUMNS))]
    lines = []
    for row in (COLUMNS, *rows):
        cells = [
            text.ljust(width) if column in _LEFT else text.rjust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        if row is not COLUMNS:
            cells[0] = _paint(row[0], cells[0], colour)
        lines.append(("  " + "  ".join(cells)).rstrip())
    lines.insert(1, "  " + "  ".join("-" * width for width in widths))
    return lines


def _paint(key: str, text: str, colour: bool) -> str:
    return f"\x1b[{_COLOURS[key]}m{text}\x1b[0m" if colour else text


def _plain(text: str) -> str:
    return _CONTROL.sub(" ", text).strip()
