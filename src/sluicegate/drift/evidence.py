"""Distances on one scale: how many standard errors would surprise as much.

Columns differ in what a large distance is. Each detector's textbook distribution puts its distances
on the scale of a normal deviate, so that no column takes all the room of a common threshold. It
need not hold exactly: permutation decides what a deviate is worth, and a column whose dealt
deviates are too large (conversations, ties) is scaled down.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from sluicegate.drift.tables import Array

_LEAST = 1e-290
_NORMAL_95 = 1.959964


@dataclass(frozen=True, slots=True)
class Null:
    """A distance d without drift: `factor` * n * d**`power` as chi-square, or d by another law.

    n is the effective number of rows, r w / (r + w), or with `total` all of them, r + w.
    `kolmogorov` is for the largest gap of two distribution functions; `normal` for the size of a
    difference, d**`power`, whose spread is measured; `centred` for the largest of several, whose
    mean and spread are.
    """

    kind: Literal["kolmogorov", "chi2", "normal", "centred"]
    power: float = 2.0
    factor: float = 1.0
    total: bool = False


@dataclass(frozen=True, slots=True)
class Scale:
    """Distances to deviates and back; `rows` is n (or the measured spread), `spread` divides.

    `middle` is the measured mean where the law is `centred`.
    """

    null: Null
    rows: float
    degrees: int
    spread: float = 1.0
    middle: float = 0.0

    @classmethod
    def of(
        cls, null: Null, distances: Array, reference: int, window: int, bins: int
    ) -> tuple[Scale, Array]:
        """The scale for one column's `distances` (true and dealt splits), and their deviates."""
        rows = reference + window if null.total else reference * window / max(reference + window, 1)
        if null.kind == "normal":
            scale = cls(null, max(float(np.sqrt(np.mean(distances ** (2 * null.power)))), 1e-12), 1)
        elif null.kind == "centred":
            scale = cls(null, max(float(distances.std()), 1e-12), 1, middle=float(distances.mean()))
        else:
            scale = cls(null, max(rows, 1e-12), max(bins - 1, 1))
        deviates = scale.deviates(distances)
        spread = max(1.0, float(np.quantile(deviates, 0.95)) / _NORMAL_95)
        return replace(scale, spread=spread), deviates / spread

    def deviates(self, distances: Array) -> Array:
        """The normal deviates of distances; 0 for a distance of 0, rising with it."""
        from scipy.special import chdtrc, kolmogorov, ndtri

        if self.null.kind == "centred":
            above: Array = np.maximum(distances - self.middle, 0.0) / self.rows / self.spread
            return above
        if self.null.kind == "normal":
            found: Array = distances**self.null.power / self.rows / self.spread
            return found
        if self.null.kind == "kolmogorov":
            chance = kolmogorov(distances * np.sqrt(self.rows))
        else:
            chance = chdtrc(self.degrees, self.null.factor * self.rows * distances**self.null.power)
        turned: Array = -ndtri(np.maximum(chance, _LEAST) / 2) / self.spread
        return turned

    def distance(self, deviate: float) -> float:
        """The distance that has this deviate."""
        from scipy.special import chdtri, kolmogi, ndtr

        if self.null.kind == "centred":
            return self.middle + deviate * self.spread * self.rows
        if self.null.kind == "normal":
            return float((deviate * self.spread * self.rows) ** (1 / self.null.power))
        chance = min(1.0, 2 * float(ndtr(-deviate * self.spread)))
        if self.null.kind == "kolmogorov":
            return float(kolmogi(chance)) / float(np.sqrt(self.rows))
        return float(
            (chdtri(self.degrees, chance) / self.null.factor / self.rows) ** (1 / self.null.power)
        )
