"""What every row of METRICS promises."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import pytest

from sluicegate.errors import EnvironmentFailure, EvidenceError, MissingExtraError
from sluicegate.gates import Policy, decide
from sluicegate.metrics import METRICS, Metric, metrics_digest, score_many, score_one
from sluicegate.metrics.base import TEXT as TEXT_OF_THE_ROW
from sluicegate.records import Decision, Evidence, ScoredExample, Unscored

QUALITIES = [metric for metric in METRICS.values() if not metric.describes]
EVERY = pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS.keys())
LETTERS = "ab C9.,'\n\té😀\u0130退ж"
WORLD = (
    "Ärger\u0301",
    "退款已到账",
    "👩‍👩‍👧‍👦",
    "\u202eabc",
    "مرحبا",
    "a\ud800",
    "İ ß ﬁ",
    "\x00",
    "x" * 3000,
)


@cache
def obstacle(name: str) -> str:
    """Why this machine cannot run the metric: no bubblewrap for code, an absent extra; empty where
    it can.
    """
    metric = METRICS[name]
    try:
        score_one(metric, *metric.best[:2], [metric.best[2]])
    except (EnvironmentFailure, MissingExtraError) as error:
        return f"{error} {error.hint}"
    return ""


@pytest.fixture(autouse=True)
def able(metric: Metric) -> None:
    """What cannot be run here is skipped, visibly."""
    if said := obstacle(metric.name):
        pytest.skip(said)


def wanted(metric: Metric, text: str) -> str:
    """`text` as a reference, or the metric's own where references of it have a form."""
    return text if metric.best[2] == TEXT_OF_THE_ROW else metric.best[2]


@EVERY
def test_row_name(metric: Metric) -> None:
    """The key of a row is the metric's own name, and it has a source file and a digest."""
    assert METRICS[metric.name] is metric
    assert len(metrics_digest([metric.name])) == 64
    assert metric.direction in ("higher", "lower")
    assert metric.unit


@EVERY
def test_finite_and_in_range(metric: Metric) -> None:
    """Any texts at all give a finite score in range or none, the same one again and by the bare
    function.
    """
    chance = random.Random(9)
    texts = ["".join(chance.choices(LETTERS, k=chance.randrange(40))) for _ in range(90)]
    sources, outputs, rest = texts[:30], [*texts[30:58], *WORLD[:2]], texts[60:]
    references = [[wanted(metric, f"x {text}")] for text in rest]
    values = score_many(metric, sources, outputs, references)
    for value in values:
        assert value is None or math.isfinite(value)
        assert value is None or metric.range[0] <= value <= metric.range[1]
    assert score_many(metric, sources, outputs, references) == values
    assert any(value is not None for value in values)
    for row in range(0, 30, 10):
        if outputs[row].strip() and not metric.depends_on_set:
            bare = metric.score(sources[row], outputs[row], references[row])
            assert bare == pytest.approx(values[row], abs=1e-5)


@EVERY
def test_every_script(metric: Metric) -> None:
    """Unicode of every kind, broken and very long text included, is scored or has no score."""
    outputs = [text.encode("utf-8", "replace").decode() for text in WORLD]
    references = [[wanted(metric, "the refund is late")]] * len(outputs)
    for value in score_many(metric, ["the refund"] * len(outputs), outputs, references):
        assert value is None or metric.range[0] <= value <= metric.range[1]


@EVERY
@pytest.mark.parametrize("output", ["", " \n\t"])
def test_blank_output_is_worst(metric: Metric, output: str) -> None:
    """A blank output scores the worst end of the range, never NaN and never a pass."""
    assert score_one(metric, "Order 5", output, [wanted(metric, "Order 5")]) == metric.worst


@pytest.mark.parametrize("metric", QUALITIES, ids=lambda metric: metric.name)
def test_perfect_output_is_best(metric: Metric) -> None:
    """The row's own best answer scores the good end of the range, to a thousandth of it, beside a
    bad reference too.

    METEOR gives an equal text of n words 1 - 0.5 / n^3.
    """
    source, output, reference = metric.best
    low, high = metric.range
    best = high if metric.direction == "higher" else low
    references = [reference, wanted(metric, "something else")]
    assert score_one(metric, source, output, references) == pytest.approx(
        best, abs=(high - low) / 1000
    )


@EVERY
def test_many_equals_one_by_one(metric: Metric) -> None:
    """A whole set scores as its rows do by themselves, in their order, blank outputs included; no
    row gives no score.

    Where the score of a row depends on the set, only the blank row and the range are compared.
    """
    outputs = ["the refund is late", "", "Ana wants 20 euro back, please", "the refund is late"]
    row = [wanted(metric, "the refund is very late"), wanted(metric, "it came")]
    sources, references = ["the refund of Ana"] * 4, [row] * 4
    found = score_many(metric, sources, outputs, references)
    assert found[1] == metric.worst
    values = [value for value in found if value is not None]
    assert len(values) == 4
    assert all(metric.range[0] <= value <= metric.range[1] for value in values)
    assert score_many(metric, [], [], []) == []
    if not metric.depends_on_set:
        alone = [
            score_one(metric, *texts) for texts in zip(sources, outputs, references, strict=True)
        ]
        assert values == pytest.approx(alone, abs=1e-5)


@EVERY
def test_many_checks_every_row(metric: Metric) -> None:
    """A row without a reference stops a metric that needs one and names the row; unequal lengths
    always stop.
    """
    if metric.needs_reference:
        with pytest.raises(EvidenceError, match=r"row 1: .*needs a reference"):
            score_many(metric, ["s", "s"], ["o", "o"], [["r"], [" "]])
    with pytest.raises(EvidenceError, match="references"):
        score_many(metric, ["s"], ["o"], [])


@EVERY
def test_a_row_without_a_score_never_passes(metric: Metric) -> None:
    """A score of None in one row leaves the metric without a mean, and every rule on it is HOLD
    with the reason.
    """
    unseeing = replace(metric, score=nothing_seen, many=None, asks_model=False)
    assert score_many(unseeing, ["s"], ["o"], [["r"]]) == [None]
    rows = (
        ScoredExample("a", "g", "o", {}, 0.1, 1, 1),
        ScoredExample("b", "h", "o", {}, 0.1, 1, 1),
    )
    part = Unscored(1, "it sees no word")
    evidence = Evidence("r", "g", "m", rows, {}, unscored={metric.name: part})
    for kind in ("at_least", "at_most", "not_worse_than_champion", "better_than_champion"):
        fields = {"threshold": metric.range[0]} if kind.startswith("at_") else {"margin": 0.5}
        rule = {"name": "r", "kind": kind, "metric": metric.name, **fields}
        policy = Policy.model_validate({"rules": [rule], "minimum_examples": 2})
        verdict = decide(evidence, replace(evidence, release="c"), policy, facts={})
        assert verdict.decision is Decision.HOLD
        assert "no score on 1 of 2 rows" in verdict.rules[0].reason


def nothing_seen(source: str, output: str, references: Sequence[str]) -> None:
    """A score of a metric that is blind."""


@EVERY
def test_missing_reference(metric: Metric) -> None:
    """A metric that needs a reference refuses to score without one; the others do not care."""
    if metric.needs_reference:
        with pytest.raises(EvidenceError, match="needs a reference"):
            score_one(metric, "source", "output", [" "])
    else:
        assert math.isfinite(score_one(metric, "source", "output", []) or 0.0)
