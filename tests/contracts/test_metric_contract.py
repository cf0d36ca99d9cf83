"""What every row of METRICS promises."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluicegate.errors import EvidenceError
from sluicegate.metrics import METRICS, Metric, score_many, score_one

QUALITIES = [metric for metric in METRICS.values() if not metric.describes]
EVERY = pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS.keys())
TEXT = st.text(st.sampled_from("ab C9.,'\n\té😀\u0130"), max_size=40)


@EVERY
def test_row_name(metric: Metric) -> None:
    """The key of a row is the metric's own name."""
    assert METRICS[metric.name] is metric


@EVERY
@settings(max_examples=60, deadline=None)
@given(source=TEXT, output=TEXT, reference=TEXT)
def test_finite_and_in_range(metric: Metric, source: str, output: str, reference: str) -> None:
    """Any texts at all give a finite score in range, and the bare function agrees with the checked one."""
    value = score_one(metric, source, output, [f"x {reference}"])
    assert math.isfinite(value)
    assert metric.range[0] <= value <= metric.range[1]
    assert float(metric.score(source, output, [f"x {reference}"])) == pytest.approx(value, abs=1e-9)


@EVERY
@pytest.mark.parametrize("output", ["", " \n\t"])
def test_blank_output_is_worst(metric: Metric, output: str) -> None:
    """A blank output scores the worst end of the range, never NaN and never a pass."""
    assert score_one(metric, "Order 5", output, ["Order 5"]) == metric.worst


@pytest.mark.parametrize("metric", QUALITIES, ids=lambda metric: metric.name)
def test_perfect_output_is_best(metric: Metric) -> None:
    """An output equal to the reference and true to the source scores the best end of the range, to a thousandth of it.

    METEOR gives an equal text of n words 1 - 0.5 / n^3.
    """
    text = "The refund of 20 euro reached Ana on Monday."
    low, high = metric.range
    best = high if metric.direction == "higher" else low
    assert score_one(metric, text, text, ["something else", text]) == pytest.approx(
        best, abs=(high - low) / 1000
    )


@EVERY
def test_many_equals_one_by_one(metric: Metric) -> None:
    """A whole set scores as its rows do by themselves, in their order, blank outputs included; no row gives no score.

    MoverScore weighs words by how rare they are in the set, so there only the blank row and the range are compared.
    """
    outputs = ["the refund is late", "", "Ana wants 20 euro back, please", "the refund is late"]
    sources, references = ["the refund of Ana"] * 4, [["the refund is very late", "it came"]] * 4
    found = score_many(metric, sources, outputs, references)
    assert found[1] == metric.worst
    assert all(metric.range[0] <= value <= metric.range[1] for value in found)
    assert score_many(metric, [], [], []) == []
    if not metric.name.startswith("moverscore"):
        alone = [
            score_one(metric, *texts) for texts in zip(sources, outputs, references, strict=True)
        ]
        assert found == pytest.approx(alone, abs=1e-5)


@EVERY
def test_many_checks_every_row(metric: Metric) -> None:
    """A row without a reference stops a metric that needs one and names the row; unequal lengths always stop."""
    if metric.needs_reference:
        with pytest.raises(EvidenceError, match=r"row 1: .*needs a reference"):
            score_many(metric, ["s", "s"], ["o", "o"], [["r"], [" "]])
    with pytest.raises(EvidenceError, match="references"):
        score_many(metric, ["s"], ["o"], [])


@EVERY
def test_missing_reference(metric: Metric) -> None:
    """A metric that needs a reference refuses to score without one; the others do not care."""
    if metric.needs_reference:
        with pytest.raises(EvidenceError, match="needs a reference"):
            score_one(metric, "source", "output", [" "])
    else:
        assert math.isfinite(score_one(metric, "source", "output", []))
