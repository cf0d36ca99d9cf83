"""Generations become Evidence: one finite score per example and metric, and means with
cluster-aware intervals.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from sluicegate.errors import EvidenceError
from sluicegate.evaluation.computing import asks_model as asks_model
from sluicegate.evaluation.computing import class_slices, computed, set_scores
from sluicegate.evaluation.computing import source_text as source_text
from sluicegate.evaluation.corpus import corpus_scores
from sluicegate.evaluation.judgement import Judgement
from sluicegate.evaluation.operations import operations
from sluicegate.gates.bounds import clusters
from sluicegate.hashing import digest_value
from sluicegate.metrics import find_metric, metrics_digest
from sluicegate.records import (
    Evidence,
    Example,
    Generation,
    JudgeUse,
    Repeat,
    ScoredExample,
    Summary,
)

OPINION = "a scorer of the project's own that asks a model; nobody can calibrate it"
"""The note of such a metric among the judges of the evidence."""


def evaluate(
    release_digest: str,
    golden: Sequence[Example],
    golden_digest: str,
    outputs: Sequence[Generation],
    metrics: Sequence[str],
    *,
    price: tuple[float, float] | None = None,
    judgements: Sequence[Judgement] = (),
    asking: Mapping[str, bool] | None = None,
) -> Evidence:
    """Score `outputs[i]` as the answer to `golden[i]`.

    Where rows were asked several times, the second answers come after all first ones, and so on:
    the scores of a row are then the means over its answers. Rows come out sorted by id, so the
    order given does not matter.

    `metrics` are computed here. One that sees nothing in a row gives no scores and is counted in
    `unscored`. `judgements` are of the same answers in the same order; one without scores (too many
    rows failed) is only counted. `asking` says which metrics of a project's own ask a model; these
    are named among the judges of the evidence. `price` is money per million tokens of prompt and of
    answer; see `operations`.

    Raises:
        EvidenceError: nothing to score, no computed metric, unequal lengths, a repeated id or
            metric, a missing reference, a number that is not finite. Never a partial result.
        ConfigError: a metric is unknown, or asks a model and nobody declared it.
    """
    _check(golden, outputs, metrics, judgements)
    asked = list(golden) * (len(outputs) // len(golden))
    table = {name: find_metric(name) for name in metrics}
    asks = asks_model(table, asking or {})
    scores, unscored = computed(table, asks, asked, outputs)
    whole = corpus_scores(
        scores, [output.text for output in outputs], [example.reference for example in asked]
    )
    of_set = set_scores({name: table[name] for name in scores}, asked, outputs)
    scores = {name: found for name, found in scores.items() if name not in of_set}
    ranges = {name: table[name].range for name in scores}
    counted = [one for one in judgements if one.scores]
    scores |= {one.metric: list(one.scores) for one in counted}
    ranges |= {one.metric: (0.0, 1.0) for one in counted}
    reasons = {one.metric: one.reasons for one in counted}
    rows = _rows(golden, outputs, scores, reasons, class_slices(table, golden))
    groups = [row.group for row in rows]
    return Evidence(
        release=release_digest,
        golden=golden_digest,
        metrics=configuration(metrics, {one.metric: one.digest for one in judgements}),
        rows=tuple(rows),
        summaries={
            name: summarise([row.scores[name] for row in rows], groups, bounds)
            for name, bounds in ranges.items()
        },
        operations=operations(outputs, price) | whole,
        judges=_uses(judgements, [name for name in scores if asks.get(name)], len(asked)),
        unscored=unscored,
        set_scores=of_set,
    )


def _uses(judgements: Sequence[Judgement], asking: Sequence[str], rows: int) -> dict[str, JudgeUse]:
    """The judges, and the metrics of the project's own that ask a model."""
    uses = {one.metric.removeprefix("judge:"): one.use for one in judgements}
    return uses | {name: JudgeUse(metrics_digest([name]), rows, 0, (OPINION,)) for name in asking}


def _rows(
    golden: Sequence[Example],
    outputs: Sequence[Generation],
    scores: Mapping[str, Sequence[float]],
    reasons: Mapping[str, Sequence[str]],
    slices: Sequence[Mapping[str, str]],
) -> list[ScoredExample]:
    count = len(golden)
    rows = [
        _scored(
            example,
            outputs[place::count],
            [
                {name: values[one] for name, values in scores.items()}
                for one in range(place, len(outputs), count)
            ],
            {name: said[place] for name, said in reasons.items() if said[place]},
            slices[place],
        )
        for place, example in enumerate(golden)
    ]
    return sorted(rows, key=lambda row: row.id)


def _check(
    golden: Sequence[Example],
    outputs: Sequence[Generation],
    metrics: Sequence[str],
    judgements: Sequence[Judgement],
) -> None:
    """Refuse what `evaluate` cannot score as a whole."""
    if not golden:
        raise EvidenceError("the golden set is empty: there is nothing to judge by.")
    if not outputs or len(outputs) % len(golden):
        raise EvidenceError(f"{len(outputs)} answers to {len(golden)} golden examples.")
    if len({example.id for example in golden}) != len(golden):
        raise EvidenceError("an example id occurs twice in the golden set.")
    if not metrics or len(set(metrics)) != len(metrics):
        raise EvidenceError(
            "the list of metrics is empty or names one twice.",
            hint="At least one metric has to be computed, not judged.",
        )
    if all(find_metric(name).of_set for name in metrics):
        raise EvidenceError(
            f"{', '.join(metrics)}: no metric scores the rows themselves.",
            hint="Add one that does, accuracy say, to evaluate.metrics.",
        )
    if any(
        len(one.scores) != len(outputs) for one in judgements if one.scores or not one.use.failed
    ):
        raise EvidenceError(
            "a judge returned a different number of scores than there are examples."
        )


def configuration(metrics: Sequence[str], judges: Mapping[str, str]) -> str:
    """Digest of how was measured; that of the computed `metrics` alone where there is no judge.

    Args:
        metrics: names of the computed metrics.
        judges: `judge:<name>` to the digest of its judgement.

    Raises:
        ConfigError: a metric is unknown.
        MissingExtraError: a metric's package is not installed.
    """
    computed = metrics_digest(metrics)
    return digest_value({"metrics": computed, "judges": dict(judges)}) if judges else computed


def summarise(
    values: Sequence[float], groups: Sequence[str], bounds: tuple[float, float]
) -> Summary:
    """Mean of `values`, every group counting once, with its 95 % interval.

    Rows of one group are dependent, so that groups are the sample: Student's t over their means,
    with one degree of freedom less than there are groups. With one row a group this is the ordinary
    t interval. Clipped to `bounds`, which is also the interval when there is only one group
    (nothing is known then).

    Raises:
        EvidenceError: no value, or one that is not finite.

    Example:
        >>> summary = summarise([0.2, 0.4, 0.6], ["a", "b", "c"], (0.0, 1.0))
        >>> round(summary.mean, 3), round(summary.low, 3), round(summary.high, 3), summary.groups
        (0.4, 0.0, 0.897, 3)
    """
    if (
        not values
        or len(values) != len(groups)
        or not all(math.isfinite(value) for value in values)
    ):
        raise EvidenceError(
            "a mean needs at least one value, a group for each, and finite values only."
        )
    sample = clusters(values, groups, *bounds)
    size, found = len(values), len(sample.means)
    if found < 2:
        return Summary(sample.mean, bounds[0], bounds[1], size, found)
    from scipy.special import stdtrit

    half = float(stdtrit(found - 1, 0.975)) * sample.standard_error
    return Summary(
        sample.mean,
        max(sample.mean - half, bounds[0]),
        min(sample.mean + half, bounds[1]),
        size,
        found,
    )


def _scored(
    example: Example,
    outputs: Sequence[Generation],
    scores: Sequence[Mapping[str, float]],
    reasons: Mapping[str, str],
    slices: Mapping[str, str],
) -> ScoredExample:
    first, times = outputs[0], len(outputs)
    repeats = [
        Repeat(output.text, found, output.failure)
        for output, found in zip(outputs, scores, strict=True)
    ]
    return ScoredExample(
        id=example.id,
        group=example.group,
        output=first.text,
        scores={name: math.fsum(one[name] for one in scores) / times for name in scores[0]},
        seconds=math.fsum(output.seconds for output in outputs) / times,
        prompt_tokens=first.prompt_tokens,
        completion_tokens=first.completion_tokens,
        finished=all(output.finished for output in outputs),
        slices=slices,
        reasons=reasons,
        first_token=first.first_token,
        fields=first.fields,
        failure=next((output.failure for output in outputs if output.failure), ""),
        answered_by=", ".join(dict.fromkeys(filter(None, (one.answered_by for one in outputs)))),
        critical=example.critical,
        repeats=tuple(repeats) if times > 1 else (),
    )
