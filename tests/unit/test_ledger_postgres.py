"""The ledger at a real PostgreSQL server: the same promises as in a file, and the server's troubles
in our words.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa

sys.path.insert(0, str(Path(__file__).parents[1]))

import postgres
from ledger_race import one_winner_per_epoch
from sluicegate.errors import BusyError, EnvironmentFailure, IntegrityError, StaleEpochError
from sluicegate.ledger import Ledger
from sluicegate.records import Champion

pytestmark = postgres.needed

A, B = "a" * 64, "b" * 64


@pytest.fixture
def place() -> str:
    """The address of an empty ledger."""
    return postgres.new_schema(postgres.SERVER, f"ledger_{uuid4().hex[:12]}")


def execute(place: str, *statements: str) -> None:
    """Run SQL beside the ledger, as the database's owner."""
    engine = sa.create_engine(
        place.replace("postgresql:", "postgresql+psycopg:"), poolclass=sa.NullPool
    )
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def filled(place: str) -> Ledger:
    ledger = Ledger(place)
    ledger.append("register", A, "ann", {"version": 1})
    ledger.move_champion(A, 1, 0, "bootstrap", "ann", {})
    ledger.append("verdict", B, "ann", {"decision": "PROMOTE", "rules": [1.5, None, "é", "a\x00b"]})
    ledger.move_champion(B, 2, 1, "promote", "ann", {"reason": "better"})
    return ledger


def test_steps_are_kept_as_in_a_file(place: str) -> None:
    """Entries come back as written, the champion moves with its entry, a stale epoch changes
    nothing.
    """
    ledger = filled(place)
    again = Ledger(place)
    assert again.entries() == ledger.entries()
    assert again.champion() == Champion(B, 2, 2)
    with pytest.raises(StaleEpochError):
        again.move_champion(A, 1, 1, "rollback", "ann", {})
    assert len(again.entries()) == 4
    again.verify(anchor=ledger.head())


@pytest.mark.parametrize(
    "statement", ["UPDATE entries SET actor = 'eve'", "DELETE FROM entries", "TRUNCATE entries"]
)
def test_entries_cannot_be_changed(place: str, statement: str) -> None:
    """The server itself refuses to change, delete or empty what is recorded."""
    filled(place)
    with pytest.raises(sa.exc.DBAPIError, match="append-only"):
        execute(place, statement)


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE entries DISABLE TRIGGER no_change",
        "ALTER TABLE entries ENABLE REPLICA TRIGGER no_truncate",
        "DROP TRIGGER no_truncate ON entries",
        "CREATE OR REPLACE FUNCTION sluice_append_only() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RETURN NEW; END $$",
    ],
)
def test_a_guard_that_was_switched_off_is_found(place: str, change: str) -> None:
    """Verify notices that the append-only triggers are gone, off or emptied."""
    ledger = filled(place)
    execute(place, change)
    with pytest.raises(IntegrityError, match="trigger"):
        ledger.verify()


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE entries SET actor = 'eve' WHERE sequence = 3",
        "UPDATE entries SET payload = replace(payload, 'PROMOTE', 'REJECT')",
        "UPDATE entries SET epoch = 7 WHERE sequence = 4",
        "DELETE FROM entries WHERE sequence = 1",
        "DELETE FROM entries WHERE sequence = 4",
        "DELETE FROM entries",
        "UPDATE entries SET sequence = 9 WHERE sequence = 4",
        f"UPDATE champion SET release = '{A}'",
        "UPDATE champion SET version = 1",
        "DELETE FROM champion",
        "UPDATE head SET sequence = 3",
        "DELETE FROM head",
        "INSERT INTO entries SELECT 5, time, actor, kind, release, epoch, payload, hash, '0' FROM "
        "entries WHERE epoch = 2",
    ],
)
def test_every_edit_is_found(place: str, change: str) -> None:
    """What the database's owner changes with the triggers off for a moment is found all the same."""
    filled(place)
    execute(place, "SET session_replication_role = replica", change)
    with pytest.raises(IntegrityError):
        Ledger(place).verify()


def test_a_held_ledger_is_busy(place: str) -> None:
    """A writer waits for another one as long as it was told to, then says so; readers do not wait."""
    filled(place)
    held, done = threading.Event(), threading.Event()

    def hold(_entries: Any, _champion: Any) -> None:
        held.set()
        done.wait(20)

    keeper = threading.Thread(
        target=lambda: Ledger(place).move_champion(A, 1, 2, "rollback", "ann", {}, guard=hold),
        daemon=True,
    )
    keeper.start()
    assert held.wait(20)
    with pytest.raises(BusyError):
        Ledger(place, wait=0.3).append("register", A, "ann", {})
    assert Ledger(place).champion() == Champion(B, 2, 2)
    done.set()
    keeper.join(20)
    assert Ledger(place).champion() == Champion(A, 3, 1)


def test_a_lost_connection_changes_nothing(place: str) -> None:
    """Cut off in the middle of a move, the ledger is as before, the error asks to start the server,
    and it works again.
    """
    ledger = filled(place)
    before = ledger.entries()

    def cut(_entries: Any, _champion: Any) -> None:
        execute(
            place,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = 'idle in "
            "transaction'",
        )

    with pytest.raises(EnvironmentFailure) as caught:
        ledger.move_champion(A, 1, 2, "rollback", "ann", {}, guard=cut)
    assert "Start it" in caught.value.hint
    assert ledger.entries() == before
    ledger.move_champion(A, 1, 2, "rollback", "ann", {})
    ledger.verify()


def test_a_server_that_is_away_is_a_typed_error() -> None:
    """Nobody at the socket: the environment's fault, with a hint."""
    with pytest.raises(EnvironmentFailure) as caught:
        Ledger("postgresql://sluice@/postgres?host=/nowhere").champion()
    assert "Start it" in caught.value.hint


def test_a_full_disk_leaves_the_ledger_as_it_was(place: str) -> None:
    """When the server cannot write a row the step fails as the environment's fault and nothing of
    it stays.
    """
    ledger = filled(place)
    execute(
        place,
        "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full'; END $$",
        "CREATE TRIGGER full_disk BEFORE INSERT ON entries FOR EACH ROW EXECUTE FUNCTION "
        "full_disk()",
    )
    with pytest.raises(EnvironmentFailure) as caught:
        ledger.move_champion(A, 1, 2, "rollback", "ann", {})
    assert "disk" in caught.value.hint
    execute(place, "DROP TRIGGER full_disk ON entries")
    assert ledger.champion() == Champion(B, 2, 2)
    ledger.verify()


def test_verify_beside_a_writer_raises_no_alarm(place: str) -> None:
    """Entries, head and pointer are read as of one moment, however much is written meanwhile."""
    ledger, stop = filled(place), threading.Event()

    def write() -> None:
        writer, epoch = Ledger(place), 2
        while not stop.is_set():
            epoch = writer.move_champion(A, 1, epoch, "promote", "ann", {}).epoch

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    for _ in range(20):
        ledger.verify()
    stop.set()
    writer.join(20)
    champion = ledger.champion()
    assert champion is not None
    assert champion.epoch > 10


def test_every_epoch_of_a_race_has_one_winner(place: str) -> None:
    """Three processes that open a fresh ledger and race for each epoch: one winner each, a typed
    error for the rest.
    """
    one_winner_per_epoch(place)


def test_the_same_append_from_two_processes_is_one_entry(place: str) -> None:
    """`unless_same` is asked inside the transaction: two writers at once leave one entry."""
    filled(place)
    calls: list[Callable[[], object]] = [
        lambda: Ledger(place).append(
            "verdict", A, "ann", {"verdict": "x"}, unless_same=("verdict",)
        )
        for _ in range(4)
    ]
    threads = [threading.Thread(target=call) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(Ledger(place).entries("verdict", A)) == 1
