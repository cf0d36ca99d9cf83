"""Rows from elsewhere into the log: what cannot be stored is counted and named."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from sluicegate.traffic.log import TrafficLog
from sluicegate.traffic.rows import TrafficRow, row_bytes

MOST_LINE = 96 << 20
"""Bytes of one line of an imported file; a row of 16 MiB with every character escaped fits."""
_BATCH_ROWS = 1_000
_BATCH_BYTES = 8 << 20
_REASONS = 20


@dataclass(frozen=True, slots=True)
class Refused:
    """A row that was not stored: where it was, and why."""

    where: str
    reason: str


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A turn that is no answer, for instance one that only calls a tool, and the reason."""

    reason: str


@dataclass(frozen=True, slots=True)
class Imported:
    """How many rows were `new`, were `present` already, were `refused`.

    `reasons` names the first 20 that were refused; `left_out` counts, by reason, the turns that are
    no answer.
    """

    new: int
    present: int
    refused: int
    reasons: tuple[str, ...] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)


def import_rows(
    log: TrafficLog,
    rows: Iterable[TrafficRow | Refused | LeftOut],
    progress: Callable[[int], None] | None = None,
) -> Imported:
    """Write all rows and feedback, a batch at a time. Stopped at any moment, run it again.

    A row that is there already gets the feedback that came with it and was not there.

    Args:
        progress: called with the number of rows read, after each batch.

    Raises:
        EnvironmentFailure: the database refuses; what was written stays.
    """
    new, read, refused, reasons = 0, 0, 0, list[str]()
    left_out: Counter[str] = Counter()

    def stored() -> Iterator[TrafficRow]:
        nonlocal refused
        for row in rows:
            if isinstance(row, TrafficRow):
                yield row
            elif isinstance(row, LeftOut):
                left_out[row.reason] += 1
            else:
                refused += 1
                if len(reasons) < _REASONS:
                    reasons.append(f"{row.where}: {row.reason}")

    for batch in _batches(stored()):
        fresh = log.write(batch)
        new += fresh
        read += len(batch)
        if fresh < len(batch):
            log.attach_from(batch)
        if progress:
            progress(read + refused + left_out.total())
    return Imported(new, read - new, refused, tuple(reasons), dict(left_out))


def _batches(rows: Iterable[TrafficRow]) -> Iterator[list[TrafficRow]]:
    batch, size = list[TrafficRow](), 0
    for row in rows:
        batch.append(row)
        size += row_bytes(row)
        if len(batch) >= _BATCH_ROWS or size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
