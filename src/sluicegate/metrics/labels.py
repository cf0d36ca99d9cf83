"""Classification: is the label right, and how are the classes served?

The label is the whole answer without outer space, quotes and a final full stop, upper and lower
case alike; of an answer that is a JSON object, its field `label` or else its only one. With several
references any of them is right.

`balanced_accuracy` is the mean of the recalls of the classes (K. Brodersen et al., "The balanced
accuracy and its posterior distribution", ICPR 2010), `macro_f1` that of their F1. Both are numbers
of a whole set, no mean of rows. Their interval is that of a Bayesian bootstrap over groups (D.
Rubin, Annals of Statistics 9, 1981), with half a right and half a wrong answer more in every class,
as Jeffreys' prior has for a share: so that a class in which all of few rows are right is not
certain. How often it holds the truth: docs/reference/metrics.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial, wraps
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sluicegate.hashing import canonical_json
from sluicegate.metrics.base import Metric
from sluicegate.metrics.json_answers import NOT_JSON, parsed

DRAWS, AT_ONCE = 4000, 250
Matrix = NDArray[np.float64]
Weighed = Callable[[Matrix, Matrix, Matrix], Matrix]
"""Draws x classes: right answers, rows and answers of each class to the score of each class."""


def label(text: str, field: str = "") -> str:
    """The label in a text, an answer's or a reference's; empty where there is none.

    Args:
        field: of a JSON object; else `label`, or the only one.

    Example:
        >>> label(" Refund. "), label('{"label": "refund"}'), label('{"kind": 3}', "kind")
        ('refund', 'refund', '3')
    """
    value = parsed(text) if text.lstrip()[:1] == "{" else NOT_JSON
    if isinstance(value, dict):
        only = next(iter(value)) if len(value) == 1 and not field else "label"
        value = value.get(field or only, "")
        text = value if isinstance(value, str) else canonical_json(value)
    return text.strip().rstrip(".").strip("\"'`* \t\n").casefold()


def accuracy(
    source: str, output: str, references: Sequence[str], *, field: str = ""
) -> float | None:
    """1 when the answer's label is a reference's, else 0; higher is better.

    None where no reference has a label.

    Example:
        >>> accuracy("", "Refund", ["refund"]), accuracy("", "It is a refund", ["refund"])
        (1.0, 0.0)
    """
    wanted = {label(reference, field) for reference in references} - {""}
    return float(label(output, field) in wanted) if wanted else None


def class_of(references: Sequence[str], *, field: str = "") -> str:
    """The class of a row: the label of its first reference."""
    return label(references[0], field) if references else ""


def recalls(right: Matrix, rows: Matrix, answers: Matrix) -> Matrix:
    """The share of a class's rows that are right."""
    return right / rows


def f1s(right: Matrix, rows: Matrix, answers: Matrix) -> Matrix:
    """The harmonic mean of precision and recall of a class."""
    return 2 * right / (rows + answers)


def of_set(
    weighed: Weighed,
    outputs: Sequence[str],
    references: Sequence[Sequence[str]],
    groups: Sequence[str],
    *,
    field: str = "",
) -> tuple[float, float, float]:
    """The mean over the classes of the references, and its 95 % interval.

    Args:
        weighed: gives the score of each class.
        outputs, references, groups: of each row.

    Example:
        >>> value, low, high = of_set(recalls, ["a", "a", "b"], [["a"], ["b"], ["b"]], "123")
        >>> value, 0 < low < value < high < 1
        (0.75, True)
    """
    told = [class_of(row, field=field) for row in references]
    said = [
        true if accuracy("", output, row, field=field) else label(output, field)
        for output, row, true in zip(outputs, references, told, strict=True)
    ]
    classes = sorted(set(told))
    true = np.array([[one == name for name in classes] for one in told], dtype=float)
    answered = np.array([[one == name for name in classes] for one in said], dtype=float)
    right = true * answered

    def scores(weights: Matrix, more: Matrix) -> Matrix:
        """`more`: weight of rows besides, draws x (right, wrong) x classes."""
        hits, rows = weights @ right + more[:, 0], weights @ true + more.sum(1)
        found: Matrix = weighed(hits, rows, weights @ answered + more[:, 0]).mean(axis=1)
        return found

    chance = np.random.default_rng(0)
    members = np.unique(np.array(list(groups)), return_inverse=True)[1]
    drawn = np.concatenate(
        [
            scores(
                chance.standard_exponential((AT_ONCE, members.max() + 1))[:, members],
                chance.standard_gamma(0.5, (AT_ONCE, 2, len(classes))),
            )
            for _ in range(DRAWS // AT_ONCE)
        ]
    )
    value = float(scores(np.ones((1, len(told))), np.zeros((1, 2, len(classes))))[0])
    low, high = np.quantile(drawn, (0.025, 0.975))
    return value, min(float(low), value), max(float(high), value)


def _made(name: str, unit: str, score: Weighed | None, field: str = "") -> Metric:
    right: Any = wraps(accuracy)(partial(accuracy, field=field))
    return Metric(
        f"{name}:{field}" if field else name, "higher", unit, (0.0, 1.0), right,
        of_set=partial(of_set, score, field=field) if score else None,
        class_of=partial(class_of, field=field),
    )  # fmt: skip


OF_FIELD: dict[str, Callable[[str], Metric]] = {
    "accuracy": partial(_made, "accuracy", "0 or 1", None),
    "balanced_accuracy": partial(_made, "balanced_accuracy", "mean recall", recalls),
    "macro_f1": partial(_made, "macro_f1", "mean F1", f1s),
}
"""Of the label in a field of JSON answers, `accuracy:category`; of an empty name: as it is."""
