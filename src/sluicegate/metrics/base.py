"""What a metric is: a name, which way is better, a range, and a function of three texts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol


class Score(Protocol):
    """A pure function from (source text, output, references) to a finite number."""

    __module__: str
    __qualname__: str

    def __call__(self, source: str, output: str, references: Sequence[str], /) -> float: ...


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric. `range` holds its finite bounds; `package` is a distribution whose version changes the scores.

    Raises:
        ValueError: the range is empty or not finite.
    """

    name: str
    direction: Literal["higher", "lower"]
    unit: str
    range: tuple[float, float]
    score: Score
    needs_reference: bool = True
    package: str = ""

    def __post_init__(self) -> None:
        low, high = self.range
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise ValueError(f"{self.name}: range {self.range} must be finite and not empty")

    @property
    def worst(self) -> float:
        """The score of a blank output: the bad end of the range."""
        return self.range[0] if self.direction == "higher" else self.range[1]
