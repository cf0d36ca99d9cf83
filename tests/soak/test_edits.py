"""Ledgers edited behind our back: every edit is found, and a ledger that nobody edited raises no
alarm.
"""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from sluicegate.errors import EnvironmentFailure, IntegrityError, StaleEpochError
from sluicegate.hashing import digest_value
from sluicegate.ledger import GENESIS, Ledger
from soak_scale import scaled

TABLES = {
    "entries": (
        "sequence",
        "time",
        "actor",
        "kind",
        "release",
        "epoch",
        "payload",
        "previous",
        "hash",
    ),
    "head": ("sequence", "hash"),
    "champion": ("release", "epoch", "version"),
}
WORDS = ("ann", "größer", "a reason of some length, with 'quotes'", "", "\\", "{}", "0")


def address(path: Path) -> str:
    return f"sqlite:///{path}"


def grown(path: Path, chance: random.Random, steps: int) -> Ledger:
    """A ledger of random but lawful steps."""
    ledger = Ledger(address(path))
    for _ in range(steps):
        release, actor = chance.choice("abcd") * 64, chance.choice(["ann", "ben"])
        payload = {
            "version": chance.randint(1, 9),
            "reason": chance.choice(WORDS),
            "score": chance.random(),
        }
        champion = ledger.champion()
        if chance.random() < 0.5:
            ledger.append(
                chance.choice(["register", "verdict", "approval"]), release, actor, payload
            )
        else:
            kind = chance.choice(["promote", "rollback"]) if champion else "bootstrap"
            ledger.move_champion(
                release, payload["version"], champion.epoch if champion else 0, kind, actor, payload
            )
    return ledger


def edited(path: Path) -> bool:
    """Does verify say so?"""
    try:
        Ledger(address(path)).verify()
    except IntegrityError:
        return True
    return False


def content(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of all tables, read without our code."""
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    found = {
        table: connection.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall()
        for table in TABLES
    }
    connection.close()
    return found


def settled(ledger: Path) -> None:
    """Move what is in the write-ahead log into the file, so that the file alone is the ledger."""
    connection = sqlite3.connect(ledger)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def flip(connection: sqlite3.Connection, chance: random.Random) -> None:
    """Change one character, number or type of one field of one row of any table."""
    table = chance.choice(["entries", "entries", "entries", "head", "champion"])
    column = chance.choice(TABLES[table])
    rows = connection.execute(f"SELECT rowid, {column} FROM {table}").fetchall()
    if not rows:
        return
    row, old = chance.choice(rows)
    if isinstance(old, int):
        new: Any = chance.choice(
            [old + 1, old - 1, old + 1000, -old, str(old) + "x", float(old) + 0.5]
        )
    else:
        spot = chance.randrange(len(old) + 1)
        sign = chance.choice(["", " ", "0", "a", "é", '"', "}"])
        new = chance.choice(
            [
                old[:spot] + sign + old[spot + 1 :],
                old[:spot] + sign + old[spot:],
                old.upper(),
                "",
                old.encode(),
            ]
        )
    connection.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (new, row))


def delete(connection: sqlite3.Connection, chance: random.Random) -> None:
    """Take out one row, anywhere."""
    table = chance.choice(["entries", "entries", "head", "champion"])
    rows = connection.execute(f"SELECT rowid FROM {table}").fetchall()
    if rows:
        connection.execute(f"DELETE FROM {table} WHERE rowid = ?", chance.choice(rows))


def insert(connection: sqlite3.Connection, chance: random.Random) -> None:
    """Put in an entry with a right hash of its own: at the end, or in the middle with the later
    ones renumbered.
    """
    rows = connection.execute("SELECT * FROM entries ORDER BY sequence").fetchall()
    place = chance.randrange(len(rows) + 1)
    connection.execute("UPDATE entries SET sequence = -sequence - 1 WHERE sequence > ?", (place,))
    connection.execute("UPDATE entries SET sequence = -sequence WHERE sequence < 0")
    row = (
        dict(zip(TABLES["entries"], chance.choice(rows), strict=True))
        if rows
        else dict.fromkeys(TABLES["entries"], "x")
    )
    row |= {
        "sequence": place + 1,
        "actor": "eve",
        "previous": rows[place - 1][-1] if place else GENESIS,
    }
    row["epoch"] = rows[place - 1][5] if place else 0
    row["hash"] = digest_value({key: value for key, value in row.items() if key != "hash"})
    if connection.execute(
        "SELECT 1 FROM entries WHERE previous = ?", (row["previous"],)
    ).fetchone():
        row["previous"] = digest_value(row)
    connection.execute(f"INSERT INTO entries VALUES ({','.join('?' * 9)})", tuple(row.values()))


def reorder(connection: sqlite3.Connection, chance: random.Random) -> None:
    """Swap two entries."""
    numbers = [row[0] for row in connection.execute("SELECT sequence FROM entries")]
    if len(numbers) > 1:
        one, two = chance.sample(numbers, 2)
        for old, new in ((one, -1), (two, one), (-1, two)):
            connection.execute("UPDATE entries SET sequence = ? WHERE sequence = ?", (new, old))


def truncate(connection: sqlite3.Connection, chance: random.Random) -> None:
    """Cut off the end; sometimes with the head or the pointer set back as well, never with both as
    they should be.
    """
    rows = connection.execute("SELECT sequence, hash FROM entries ORDER BY sequence").fetchall()
    if not rows:
        return
    place = chance.randrange(len(rows))
    connection.execute("DELETE FROM entries WHERE sequence > ?", (place,))
    if chance.random() < 0.5:
        connection.execute("UPDATE champion SET epoch = epoch - 1")
    elif chance.random() < 0.5 and place:
        connection.execute("UPDATE head SET sequence = ?", (place,))


EDITS = {"flip": flip, "delete": delete, "insert": insert, "reorder": reorder, "truncate": truncate}


@pytest.fixture
def templates(quick_path: Path) -> list[Path]:
    """Ledgers of 1 to 12 entries, each in one file."""
    chance, paths = random.Random(2), []
    for number in range(24):
        path = quick_path / "templates" / f"{number}.db"
        grown(path, chance, 1 + number // 2)
        settled(path)
        paths.append(path)
    return paths


@pytest.mark.timeout(3600)
def test_edits_of_the_tables_are_found(templates: list[Path], quick_path: Path) -> None:
    """A field flipped, a row deleted, inserted or moved, the end cut off, with the triggers
    dropped: always found.
    """
    chance, found = random.Random(3), Counter[str]()
    total = scaled(300, 9000)
    while found.total() < total:
        name = chance.choice(sorted(EDITS))
        path = quick_path / f"{found.total()}.db"
        shutil.copyfile(chance.choice(templates), path)
        before = content(path)
        connection = sqlite3.connect(path)
        triggers = [
            row[0]
            for row in connection.execute("SELECT sql FROM sqlite_master WHERE type = 'trigger'")
        ]
        for trigger in ("no_UPDATE", "no_DELETE"):
            connection.execute(f"DROP TRIGGER {trigger}")
        try:
            EDITS[name](connection, chance)
        except sqlite3.IntegrityError:  # the database itself refused, as with a second head
            connection.close()
            continue
        for statement in triggers:
            connection.execute(statement)
        connection.commit()
        connection.close()
        if content(path) != before:
            assert edited(path), f"{name}: {before} became {content(path)}"
            found[name] += 1
        for file in quick_path.glob(f"{path.name}*"):
            file.unlink()
    print(f"edits of the tables, all found: {dict(found)}")


@pytest.mark.timeout(3600)
def test_flipped_bytes_of_the_file_are_found(templates: list[Path], quick_path: Path) -> None:
    """One byte of the file changed: an error of ours, unless the byte held nothing and every row
    reads as it was written.
    """
    chance, told = random.Random(4), Counter[str]()
    for number in range(scaled(150, 1000)):
        template = chance.choice(templates)
        path = quick_path / f"raw{number}.db"
        data = bytearray(template.read_bytes())
        used = (
            [place for place, byte in enumerate(data) if byte]
            if chance.random() < 0.8
            else range(len(data))
        )
        place = chance.choice(used)
        data[place] ^= 1 << chance.randrange(8)
        path.write_bytes(data)
        try:
            Ledger(address(path)).verify()
        except IntegrityError:
            told["found: damaged"] += 1
        except EnvironmentFailure:
            told["found: cannot be used"] += 1
        else:
            assert content(path) == content(template), f"byte {place} of {template.name}"
            told["the byte held nothing"] += 1
        for file in quick_path.glob(f"{path.name}*"):
            file.unlink()
    print(f"flipped bytes: {dict(told)}")
    assert told["found: damaged"] > scaled(150, 1000) / 4


@pytest.mark.timeout(3600)
def test_clean_ledgers_raise_no_alarm(quick_path: Path) -> None:
    """Ledgers that only our code wrote, refusals included, verify, and against every head that they
    ever had.
    """
    chance, total = random.Random(6), scaled(40, 1000)
    for number in range(total):
        path = quick_path / f"clean{number}.db"
        heads = []
        for _ in range(3):
            ledger = grown(path, chance, chance.randint(0, 3))
            heads.append(ledger.head())
            with pytest.raises(StaleEpochError):
                ledger.move_champion("a" * 64, 1, 99, "promote", "ann", {})
        for head in heads:
            Ledger(address(path)).verify(anchor=head)
        for file in quick_path.glob(f"{path.name}*"):
            file.unlink()
    print(f"clean ledgers without an alarm: {total}")


@pytest.mark.timeout(3600)
def test_a_rewritten_chain_is_found_by_its_anchor_only(
    templates: list[Path], quick_path: Path
) -> None:
    """Who recomputes every hash, or sets all three tables back together, passes alone, and fails
    against a kept head.
    """
    chance, total = random.Random(8), scaled(20, 300)
    for number in range(total):
        path = quick_path / f"forged{number}.db"
        shutil.copyfile(chance.choice(templates[4:]), path)
        anchor = Ledger(address(path)).head()
        settled(path)
        forge(path, chance)
        Ledger(address(path)).verify()
        with pytest.raises(IntegrityError, match="anchored"):
            Ledger(address(path)).verify(anchor=anchor)
        for file in quick_path.glob(f"{path.name}*"):
            file.unlink()
    print(f"rewritten chains found by the anchor: {total}")


def forge(path: Path, chance: random.Random) -> None:
    """Change one actor, or drop the last entries; then make every hash, the head and the pointer
    fit.
    """
    connection = sqlite3.connect(path)
    for trigger in ("no_UPDATE", "no_DELETE"):
        connection.execute(f"DROP TRIGGER {trigger}")
    rows = [
        dict(zip(TABLES["entries"], row, strict=True))
        for row in connection.execute("SELECT * FROM entries ORDER BY 1")
    ]
    if chance.random() < 0.5:
        chance.choice(rows)["actor"] = "eve"
    else:
        rows = rows[: chance.randrange(1, len(rows))]
    previous = GENESIS
    for row in rows:
        row["previous"] = previous
        previous = row["hash"] = digest_value(
            {key: value for key, value in row.items() if key != "hash"}
        )
    connection.execute("DELETE FROM entries")
    connection.executemany(
        f"INSERT INTO entries VALUES ({','.join('?' * 9)})", [tuple(row.values()) for row in rows]
    )
    connection.execute("UPDATE head SET sequence = ?, hash = ?", (rows[-1]["sequence"], previous))
    moves = [row for row in rows if row["kind"] in ("bootstrap", "promote", "rollback")]
    connection.execute("DELETE FROM champion")
    if moves:
        version = json.loads(moves[-1]["payload"])["version"]
        connection.execute(
            "INSERT INTO champion VALUES (1, ?, ?, ?)",
            (moves[-1]["release"], moves[-1]["epoch"], version),
        )
    connection.commit()
    connection.close()
