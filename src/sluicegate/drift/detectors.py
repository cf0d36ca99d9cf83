"""What a row of the table of detectors holds, and how large a change must be to matter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sluicegate.drift.tables import Array


@dataclass(frozen=True, slots=True)
class Detector:
    """`statistic` compares count tables (reference, window, bin means) row by row: 0 equal, larger further apart.

    `bins`: into how many a numeric column is cut. `floor`: an effect at most this large never alarms, however certain.
    """

    statistic: Callable[[Array, Array, Array], Array]
    bins: int
    floor: float
