"""How commands print: JSON for programs, short lines for people.

Names, reasons and answers were written by somebody else: `visible` is what they may do to a
terminal,
and `guarded_terminal` sends all that a command prints through it.
"""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

import click

from sluicegate.hashing import as_json

EXIT_CODES = {"PROMOTE": 0, "REJECT": 1, "HOLD": 4}
"""What a verdict is for a program that called us."""
Command = TypeVar("Command", bound=Callable[..., Any])


_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\U000e0000-\U000e007f]"
)
"""Control characters but tab and line end; marks that turn the direction of text round or hide it.
"""


def visible(text: str) -> str:
    r"""`text` with everything that a terminal would obey instead of show written out.

    Example:
        >>> print(visible("red \x1b[31m, back \r, reversed \u202e"))
        red \x1b[31m, back \r, reversed \u202e
    """
    return _UNSAFE.sub(lambda found: ascii(found[0])[1:-1], text)


class _Terminal(io.TextIOWrapper):
    """Standard output or error through which nothing but text comes."""

    def write(self, text: str, /) -> int:
        # A line of progress of our own begins by going back to its start.
        back = text.startswith("\r") and self.isatty()
        super().write("\r" + visible(text[1:]) if back else visible(text))
        return len(text)


@contextmanager
def guarded_terminal() -> Iterator[None]:
    """Within it, all that is printed goes through `visible`."""
    with ExitStack() as stack:
        for name in ("stdout", "stderr"):
            stack.enter_context(_guarded(name))
        yield


@contextmanager
def _guarded(name: str) -> Iterator[None]:
    before = getattr(sys, name)
    buffer = getattr(before, "buffer", None)
    if buffer is None:  # a test's or a notebook's stream
        yield
        return
    before.flush()
    plain = (before.encoding or "").casefold() in ("", "ascii", "ansi_x3.4-1968")
    encoding = "utf-8" if plain else before.encoding
    guarded = _Terminal(
        buffer, encoding, "backslashreplace", line_buffering=True, write_through=True
    )
    setattr(sys, name, guarded)
    try:
        yield
    finally:
        setattr(sys, name, before)
        try:
            guarded.flush()
        finally:
            guarded.detach()


def json_option(command: Command) -> Command:
    """Add `--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


def print_json(value: Any) -> None:
    """Print a value, dataclass or list of them as JSON."""
    text = json.dumps(as_json(value), indent=2, sort_keys=True, ensure_ascii=False)
    click.echo(_UNSAFE.sub(lambda found: json.dumps(found[0])[1:-1], text))


def print_table(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print aligned columns."""
    texts = [
        [visible(" ".join(str(cell).splitlines())) for cell in row] for row in [headings, *rows]
    ]
    widths = [max(len(row[column]) for row in texts) for column in range(len(headings))]
    for row in texts:
        click.echo(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        )
