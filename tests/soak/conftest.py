"""What the proofs share."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from uuid import uuid4

import pytest

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]
postgres, scenes = import_module("postgres"), import_module("scenes")


@pytest.fixture
def quick_path() -> Iterator[Path]:
    """See `scenes.quick_folder`."""
    with scenes.quick_folder() as folder:
        yield folder


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=postgres.needed)])
def fresh_ledger(
    request: pytest.FixtureRequest, quick_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], str]:
    """Call it for the address of a new, empty ledger; projects use that one until the next call."""

    def made() -> str:
        for old in quick_path.glob("ledger_*"):  # thousands of them would fill the memory
            old.unlink()
        name = f"ledger_{uuid4().hex[:12]}"
        file = f"sqlite:///{quick_path / name}.db"
        url = file if request.param == "sqlite" else postgres.new_schema(postgres.SERVER, name)
        monkeypatch.setenv("SLUICE_LEDGER_URL", url)
        return url

    return made


@pytest.fixture
def ledger_url(fresh_ledger: Callable[[], str]) -> str:
    """The address of an empty ledger: SQLite, and PostgreSQL where SLUICE_TEST_POSTGRES names a
    server.
    """
    return fresh_ledger()
