"""What a drift report means: which columns moved, where to, and what probably happened."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sluicegate.cards.drift_report import Moved, Spread, surplus
from sluicegate.drift import Profile
from sluicegate.records import DriftReport, DriftScore

_KEEPING = "how far answers keep to the prompt"
ASPECTS = {
    "length": (
        "character_count", "letter_count", "lexicon_count", "syllable_count", "sentence_count",
        "monosyllable_count", "polysyllable_count", "difficult_words", "tokens",
    ),
    "language": ("language",),
    "topic": ("embedding",),
    "what is answered to the same prompts": ("given_prompt",),
    "denials": ("negations",),
    "attempts to take the model over": ("injection_score", "jailbreak_similarity"),
    "tone": ("vader_sentiment", "hostile_words", "toxicity"),
    "personal data": ("has_patterns", "pii_count"),
    "refusals": ("refusal", "refusal_similarity"),
    "missing or blank texts": ("given",),
    _KEEPING: ("prompt_overlap", "relevance_to_prompt"),
    "speed": ("latency",),
    "style and reading level": (
        "flesch_reading_ease", "automated_readability_index", "aggregate_reading_level",
    ),
}  # fmt: skip
"""What people call a change, and the columns that show it."""
_FEWER = {
    "attempts to take the model over": "fewer signs of attempts to take the model over",
    "personal data": "less personal data",
    "refusals": "fewer refusals",
}
_OF = {kind: aspect for aspect, kinds in ASPECTS.items() for kind in kinds}
_SIDES = {
    ("prompt",): "What is asked has changed; the answers look as before.",
    (
        "response",
    ): "The answers have changed while what is asked looks as before: look at the release, its "
    "settings, or what serves it.",
    ("prompt", "response"): "What is asked has changed, and the answers with it.",
}
_BINS, _LABELS = 20, 6


def aspect_of(column: str) -> str:
    """What people call a change of this column.

    Example:
        >>> aspect_of("prompt.lexicon_count"), aspect_of("response.latency")
        ('length', 'speed')
    """
    return _OF.get(column.partition(".")[2], column)


def moved_columns(report: DriftReport, reference: Profile, window: Profile) -> tuple[Moved, ...]:
    """The columns that alarm, most telling first, each with its score and both distributions."""
    best: dict[str, DriftScore] = {}
    for score in report.scores:
        if score.alarm and (
            score.column not in best or surplus(score) > surplus(best[score.column])
        ):
            best[score.column] = score
    ordered = sorted(best.values(), key=surplus, reverse=True)
    return tuple(Moved(score, spread_of(score.column, reference, window)) for score in ordered)


def likely_cause(moved: Sequence[Moved]) -> str:
    """In sentences: prompts, responses or both, and in what; empty where nothing moved."""
    if not moved:
        return ""
    # How far answers keep to the prompt changes with either: it says something where nothing else
    # moved.
    plain = [item for item in moved if aspect_of(item.score.column) != _KEEPING] or moved
    sides = tuple(sorted({item.score.column.partition(".")[0] for item in plain}))
    strongest: dict[tuple[str, str], Moved] = {}
    for item in plain:
        key = (item.score.column.partition(".")[0], aspect_of(item.score.column))
        strongest.setdefault(key, item)
    return " ".join([_SIDES[sides], *_parts(strongest)])


def _parts(strongest: dict[tuple[str, str], Moved]) -> list[str]:
    """A sentence a side, without what follows from a change of length."""
    told = []
    for side in ("prompt", "response"):
        found = {aspect: item for (own, aspect), item in strongest.items() if own == side}
        if found.keys() & {"length", "language", "topic"}:
            found.pop("style and reading level", None)
        if "length" in found:
            size = surplus(found["length"].score)
            found = {
                aspect: item
                for aspect, item in found.items()
                if not _grows(item) or surplus(item.score) > size
            }
        if found:
            said = "; ".join(
                f"{_named(aspect, item)}{_amount(item)}" for aspect, item in found.items()
            )
            told.append(f"{side.capitalize()}s: {said}.")
    return told


def _named(aspect: str, item: Moved) -> str:
    """The aspect; where there is less of what its name warns of, that is said."""
    before, after = item.score.before, item.score.after
    fell = before is not None and after is not None and after < before
    return _FEWER.get(aspect, aspect) if fell else aspect


def _grows(item: Moved) -> bool:
    """Does a longer text hold more of it anyway?"""
    return item.score.column.partition(".")[2] in ("hostile_words", "pii_count", "has_patterns")


def _amount(item: Moved) -> str:
    score, spread = item.score, item.spread
    if spread is not None and spread.labels:
        gains = [after - before for before, after in zip(spread.before, spread.after, strict=True)]
        most = max(range(len(gains)), key=lambda place: gains[place])
        name = spread.labels[most] or "none"
        return f" ({name}: {spread.before[most]:.1%}, now {spread.after[most]:.1%})"
    if score.before is None or score.after is None:
        return ""
    if aspect_of(score.column) in ("length", "speed") and score.before > 0 and score.after > 0:
        ratio = score.after / score.before - 1
        return f" ({'+' if ratio > 0 else '-'}{abs(ratio):.0%} on average)"
    return f" (mean {score.before:.3g}, now {score.after:.3g})"


def spread_of(column: str, reference: Profile, window: Profile) -> Spread | None:
    """Both sides' shares of a column's values, from the samples; None where a side has none."""
    if column in reference.labels and column in window.labels:
        return _label_spread(reference.labels[column], window.labels[column])
    if column not in reference.numbers or column not in window.numbers:
        return None
    before, after = (
        values[~np.isnan(values)] for values in (reference.numbers[column], window.numbers[column])
    )
    if not len(before) or not len(after):
        return None
    low, high = np.quantile(np.concatenate([before, after]), [0.005, 0.995])
    if not high > low:
        high = low + (abs(low) or 1.0)
    edges = np.linspace(low, high, _BINS + 1)
    shares = [
        np.histogram(np.clip(values, low, high), edges)[0] / len(values)
        for values in (before, after)
    ]
    return Spread(tuple(shares[0].tolist()), tuple(shares[1].tolist()), edges=tuple(edges.tolist()))


def _label_spread(before: NDArray[np.object_], after: NDArray[np.object_]) -> Spread | None:
    sides = [
        [value for value in values.tolist() if value is not None] for values in (before, after)
    ]
    if not all(sides):
        return None
    shares = [{name: side.count(name) / len(side) for name in set(side)} for side in sides]
    names = sorted(shares[0].keys() | shares[1].keys())
    apart = {name: abs(shares[1].get(name, 0.0) - shares[0].get(name, 0.0)) for name in names}
    kept = sorted(names, key=lambda name: (-apart[name], name))[:_LABELS]
    return Spread(
        tuple(shares[0].get(name, 0.0) for name in kept),
        tuple(shares[1].get(name, 0.0) for name in kept),
        labels=tuple(kept),
    )


def regions(column: str, reference: Profile, window: Profile) -> tuple[object, object] | None:
    """Where there is less of a column now and where more: two labels, or two ranges (low, high).

    None where the column holds nothing on a side.
    """
    if column in reference.labels:
        spread = _label_spread(reference.labels[column], window.labels[column])
        if spread is None:
            return None
        gains = np.subtract(spread.after, spread.before)
        return spread.labels[int(gains.argmin())], spread.labels[int(gains.argmax())]
    if column not in reference.numbers or column not in window.numbers:
        return None
    sides = [
        values[~np.isnan(values)] for values in (reference.numbers[column], window.numbers[column])
    ]
    if not all(map(len, sides)):
        return None
    pooled = np.concatenate([np.resize(values, max(map(len, sides))) for values in sides])
    edges = np.unique(np.quantile(pooled, np.linspace(0, 1, 7)[1:-1]))
    bounds = [-math.inf, *edges.tolist(), math.inf]
    shares = [
        np.bincount(np.searchsorted(edges, values, side="right"), minlength=len(edges) + 1)
        / len(values)
        for values in sides
    ]
    gains = shares[1] - shares[0]
    less, more = int(gains.argmin()), int(gains.argmax())
    return (bounds[less], bounds[less + 1]), (bounds[more], bounds[more + 1])
