"""What is measured about a judge: agreement, beside trivial judges, and known weaknesses."""

from __future__ import annotations

import random
from collections import Counter
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
from sluicegate.judges.labels import TURNED, LabelledRow

FEWEST_WORDS = 6
WORSE = 0.5
"""Below this people's mean is nearer to the low end."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Labelled rows as people and the judge scored them, side by side.

    Attributes:
        human, judge: scores in [0, 1]; where the judge gave none, what is farthest from people's.
        length: logarithm of the answer's length; pairwise, of output over other.
        longer: 1 where the answer is the longer one (scores: longer than most), else -1.
        side: 1 where one release answered (pairwise: `output` is the candidate's), -1 where another
            one did, 0 where the labels do not say; `side_name` is the first.
        close: pairwise: share of words that the two answers have in common.
        levels: the values that a label can take, for measures on levels.
        pairwise: whether scores are preferences.
        table, raters: every label, one line a rater; NaN where there is none.
    """

    human: Floats
    judge: Floats
    length: Floats
    longer: Floats
    side: Floats
    side_name: str
    close: Floats
    groups: tuple[str, ...]
    levels: tuple[float, ...]
    pairwise: bool
    table: Floats
    raters: tuple[str, ...]

    @property
    def headline(self) -> str:
        """The measure that decides: `accuracy` for preferences, else `spearman`."""
        return "accuracy" if self.pairwise else "spearman"

    @property
    def aligned(self) -> Floats:
        """The judge's scores on people's levels, without what it gives more or less on average: a
        comparison does not see that.
        """
        if self.pairwise:
            return self.judge
        return _rounded(self.judge - float(np.mean(self.judge - self.human)), self.levels)


@dataclass(frozen=True, slots=True)
class Point:
    """Rows of about one score: the judge's mean, and people's mean with its interval."""

    judge: float
    human: Interval


def sample(
    criterion: Criterion, rows: Sequence[LabelledRow], scores: Sequence[float | None]
) -> Sample:
    """The labelled rows beside the judge's scores; one without a usable answer counts as wrong."""
    human = np.array([row.human for row in rows], float)
    judge = [
        float(people < WORSE) if score is None else score
        for score, people in zip(scores, human, strict=True)
    ]
    length = np.array([_length(row.row, criterion) for row in rows], float)
    side, side_name = _sides(criterion, rows)
    raters = sorted({rater for row in rows for rater in row.raters})
    return Sample(
        human=human,
        judge=np.array(judge, float),
        length=length,
        longer=np.sign(length - (0.0 if criterion.compares else np.median(length))),
        side=side,
        side_name=side_name,
        close=np.array([_alike(row.row) for row in rows], float),
        groups=tuple(row.group for row in rows),
        levels=levels_of(criterion),
        pairwise=criterion.compares,
        table=_table(rows, raters),
        raters=tuple(raters),
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


def baselines(data: Sample, params: CalibrationParams) -> dict[str, Interval]:
    """The headline measure of judges that read nothing.

    `longer` and `shorter` go by length, `constant` always says what people say most, `first` takes
    the answer shown first (which in both orders is a half).
    """
    statistic = agreement.accuracy if data.pairwise else agreement.spearman
    draw: dict[str, Any] = {"seed": params.seed, "resamples": params.resamples}
    return {
        name: bootstrap(statistic, (said, data.human), data.groups, **draw)
        for name, said in _trivial(data).items()
    }


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
    table = _table(shared, sorted({rater for row in shared for rater in row.raters}))
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


def _table(rows: Sequence[LabelledRow], raters: Sequence[str]) -> Floats:
    table = np.full((len(raters), len(rows)), np.nan)
    for place, row in enumerate(rows):
        for rater, label in zip(row.raters, row.labels, strict=True):
            table[raters.index(rater), place] = label
    return table


def _sides(criterion: Criterion, rows: Sequence[LabelledRow]) -> tuple[Floats, str]:
    """Which release answered: of a pair the name of the row says it, else the column `release`."""
    if criterion.compares:
        turned = [-1.0 if row.row.id.endswith(TURNED) else 1.0 for row in rows]
        return np.array(turned), "the candidate"
    known = Counter(row.release for row in rows if row.release)
    most = sorted(known, key=lambda name: (-known[name], name))[:2]
    if len(most) < 2:
        return np.zeros(len(rows)), ""
    worth = {most[0]: 1.0, most[1]: -1.0}
    return np.array([worth.get(row.release, 0.0) for row in rows]), f"release {most[0]}"


def _alike(row: JudgeRow) -> float:
    one, two = set(row.output.casefold().split()), set(row.other.casefold().split())
    return len(one & two) / max(len(one | two), 1)


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
