"""Thresholds that keep the promised rate of false alarms, for all columns together.

Reference and window are pooled and dealt out again, whole blocks at a time, many times over: what the distances do then
is what they do without drift, with these very sizes, ties and correlations. Rows of one conversation stay together, so
that a window of few long conversations is not taken for many independent rows. Over the whole family of columns the
step-down maximum of Westfall and Young (1993) is used: Holm's procedure with the columns' correlation in place of its
worst case, since a dozen of the columns are lengths in disguise. Under exchangeable blocks the chance that any column
alarms without drift is at most `alpha`, whatever the window's size.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from sluicegate.drift.detectors import Detector
from sluicegate.drift.profile import Profile
from sluicegate.drift.tables import Array, binned, labelled
from sluicegate.records import DriftScore

ALPHA = 0.02
"""Chance that a window without drift alarms, all columns together."""
PERMUTATIONS = 499
POOL = 4_000
"""Rows of either side that are compared; more would tell no more than the effect floors let through."""

_DECIMALS = 12

Mask = tuple[NDArray[np.intp], NDArray[np.intp]]


def scores(
    reference: Profile,
    window: Profile,
    family: Mapping[tuple[str, str], Detector],
    *,
    alpha: float = ALPHA,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> list[DriftScore]:
    """Compare each (column, name of detector) of `family`; sorted by column.

    A score alarms when its distance is above both the permutation's threshold and the detector's floor. `change` is
    the difference of the means in standard deviations of the reference, with its sign; `p` is adjusted for the family.
    Means and change are None for labels. The same profiles and seed give the same scores. A block of the window
    counts with at most as many rows as the largest of the reference.
    """
    left, right = reference.sampled(POOL), _thinned(window.sampled(POOL), _largest(reference))
    blocks = np.concatenate([_numbered(left.blocks), len(left.blocks) + _numbered(right.blocks)])
    mask = _dealt(blocks, len(left.blocks), permutations, np.random.default_rng(seed))
    names = sorted(family)
    table = np.stack([_distances(left, right, column, family[column, name], mask) for column, name in names])
    table = table.round(_DECIMALS)  # equal distances reached from different counts are ties, not neighbours
    thresholds, chances = _step_down(table, alpha)
    found = []
    for (column, name), row, threshold, p in zip(names, table, thresholds, chances, strict=True):
        limit = max(family[column, name].floor, float(threshold))
        value = float(row[0])
        found.append(DriftScore(column, name, value, limit, value > limit, *_means(reference, window, column), p))
    return found


def _largest(profile: Profile) -> int:
    return int(np.unique(profile.blocks, return_counts=True)[1].max(initial=1))


def _numbered(blocks: NDArray[np.uint64]) -> NDArray[np.intp]:
    return np.unique(blocks, return_inverse=True)[1]


def _thinned(profile: Profile, most: int) -> Profile:
    """At most `most` rows of each block; the blocks are in order."""
    starts = np.searchsorted(profile.blocks, profile.blocks, side="left")
    kept = np.arange(len(starts)) - starts < most
    return Profile(
        profile.rows,
        profile.moments,
        profile.categories,
        {name: values[kept] for name, values in profile.numbers.items()},
        {name: values[kept] for name, values in profile.labels.items()},
        profile.blocks[kept],
        profile.cut,
    )


def _dealt(blocks: NDArray[np.intp], reference: int, permutations: int, random: np.random.Generator) -> Mask:
    """(split, row) of all rows on the window's side; split 0 is the true one, whose first `reference` rows are not."""
    _, blocks, sizes = np.unique(blocks, return_inverse=True, return_counts=True)
    rows = len(blocks) - reference
    order = random.random((permutations, len(sizes))).argsort(axis=1)
    reached = np.cumsum(sizes[order], axis=1) - sizes[order] / 2
    chosen = np.zeros((permutations, len(sizes)), bool)
    np.put_along_axis(chosen, order, reached <= rows, axis=1)
    splits = np.vstack([np.arange(len(blocks)) >= reference, chosen[:, blocks]])
    where, row = np.nonzero(splits)
    return where, row


def _distances(left: Profile, right: Profile, column: str, detector: Detector, mask: Mask) -> Array:
    """The detector's distance for the true split and each dealt one."""
    if column in left.numbers:
        codes, values = binned(np.concatenate([left.numbers[column], right.numbers[column]]), detector.bins)
    else:
        codes, values = labelled(np.concatenate([left.labels[column], right.labels[column]]))
    bins = len(values)
    split, row = mask
    splits = int(split[-1]) + 1
    counted = np.bincount(split * (bins + 1) + codes[row], minlength=splits * (bins + 1))
    window = counted.reshape(splits, bins + 1)[:, :bins].astype(np.float64)
    total = np.bincount(codes, minlength=bins + 1)[:bins]
    return detector.statistic(total - window, window, values)


def _step_down(table: Array, alpha: float) -> tuple[Array, list[float]]:
    """Thresholds and adjusted p per row of `table`, whose first column is the true split and the others dealt ones."""
    middle = np.median(table, axis=1, keepdims=True)
    high = np.quantile(table, 0.95, axis=1, keepdims=True)
    scale = np.maximum(np.maximum(high - middle, table.std(axis=1, keepdims=True)), 1e-12)
    standard = (table - middle) / scale
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
    return middle[:, 0] + thresholds * scale[:, 0] + 10.0**-_DECIMALS, chances.tolist()


def _means(reference: Profile, window: Profile, column: str) -> tuple[float | None, float | None, float | None]:
    before, after = reference.moments.get(column), window.moments.get(column)
    if before is None or after is None or not before.n or not after.n:
        return None, None, None
    spread = math.sqrt(before.squares / max(before.n - 1, 1))
    return before.mean, after.mean, (after.mean - before.mean) / spread if spread else None
