"""What the detectors on embeddings found, in words and by examples.

Profiles keep no texts: the rows are read once more, and those that have vectors are known by their
place. Personal data in what is shown is replaced.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sluicegate.cards.drift_report import Sample
from sluicegate.data.redaction import redact
from sluicegate.drift import Embedded, Profile, comparable_vectors, view
from sluicegate.drift.classifier import held_out
from sluicegate.drift.signals import words_of
from sluicegate.drift.topics import clusters
from sluicegate.drift.unlike import edge, nearest, strangeness
from sluicegate.monitoring.embedding import Kept
from sluicegate.monitoring.rows import Row, chunks
from sluicegate.personal_data import KINDS
from sluicegate.records import DriftReport

SHOWN, WORDS = 3, 3
Texts = Sequence[tuple[str, str]]
Places = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Finding:
    """One sentence, and examples of it."""

    text: str
    samples: tuple[Sample, ...] = ()


@dataclass(frozen=True, slots=True)
class _Sides:
    """Both profiles' vectors and texts, row by row; the reference's first, `first` of them."""

    left: Embedded
    right: Embedded
    texts: Texts

    @property
    def first(self) -> int:
        return len(self.left.blocks)

    @property
    def window(self) -> NDArray[np.bool_]:
        return np.arange(len(self.texts)) >= self.first

    @property
    def blocks(self) -> Places:
        own = [np.unique(one.blocks, return_inverse=True)[1] for one in (self.left, self.right)]
        return np.concatenate([own[0], own[1] + len(self.left.blocks)])


def findings(
    report: DriftReport,
    reference: Profile,
    window: Profile,
    before: Iterable[Row],
    after: Iterable[Row],
) -> tuple[Finding, ...]:
    """A sentence for each alarm of a detector that can show its rows, with texts of the window.

    Args:
        report: of the window against the reference.
        reference, window: the profiles.
        before, after: the rows that they were made of.

    Returns:
        Nothing where no such detector alarms, or where the rows are not those of the profiles.
    """
    alarms = {(score.column, score.statistic) for score in report.scores if score.alarm}
    wanted = sorted(key for key in alarms if key[1] in _SHOWN)
    both = comparable_vectors(reference, window)
    if not wanted or both is None:
        return ()
    known, now = (_texts(rows, own) for rows, own in zip((before, after), both, strict=True))
    if known is None or now is None:
        return ()
    sides = _Sides(*both, [*known, *now])
    return tuple(_SHOWN[name](column, sides) for column, name in wanted)


def _texts(rows: Iterable[Row], own: Embedded) -> Texts | None:
    """The texts behind the vectors, in their order."""
    kept, start = Kept(), 0
    for chunk in chunks(rows):
        kept.add(chunk, start)
        start += len(chunk)
    places = kept.whole()
    if kept.blocks[places].tolist() != own.blocks.tolist():
        return None
    return [(kept.texts[place][0] or "", kept.texts[place][1] or "") for place in places]


def _unlike(column: str, sides: _Sides) -> Finding:
    vectors = view(column, sides.left, sides.right)
    strange = strangeness(*nearest(vectors, sides.blocks), sides.window)
    far = np.flatnonzero(sides.window & (strange > edge(strange[~sides.window])))
    far = far[np.argsort(-strange[far], kind="stable")]
    share = len(far) / max(len(sides.texts) - sides.first, 1)
    near = (vectors[far] @ vectors[: sides.first].T).argmax(axis=1) if len(far) else far
    about = _words(column, sides, near, np.arange(sides.first))
    topic = f"; nearest topic there: {about}" if about else ""
    text = f"{share:.0%} of {_plural(column)} are unlike any reference row{topic}."
    return Finding(text, _samples(column, sides, far, strange, "{:.2f} away"))


def _topics(column: str, sides: _Sides) -> Finding:
    labels = clusters(view(column, sides.left, sides.right))
    ones = np.eye(int(labels.max()) + 1)[labels]
    was, now = ones[: sides.first].mean(axis=0), ones[sides.first :].mean(axis=0)
    most = int(np.abs(np.sqrt(now) - np.sqrt(was)).argmax())
    about = _words(column, sides, np.flatnonzero(labels == most), np.arange(len(labels)))
    text = (
        f"the topic of {_plural(column)} that changed most{f' ({about})' if about else ''}: "
        f"{was[most]:.0%} of the reference, {now[most]:.0%} now."
    )
    rows = np.flatnonzero(sides.window & (labels == most))
    return Finding(text, _samples(column, sides, rows, np.zeros(len(labels)), "of this topic"))


def _mixture(column: str, sides: _Sides) -> Finding:
    window = sides.window
    scores = held_out(view(column, sides.left, sides.right), window[None], sides.blocks)[:, 0]
    above = scores > np.quantile(scores[~window], 0.95)
    share = float(above[window].mean())
    rows = np.flatnonzero(window & above)
    rows = rows[np.argsort(-scores[rows], kind="stable")]
    text = (
        f"{share:.0%} of answers are unlike what the reference answers to such prompts "
        "(5% would be usual): another model or other settings may have written them."
    )
    return Finding(text, _samples(column, sides, rows, scores, "score {:.2f}"))


_SHOWN = {"unlike": _unlike, "topics": _topics, "mixture": _mixture}


def _plural(column: str) -> str:
    return "prompts" if column.startswith("prompt") else "answers"


def _samples(
    column: str, sides: _Sides, rows: Places, values: NDArray[np.floating], shown: str
) -> tuple[Sample, ...]:
    return tuple(
        Sample(column, "after", shown.format(values[row]), *sides.texts[row])
        for row in rows[:SHOWN].tolist()
    )


def _words(column: str, sides: _Sides, rows: Places, among: Places) -> str:
    """The words that set these rows apart, in two of them at least."""
    place = 0 if column.startswith("prompt") else 1
    inside, outside = (
        Counter(word for row in part.tolist() for word in _told(sides.texts[row][place]))
        for part in (np.unique(rows), among)
    )
    size = max(len(np.unique(rows)), 1)
    usual = {word: outside[word] / max(len(among), 1) for word in inside}
    ranked = sorted(
        (word for word in inside if inside[word] > 1),
        key=lambda word: (usual[word] - inside[word] / size, word),
    )
    return ", ".join(ranked[:WORDS])


def _told(text: str) -> set[str]:
    return {word for word in words_of(redact(text, KINDS)[0]) if len(word) > 3 and word.isalpha()}
