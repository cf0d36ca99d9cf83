"""Has the traffic moved away from the reference? A table of detectors over two stored profiles.

A detector takes the reference and the window profile and returns one `DriftScore` per column. To add one, write a
file and a row in `DETECTORS`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sluicegate.drift.langkit_door import drift_scores, hellinger_scores, ks_scores, read_profile, write_profile
from sluicegate.records import DriftScore

__all__ = ["DETECTORS", "Detector", "drift_scores", "read_profile", "write_profile"]

Detector = Callable[[Path, Path], list[DriftScore]]

DETECTORS: dict[str, Detector] = {
    "ks": ks_scores,
    "hellinger": hellinger_scores,
}
