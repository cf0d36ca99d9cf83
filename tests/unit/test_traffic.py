"""The traffic log: what was acknowledged is there, once; it is read in order, exported, and forgotten for good."""

from __future__ import annotations

import multiprocessing
import os
import sqlite3
import stat
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow.parquet as pq
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
import postgres
from sluicegate.errors import (
    BusyError,
    ConfigError,
    DataError,
    EnvironmentFailure,
    IntegrityError,
    SluiceError,
    UsageError,
)
from sluicegate.traffic import Feedback, TrafficLog, TrafficRow
from sluicegate.traffic.group_commit import GroupCommit

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


def row(number: int, **changes: Any) -> TrafficRow:
    text = f"question {number}"
    return replace(
        TrafficRow(f"key {number}", NOW + timedelta(seconds=number), text, f"answer {number}"),
        **changes,
    )


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=postgres.needed)])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> TrafficLog:
    """An empty log: SQLite, and PostgreSQL where SLUICE_TEST_POSTGRES names a server."""
    if request.param == "sqlite":
        return TrafficLog(f"sqlite:///{tmp_path / 'traffic.db'}")
    url = postgres.new_schema(postgres.SERVER, f"traffic_{uuid4().hex[:12]}")
    return TrafficLog(url, key_file=tmp_path / "traffic.key")


def test_rows_come_back_as_they_were_written(log: TrafficLog) -> None:
    """Every field survives, times are UTC, names are hashes, feedback comes with its row."""
    elsewhere = NOW.astimezone().replace(microsecond=123)
    said = Feedback(NOW, thumb=-1, score=0.25, correction="no: b", label="wrong", by="bob")
    full = TrafficRow(
        "k",
        elsewhere,
        "p\n\x1b é 🙂",
        "r {{ 7*7 }}",
        "d" * 64,
        "g",
        1.5,
        10,
        20,
        "ann",
        {"a": "b"},
        (said,),
    )
    assert log.write([full]) == 1
    found = log.get("k")
    assert found is not None
    assert found == replace(
        full, user=found.user, feedback=(replace(said, by=found.feedback[0].by),)
    )
    assert found.time.utcoffset() == timedelta(0)
    assert found.user.startswith("user-")
    assert found.feedback[0].by.startswith("user-")
    assert len({found.user, found.feedback[0].by, "ann", "bob"}) == 4
    assert log.get("other") is None


def test_an_equal_key_is_no_second_row(log: TrafficLog) -> None:
    """The first row with a key stays, whether the second comes later, in the same call or from another log object."""
    assert log.write([row(1), row(2), row(1, response="other")]) == 2
    assert log.write([row(1, response="third"), row(3)]) == 1
    assert [one.response for one in log.window()] == ["answer 1", "answer 2", "answer 3"]
    assert log.write([]) == 0


def test_a_row_without_a_key_gets_one_that_its_writer_can_see(log: TrafficLog) -> None:
    """Two rows without keys are two rows, and feedback can be attached to each."""
    rows = [TrafficRow("", NOW, "p", "r") for _ in range(2)]
    assert log.write(rows) == 2
    assert log.attach(rows[1].key, Feedback(NOW, thumb=1))
    assert [len(one.feedback) for one in (log.get(rows[0].key), log.get(rows[1].key)) if one] == [
        0,
        1,
    ]


def test_windows_are_in_the_order_of_time(log: TrafficLog) -> None:
    """Rows written in any order are read oldest first; each limit keeps exactly the rows that it names."""
    log.write([row(number, release="a" if number % 2 else "b") for number in (5, 3, 9, 1, 7, 2)])
    log.write([row(8, release="a"), row(4, release="b")])

    def read(**limits: Any) -> list[int]:
        found = [int(one.key.split()[1]) for one in log.window(**limits)]
        assert log.count(**limits) == len(found)
        return found

    assert read() == [1, 2, 3, 4, 5, 7, 8, 9]
    assert read(since=NOW + timedelta(seconds=3), until=NOW + timedelta(seconds=8)) == [3, 4, 5, 7]
    assert read(last=3) == [7, 8, 9]
    assert read(last=2, release="b") == [2, 4]
    assert read(last=100, until=NOW + timedelta(seconds=3)) == [1, 2]
    assert read(last=0) == read(release="c") == read(since=NOW + timedelta(days=1)) == []
    with pytest.raises(DataError):
        list(log.window(since=datetime(2026, 5, 1)))
    with pytest.raises(DataError):
        log.count(last=-1)


def test_rows_of_one_moment_are_read_over_page_ends(log: TrafficLog) -> None:
    """More rows of the same time than fit a page all come, once, in the order of writing; later ones are left out."""
    log.write(row(number, time=NOW) for number in range(1_300))
    found = []
    for one in log.window():
        if not found:
            log.write([row(5_000)])
        found.append(one.key)
    assert found == [f"key {number}" for number in range(1_300)]


def test_pages_of_large_rows_are_short(log: TrafficLog) -> None:
    """Large rows are read a few at a time and none is left out."""
    log.write(row(number, prompt="x" * 300_000) for number in range(60))
    assert [len(one.prompt) for one in log.window()] == [300_000] * 60


def test_feedback_is_attached_once(log: TrafficLog) -> None:
    """The same feedback again changes nothing, another is added, and a row that is not there is a clear refusal."""
    log.write([row(1)])
    first = Feedback(NOW, thumb=1, by="ann")
    assert log.attach("key 1", first)
    assert not log.attach("key 1", first)
    assert log.attach("key 1", Feedback(NOW + timedelta(seconds=1), thumb=-1, by="ann"))
    found = log.get("key 1")
    assert found is not None
    assert [one.thumb for one in found.feedback] == [1, -1]
    with pytest.raises(UsageError, match="no row"):
        log.attach("key 2", first)
    with pytest.raises(DataError, match="says nothing"):
        log.attach("key 1", Feedback(NOW, by="ann"))


def test_feedback_that_rows_bring_again_is_attached_once(log: TrafficLog) -> None:
    """Feedback without a time of its own is the same at any moment; rows that are not there are passed over."""
    log.write([row(1, time=NOW, feedback=(Feedback(NOW, thumb=1, by="ann"),))])
    later = NOW + timedelta(days=1)
    said = (
        Feedback(later, thumb=1, by="ann"),
        Feedback(later + timedelta(hours=1), score=0.5),
        Feedback(later, score=2),
    )
    rows = [row(1, time=later, feedback=said), row(2, time=later, feedback=said), row(3)]
    assert [log.attach_from(rows) for _ in range(2)] == [2, 0]
    found = log.get("key 1")
    assert found is not None
    assert sorted((one.time, one.score or 0) for one in found.feedback) == [
        (NOW, 0),
        (NOW, 2),
        (said[1].time, 0.5),
    ]


def test_export_holds_what_the_window_holds(log: TrafficLog, tmp_path: Path) -> None:
    """The Parquet file has every field of every row, and an empty window is a file with columns and no rows."""
    said = Feedback(NOW, score=1.0, correction="c")
    log.write([row(1, inputs={"a": "b"}, feedback=(said,), latency=0.5), row(2, group="g")])
    place = tmp_path / "deep" / "out.parquet"
    assert log.export(place) == 2
    first, second = pq.read_table(place).to_pylist()
    assert (first["key"], first["inputs"], first["latency"]) == ("key 1", [("a", "b")], 0.5)
    assert (first["feedback"][0]["score"], first["feedback"][0]["correction"]) == (1.0, "c")
    assert first["time"] == NOW + timedelta(seconds=1)
    assert (second["group"], second["feedback"], second["latency"]) == ("g", [], None)
    assert log.export(place, last=0) == 0
    assert pq.read_table(place).num_rows == 0
    assert pq.read_schema(place).names[:3] == ["key", "time", "prompt"]
    assert [path.name for path in place.parent.iterdir()] == ["out.parquet"]


def test_a_failed_export_leaves_the_file_that_was_there(log: TrafficLog, tmp_path: Path) -> None:
    """A place that cannot be written is an error with a hint."""
    log.write([row(1)])
    (tmp_path / "file").write_text("x")
    with pytest.raises(EnvironmentFailure):
        log.export(tmp_path / "file" / "out.parquet")
    assert (tmp_path / "file").read_text() == "x"


def test_a_forgotten_user_is_gone(log: TrafficLog) -> None:
    """The user's rows with everybody's feedback on them, and what the user said elsewhere, are erased; the rest stays."""
    said = (Feedback(NOW, correction="mine", by="ann"), Feedback(NOW, correction="other", by="bob"))
    log.write([row(1, user="ann", feedback=said), row(2, user="bob", feedback=said), row(3)])
    assert log.forget(user="ann") == 1
    assert [(one.key, [said.correction for said in one.feedback]) for one in log.window()] == [
        ("key 2", ["other"]),
        ("key 3", []),
    ]
    assert log.forget(user="ann") == 0


def test_retention_erases_what_is_older(log: TrafficLog) -> None:
    """Rows before the time go, with a user only that user's; the time itself stays."""
    log.write(row(number, user="ann" if number < 3 else "bob") for number in range(6))
    assert log.forget(user="bob", before=NOW + timedelta(seconds=4)) == 1
    assert log.forget(before=NOW + timedelta(seconds=2)) == 2
    assert [one.key for one in log.window()] == ["key 2", "key 4", "key 5"]
    with pytest.raises(UsageError):
        log.forget()


def test_erased_text_is_in_no_file_any_more(tmp_path: Path) -> None:
    """After forgetting, neither the database nor its write-ahead log holds a byte of the erased texts."""
    log = TrafficLog(f"sqlite:///{tmp_path / 'traffic.db'}")
    secret = "the secret of ann " * 1_000
    log.write(
        [row(1, user="ann", prompt=secret, inputs={"x": "inner secret"}), row(2, prompt="kept")]
    )
    log.attach("key 1", Feedback(NOW, correction="a secret correction"))

    def found() -> bool:
        return any(b"secret" in path.read_bytes() for path in tmp_path.iterdir())

    assert found()
    assert log.forget(user="ann") == 1
    assert not found()
    assert [one.prompt for one in log.window()] == ["kept"]


def test_a_reader_that_keeps_erased_bytes_is_told_of(tmp_path: Path) -> None:
    """While a reader holds an old state, forgetting says that bytes are still there; run again later they are gone."""
    log = TrafficLog(f"sqlite:///{tmp_path / 'traffic.db'}", wait=0.2)
    log.write([row(1, prompt="a secret")])
    reader = sqlite3.connect(tmp_path / "traffic.db", isolation_level=None)
    reader.execute("BEGIN")
    assert reader.execute("SELECT count(*) FROM traffic").fetchone() == (1,)
    with pytest.raises(BusyError, match="erased"):
        log.forget(before=NOW + timedelta(days=1))
    assert log.count() == 0
    reader.close()
    assert log.forget(before=NOW + timedelta(days=1)) == 0
    assert not any(b"secret" in path.read_bytes() for path in tmp_path.iterdir())


def test_the_key_and_the_rows_are_private_and_names_are_nowhere(tmp_path: Path) -> None:
    """Key and database can be read by their owner only, and no file holds a user's name."""
    log = TrafficLog(f"sqlite:///{tmp_path / 'traffic.db'}")
    log.write([row(1, user="Annabel Lee", feedback=(Feedback(NOW, thumb=1, by="Edgar Poe"),))])
    for name in ("traffic.key", "traffic.db"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
    for path in tmp_path.iterdir():
        assert b"Annabel" not in path.read_bytes()
        assert b"Edgar" not in path.read_bytes()
    again = TrafficLog(f"sqlite:///{tmp_path / 'traffic.db'}")
    again.write([row(2, user="Annabel Lee")])
    assert len({one.user for one in again.window()}) == 1


def test_another_key_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a lost or a different key nothing is hashed: a user could no longer be forgotten."""
    url = f"sqlite:///{tmp_path / 'traffic.db'}"
    TrafficLog(url).write([row(1, user="ann")])
    key = tmp_path / "traffic.key"
    kept = key.read_bytes()
    key.unlink()
    with pytest.raises(IntegrityError, match="key"):
        TrafficLog(url).write([row(2, user="ann")])
    key.write_bytes(b"short")
    with pytest.raises(IntegrityError, match="32 bytes"):
        TrafficLog(url).forget(user="ann")
    key.write_bytes(kept)
    assert TrafficLog(url).forget(user="ann") == 1
    monkeypatch.setenv("SLUICE_TRAFFIC_KEY", "x" * 20)
    with pytest.raises(IntegrityError, match="key"):
        TrafficLog(url).write([row(3, user="ann")])
    monkeypatch.setenv("SLUICE_TRAFFIC_KEY", "short")
    with pytest.raises(ConfigError):
        TrafficLog(url).write([row(3, user="ann")])


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "mysql://x/y", "nonsense"])
def test_places_that_would_lose_rows_are_refused(url: str) -> None:
    """A log in memory, in another database or at no URL is a ConfigError at once."""
    with pytest.raises(ConfigError):
        TrafficLog(url)


@pytest.mark.parametrize(
    "url", ["postgresql//app:s3cret@db/x", "postgresql://app:s3cret@db:abc/x", "app:s3cret"]
)
def test_an_address_that_is_none_is_not_repeated(url: str) -> None:
    """A mistyped URL is a ConfigError in which, and behind which, no password stands."""
    with pytest.raises(ConfigError, match="not a database URL") as caught:
        TrafficLog(url)
    assert "s3cret" not in "".join(traceback.format_exception(caught.value.with_traceback(None)))


def _write_many(url: str, gate: Any, results: Any, name: int) -> None:
    try:
        log = TrafficLog(url)
        gate.wait()
        results.put(sum(log.write([row(number, user=f"user {name}")]) for number in range(150)))
    except SluiceError as error:
        results.put(f"{type(error).__name__}: {error}")


def test_two_processes_write_at_once(tmp_path: Path) -> None:
    """Two processes that open a fresh log and write the same keys: each row once, one key file, nobody refused."""
    context = multiprocessing.get_context("spawn")
    gate, results = context.Barrier(2), context.Queue()
    url = f"sqlite:///{tmp_path / 'traffic.db'}"
    writers = [
        context.Process(target=_write_many, args=(url, gate, results, number)) for number in (1, 2)
    ]
    for writer in writers:
        writer.start()
    counts = [results.get(timeout=60) for _ in writers]
    for writer in writers:
        writer.join(timeout=60)
    assert sum(counts) == 150, counts
    log = TrafficLog(url)
    assert [one.key for one in log.window()] == [f"key {number}" for number in range(150)]
    assert {one.user for one in log.window()} <= {log._person("user 1"), log._person("user 2")}


def test_many_threads_share_commits(log: TrafficLog) -> None:
    """Rows of 16 threads are all there, each counted by exactly one writer, in far fewer transactions than writes."""
    commits = []
    inner = log._group._commit
    log._group._commit = lambda batches: commits.append(len(batches)) or inner(batches)  # type: ignore[func-returns-value]
    new: list[int] = []

    def write(name: int) -> None:
        new.append(sum(log.write([row(number % 40 + 1_000 * (name % 4))]) for number in range(40)))

    threads = [threading.Thread(target=write, args=(name,)) for name in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(new) == 160 == log.count()
    assert sum(commits) == 640
    assert len(commits) < 320


def test_everybody_in_a_failed_group_is_told() -> None:
    """When a shared commit fails, each waiting writer gets the error, and the next write works."""
    calls: list[int] = []
    entered, go = threading.Event(), threading.Event()

    def commit(batches: Any) -> list[int]:
        calls.append(len(batches))
        if len(calls) == 1:
            entered.set()
            assert go.wait(20)
        if len(calls) == 2:
            raise EnvironmentFailure("full", hint="space")
        return [len(batch) for batch in batches]

    group: GroupCommit[int] = GroupCommit(commit, gather=0.0, most=100)
    ends: list[Any] = []

    def write() -> None:
        try:
            ends.append(group.write([1, 2], 1))
        except EnvironmentFailure as error:
            ends.append((str(error), error.hint))

    threads = [threading.Thread(target=write) for _ in range(4)]
    threads[0].start()
    assert entered.wait(20)
    for thread in threads[1:]:
        thread.start()
    while len(group._waiting) < 3:
        assert any(thread.is_alive() for thread in threads[1:])
    go.set()
    for thread in threads:
        thread.join(20)
    assert calls == [1, 3]
    assert sorted(map(str, ends)) == ["('full', 'space')"] * 3 + ["2"]
    assert group.write([1], 1) == 1


def test_an_interrupted_commit_frees_those_who_wait() -> None:
    """Ctrl-C in the thread that commits reaches that thread, and the others get an error instead of waiting for ever."""

    def commit(_: Any) -> list[int]:
        raise KeyboardInterrupt

    group: GroupCommit[int] = GroupCommit(commit, gather=0.0, most=100)
    with pytest.raises(KeyboardInterrupt):
        group.write([1], 1)
    with pytest.raises(KeyboardInterrupt):
        group.write([1], 1)


def test_a_refused_row_stores_nothing_of_its_batch(log: TrafficLog) -> None:
    """One row that cannot be stored refuses its batch with a reason."""
    with pytest.raises(DataError, match=r"key 2.*latency"):
        log.write([row(1), row(2, latency=float("nan"))])
    assert log.count() == 0


def fill(log: TrafficLog, acknowledged: list[TrafficRow]) -> None:
    """Write until it fails, for a few megabytes."""
    for number in range(2, 1_000):
        fresh = row(number, prompt="x" * 5_000)
        log.write([fresh])
        acknowledged.append(fresh)


def test_a_disk_that_is_full_for_a_while(tmp_path: Path) -> None:
    """On a real file system without room writing fails clearly, nothing acknowledged is lost, and with room it goes on."""
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(small)], check=False
    ).returncode:
        pytest.skip("no tmpfs can be mounted here")
    try:
        log = TrafficLog(f"sqlite:///{small / 'traffic.db'}")
        acknowledged: list[TrafficRow] = []
        with pytest.raises(EnvironmentFailure, match="full") as caught:
            fill(log, acknowledged)
        assert "disk space" in caught.value.hint
        assert len(acknowledged) > 5
        assert {one.key for one in acknowledged} <= {one.key for one in log.window()}
        with pytest.raises(EnvironmentFailure, match=r"[Nn]o space"):
            log.export(small / "out.parquet")
        assert not list(small.glob("*.parquet*"))
        log.close()
        subprocess.run(["mount", "-o", "remount,size=8m", str(small)], check=True)
        again = TrafficLog(f"sqlite:///{small / 'traffic.db'}")
        assert again.write([row(5_000)]) == 1
        assert {one.key for one in acknowledged} <= {one.key for one in again.window()}
        again.close()
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_a_full_disk_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    """When the database cannot grow, writing fails with what to do, and every acknowledged row is still there."""
    url = f"sqlite:///{tmp_path / 'traffic.db'}"
    log = TrafficLog(url)
    log.write([row(1)])
    assert log._engine is not None
    with log._engine.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count={int(pages or 0) + 20}")
    acknowledged = [row(1)]
    with pytest.raises(EnvironmentFailure, match="full") as caught:
        fill(log, acknowledged)
    assert "disk space" in caught.value.hint
    assert len(acknowledged) > 3
    assert list(TrafficLog(url).window()) == acknowledged
    log.close()
    assert log.write([row(500)]) == 1


FULL_DISK = """
import resource, signal, sys
from sluicegate.errors import EnvironmentFailure
from test_traffic import row
from sluicegate.traffic import TrafficLog
log = TrafficLog(sys.argv[1])
log.write([row(0)])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
for number in range(1, 500):
    try:
        log.write([row(number, prompt="x" * 5_000)])
    except EnvironmentFailure as error:
        print("refused:", error, error.hint)
        break
    print(number)
"""


def test_a_file_that_the_system_does_not_let_grow(tmp_path: Path) -> None:
    """Where the system itself refuses to write on, the process is told, and each row that it acknowledged is there."""
    url = f"sqlite:///{tmp_path / 'traffic.db'}"
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, url],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parent,
        check=False,
    )
    *numbers, last = done.stdout.splitlines()
    assert last.startswith("refused: The traffic log cannot be used"), done.stderr
    assert len(numbers) > 5
    assert {f"key {number}" for number in [0, *map(int, numbers)]} <= {
        one.key for one in TrafficLog(url).window()
    }


def test_broken_unreachable_and_held_files_are_typed_errors(tmp_path: Path) -> None:
    """No database, no folder, a lock held by somebody else: each is an error that says so."""
    (tmp_path / "broken.db").write_bytes(b"this is not a database at all, " * 50)
    with pytest.raises(IntegrityError):
        TrafficLog(f"sqlite:///{tmp_path / 'broken.db'}").count()
    (tmp_path / "file").write_text("x")
    with pytest.raises(EnvironmentFailure):
        TrafficLog(f"sqlite:///{tmp_path / 'file' / 'traffic.db'}").count()
    url = f"sqlite:///{tmp_path / 'traffic.db'}"
    TrafficLog(url).write([row(1)])
    holder = sqlite3.connect(tmp_path / "traffic.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(BusyError):
        TrafficLog(url, wait=0.2).write([row(2)])
    assert TrafficLog(url).count() == 1
    holder.execute("ROLLBACK")
    holder.close()


def test_damaged_values_are_a_typed_error(tmp_path: Path) -> None:
    """A row that was edited into something that is no row is damage, not a traceback."""
    url = f"sqlite:///{tmp_path / 'traffic.db'}"
    for change in ("inputs='['", "time='soon'", "time=9e30"):
        log = TrafficLog(url)
        log.write([row(1)])
        log.close()
        with sqlite3.connect(tmp_path / "traffic.db") as connection:
            connection.execute(f"UPDATE traffic SET {change}")
        with pytest.raises(IntegrityError):
            list(TrafficLog(url).window(last=1))
        with sqlite3.connect(tmp_path / "traffic.db") as connection:
            connection.execute("DELETE FROM traffic")


def _in_child(act: Callable[[], None]) -> int:
    child = os.fork()
    if child == 0:
        try:
            act()
            os._exit(0)
        except BaseException:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_forked_process_writes_over_its_own_connections(tmp_path: Path) -> None:
    """A log opened before the process forked works in both, as in a web server that loads the application first."""
    log = TrafficLog(f"sqlite:///{tmp_path / 'traffic.db'}")
    log.write([row(1, user="ann")])

    def write() -> None:
        assert log._engine is None
        assert log.write([row(2, user="ann")]) == 1

    assert _in_child(write) == 0
    assert log.write([row(3, user="ann")]) == 1
    assert len({one.user for one in log.window()}) == 1
    assert log.count() == 3
