"""What a metric is: a name, which way is better, a range, and a function of three texts."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any, Literal, Protocol, TypeVar

from sluicegate.errors import MissingExtraError

Item = TypeVar("Item")
TEXT = "The refund of 20 euro reached Ana on Monday."


class Score(Protocol):
    """A pure function from (source text, output, references) to a finite number.

    None says that the metric sees nothing in these texts: no score, which is not the same as a bad
    one. A row without a score holds every rule on the metric.
    """

    __module__: str
    __qualname__: str

    def __call__(self, source: str, output: str, references: Sequence[str], /) -> float | None: ...


class ScoreMany(Protocol):
    """The same for a whole set at once: equally long sequences in, one score per row out, in order."""

    __module__: str
    __qualname__: str

    def __call__(
        self, sources: Sequence[str], outputs: Sequence[str], references: Sequence[Sequence[str]], /
    ) -> Sequence[float | None]: ...


Whole = Callable[[Sequence[float], Sequence[str], Sequence[Sequence[str]]], float]
"""One score of a whole set, from the scores of its rows, its outputs and its references."""


SetScore = Callable[
    [Sequence[str], Sequence[Sequence[str]], Sequence[str]], tuple[float, float, float]
]
"""One score of a whole set and its 95 % interval, from outputs, references and groups."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric.

    Attributes:
        range: its finite bounds.
        needs_reference: whether a row without a reference is an error.
        package: distributions, with a space between, whose versions change the scores.
        many: scores a whole set, where that is faster (embeddings) or the set itself counts;
            `score` is then what it gives for a set of one.
        whole: the score of the whole set, where papers report one that is not the mean of the rows;
            the evidence has it as the operation `corpus_<name>`.
        describes: how a text is, rather than how good it is (its length): `direction` then only
            says which end a blank output gets.
        depends_on_set: whether the score of a row depends on the other rows.
        identity: what else the scores depend on, such as the digest of an encoder.
        asks_model: whether a model is asked for its opinion; such scores decide nothing in the
            gate. None: params.yaml has to say so.
        best: source, output and reference that score the good end of the range, for the contract
            test.
        instead: metrics that see more, for the reason of a row without a score.
        reads: the part of an answer that is scored: its text, or `contexts`, `tool_calls` or
            `messages`; then output and references are the JSON text of that part, of the answer
            and of what the row expects.
        of_set: scores a whole set, and only that: no row has a score, and no rule can decide by it.
        class_of: the class of a row by its references; where there are few, they become the slice
            `label`.

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
    whole: Whole | None = None
    describes: bool = False
    depends_on_set: bool = False
    identity: Callable[[], str] | None = None
    asks_model: bool | None = False
    best: tuple[str, str, str] = (TEXT, TEXT, TEXT)
    instead: str = ""
    reads: str = "text"
    of_set: SetScore | None = None
    class_of: Callable[[Sequence[str]], str] | None = None

    def __post_init__(self) -> None:
        low, high = self.range
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise ValueError(f"{self.name}: range {self.range} must be finite and not empty")

    @property
    def worst(self) -> float:
        """The score of a blank output: the bad end of the range."""
        return self.range[0] if self.direction == "higher" else self.range[1]


def alone(many: ScoreMany) -> Score:
    """The score of one answer: what `many` gives for a set of one."""

    @wraps(many)
    def score(source: str, output: str, references: Sequence[str], /) -> float | None:
        return many([source], [output], [references])[0]

    return score


def batches(items: Sequence[Item], size: Callable[[Item], int], most: int) -> Iterator[list[Item]]:
    """`items`, which rise in size, in lists that hold at most `most` when padded."""
    batch: list[Item] = []
    for item in items:
        if batch and (len(batch) + 1) * size(item) > most:
            yield batch
            batch = []
        batch.append(item)
    if batch:
        yield batch


def optional(module: str, package: str, extra: str = "metrics") -> Any:
    """Import `module` of the distribution `package`, which only `extra` brings.

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
        raise MissingExtraError(package, extra) from error
