"""A power cut at any moment, from the record of what a process really wrote and synced
(record_writes.c).

What was written before the last finished fsync of a file is on the disk. Of what came later each
write is there, is not, or is there in some of its 512-byte sectors; in no order. A file's name is
on the disk once its folder was synced.
"""

from __future__ import annotations

import random
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

NAME, WRITE, SYNCED, TRUNCATE, UNLINK, SYNCING = range(1, 7)
_SECTOR = 512
_HEAD = struct.Struct("<4Q")


@dataclass(frozen=True, slots=True)
class Step:
    """One record."""

    kind: int
    file: int
    offset: int
    data: bytes


@dataclass(slots=True)
class _File:
    durable: bytearray = field(default_factory=bytearray)
    pending: list[Step] = field(default_factory=list)
    there: bool = True
    named: bool | None = None  # None: the folder was not synced since it was made or removed
    begun: dict[int, int] = field(default_factory=dict)


def recorded(
    folder: Path, program: Sequence[str], log: Path, scratch: Path, **environment: str
) -> list[Step]:
    """Run `program` with everything that it writes below `folder` recorded; skips the test where
    that cannot be.
    """
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("a C compiler on Linux is needed to record what is written")
    library = scratch / "record_writes.so"
    source = Path(__file__).with_name("record_writes.c")
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl", "-lpthread"],
        check=True,
    )
    values = {
        "LD_PRELOAD": str(library),
        "RECORD_FOLDER": str(folder),
        "RECORD_LOG": str(log),
        **environment,
    }
    done = subprocess.run(program, env=values, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return list(_steps(log.read_bytes()))


def _steps(raw: bytes) -> Iterator[Step]:
    place = 0
    while place < len(raw):
        kind, file, offset, size = _HEAD.unpack_from(raw, place)
        place += _HEAD.size
        held = raw[place : place + size] if kind in (NAME, WRITE) else b""
        place += len(held)
        yield Step(kind, file, offset, held)


class Disk:
    """What is on the disk for certain, and what may be, after some of the steps."""

    def __init__(self, folder: Path, acknowledged: str) -> None:
        self._folder = folder
        self._files: dict[int, _File] = {}
        self._names: dict[int, str] = {}
        self._told = acknowledged
        self.told = b""

    def take(self, step: Step) -> None:
        """The process has done one more step."""
        if step.kind == NAME:
            self._names[step.file] = str(Path(step.data.decode()).relative_to(self._folder))
            self._files[step.file] = _File()
            return
        file = self._files[step.file]
        if self._names[step.file] == self._told:
            self.told += step.data
        elif step.kind == SYNCING:
            file.begun[step.offset] = len(file.pending)
        elif step.kind == UNLINK:
            file.there, file.named = False, None
        elif step.kind == SYNCED and self._names[step.file] == ".":
            for each in self._files.values():
                each.named = each.there
        elif step.kind == SYNCED:
            length = file.begun.pop(step.offset)
            for one in file.pending[:length]:
                _apply(file.durable, one)
            del file.pending[:length]
            file.begun = {call: max(0, begun - length) for call, begun in file.begun.items()}
        else:
            assert file.there, "a file that is made again is not simulated"
            file.pending.append(step)

    def cut(self, place: Path, chance: random.Random) -> None:
        """Write to the empty folder `place` what is left after a power cut now."""
        likely = chance.choice((0.0, 0.5, 0.5, 0.9, 1.0))
        for number, file in self._files.items():
            name = self._names[number]
            if name in (".", self._told) or name.endswith("-shm"):
                continue  # the -shm file is memory that processes share: SQLite makes it anew
            there = file.there if chance.random() < likely else not file.there
            if not (file.named if file.named is not None else there):
                continue
            content = bytearray(file.durable)
            for step in file.pending:
                if chance.random() < likely:
                    _apply(content, step, chance if chance.random() < 0.3 else None)
            (place / name).write_bytes(content)


def _apply(content: bytearray, step: Step, torn: random.Random | None = None) -> None:
    if step.kind == TRUNCATE:
        del content[step.offset :]
        content.extend(bytes(step.offset - len(content)))
        return
    end = step.offset + len(step.data)
    if torn is None:
        content.extend(bytes(max(0, end - len(content))))
        content[step.offset : end] = step.data
        return
    for start in range(0, len(step.data), _SECTOR):
        if torn.random() < 0.5:
            _apply(content, Step(WRITE, 0, step.offset + start, step.data[start : start + _SECTOR]))


def power_cuts(
    steps: Sequence[Step],
    folder: Path,
    acknowledged: str,
    scratch: Path,
    cuts: int,
    check: Callable[[Path, bytes], None],
) -> None:
    """Cut the power at `cuts` random moments; `check` gets the folder as it is found and what had
    been acknowledged.
    """
    chance = random.Random(7)
    moments = sorted(chance.choices(range(len(steps) + 1), k=cuts))
    disk, done = Disk(folder, acknowledged), 0
    for number, moment in enumerate(moments):
        for step in steps[done:moment]:
            disk.take(step)
        done = moment
        place = scratch / f"cut_{number}"
        place.mkdir()
        disk.cut(place, chance)
        check(place, disk.told)
        shutil.rmtree(place)
