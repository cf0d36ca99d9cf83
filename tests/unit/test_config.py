"""YAML files are read strictly and within bounds."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from sluicegate.errors import ConfigError
from sluicegate.yaml_file import read_yaml

LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[" * 100_000, "nested"),
        ("{a: " * 100_000, "nested"),
        ("".join(" " * n + "a:\n" for n in range(500)), "nested"),
        ("- " * 50_000, "nested"),
        (LAUGHS, "aliases"),
        ("a: &a [*a]\n", "aliases"),
        ("a: &a {b: *a}\n", "aliases"),
        ("# " + "x" * 4_000_001, "larger"),
        ("a: *nowhere\n", "not valid YAML"),
    ],
)
def test_deep_or_huge_files_are_refused_at_once(tmp_path: Path, text: str, reason: str) -> None:
    """Depth, what aliases stand for, and size are bounded: a ConfigError that names the file."""
    path = tmp_path / "x.yaml"
    path.write_text(text)
    started = time.monotonic()
    with pytest.raises(ConfigError, match=reason) as caught:
        read_yaml(path)
    assert "x.yaml" in str(caught.value)
    assert time.monotonic() - started < 5


def test_ordinary_aliases_and_depth_are_read(tmp_path: Path) -> None:
    """An anchor that is used a few times, and thirty levels, are no attack."""
    path = tmp_path / "x.yaml"
    path.write_text("base: &b {x: 1}\nuses: [*b, *b, *b]\ndeep: " + "[" * 30 + "]" * 30 + "\n")
    found = read_yaml(path)
    assert found["uses"] == [{"x": 1}] * 3
    assert found["deep"] == eval("[" * 30 + "]" * 30)


def test_a_folder_or_a_missing_file_is_a_config_error(tmp_path: Path) -> None:
    """Whatever is wrong with the file is told as such."""
    for path in (tmp_path, tmp_path / "absent.yaml"):
        with pytest.raises(ConfigError):
            read_yaml(path)
