"""May a judge stand in for a person? The alternative annotator test.

N. Calderon, R. Reichart and R. Dror, "The Alternative Annotator Test for LLM-as-a-Judge" (2025,
arXiv:2501.10970). Each rater is left out in turn, and both the judge and that rater are held
against all others on the rows that this rater labelled. The judge replaces the rater where it is
at least as near to the others, but for a discount `epsilon` (it costs less), which is shown by a
one-sided test. It stands in for people where it replaces half of the raters or more. The paper
controls the share of false replacements (Benjamini and Yekutieli); what is decided here is that one
statement, so that its own p is used: of the partial conjunction of the tests (Benjamini and Heller,
Biometrics 64, 2008), valid under any dependence and sharper than the paper's (docs/adr/0017).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from sluicegate.judges.agreement import Floats

ALPHA = 0.05
FEWEST = 30
"""Rows that a rater has to share with others; the paper's smallest number for its t test."""


@dataclass(frozen=True, slots=True)
class Replaced:
    """One rater held against the others, beside the judge.

    Attributes:
        rows: labelled by this rater and by another one.
        judge, person: share of the rows on which either is as near to the others as the other one
            or nearer; equal distance counts for both.
        p: of the judge being worse than this rater by epsilon or more.
    """

    rater: str
    rows: int
    judge: float
    person: float
    p: float


def alternative_annotator(
    judge: Floats,
    table: Floats,
    raters: Sequence[str],
    groups: Sequence[str],
    epsilon: float,
    *,
    fewest: int = FEWEST,
) -> tuple[Replaced, ...]:
    """Every rater who shares `fewest` groups or more with others, held beside the judge.

    Args:
        judge: a score in [0, 1] for each row.
        table: one line a rater, one column a row, in [0, 1]; NaN where the rater gave no label.
        raters: their names, in the order of the lines.
        groups: of the rows; a group counts once.
        epsilon: by how much, in share of rows, the judge may be worse than the rater.

    Returns:
        One entry a rater, in the given order; empty where nobody shares enough.

    Example:
        >>> people = np.array([[1.0, 0.0] * 20, [1.0, 0.0] * 20])
        >>> names = [str(number) for number in range(40)]
        >>> found = alternative_annotator(people[0], people, ["ana", "ben"], names, 0.2)
        >>> [(one.rater, one.judge, one.person, one.p) for one in found]
        [('ana', 1.0, 1.0, 0.0), ('ben', 1.0, 1.0, 0.0)]
    """
    found = []
    for place, rater in enumerate(raters):
        others = np.delete(table, place, axis=0)
        shared = ~np.isnan(table[place]) & (~np.isnan(others)).any(axis=0)
        chosen = [group for group, kept in zip(groups, shared, strict=True) if kept]
        if len(set(chosen)) >= fewest:
            mine = _distance(table[place, shared], others[:, shared])
            theirs = _distance(judge[shared], others[:, shared])
            near, person = theirs <= mine + 1e-9, mine <= theirs + 1e-9
            lost = _group_means(person.astype(float) - near, chosen)
            shares = float(near.mean()), float(person.mean())
            found.append(Replaced(rater, len(chosen), *shares, _p(lost, epsilon)))
    return tuple(found)


def half_replaced(found: Sequence[Replaced]) -> float:
    """The p value of "it replaces fewer than half of the raters".

    Example:
        >>> people = [Replaced("ana", 60, 0.9, 0.8, 0.01), Replaced("ben", 60, 0.7, 0.9, 0.9)]
        >>> half_replaced(people)
        0.02
    """
    wanted = math.ceil(len(found) / 2)
    return min((len(found) - wanted + 1) * sorted(one.p for one in found)[wanted - 1], 1.0)


def _distance(one: Floats, others: Floats) -> Floats:
    """Root of the mean squared distance to the others who labelled the row."""
    return np.asarray(np.sqrt(np.nanmean((others - one) ** 2, axis=0)), np.float64)


def _group_means(values: Floats, groups: Sequence[str]) -> Floats:
    _, members, sizes = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
    return np.asarray(np.bincount(members, weights=values) / sizes, np.float64)


def _p(lost: Floats, epsilon: float) -> float:
    """Of a mean loss of epsilon or more; t test, as in the paper from 30 on."""
    if np.ptp(lost) < 1e-12:
        return 0.0 if lost[0] < epsilon else 1.0
    return float(stats.ttest_1samp(lost, epsilon, alternative="less").pvalue)
