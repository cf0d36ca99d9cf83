"""Which rows people should look at next: those that can still change a decision.

Rows of the last evaluation whose answers are equal are left out, since they differ by exactly 0.
The others are taken turn by turn from each reason to look at them, the strongest first; those that
only differ come in an order that digests give.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from sluicegate.data.examples import read_examples
from sluicegate.drift import TextEncoder
from sluicegate.drift.unlike import edge, nearest, strangeness
from sluicegate.errors import DataError
from sluicegate.evaluation import read_evidence
from sluicegate.gates.pairing import unpaired
from sluicegate.gates.reviews import Pair, pairs_of
from sluicegate.hashing import digest_value
from sluicegate.line.progress import say
from sluicegate.line.run import Run
from sluicegate.line.watch.window import open_log
from sluicegate.monitoring import text_encoder
from sluicegate.prompts import shown_input
from sluicegate.records import Example, ScoredExample
from sluicegate.releasing.reviewing import answers_in

DIFFER, DISAGREE, THIN, UNLIKE = (
    "answers differ",
    "judges disagree",
    "thin slice",
    "unlike the golden set",
)
ENOUGH = 10
"""Rows of a slice below which it is thin, as for the policy's `minimum_slice`."""
MOST_TRAFFIC = 1000
"""Newest rows of traffic that are looked through."""
_JUDGE = "judge:"


@dataclass(frozen=True, slots=True)
class Row:
    """A row to label.

    Attributes:
        id: of the golden row, or the key of the row of traffic.
        group: conversation, customer or document.
        inputs: what was asked.
        output: the candidate's answer, or the one that a user got.
        other: the champion's; empty for traffic.
        reasons: why to look at it, each with how strongly, from 0 to 1.
    """

    id: str
    group: str
    inputs: Mapping[str, str]
    output: str
    other: str
    reasons: Mapping[str, float]


def label_next(run: Run, count: int) -> tuple[Row, ...]:
    """The next `count` rows, the most telling first; fewer where there are no more.

    Pairs that somebody has reviewed and traffic that somebody corrected are left out.

    Raises:
        DataError: there is neither an evaluation nor traffic, or nothing is left.
        ModelError, MissingExtraError: the encoder that params.yaml names is not there.
    """
    found = [*_evaluated(run), *_traffic(run, text_encoder(run.params.profile.encoder))]
    if not found:
        raise DataError(
            "no row is worth a label: no answers differ unreviewed, and no traffic is unlike the "
            "golden set.",
            hint="Evaluate a candidate first: `sluice release --no-promote`.",
        )
    return chosen(found, count)


def chosen(rows: Sequence[Row], count: int) -> tuple[Row, ...]:
    """Turn by turn the strongest row of each reason that has not been taken.

    Example:
        >>> rows = [Row(name, name, {}, "", "", {why: 1.0}) for name, why in
        ...     (("1", "a"), ("2", "a"), ("3", "b"))]
        >>> [row.reasons for row in chosen(rows, 2)]
        [{'a': 1.0}, {'b': 1.0}]
    """
    reasons = sorted({reason for row in rows for reason in row.reasons})
    queues = {
        reason: sorted(
            (row for row in rows if reason in row.reasons),
            key=lambda row: (-row.reasons[reason], digest_value([row.group, row.id])),
        )
        for reason in reasons
    }
    taken: dict[str, Row] = {}
    for place, reason in itertools.product(range(len(rows)), reasons):
        if len(taken) < count and place < len(queues[reason]):
            row = queues[reason][place]
            taken.setdefault(f"{bool(row.other)}{row.id}", row)
    return tuple(taken.values())


def _evaluated(run: Run) -> Iterator[Row]:
    folder = run.project.evidence
    paths = [folder / f"{side}.parquet" for side in ("candidate", "champion")]
    if not all(path.is_file() for path in paths):
        return
    candidate, champion = map(read_evidence, paths)
    if candidate.release == champion.release or unpaired(candidate, champion):
        return
    examples = {example.id: example for example in read_examples(run.project.golden)}
    reviewed = {answer.pair for _, answer in answers_in(run.ledger.entries())}
    new, old = ({row.id: row for row in side.rows} for side in (candidate, champion))
    sizes = Counter(part for row in candidate.rows for part in row.slices.items())
    for pair in pairs_of(candidate, champion):
        if pair.differs and pair.digest not in reviewed and pair.id in examples:
            yield _row(pair, new[pair.id], old[pair.id], sizes, examples[pair.id])


def _row(
    pair: Pair,
    new: ScoredExample,
    old: ScoredExample,
    sizes: Mapping[tuple[str, str], int],
    example: Example,
) -> Row:
    reasons = {DIFFER: 1.0}
    if apart := disagreement(new, old):
        reasons[DISAGREE] = apart
    smallest = min((sizes[part] for part in new.slices.items()), default=ENOUGH)
    if smallest < ENOUGH:
        reasons[THIN] = 1 - smallest / ENOUGH
    return Row(pair.id, pair.group, example.inputs, pair.candidate, pair.champion, reasons)


def disagreement(new: ScoredExample, old: ScoredExample) -> float:
    """How far judges are apart on which answer is better, 0 to 1; 0 for fewer than two judges."""
    gains = [
        score - old.scores[name]
        for name, score in new.scores.items()
        if name.startswith(_JUDGE) and name in old.scores
    ]
    return min((max(gains) - min(gains)) / 2, 1.0) if len(gains) > 1 else 0.0


def _traffic(run: Run, encoder: TextEncoder | None) -> Iterator[Row]:
    """Rows of traffic that are further from all golden rows than those are from one another."""
    log = open_log(run.project.traffic_url)
    if log is None or not run.project.golden.is_file():
        return
    if encoder is None:
        say(
            "label next: traffic is not looked at, as no encoder is there: install the extra "
            "`metrics`, or set profile.encoder in params.yaml"
        )
        return
    window = log.window(until=datetime.now(UTC), last=MOST_TRAFFIC)
    rows = [row for row in window if not any(said.correction for said in row.feedback)]
    golden = read_examples(run.project.golden)
    if not rows or len(golden) < 2:
        return
    asked = [shown_input(run.prompt, example.inputs) for example in golden]
    vectors = encoder.vectors([*asked, *(row.prompt for row in rows)])
    blocks = np.arange(len(vectors))
    is_traffic = blocks >= len(golden)
    strange = strangeness(*nearest(vectors, blocks), is_traffic)
    far = edge(strange[~is_traffic])
    for row, distance in zip(rows, strange[is_traffic].tolist(), strict=True):
        if distance > far:
            inputs = row.inputs or {"prompt": row.prompt}
            strength = {UNLIKE: float(min(distance, 1.0))}
            yield Row(row.key, row.group or row.key, inputs, row.response, "", strength)
