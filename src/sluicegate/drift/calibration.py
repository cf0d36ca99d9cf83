"""Thresholds that keep the promised rate of false alarms, for all columns together.

Reference and window are pooled and dealt out again, whole blocks at a time, many times over: what
the distances do then is what they do without drift, with these very sizes, ties and correlations.
Rows of one conversation stay together, so that a window of few long conversations is not taken for
many independent rows. Over the whole family of columns the step-down maximum of Westfall and Young
(1993) is used: Holm's procedure with the columns' correlation in place of its worst case, since a
dozen of the columns are lengths in disguise. Under exchangeable blocks the chance that any column
alarms without drift is at most `alpha`, whatever the window's size.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sluicegate.drift.detectors import Detector, VectorDetector
from sluicegate.drift.embedded import view
from sluicegate.drift.evidence import Scale
from sluicegate.drift.profile import Moments, Profile
from sluicegate.drift.tables import Array, binned, labelled
from sluicegate.records import DriftScore

ALPHA = 0.02
"""Chance that a window without drift alarms, all columns together."""
PERMUTATIONS = 499
POOL = 4_000
"""Rows of either side that are compared; more would tell no more than the effect floors let
through.
"""

_DECIMALS = 12
_ABOVE = 1 + 1e-9  # a distance turned into a deviate and back is the same up to this

Mask = tuple[NDArray[np.intp], NDArray[np.intp]]


def scores(
    reference: Profile,
    window: Profile,
    family: Mapping[tuple[str, str], Detector],
    *,
    vectors: Mapping[tuple[str, str], VectorDetector] | None = None,
    alpha: float = ALPHA,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> list[DriftScore]:
    """Compare each (column, name of detector) of `family` and of `vectors`; sorted by column.

    A score alarms when its distance is above both the permutation's threshold and the detector's
    floor. `change` is the difference of the means in standard deviations of the reference, with its
    sign; `p` is adjusted for the family. Means and change are None for labels. The same profiles
    and seed give the same scores. A block of the window counts with at most as many rows as the
    largest of the reference. Columns of embeddings are those of the rows that have them, of which
    both sides must have some.
    """
    left, right = reference.sampled(POOL), _thinned(window.sampled(POOL), _largest(reference))
    deal = Deal.of(left, right, permutations, np.random.default_rng(seed))
    every: dict[tuple[str, str], Detector | VectorDetector] = {**family, **(vectors or {})}
    names = sorted(every)
    columns = [_Column.of(left, right, column, every[column, name], deal) for column, name in names]
    thresholds, chances = _step_down(np.stack([column.deviates for column in columns]), alpha)
    found = []
    for (column, name), own, threshold, p in zip(names, columns, thresholds, chances, strict=True):
        limit = max(every[column, name].floor, own.scale.distance(float(threshold)) * _ABOVE)
        value = float(own.distances[0])
        found.append(
            DriftScore(
                column, name, value, limit, value > limit, *_means(reference, window, column), p
            )
        )
    return found


@dataclass(frozen=True, slots=True)
class Deal:
    """How blocks are dealt out: `chosen` (split, block) on the window's side, split 0 the true one.

    `mask` holds (split, row) of all rows of the sample on the window's side. `embedded` is the
    block of each row with vectors, the reference's first, `embedded_mask` as `mask` for these.
    """

    chosen: NDArray[np.bool_]
    mask: Mask
    embedded: NDArray[np.intp]
    embedded_mask: Mask

    @classmethod
    def of(
        cls, left: Profile, right: Profile, permutations: int, random: np.random.Generator
    ) -> Deal:
        """Blocks with vectors are dealt among themselves: each side keeps its number of both."""
        blocks = np.concatenate(
            [_numbered(left.blocks), len(left.blocks) + _numbered(right.blocks)]
        )
        names, rows, sizes = np.unique(blocks, return_inverse=True, return_counts=True)
        first = len(left.blocks)
        true = names >= first
        strata = np.zeros(len(names), bool)
        embedded = np.zeros(0, np.intp)
        if left.embedded and right.embedded:
            numbers = np.zeros(len(names), np.uint64)
            numbers[rows] = np.concatenate([left.blocks, right.blocks])
            cuts = np.where(true, np.uint64(right.embedded.cut), np.uint64(left.embedded.cut))
            strata = numbers <= cuts
            before, after = np.flatnonzero(~true), np.flatnonzero(true)
            embedded = np.concatenate(
                [
                    before[np.searchsorted(numbers[before], left.embedded.blocks)],
                    after[np.searchsorted(numbers[after], right.embedded.blocks)],
                ]
            )
        chosen = np.zeros((permutations + 1, len(names)), bool)
        chosen[0] = true
        for stratum in (strata, ~strata):
            own = np.flatnonzero(stratum)
            if len(own):
                chosen[1:, own] = _dealt(
                    sizes[own], int(sizes[own][true[own]].sum()), permutations, random
                )
        return cls(chosen, _rows(chosen, rows), embedded, _rows(chosen, embedded))


def _rows(chosen: NDArray[np.bool_], blocks: NDArray[np.intp]) -> Mask:
    split, row = np.nonzero(chosen[:, blocks])
    return split, row


def _dealt(
    sizes: NDArray[np.intp], rows: int, permutations: int, random: np.random.Generator
) -> NDArray[np.bool_]:
    """(permutation, block): blocks in random order until about `rows` rows are reached."""
    order = random.random((permutations, len(sizes))).argsort(axis=1)
    reached = np.cumsum(sizes[order], axis=1) - sizes[order] / 2
    chosen = np.zeros((permutations, len(sizes)), bool)
    np.put_along_axis(chosen, order, reached <= rows, axis=1)
    return chosen


@dataclass(frozen=True, slots=True)
class _Column:
    """One detector on one column: distance and deviate of the true split and each dealt one."""

    distances: Array
    deviates: Array
    scale: Scale

    @classmethod
    def of(
        cls,
        left: Profile,
        right: Profile,
        column: str,
        detector: Detector | VectorDetector,
        deal: Deal,
    ) -> _Column:
        found, sizes, bins = _distances(left, right, column, detector, deal)
        # equal distances reached from different counts are ties, not neighbours
        distances = found.round(_DECIMALS)
        scale, deviates = Scale.of(detector.null, distances, *sizes, bins)
        return cls(distances, deviates, scale)


def _largest(profile: Profile) -> int:
    return int(np.unique(profile.blocks, return_counts=True)[1].max(initial=1))


def _numbered(blocks: NDArray[np.uint64]) -> NDArray[np.intp]:
    return np.unique(blocks, return_inverse=True)[1]


def _thinned(profile: Profile, most: int) -> Profile:
    """At most `most` rows of each block; the blocks are in order."""
    kept = _first(profile.blocks, most)
    embedded = profile.embedded and profile.embedded.taken(
        np.flatnonzero(_first(profile.embedded.blocks, most))
    )
    return replace(
        profile,
        numbers={name: values[kept] for name, values in profile.numbers.items()},
        labels={name: values[kept] for name, values in profile.labels.items()},
        blocks=profile.blocks[kept],
        embedded=embedded,
    )


def _first(blocks: NDArray[np.uint64], most: int) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = (
        np.arange(len(blocks)) - np.searchsorted(blocks, blocks, side="left") < most
    )
    return found


def _distances(
    left: Profile, right: Profile, column: str, detector: Detector | VectorDetector, deal: Deal
) -> tuple[Array, tuple[int, int], int]:
    """The distance of the true split and each dealt one; values on either side; the bins."""
    if isinstance(detector, VectorDetector):
        assert left.embedded is not None
        assert right.embedded is not None
        vectors = view(column, left.embedded, right.embedded)
        sides = deal.chosen[:, deal.embedded]
        after = int(sides[0].sum())
        return detector.statistic(vectors, sides, deal.embedded), (len(vectors) - after, after), 2
    split, row = deal.mask
    if column in left.numbers:
        codes, values = binned(
            np.concatenate([left.numbers[column], right.numbers[column]]), detector.bins
        )
    elif column in left.labels:
        codes, values = labelled(np.concatenate([left.labels[column], right.labels[column]]))
    else:
        assert left.embedded is not None
        assert right.embedded is not None
        both = np.concatenate([left.embedded.numbers[column], right.embedded.numbers[column]])
        codes, values = binned(both, detector.bins)
        split, row = deal.embedded_mask
    bins = len(values)
    splits = len(deal.chosen)
    counted = np.bincount(split * (bins + 1) + codes[row], minlength=splits * (bins + 1))
    window = counted.reshape(splits, bins + 1)[:, :bins].astype(np.float64)
    total = np.bincount(codes, minlength=bins + 1)[:bins]
    after = int(window[0].sum())
    return (
        detector.statistic(total - window, window, values),
        (int(total.sum()) - after, after),
        bins,
    )


def _step_down(standard: Array, alpha: float) -> tuple[Array, list[float]]:
    """Thresholds and adjusted p per row of deviates, whose first column is the true split."""
    order = np.argsort(-standard[:, 0], kind="stable")
    maxima = np.maximum.accumulate(standard[order][::-1, 1:], axis=0)[::-1]
    dealt = maxima.shape[1]
    place = min(dealt, math.ceil((1 - alpha) * (dealt + 1))) - 1
    critical = np.sort(maxima, axis=1)[:, place]
    passed = standard[order, 0] > critical
    stop = len(order) if passed.all() else int(np.argmin(passed))
    critical[stop:] = critical[min(stop, len(order) - 1)]
    thresholds = np.empty(len(order))
    thresholds[order] = critical
    reached = (maxima >= standard[order, :1]).sum(axis=1)
    adjusted = np.maximum.accumulate((1 + reached) / (1 + dealt))
    chances = np.empty(len(order))
    chances[order] = adjusted
    return thresholds, chances.tolist()


def _means(
    reference: Profile, window: Profile, column: str
) -> tuple[float | None, float | None, float | None]:
    before, after = _moments(reference, column), _moments(window, column)
    if before is None or after is None or not before.n or not after.n:
        return None, None, None
    spread = math.sqrt(before.squares / max(before.n - 1, 1))
    # Below this a spread is the rounding of equal values, and a change in units of it says nothing.
    varies = spread > 1e-9 * max(abs(before.mean), abs(after.mean), 1e-300)
    return before.mean, after.mean, (after.mean - before.mean) / spread if varies else None


def _moments(profile: Profile, column: str) -> Moments | None:
    if profile.embedded is not None and column in profile.embedded.numbers:
        return Moments.of(profile.embedded.numbers[column])
    return profile.moments.get(column)
