"""What a row of the table of detectors holds, and how large a change must be to matter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sluicegate.drift.embedded import ANSWERED, ASKED
from sluicegate.drift.evidence import Null
from sluicegate.drift.tables import Array


@dataclass(frozen=True, slots=True)
class Detector:
    """A detector of the table; `monitor.detector` in params.yaml chooses the one for all columns.

    Attributes:
        statistic: compares count tables, reference and window (one row per split, one column per
            bin in ascending order), given the mean of each bin: a value for each row, 0 equal,
            larger further apart.
        bins: into how many a numeric column is cut.
        floor: an effect at most this large never alarms, however certain.
        null: how the distance is distributed without drift, roughly; it weighs the columns against
            one another.
        reads: end of the names of the columns that it can be chosen for; all where empty.
        always: columns (without their side) that it compares besides the chosen detector.
        instead: columns that it compares in place of the chosen detector.
    """

    statistic: Callable[[Array, Array, Array], Array]
    bins: int
    floor: float
    null: Null
    reads: str = ""
    always: tuple[str, ...] = ()
    instead: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class VectorDetector:
    """`statistic` compares embeddings (vectors, splits, blocks): one distance per split; `reads`
    names the views of `embedded.view` that it compares.

    `statistic` gets vectors (one row per text, both sides together), splits (split, row; True for
    the window's side) and the number of each row's block. Otherwise as `Detector`.
    """

    statistic: Callable[[NDArray[np.float32], NDArray[np.bool_], NDArray[np.intp]], Array]
    floor: float
    null: Null
    reads: tuple[str, ...] = (ASKED, ANSWERED)
