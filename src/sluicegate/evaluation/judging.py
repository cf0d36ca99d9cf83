"""Judges in an evaluation: the metric `judge:<name>` becomes scores; a row without a usable answer
counts at its worst for the candidate, and many of them are no scores at all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from sluicegate.chat import as_read
from sluicegate.errors import EvidenceError
from sluicegate.evaluation.computing import source_of, used_contexts
from sluicegate.evaluation.judgement import Judgement
from sluicegate.generating import Model
from sluicegate.hashing import digest_value
from sluicegate.judges import (
    Criterion,
    Judged,
    JudgeRow,
    criterion_path,
    judge_digest,
    judge_rows,
    load_criterion,
)
from sluicegate.metrics import find_metric
from sluicegate.records import MOST_UNUSABLE, Example, Generation, JudgeUse

PREFIX = "judge:"
REASONS_KEPT = 5
UNWEIGHTED = (
    "the scores are the judge's own numbers: the model gives no token probabilities to "
    "weight them by"
)

EQUAL = "both answers are equal"
"""The reason of a pair that nobody was asked about."""


@dataclass(frozen=True, slots=True)
class Measure:
    """Which way a metric is better, and its smallest and largest score."""

    direction: Literal["higher", "lower"]
    range: tuple[float, float]


def judged_metrics(metrics: Sequence[str]) -> list[str]:
    """Those of `metrics` that a judge gives.

    Example:
        >>> judged_metrics(["rouge1", "judge:coherence"])
        ['judge:coherence']
    """
    return [name for name in metrics if name.startswith(PREFIX)]


def plain_metrics(metrics: Sequence[str]) -> list[str]:
    """Those of `metrics` that are computed.

    Example:
        >>> plain_metrics(["rouge1", "judge:coherence"])
        ['rouge1']
    """
    return [name for name in metrics if not name.startswith(PREFIX)]


def criteria(metrics: Sequence[str], prompts: Path) -> list[Criterion]:
    """The criteria of all judged metrics, from a project's prompts folder.

    Raises:
        ConfigError: a file is missing or wrong.
    """
    return [load_criterion(criterion_path(prompts, name)) for name in judged_metrics(metrics)]


def measures(metrics: Sequence[str], prompts: Path) -> dict[str, Measure]:
    """Direction and range of every metric, computed or judged.

    Raises:
        ConfigError: a metric is unknown, or a criterion's file is missing or wrong.
    """
    found = {
        criterion.metric: Measure(criterion.direction, (0.0, 1.0))
        for criterion in criteria(metrics, prompts)
    }
    for name in plain_metrics(metrics):
        metric = find_metric(name)
        found[name] = Measure(metric.direction, metric.range)
    return {name: found[name] for name in metrics}


def judge_answers(
    criterion: Criterion,
    models: Sequence[Model],
    golden: Sequence[Example],
    outputs: Sequence[Generation],
    champion: Sequence[Generation],
    *,
    candidate: Sequence[Generation] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Judgement:
    """Judge `outputs[i]` as the answer to `golden[i]`.

    A pairwise judge compares with `champion[i]`; where the answers are equal, and for the champion
    itself, that is 0.5 without a call. `outputs is champion` says that it is the champion that is
    judged.

    `candidate`, with the answers that the champion's are held against, says that `outputs` are the
    champion's. A row without a usable answer counts at the worst for the candidate: the worst score
    of its own answer and the best one of the champion's, but for equal answers, which never differ.

    Raises:
        EvidenceError: lengths differ, or the criterion needs references and an example has none.
        BudgetError: the budget is spent; what was answered is in the cache.
        ConfigError: an endpoint is unsafe or its key is missing.
    """
    if not len(golden) == len(outputs) == len(champion):
        raise EvidenceError(
            f"{len(outputs)} and {len(champion)} answers to {len(golden)} golden examples."
        )
    if criterion.needs_reference and (bare := [row.id for row in golden if not any(row.reference)]):
        raise EvidenceError(
            f"example {bare[0]}: {criterion.metric} needs a reference, but there is none."
        )
    digest = judge_digest(criterion, models)
    bound = judgement_digest(criterion, digest, [answer.text for answer in champion])
    if criterion.compares and outputs is champion:  # it against itself
        count = len(golden)
        return Judgement(
            criterion.metric, bound, (0.5,) * count, ("",) * count, JudgeUse(digest, count, 0)
        )
    rows = [
        judge_row(example, output, other.text if criterion.compares else "")
        for example, output, other in zip(golden, outputs, champion, strict=True)
    ]
    beside = champion if candidate is None else candidate
    equal = [_alike(one, other) for one, other in zip(outputs, beside, strict=True)]
    own = candidate is None
    missing = [criterion.worst if own or same else 1.0 - criterion.worst for same in equal]
    settled = [same and criterion.compares for same in equal]
    asked = [row for row, known in zip(rows, settled, strict=True) if not known]
    judged = judge_rows(criterion, asked, models, progress) if asked else _NOTHING
    return _judgement(criterion, digest, bound, _with_equal(judged, settled), missing)


def _alike(one: Generation, other: Generation) -> bool:
    """Whether two answers are the same in all that a judge is shown."""
    return (one.text, one.fields, one.failure) == (other.text, other.fields, other.failure)


_NOTHING = Judged((), (), (), 0, 0, 0, None)


def _with_equal(judged: Judged, settled: Sequence[bool]) -> Judged:
    """`judged`, with 0.5 in the places of pairs that are equal and were not asked about."""
    parts = zip(judged.scores, judged.reasons, judged.failures, strict=True)
    filled = [(0.5, EQUAL, "") if known else next(parts) for known in settled]
    scores, reasons, failures = zip(*filled, strict=True)
    return replace(judged, scores=scores, reasons=reasons, failures=failures)


def judge_row(example: Example, output: Generation, other: str = "") -> JudgeRow:
    """What a judge is told of an answer.

    Where the application says which contexts it used, they are the input `context`, and stand
    behind the others in the source: an answer is held against what was really before the model.

    Example:
        >>> used = {"contexts": '["Refunds take 5 days.", {"id": "kb-2", "text": "No fee."}]'}
        >>> row = judge_row(Example("1", "g", {"question": "How long?"}, (), "s"),
        ...     Generation("5 days.", 9, 3, 0.1, True, fields=used))
        >>> row.inputs["context"], row.source
        ('Refunds take 5 days.\\n\\nNo fee.', 'How long?\\n\\nRefunds take 5 days.\\n\\nNo fee.')
    """
    inputs = as_read(example.inputs)
    if used := used_contexts(output):
        inputs["context"] = "\n\n".join(used)
    text, source = "" if output.failure else output.text, source_of(example, output)
    return JudgeRow(example.id, source, text, example.reference, other, inputs)


def _judgement(
    criterion: Criterion, digest: str, bound: str, judged: Judged, missing: Sequence[float]
) -> Judgement:
    """`missing` are the scores of rows that failed; no score at all where too many did."""
    notes = tuple(
        reason for reason, _ in Counter(filter(None, judged.failures)).most_common(REASONS_KEPT)
    )
    if judged.weighted is False and not judged.failed:
        notes = (UNWEIGHTED,)
    if judged.echoes:
        notes += (f"{judged.echoes} answers repeat their source: shown to the judge apart",)
    if equal := judged.reasons.count(EQUAL):
        notes += (f"{equal} of {len(judged.reasons)} pairs are equal: not asked about",)
    whole = judged.failed <= MOST_UNUSABLE * len(judged.scores)
    pairs = zip(judged.scores, missing, strict=True)
    scores = tuple(worst if score is None else score for score, worst in pairs)
    reasons = tuple(
        f"no usable answer, so {worst:g}: {failure}" if failure else reason
        for reason, failure, worst in zip(judged.reasons, judged.failures, missing, strict=True)
    )
    return Judgement(
        metric=criterion.metric,
        digest=bound,
        scores=scores if whole else (),
        reasons=reasons if whole else (),
        use=JudgeUse(digest, len(judged.scores) - judged.failed, judged.failed, notes),
        calls=judged.calls,
        prompt_tokens=judged.prompt_tokens,
        completion_tokens=judged.completion_tokens,
    )


def judgement_digest(criterion: Criterion, judge: str, champion: Sequence[str]) -> str:
    """What a judgement's scores depend on: the judge and, where it compares, the champion's answers
    in golden order.
    """
    return digest_value([judge, digest_value(list(champion))]) if criterion.compares else judge
