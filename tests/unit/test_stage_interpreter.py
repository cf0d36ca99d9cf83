"""Stages run with the interpreter that called them, whatever is on the PATH."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from sluicegate.project import Project
from sluicegate.versioning import reproduce

PIPELINE = """
stages:
  whose:
    cmd:
      - sluice --version > version.txt
      - python -c "import sys; print(sys.executable)" > python.txt
    outs: [version.txt, python.txt]
"""


@pytest.mark.parametrize("path", ["/usr/bin:/bin", "/usr/bin"])
def test_a_full_path_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    """From cron or systemd, with no virtual environment on the PATH, a stage finds this one's
    programs.
    """
    (tmp_path / "dvc.yaml").write_text(PIPELINE, "utf-8")
    monkeypatch.setenv("PATH", path)
    assert reproduce(Project(tmp_path), quiet=True) == ["whose"]
    assert (tmp_path / "version.txt").read_text("utf-8").startswith("sluice")
    used = (tmp_path / "python.txt").read_text("utf-8").strip()
    assert Path(used).parent == Path(sys.executable).parent
