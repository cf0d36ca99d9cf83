"""What a metric is: a name, which way is better, a range, and a function of three texts."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from sluicegate.errors import MissingExtraError


class Score(Protocol):
    """A pure function from (source text, output, references) to a finite number."""

    __module__: str
    __qualname__: str

    def __call__(self, source: str, output: str, references: Sequence[str], /) -> float: ...


class ScoreMany(Protocol):
    """The same for a whole set at once: equally long sequences in, one number per row out, in the order given."""

    __module__: str
    __qualname__: str

    def __call__(
        self, sources: Sequence[str], outputs: Sequence[str], references: Sequence[Sequence[str]], /
    ) -> Sequence[float]: ...


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric. `range` holds its finite bounds; `package` names distributions whose versions change the scores.

    `many` scores a whole set at once, where that is faster (embeddings) or where the set itself counts (the weights of
    words in a corpus); `score` is then what it gives for a set of one. `describes` marks a measure of how a text is
    rather than of how good it is (its length): `direction` then only says which end a blank output gets. `identity`
    returns what else the scores depend on, such as the digest of an encoder. `asks` says that a model is asked for its
    opinion: such scores decide nothing in the gate, since nobody has held that judge against people.

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
    many: ScoreMany | None = None
    describes: bool = False
    identity: Callable[[], str] | None = None
    asks: bool = False

    def __post_init__(self) -> None:
        low, high = self.range
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise ValueError(f"{self.name}: range {self.range} must be finite and not empty")

    @property
    def worst(self) -> float:
        """The score of a blank output: the bad end of the range."""
        return self.range[0] if self.direction == "higher" else self.range[1]


def optional(module: str, package: str) -> Any:
    """Import `module` of the distribution `package`, which only the extra `metrics` brings.

    Raises:
        MissingExtraError: the package is not installed; the hint is the line that installs it.

    Example:
        >>> optional("no_such_module", "no-such-package")
        Traceback (most recent call last):
        sluicegate.errors.MissingExtraError: no-such-package is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != module.partition(".")[0]:
            raise
        raise MissingExtraError(package, "metrics") from error
