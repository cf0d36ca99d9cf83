"""A ledger that may only be read is read, and says so when it is to be written."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from sluicegate.ledger import Ledger

READ = """
import os, sys, tempfile
from sluicegate.errors import EnvironmentFailure
from sluicegate.ledger import Ledger
with tempfile.TemporaryDirectory() as folder:  # all is imported before the rights are given up
    Ledger(f"sqlite:///{folder}/warm.db").append("note", "r", "ann", {})
    Ledger(f"sqlite:///{folder}/warm.db").verify()
if os.getuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
ledger = Ledger(sys.argv[1])
ledger.verify()
print(len(ledger.entries()), ledger.head()[0], ledger.champion().version)
try:
    ledger.append("note", "r" * 64, "eve", {})
except EnvironmentFailure as error:
    print(error, error.hint)
"""


@pytest.fixture
def ledger() -> Iterator[Path]:
    """A ledger of two entries in a folder that everybody may look into (pytest's own may not)."""
    root = Path(tempfile.mkdtemp())
    folder = root / "a ledger"
    folder.mkdir()
    root.chmod(0o755)
    made = Ledger(f"sqlite:///{folder / 'ledger.db'}")
    made.append("register", "r" * 64, "ann", {"version": 1})
    made.move_champion("r" * 64, 1, 0, "bootstrap", "ann", {})
    yield folder / "ledger.db"
    folder.chmod(0o755)
    shutil.rmtree(root)


def read(path: Path) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", READ, f"sqlite:///{path}"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("what", ["folder", "file", "both"])
@pytest.mark.parametrize("log", [False, True])
def test_a_ledger_is_read_where_it_cannot_be_written(ledger: Path, what: str, log: bool) -> None:
    """File, folder or both read-only, with and without rows that wait in the write-ahead log."""
    held = None
    if log:  # a writer that was killed leaves its log
        code = (
            "import os, sys; from sluicegate.ledger import Ledger\n"
            "Ledger(sys.argv[1]).append('note', 'r' * 64, 'ann', {}); os.kill(os.getpid(), 9)"
        )
        held = subprocess.run([sys.executable, "-c", code, f"sqlite:///{ledger}"])
        assert held.returncode == -9
    for file in ledger.parent.iterdir():
        file.chmod(0o444 if what in ("file", "both") else 0o666)
    ledger.parent.chmod(0o555 if what in ("folder", "both") else 0o777)
    found, refused = read(ledger)
    count = 2 + log
    assert found == f"{count} {count} 1"
    assert "only be read" in refused
