"""What stored text may do to a terminal: be shown."""

from __future__ import annotations

import io
import json
import sys

import pytest

from sluicegate.cli.output import guarded_terminal, print_json, print_table, visible

EVIL = "\x1b[2J\x1b]0;owned\x07\r\x08\x9b31m\u202egpj.exe\u2066\x00\x7f"


def test_everything_a_terminal_would_obey_is_written_out() -> None:
    """No control character is left but tab and line end, and ordinary text of any script stays."""
    shown = visible(EVIL)
    assert shown.isascii()
    assert shown.isprintable()
    plain = "Größe 漢字 می\u200cخواهم 👩\u200d💻\tx\n"
    assert visible(plain) == plain


def test_json_stays_json(capsys: pytest.CaptureFixture[str]) -> None:
    """The same text comes back from JSON, escaped where a terminal would obey it."""
    print_json({"reason": EVIL})
    text = capsys.readouterr().out
    assert json.loads(text) == {"reason": EVIL}
    assert visible(text) == text


def test_a_cell_stays_in_its_row(capsys: pytest.CaptureFixture[str]) -> None:
    """A line end in stored text makes no second row of a table."""
    print_table(("who", "why"), [("ann", "one\ntwo  PROMOTE"), ("ben", EVIL)])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert "\x1b" not in "".join(lines)


def test_all_that_is_printed_goes_through(monkeypatch: pytest.MonkeyPatch) -> None:
    """Standard output and error of every command, whoever prints; afterwards they are as before."""
    streams = [io.TextIOWrapper(io.BytesIO(), "utf-8") for _ in range(2)]
    monkeypatch.setattr(sys, "stdout", streams[0])
    monkeypatch.setattr(sys, "stderr", streams[1])
    with guarded_terminal():
        print(EVIL, "é")
        print(EVIL, file=sys.stderr)
    assert [sys.stdout, sys.stderr] == streams
    for stream in streams:
        stream.seek(0)
        text = stream.read()
        assert text.endswith("\n")
        assert visible(text) == text
        assert "owned" in text
