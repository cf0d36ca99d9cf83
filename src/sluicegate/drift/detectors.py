"""What a row of the table of detectors holds, and how large a change must be to matter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sluicegate.drift.evidence import Null
from sluicegate.drift.tables import Array


@dataclass(frozen=True, slots=True)
class Detector:
    """`statistic` compares count tables (reference, window, bin means) row by row: 0 equal, larger further apart.

    `bins`: into how many a numeric column is cut. `floor`: an effect at most this large never alarms, however certain.
    `null`: how the distance is distributed without drift, roughly; it weighs the columns against one another.
    """

    statistic: Callable[[Array, Array, Array], Array]
    bins: int
    floor: float
    null: Null


@dataclass(frozen=True, slots=True)
class VectorDetector:
    """`statistic` compares embeddings (vectors, splits, blocks): one distance per split. Otherwise as `Detector`."""

    statistic: Callable[[NDArray[np.float32], NDArray[np.bool_], NDArray[np.intp]], Array]
    floor: float
    null: Null
