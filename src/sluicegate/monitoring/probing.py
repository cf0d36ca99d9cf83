"""Does the same model answer? Recorded answers and today's, compared prompt by prompt.

For each prompt the energy distance between both sets of answers, in standard deviations of what
permutation gives; added up over prompts. Which answers are today's is permuted within prompts, so
the promised rate of false alarms holds exactly, at any number of answers, where the model is the
same and its answers are independent.
Source: Székely and Rizzo 2004 (energy distance); Phipson and Smyth 2010 (p of permutations).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import takewhile

import numpy as np
from numpy.typing import NDArray

from sluicegate.errors import EvidenceError
from sluicegate.metrics.chrf import chrf

ALPHA = 0.02
"""Share of days on which an unchanged model alarms, at most."""
PERMUTATIONS = 999
NOISE = 0.01
"""A probability of a token that moves by less has not moved: servers round."""
Array = NDArray[np.float64]
Places = Sequence[Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class Said:
    """One answer.

    `places`: for each token the likely ones with log probabilities, the chosen first; empty where
    the model gives none.
    """

    text: str
    places: tuple[Mapping[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Compared:
    """`p`: chance of answers this far apart from one model; `prompts`: the same for each by itself."""

    p: float
    prompts: tuple[float, ...]

    @property
    def changed(self) -> bool:
        """Whether it is too small to be chance."""
        return self.p <= ALPHA


def text_distance(one: str, other: str) -> float:
    """0 for equal texts, else 0.5 (a letter differs) to 1 (no n-gram of letters in common).

    Example:
        >>> text_distance("Paris.", "Paris."), text_distance("Paris.", "") , text_distance("a", "a b") > 0.5
        (0.0, 1.0, True)
    """
    if one == other:
        return 0.0
    return 1 - (chrf("", one, [other]) + chrf("", other, [one])) / 4


def token_distance(one: Places, other: Places) -> float:
    """How far the probabilities of tokens are apart, 0 to 1: the most at any place up to the first
    where different tokens were chosen.

    Total variation of the likely tokens; what moves by less than `NOISE` counts as 0.

    Example:
        >>> sure, unsure = [{"Yes": -0.01}], [{"Yes": -0.7, "No": -0.7}]
        >>> token_distance(sure, sure), round(token_distance(sure, unsure), 2)
        (0.0, 0.5)
    """
    both = list(zip(one, other, strict=False))
    alike = sum(1 for _ in takewhile(lambda pair: next(iter(pair[0])) == next(iter(pair[1])), both))
    return max((_variation(left, right) for left, right in both[: alike + 1]), default=0.0)


def _variation(left: Mapping[str, float], right: Mapping[str, float]) -> float:
    pairs = [
        (math.exp(left.get(token, -math.inf)), math.exp(right.get(token, -math.inf)))
        for token in {*left, *right}
    ]
    gained = max(sum(max(0.0, a - b) for a, b in pairs), sum(max(0.0, b - a) for a, b in pairs))
    return min(1.0, gained) if gained >= NOISE else 0.0


def distances(answers: Sequence[Said]) -> list[Array]:
    """One matrix for the texts and, where every answer has probabilities, one for these."""
    kinds: list[Callable[[Said, Said], float]] = [lambda a, b: text_distance(a.text, b.text)]
    if all(answer.places for answer in answers):
        kinds.append(lambda a, b: token_distance(a.places, b.places))
    found = []
    for kind in kinds:
        matrix = np.zeros((len(answers), len(answers)))
        for row, one in enumerate(answers):
            for column in range(row):
                matrix[row, column] = matrix[column, row] = kind(one, answers[column])
        found.append(matrix)
    return found


def compare_answers(
    recorded: Sequence[Sequence[Said]], today: Sequence[Sequence[Said]]
) -> Compared:
    """Compare the answers to each prompt.

    Args:
        recorded, today: for each prompt at least one answer.

    Raises:
        EvidenceError: there is no prompt, one has no answer, or the two differ in their prompts.

    Example:
        >>> yes, no = [Said("Yes.")] * 6, [Said("No.")] * 2
        >>> same = compare_answers([yes] * 4, [yes[:2]] * 4)
        >>> other = compare_answers([yes] * 4, [no] * 4)
        >>> same.p, other.p, other.changed
        (1.0, 0.001, True)
    """
    if len(recorded) != len(today) or not (recorded and all(recorded) and all(today)):
        raise EvidenceError(
            "recorded answers and today's are not of the same prompts, or one has none.",
            hint="Record them anew: `sluice probe --record --reason ...`.",
        )
    sides = list(zip(recorded, today, strict=True))
    return permuted([distances([*before, *now]) for before, now in sides], [*map(len, today)])


def permuted(matrices: Sequence[Sequence[Array]], new: Sequence[int]) -> Compared:
    """The test itself, on distances: for each prompt some matrices over the recorded answers and,
    behind them, the `new` ones.
    """
    total, single = np.zeros(PERMUTATIONS + 1), []
    for place, (kinds, count) in enumerate(zip(matrices, new, strict=True)):
        marks = _orders(place, len(kinds[0]), count)
        own = np.sum([_standardised(energy(matrix, marks)) for matrix in kinds], axis=0)
        total += own
        single.append(_p(own))
    return Compared(_p(total), tuple(single))


@cache
def _orders(place: int, answers: int, new: int) -> Array:
    """The true order first, then the permuted ones; those of each prompt are its own."""
    marks = np.zeros((PERMUTATIONS + 1, answers))
    marks[:, -new:] = 1
    marks[1:] = np.random.default_rng((place, answers, new)).permuted(marks[1:], axis=1)
    return marks


def energy(matrix: Array, marks: Array) -> Array:
    """The energy distance for each row of `marks`, in which a 1 is a new answer and a 0 a recorded.

    Example:
        >>> apart = np.array([[0.0, 1.0], [1.0, 0.0]])
        >>> energy(apart, np.array([[0.0, 1.0]]))
        array([2.])
    """
    n = marks.sum(axis=1)
    m = marks.shape[1] - n
    reached = marks @ matrix
    new = (reached * marks).sum(axis=1)
    across = reached.sum(axis=1) - new
    old = matrix.sum() - new - 2 * across
    found: Array = 2 * across / (n * m) - new / n**2 - old / m**2
    return found


def _standardised(values: Array) -> Array:
    spread = float(values.std())
    return (values - values.mean()) / spread if spread > 1e-9 else np.zeros_like(values)


def _p(values: Array) -> float:
    """The share of all orders, the true one included, that are as far out as the true one."""
    return float(np.mean(values >= values[0] - 1e-9))
