"""The ledger: one transaction a step, compare-and-set on the epoch, a chain that notices every edit."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import sqlite3
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy.exc

sys.path.insert(0, str(Path(__file__).parents[1]))

from ledger_race import one_winner_per_epoch
from sluicegate.errors import (
    BusyError,
    ConfigError,
    EnvironmentFailure,
    IntegrityError,
    MissingExtraError,
    StaleEpochError,
    UsageError,
)
from sluicegate.ledger import Ledger
from sluicegate.ledger.database import translated
from sluicegate.records import Champion

A, B = "a" * 64, "b" * 64


def url(folder: Path) -> str:
    return f"sqlite:///{folder / 'ledger.db'}"


def filled(folder: Path) -> Ledger:
    ledger = Ledger(url(folder))
    ledger.append("register", A, "ann", {"version": 1})
    ledger.move_champion(A, 1, 0, "bootstrap", "ann", {})
    ledger.append("register", B, "ann", {"version": 2})
    ledger.append("verdict", B, "ann", {"decision": "PROMOTE", "rules": [1.5, None, "é"]})
    ledger.move_champion(B, 2, 1, "promote", "ann", {"reason": "better"})
    return ledger


@pytest.mark.parametrize("address", ["sqlite://", "sqlite:///:memory:", "mysql://u@host/name"])
def test_a_database_that_cannot_hold_a_ledger(address: str) -> None:
    """One in memory, and one of another kind, is a wrong setting, and the hint says what to name instead."""
    with pytest.raises(ConfigError, match=r"in memory|in mysql") as caught:
        Ledger(address).champion()
    assert "sqlite:////path" in caught.value.hint


@pytest.mark.parametrize(
    "address", ["postgresql//app:s3cret@db/x", "postgresql://app:s3cret@db:abc/x"]
)
def test_an_address_that_is_none_is_not_repeated(address: str) -> None:
    """A mistyped URL is a wrong setting, and the password in it is not told."""
    with pytest.raises(ConfigError, match="not a database URL") as caught:
        Ledger(address).champion()
    assert "s3cret" not in f"{caught.value} {caught.value.hint}"
    assert caught.value.__suppress_context__


def test_entries_come_back_as_written_and_chained(tmp_path: Path) -> None:
    """What is appended is read back equal, in order, each naming the hash of the one before."""
    ledger = Ledger(url(tmp_path))
    written = [ledger.append("register", A, "ann", {"number": i, "text": "ü"}) for i in range(3)]
    assert Ledger(url(tmp_path)).entries() == written
    assert [entry.previous for entry in written[1:]] == [entry.hash for entry in written[:-1]]
    assert ledger.entries("verdict") == []
    assert ledger.entries("register", B) == []


def test_champion_and_its_entry_move_together(tmp_path: Path) -> None:
    """After a move the pointer is the release moved to, its epoch one higher, and the entry says so."""
    ledger = filled(tmp_path)
    assert ledger.champion() == Champion(B, 2, 2)
    assert [entry.epoch for entry in ledger.entries()] == [0, 1, 1, 1, 2]
    ledger.verify()


def test_a_stale_epoch_changes_nothing(tmp_path: Path) -> None:
    """A move on an epoch that is no longer current is refused, with pointer and entries as before."""
    ledger = filled(tmp_path)
    before = ledger.entries()
    with pytest.raises(StaleEpochError):
        ledger.move_champion(A, 1, 1, "rollback", "ann", {})
    assert ledger.entries() == before
    assert ledger.champion() == Champion(B, 2, 2)


def test_what_the_guard_raises_undoes_the_move(tmp_path: Path) -> None:
    """The guard sees the entries inside the transaction, and its refusal leaves no trace."""
    ledger = filled(tmp_path)
    seen: list[Any] = []

    def refuse(entries: Any, champion: Champion | None) -> None:
        seen.append(([entry.kind for entry in entries], champion))
        raise UsageError("no")

    with pytest.raises(UsageError):
        ledger.move_champion(A, 1, 2, "rollback", "ann", {}, guard=refuse)
    assert seen == [(["register", "bootstrap", "promote"], Champion(B, 2, 2))]
    assert len(ledger.entries()) == 5


def test_unless_same_makes_a_second_append_a_no_op(tmp_path: Path) -> None:
    """An equal last entry of the kind is returned, not repeated; a different one is appended."""
    ledger = Ledger(url(tmp_path))
    first = ledger.append(
        "verdict", A, "ann", {"verdict": "x", "note": 1}, unless_same=("verdict",)
    )
    assert (
        ledger.append("verdict", A, "bob", {"verdict": "x", "note": 2}, unless_same=("verdict",))
        == first
    )
    ledger.append("verdict", A, "ann", {"verdict": "y"}, unless_same=("verdict",))
    ledger.append("verdict", A, "ann", {"verdict": "x"}, unless_same=("verdict",))
    assert len(ledger.entries()) == 3


@pytest.mark.parametrize("payload", [{"x": float("nan")}, {"x": object()}, {"x": "\ud800"}])
def test_payloads_that_are_not_json_are_refused(tmp_path: Path, payload: dict[str, Any]) -> None:
    """NaN, objects and broken text never enter the ledger."""
    ledger = Ledger(url(tmp_path))
    with pytest.raises(UsageError):
        ledger.append("register", A, "ann", payload)
    assert ledger.entries() == []


def test_moves_are_not_appended_and_an_actor_is_needed(tmp_path: Path) -> None:
    """The pointer's entries have one door, and nobody acts without a name."""
    ledger = Ledger(url(tmp_path))
    with pytest.raises(UsageError):
        ledger.append("promote", A, "ann", {})
    with pytest.raises(UsageError):
        ledger.move_champion(A, 1, 0, "register", "ann", {})
    with pytest.raises(UsageError):
        ledger.append("register", A, "  ", {})
    with pytest.raises(UsageError):
        ledger.move_champion(A, 1, 0, "bootstrap", "", {})
    with pytest.raises(UsageError):
        ledger.append("register", A, "an\udce9", {})
    assert ledger.champion() is None
    ledger.verify()


def edit(path: Path, *statements: str) -> None:
    """Change the file behind the ledger's back, as an intruder with the triggers dropped would."""
    connection = sqlite3.connect(path)
    for name in ("no_UPDATE", "no_DELETE"):
        connection.execute(f"DROP TRIGGER IF EXISTS {name}")
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


EDITS = {
    "actor": "UPDATE entries SET actor='eve' WHERE sequence=3",
    "time": "UPDATE entries SET time='2020' WHERE sequence=1",
    "payload": "UPDATE entries SET payload=replace(payload,'PROMOTE','REJECT')",
    "payload not text": "UPDATE entries SET payload=x'00ff' WHERE sequence=2",
    "payload spaced": "UPDATE entries SET payload='{\"version\": 1}' WHERE sequence=1",
    "epoch": "UPDATE entries SET epoch=7 WHERE sequence=5",
    "hash": "UPDATE entries SET hash='' WHERE sequence=2",
    "previous": "UPDATE entries SET previous='0' WHERE sequence=2",
    "delete first": "DELETE FROM entries WHERE sequence=1",
    "delete middle": "DELETE FROM entries WHERE sequence=3",
    "cut the tail": "DELETE FROM entries WHERE sequence=5",
    "delete all": "DELETE FROM entries",
    "renumber": "UPDATE entries SET sequence=9 WHERE sequence=5",
    "pointer": f"UPDATE champion SET release='{A}'",
    "pointer epoch": "UPDATE champion SET epoch=3",
    "pointer version": "UPDATE champion SET version=1",
    "pointer gone": "DELETE FROM champion",
    "head": "UPDATE head SET sequence=4",
    "head gone": "DELETE FROM head",
    "insert": "INSERT INTO entries SELECT 6,time,actor,kind,release,epoch,payload,hash,'0' FROM entries WHERE epoch=2",
}


@pytest.mark.parametrize("name", sorted(EDITS))
def test_every_edit_is_found(tmp_path: Path, name: str) -> None:
    """Flipping, deleting, inserting, reordering or cutting anything makes verify fail."""
    filled(tmp_path)
    edit(tmp_path / "ledger.db", EDITS[name])
    with pytest.raises(IntegrityError):
        Ledger(url(tmp_path)).verify()


@pytest.mark.parametrize(
    "change",
    ["DROP TRIGGER no_UPDATE", "CREATE TRIGGER x AFTER INSERT ON entries BEGIN SELECT 1; END"],
)
def test_a_trigger_taken_away_or_added_is_found(tmp_path: Path, change: str) -> None:
    """Verify says that the append-only rule is no longer guarded as it was, and opening anew puts back what is missing."""
    ledger = filled(tmp_path)
    with sqlite3.connect(tmp_path / "ledger.db") as connection:
        connection.execute(change)
    with pytest.raises(IntegrityError, match="trigger"):
        ledger.verify()
    if change.startswith("DROP"):
        Ledger(url(tmp_path)).verify()


def test_a_tail_cut_together_with_the_head_is_found_by_an_anchor(tmp_path: Path) -> None:
    """A ledger set back consistently passes on its own, but not against a head kept elsewhere."""
    ledger = filled(tmp_path)
    anchor, kept = ledger.head(), ledger.entries()[3]
    edit(
        tmp_path / "ledger.db",
        "DELETE FROM entries WHERE sequence=5",
        f"UPDATE head SET sequence=4, hash='{kept.hash}'",
        f"UPDATE champion SET release='{A}', epoch=1, version=1",
    )
    Ledger(url(tmp_path)).verify()
    with pytest.raises(IntegrityError):
        Ledger(url(tmp_path)).verify(anchor=anchor)


def test_plain_updates_and_deletes_are_refused_by_the_database(tmp_path: Path) -> None:
    """Append-only is enforced where the rows are, not only where they are written."""
    filled(tmp_path)
    with sqlite3.connect(tmp_path / "ledger.db") as connection:
        for statement in ("UPDATE entries SET actor='eve'", "DELETE FROM entries"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                connection.execute(statement)


def test_a_full_disk_leaves_the_ledger_as_it_was(tmp_path: Path) -> None:
    """When the database cannot grow the step fails as the environment's fault and nothing of it stays."""
    ledger = filled(tmp_path)
    before = ledger.entries()
    connection = ledger._engine.connect() if ledger._engine else None
    assert connection is not None
    pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
    connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")
    connection.rollback()
    connection.close()
    with pytest.raises(EnvironmentFailure):
        ledger.move_champion(A, 1, 2, "rollback", "ann", {"reason": "x" * 200_000})
    fresh = Ledger(url(tmp_path))
    assert fresh.entries() == before
    assert fresh.champion() == Champion(B, 2, 2)
    fresh.verify()


def test_broken_or_unreachable_files_are_typed_errors(tmp_path: Path) -> None:
    """A file that is no database and a place that cannot be written are errors with a reason, not tracebacks."""
    (tmp_path / "ledger.db").write_bytes(b"this is not a database at all, " * 50)
    with pytest.raises(IntegrityError):
        Ledger(url(tmp_path)).champion()
    (tmp_path / "file").write_text("x")
    with pytest.raises(EnvironmentFailure):
        Ledger(f"sqlite:///{tmp_path / 'file' / 'ledger.db'}").champion()


def test_damage_that_the_database_quotes_is_a_typed_error(tmp_path: Path) -> None:
    """Bytes that are no text, in the file's own description of its tables, are damage and not a traceback."""
    ledger = filled(tmp_path)
    ledger.verify()
    del ledger
    with sqlite3.connect(tmp_path / "ledger.db") as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    raw = (tmp_path / "ledger.db").read_bytes()
    for word in (b"CREATE TABLE", b"CREATE TRIGGER"):
        (tmp_path / "ledger.db").write_bytes(raw.replace(word, b"\xff" + word[1:]))
        with pytest.raises(IntegrityError):
            Ledger(url(tmp_path)).verify()


def test_postgresql_without_its_driver_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the driver is not installed the hint is the line that installs it."""
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(MissingExtraError) as caught:
        Ledger("postgresql://user@nowhere/name").champion()
    assert "sluicegate[postgres]" in caught.value.hint


class DriverError(Exception):
    """What a driver raises, with PostgreSQL's code."""

    def __init__(self, text: str, sqlstate: str | None) -> None:
        super().__init__(text)
        self.sqlstate = sqlstate


@pytest.mark.parametrize(
    ("sqlstate", "text", "reaction", "hint"),
    [
        ("55P03", "canceling statement due to lock timeout", BusyError, "Wait"),
        ("40P01", "deadlock detected", BusyError, "Wait"),
        ("53300", "too many clients already", BusyError, "Wait"),
        ("53100", "could not extend file: No space left on device", EnvironmentFailure, "disk"),
        (
            "57P01",
            "terminating connection due to administrator command",
            EnvironmentFailure,
            "Start it",
        ),
        ("08006", "server closed the connection unexpectedly", EnvironmentFailure, "Start it"),
        (None, "connection failed: Connection refused", EnvironmentFailure, "Start it"),
        ("P0001", "append-only", IntegrityError, ""),
        ("42501", "permission denied for table entries", EnvironmentFailure, "permissions"),
    ],
)
def test_what_a_server_says_becomes_the_fitting_reaction(
    sqlstate: str | None, text: str, reaction: type[EnvironmentFailure], hint: str
) -> None:
    """Waiting, freeing space and starting the server are told apart by PostgreSQL's own codes."""
    found = translated(sqlalchemy.exc.OperationalError("", {}, DriverError(text, sqlstate)))
    assert type(found) is reaction
    assert hint in found.hint


def test_a_held_ledger_is_busy(tmp_path: Path) -> None:
    """A writer that waits too long says that somebody else is writing."""
    ledger = filled(tmp_path)
    holder = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(BusyError):
        Ledger(url(tmp_path), wait=0.2).append("register", A, "ann", {})
    assert ledger.champion() == Champion(B, 2, 2)
    holder.execute("ROLLBACK")
    holder.close()


def test_every_epoch_of_a_race_has_one_winner(tmp_path: Path) -> None:
    """Three processes that open a fresh ledger and race for each epoch: one winner each, a typed error for the rest."""
    one_winner_per_epoch(url(tmp_path))


def _promote_forever(place: str) -> None:
    ledger = Ledger(place)
    while True:
        champion = ledger.champion()
        epoch = champion.epoch if champion else 0
        ledger.move_champion(
            f"{epoch % 10}" * 64, epoch + 1, epoch, "promote", "ann", {"reason": "x" * 500}
        )


def test_kill_nine_at_any_moment_leaves_a_valid_ledger(tmp_path: Path) -> None:
    """After SIGKILL in the middle of promotions pointer, head and chain agree, and the epoch never falls."""
    context, chance, last = multiprocessing.get_context("spawn"), random.Random(3), 0
    Ledger(url(tmp_path)).champion()
    for _ in range(4):
        process = context.Process(target=_promote_forever, args=(url(tmp_path),))
        process.start()
        deadline = time.monotonic() + 20
        while len(Ledger(url(tmp_path)).entries()) <= last and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(chance.random() * 0.05)
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        ledger = Ledger(url(tmp_path))
        ledger.verify()
        champion = ledger.champion()
        assert champion is not None
        assert champion.epoch > last
        last = champion.epoch
