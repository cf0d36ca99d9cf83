"""Has the traffic moved away from the reference? Text metrics, profiles, and a table of detectors.

A detector compares two tables of counts and returns a distance; `compare` sets its threshold. To
add one, write a file and a row in `DETECTORS`.
"""

from __future__ import annotations

import math

from sluicegate.drift.calibration import ALPHA, scores
from sluicegate.drift.chi_square import chi_square
from sluicegate.drift.classifier import classifier
from sluicegate.drift.detectors import Detector, VectorDetector
from sluicegate.drift.embedded import (
    GIVEN,
    JAILBREAK,
    REFUSAL,
    RELEVANCE,
    Embedded,
    TextEncoder,
    embed,
    smallest,
    view,
)
from sluicegate.drift.evidence import Null
from sluicegate.drift.hellinger import hellinger
from sluicegate.drift.jensen_shannon import jensen_shannon
from sluicegate.drift.ks import ks
from sluicegate.drift.length_trend import length_trend
from sluicegate.drift.mean_shift import mean_shift
from sluicegate.drift.mixture import mixture
from sluicegate.drift.mmd import mmd
from sluicegate.drift.profile import Moments, Profile, block_numbers, measured, merge, profile_rows
from sluicegate.drift.profile_file import read_profile, write_profile
from sluicegate.drift.psi import psi
from sluicegate.drift.topics import topics
from sluicegate.drift.unlike import unlike
from sluicegate.errors import DataError
from sluicegate.records import DriftScore

__all__ = [
    "ALPHA", "DETECTORS", "OPTIONAL", "VECTOR_DETECTORS",
    "Detector", "Embedded", "Moments", "Profile", "TextEncoder", "VectorDetector",
    "block_numbers", "comparable_vectors", "compare", "embed", "measured", "merge", "profile_rows",
    "read_profile",
    "smallest", "unlike", "view", "write_profile",
]  # fmt: skip


def _kind(column: str) -> str:
    """A column's name without its side."""
    return column.partition(".")[2]


DETECTORS: dict[str, Detector] = {
    "ks": Detector(ks, bins=256, floor=0.08, null=Null("kolmogorov")),
    "psi": Detector(psi, bins=10, floor=0.05, null=Null("chi2", power=1)),
    "hellinger": Detector(hellinger, bins=10, floor=0.08, null=Null("chi2", factor=8)),
    "jensen_shannon": Detector(
        jensen_shannon, bins=10, floor=0.08, null=Null("chi2", factor=8 * math.log(2))
    ),
    "chi_square": Detector(chi_square, bins=10, floor=0.05, null=Null("chi2", total=True)),
    "length_trend": Detector(
        length_trend,
        bins=256,
        floor=0.1,
        null=Null("normal", power=1),
        reads="_count",
        always=("character_count",),
    ),
    "mean_shift": Detector(
        mean_shift,
        bins=256,
        floor=0.2,
        null=Null("normal", power=1),
        always=("vader_sentiment", "prompt_overlap"),
        instead=(
            "injection_score",
            "negations",
            "toxicity",
            *(_kind(name) for name in (RELEVANCE, JAILBREAK, REFUSAL)),
        ),
    ),
}
VECTOR_DETECTORS: dict[str, VectorDetector] = {
    "mmd": VectorDetector(mmd, floor=0.05, null=Null("normal")),
    "classifier": VectorDetector(classifier, floor=0.1, null=Null("normal", power=1)),
    "mixture": VectorDetector(mixture, floor=0.1, null=Null("centred"), reads=(GIVEN,)),
    "unlike": VectorDetector(unlike, floor=0.01, null=Null("normal", power=1)),
    "topics": VectorDetector(topics, floor=0.05, null=Null("centred")),
}
SCARCE = Detector(
    hellinger,
    bins=2,
    floor=0.05,
    null=Null("chi2", factor=8),
    instead=("hostile_words", "pii_count"),
)
"""For labels and for counts that are mostly 0, whatever is chosen: told as `hellinger`.

Square roots keep a share of 1 % as comparable as one of 50 %.
"""
OPTIONAL = (
    "prompt.tokens", "response.tokens", "response.latency", "response.prompt_overlap",
    "response.negations",
)  # fmt: skip
"""Columns that are compared only where both sides have them."""


def compare(
    reference: Profile,
    window: Profile,
    *,
    detector: str = "ks",
    alpha: float = ALPHA,
    seed: int = 0,
    side: str = "",
) -> list[DriftScore]:
    """Compare every column: numbers with `detector`, labels and rare counts with `hellinger`.

    Besides, columns that a row of `DETECTORS` claims with that one; and where both profiles have
    vectors of the same encoder, these with every one of `VECTOR_DETECTORS`. Together these raise a
    false alarm on at most a share `alpha` of the windows that come from where the reference came
    from (see `calibration`). With `side` only columns of the prompt or of the response.

    Raises:
        DataError: the window lacks a column of the reference, or holds nothing but nulls in one
            that is not optional.
        KeyError: no such detector.
    """
    family = {
        (name, key): row
        for name in _comparable(reference, window, side)
        for key, row in _detectors(_kind(name), detector).items()
    }
    rare = SCARCE.statistic.__name__
    family |= {(name, rare): SCARCE for name in reference.labels if name.startswith(side)}
    vectors = {}
    both = comparable_vectors(reference, window)
    if both is not None:
        vectors = {
            (name, key): row
            for key, row in VECTOR_DETECTORS.items()
            for name in row.reads
            if name.startswith(side)
        }
        family |= {
            (name, key): row
            for name in both[0].numbers
            if name in both[1].numbers and name.startswith(side)
            for key, row in _detectors(_kind(name), detector).items()
        }
    return scores(reference, window, family, vectors=vectors, alpha=alpha, seed=seed)


def _detectors(kind: str, chosen: str) -> dict[str, Detector]:
    """Those for columns of this kind, by the name that their scores carry."""
    if kind in SCARCE.instead:
        return {SCARCE.statistic.__name__: SCARCE}
    found = {name: row for name, row in DETECTORS.items() if kind in row.instead}
    if not found and kind.endswith(DETECTORS[chosen].reads):
        found[chosen] = DETECTORS[chosen]
    return found | {name: row for name, row in DETECTORS.items() if kind in row.always}


def comparable_vectors(reference: Profile, window: Profile) -> tuple[Embedded, Embedded] | None:
    """The vectors of both sides, if they have two rows of them at least, of the same encoder."""
    left, right = reference.embedded, window.embedded
    if left is None or right is None or left.encoder != right.encoder:
        return None
    return (left, right) if min(len(left.blocks), len(right.blocks)) > 1 else None


def _comparable(reference: Profile, window: Profile, side: str) -> list[str]:
    """The numeric columns that both hold values of."""
    found = []
    for name, moments in reference.moments.items():
        if not moments.n or not name.startswith(side):
            continue
        if name in window.moments and window.moments[name].n:
            found.append(name)
        elif name not in OPTIONAL:
            raise DataError(f"the window has no values in {name}.")
    if lacking := sorted(reference.labels.keys() - window.labels.keys()):
        raise DataError(f"the window lacks {', '.join(lacking)}.")
    return found
