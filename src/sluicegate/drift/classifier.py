"""Classifier two-sample test: can reference and window be told apart?"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sluicegate.drift.tables import Array

FOLDS = 5


def classifier(
    vectors: NDArray[np.float32], splits: NDArray[np.bool_], blocks: NDArray[np.intp]
) -> Array:
    """Compare how well a linear classifier tells the two sides apart.

    0 (not at all) to 1; says nothing of direction.

    2 AUC - 1 of scores for rows that the classifier was not fitted on, five folds of whole blocks.
    It is fitted by ridge least squares (Fisher's discriminant), whose scores are linear in the
    labels: so it is fitted anew for each of hundreds of splits at the price of one, which a
    logistic regression could not be. Sees a small part of the texts that differ in a consistent
    way. Source: Lopez-Paz and Oquab 2017; Kim, Ramdas, Singh and Wasserman 2021.

    Returns:
        One value per split; 0 where a side is empty or the scores are worse than chance.

    Example:
        >>> vectors = np.repeat(np.eye(2, dtype=np.float32), 20, axis=0)
        >>> classifier(vectors, (np.arange(40) < 20)[None], np.arange(40)).round(2).tolist()
        [1.0]
    """
    scores = held_out(vectors, splits, blocks)
    labels = splits.T.astype(np.float64)
    ranks = _ranks(scores)
    n = splits.sum(axis=1).astype(np.float64)
    m = splits.shape[1] - n
    enough = (n > 0) & (m > 0)
    inside = (ranks * labels).sum(axis=0) - n * (n + 1) / 2
    area = inside / np.where(enough, n * m, 1.0)
    return np.where(enough, np.maximum(2 * area - 1, 0.0), 0.0)


def held_out(
    vectors: NDArray[np.float32], splits: NDArray[np.bool_], blocks: NDArray[np.intp]
) -> Array:
    """(row, split): how much each row looks like one of the window's, from the other folds."""
    labels = splits.T.astype(np.float64)
    folds = np.random.default_rng(0).permutation(int(blocks.max(initial=0)) + 1)[blocks] % FOLDS
    scores = np.zeros(labels.shape)
    for fold in range(FOLDS):
        tested, fitted = folds == fold, folds != fold
        if tested.any() and fitted.any():
            scores[tested] = _scores(
                vectors[fitted].astype(np.float64), labels[fitted], vectors[tested]
            )
    return scores


def _scores(known: Array, labels: Array, tested: NDArray[np.float32]) -> Array:
    middle = known.mean(axis=0)
    centred = known - middle
    scatter = centred.T @ centred
    ridge = np.trace(scatter) / len(scatter) + 1e-9
    weights = np.linalg.solve(
        scatter + ridge * np.eye(len(scatter)), centred.T @ (labels - labels.mean(axis=0))
    )
    found: Array = (tested - middle) @ weights
    return found


def _ranks(scores: Array) -> Array:
    """Ranks from 1 in each column, equal scores with the mean of theirs."""
    from scipy.stats import rankdata

    found: Array = rankdata(scores.round(12), axis=0)
    return found
