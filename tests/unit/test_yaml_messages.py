"""What people read when a file that they edit is wrong: one plain line, and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from sluicegate.errors import ConfigError
from sluicegate.yaml_file import Strict, load


class Settings(Strict):
    rounds: int


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"rounds: 1\nround: 2\n", "round: unknown field"),
        (b"{}", "rounds: this field is missing"),
        (b"", "the whole file: fields with their values were expected"),
        (b"rounds: [1\n", "not valid YAML"),
        (b"\xff\xfe", "not UTF-8"),
    ],
)
def test_a_wrong_file_is_told_with_a_way_out(tmp_path: Path, text: bytes, told: str) -> None:
    """The message is in plain words and says what to do; no word of Python's."""
    (tmp_path / "f.yaml").write_bytes(text)
    with pytest.raises(ConfigError, match=told) as caught:
        load(tmp_path / "f.yaml", Settings)
    assert caught.value.hint
    assert "instance of" not in str(caught.value)
