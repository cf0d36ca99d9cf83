"""What is measured about a judge: agreement, beside trivial judges, and known weaknesses."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from sluicegate.config import CalibrationParams
from sluicegate.hashing import digest_value
from sluicegate.judges import agreement
from sluicegate.judges.agreement import Floats, Interval, bootstrap, mean_interval
from sluicegate.judges.base import Judged, JudgeRow, depends_on_order
from sluicegate.judges.criteria import Criterion
from sluicegate.judges.forms import FORMS
from sluicegate.judges.labels import LabelledRow

FEWEST_WORDS = 6


@dataclass(frozen=True, slots=True)
class Sample:
    """Rows that people and the judge both scored, side by side.

    Attributes:
        human, judge: scores in [0, 1].
        length: logarithm of the answer's length; pairwise, of output over other.
        levels: the values that a label can take, for measures on levels.
        pairwise: whether scores are preferences.
    """

    human: Floats
    judge: Floats
    length: Floats
    groups: tuple[str, ...]
    levels: tuple[float, ...]
    pairwise: bool

    @property
    def headline(self) -> str:
        """The measure that decides: `accuracy` for preferences, else `spearman`."""
        return "accuracy" if self.pairwise else "spearman"


@dataclass(frozen=True, slots=True)
class Point:
    """Rows of about one score: the judge's mean, and people's mean with its interval."""

    judge: float
    human: Interval


def sample(criterion: Criterion, rows: Sequence[LabelledRow], judged: Judged) -> Sample:
    """The rows that the judge scored; failed ones (which stop the calibration) are left out."""
    kept = [
        (row, score) for row, score in zip(rows, judged.scores, strict=True) if score is not None
    ]
    return Sample(
        human=np.array([row.human for row, _ in kept], float),
        judge=np.array([score for _, score in kept], float),
        length=np.array([_length(row.row, criterion) for row, _ in kept], float),
        groups=tuple(row.group for row, _ in kept),
        levels=levels_of(criterion),
        pairwise=criterion.compares,
    )


def levels_of(criterion: Criterion) -> tuple[float, ...]:
    """The scale's levels in [0, 1]; at most eleven.

    Example:
        >>> levels_of(Criterion("c", "direct", "Is it clear?", ("m",), (1, 5)))
        (0.0, 0.25, 0.5, 0.75, 1.0)
    """
    low, high = criterion.scale
    steps = FORMS[criterion.form].levels - 1
    if steps < 0:
        steps = min(high - low, 10)
    return tuple(number / steps for number in range(steps + 1))


def measures(data: Sample, params: CalibrationParams) -> dict[str, Interval]:
    """Agreement in all its measures, and the bias to length, each with its interval."""
    human, judge = _rounded(data.human, data.levels), _rounded(data.judge, data.levels)
    draw: dict[str, Any] = {"seed": params.seed, "resamples": params.resamples}
    kind: Literal["nominal", "ordinal"] = "nominal" if data.pairwise else "ordinal"
    found = {
        "spearman": bootstrap(agreement.spearman, (data.judge, data.human), data.groups, **draw),
        "kendall": bootstrap(agreement.kendall, (data.judge, data.human), data.groups, **draw),
        "weighted_kappa": bootstrap(
            lambda a, b: agreement.weighted_kappa(a, b, "quadratic", data.levels),
            (judge, human),
            data.groups,
            **draw,
        ),
        "krippendorff_alpha": bootstrap(
            lambda a, b: agreement.krippendorff_alpha([a, b], kind),
            (judge, human),
            data.groups,
            **draw,
        ),
        "length_bias": bootstrap(
            agreement.partial_spearman, (data.judge, data.length, data.human), data.groups, **draw
        ),
    }
    exact = (
        1.0 - np.abs(data.judge - data.human) if data.pairwise else (judge == human).astype(float)
    )
    return {"accuracy": mean_interval(exact, data.groups), **found}


def baselines(
    data: Sample, params: CalibrationParams
) -> tuple[dict[str, Interval], dict[str, Interval]]:
    """The headline measure of judges that read nothing, and how far above them this judge is.

    `longer` and `shorter` go by length, `constant` always says what people say most, `first` takes
    the answer shown first (which in both orders is a half).
    """
    statistic = agreement.accuracy if data.pairwise else agreement.spearman
    draw: dict[str, Any] = {"seed": params.seed, "resamples": params.resamples}
    own, above = {}, {}
    for name, said in _trivial(data).items():
        own[name] = bootstrap(statistic, (said, data.human), data.groups, **draw)
        above[name] = bootstrap(
            lambda judge, trivial, human: statistic(judge, human) - statistic(trivial, human),
            (data.judge, said, data.human),
            data.groups,
            **draw,
        )
    return own, above


def position_measures(judged: Judged, groups: Sequence[str]) -> dict[str, Interval]:
    """Pairwise: the share of pairs that turned with the order, and that went to either place.

    Empty where no pair was asked about in both orders.
    """
    asked = [(picks, group) for picks, group in zip(judged.picks, groups, strict=True) if picks]
    if not asked:
        return {}
    where = [group for _, group in asked]
    shares = {
        "position_bias": [depends_on_order(picks) for picks, _ in asked],
        "always_first": [set(picks) == {"1"} for picks, _ in asked],
        "always_second": [set(picks) == {"2"} for picks, _ in asked],
    }
    return {
        name: mean_interval([float(one) for one in found], where) for name, found in shares.items()
    }


def consistency(first: Judged, again: Judged, groups: Sequence[str]) -> Interval | None:
    """Agreement of two runs, 1 less the distance; a row that fails once is 0. None for no rows."""
    if not groups:
        return None
    pairs = zip(first.scores, again.scores, strict=True)
    same = [1.0 - abs(a - b) if a is not None and b is not None else 0.0 for a, b in pairs]
    return mean_interval(same, groups)


def raters_agreement(rows: Sequence[LabelledRow], params: CalibrationParams) -> Interval | None:
    """Krippendorff's alpha (interval) among people; None where no row has two labels."""
    shared = [row for row in rows if len(row.labels) > 1]
    if not shared:
        return None
    names = sorted({rater for row in shared for rater in row.raters})
    table = np.full((len(names), len(shared)), np.nan)
    for place, row in enumerate(shared):
        for rater, label in zip(row.raters, row.labels, strict=True):
            table[names.index(rater), place] = label
    return bootstrap(
        lambda *lines: agreement.krippendorff_alpha(lines),
        tuple(table),
        [row.group for row in shared],
        seed=params.seed,
        resamples=params.resamples,
    )


def points(data: Sample) -> tuple[Point, ...]:
    """People's mean at each level of the judge's score: what a calibration plot shows."""
    near = _rounded(data.judge, data.levels)
    found = []
    for level in data.levels:
        chosen = np.flatnonzero(near == level)
        if len(chosen):
            groups = [data.groups[place] for place in chosen]
            found.append(
                Point(float(data.judge[chosen].mean()), mean_interval(data.human[chosen], groups))
            )
    return tuple(found)


def made_sentinels(
    criterion: Criterion, rows: Sequence[LabelledRow], count: int
) -> tuple[JudgeRow, ...]:
    """Known-bad answers from labelled pairs: one of another row, or the good one shuffled.

    Only for pairwise criteria; which rows is decided by their digests. An answer of another row is
    bad only where the judge sees more than the answers.
    """
    if not criterion.compares or not count:
        return ()
    kept = [(row, _preferred(row)) for row in rows if row.human != 0.5]
    kept = sorted(
        (one for one in kept if len(one[1].split()) >= FEWEST_WORDS),
        key=lambda one: digest_value(one[0].row),
    )
    found: list[JudgeRow] = []
    for place, (row, good) in enumerate(kept[:count]):
        _, stranger = next(
            (one for one in kept[place + 1 :] + kept[:place] if one[0].group != row.group),
            (row, ""),
        )
        foreign = (
            place % 2 == 0 and set(criterion.shows) != {"output"} and stranger and stranger != good
        )
        bad = stranger if foreign else _shuffled(good)
        kind = "of another row" if foreign else "shuffled"
        found.append(replace(row.row, id=f"{row.row.id} ({kind})", output=bad, other=good))
    return tuple(found)


def _trivial(data: Sample) -> Mapping[str, Floats]:
    half, longer = np.full(len(data.human), 0.5), data.length
    if not data.pairwise:
        return {"longer": longer, "shorter": -longer, "constant": half}
    wins = 0.5 + 0.5 * np.sign(longer)
    constant = max(
        (agreement.accuracy(np.full(len(half), level), data.human), level) for level in data.levels
    )[1]
    return {
        "longer": wins,
        "shorter": 1.0 - wins,
        "constant": np.full(len(half), constant),
        "first": half,
    }


def _length(row: JudgeRow, criterion: Criterion) -> float:
    own = float(np.log1p(len(row.output)))
    return own - float(np.log1p(len(row.other))) if criterion.compares else own


def _rounded(values: Floats, levels: Sequence[float]) -> Floats:
    scale = np.array(levels)
    return np.asarray(scale[np.abs(np.subtract.outer(values, scale)).argmin(axis=1)], np.float64)


def _preferred(row: LabelledRow) -> str:
    return row.row.output if row.human > 0.5 else row.row.other


def _shuffled(text: str) -> str:
    words = text.split()
    random.Random(digest_value(text)).shuffle(words)
    return " ".join(words)
