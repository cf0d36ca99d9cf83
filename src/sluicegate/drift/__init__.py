"""Has the traffic moved away from the reference? Text metrics, profiles, and a table of detectors.

A detector compares two tables of counts and returns a distance; `compare` sets its threshold. To add one, write a file
and a row in `DETECTORS`.
"""

from __future__ import annotations

from sluicegate.drift.calibration import ALPHA, scores
from sluicegate.drift.chi_square import chi_square
from sluicegate.drift.detectors import Detector
from sluicegate.drift.hellinger import hellinger
from sluicegate.drift.jensen_shannon import jensen_shannon
from sluicegate.drift.ks import ks
from sluicegate.drift.length_trend import length_trend
from sluicegate.drift.profile import Moments, Profile, merge, profile_rows
from sluicegate.drift.profile_file import read_profile, write_profile
from sluicegate.drift.psi import psi
from sluicegate.errors import DataError
from sluicegate.records import DriftScore

__all__ = [
    "ALPHA", "DETECTORS", "Detector", "Moments", "Profile",
    "compare", "merge", "profile_rows", "read_profile", "write_profile",
]  # fmt: skip

DETECTORS: dict[str, Detector] = {
    "ks": Detector(ks, bins=256, floor=0.08),
    "psi": Detector(psi, bins=10, floor=0.05),
    "hellinger": Detector(hellinger, bins=10, floor=0.08),
    "jensen_shannon": Detector(jensen_shannon, bins=10, floor=0.08),
    "chi_square": Detector(chi_square, bins=10, floor=0.05),
    "length_trend": Detector(length_trend, bins=256, floor=0.1),
}
LABELS = "chi_square"
LENGTH = "length_trend"


def compare(
    reference: Profile, window: Profile, *, detector: str = "ks", alpha: float = ALPHA, seed: int = 0
) -> list[DriftScore]:
    """Compare every column with `detector`, labels with `chi_square` and lengths with `length_trend` besides.

    Together these raise a false alarm on at most a share `alpha` of the windows that come from where the reference
    came from (see `calibration`). With `length_trend` as detector only columns of counts are compared.

    Raises:
        DataError: the window lacks a column of the reference, or holds nothing but nulls in one.
        KeyError: no such detector.
    """
    chosen = DETECTORS[detector]
    counts = [name for name in reference.numbers if name.endswith("_count")]
    family = {(name, detector): chosen for name in (counts if detector == LENGTH else reference.numbers)}
    family |= {(name, LENGTH): DETECTORS[LENGTH] for name in counts if name.endswith(".character_count")}
    family |= {(name, LABELS): DETECTORS[LABELS] for name in reference.labels}
    for name, moments in reference.moments.items():
        if moments.n and (name not in window.moments or not window.moments[name].n):
            raise DataError(f"the window holds nothing in {name}.")
    if reference.labels.keys() - window.labels.keys():
        raise DataError(f"the window lacks {', '.join(sorted(reference.labels.keys() - window.labels.keys()))}.")
    return scores(reference, window, family, alpha=alpha, seed=seed)
