"""What every row of METRICS promises."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluicegate.errors import EvidenceError
from sluicegate.metrics import METRICS, Metric, score_one

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


@EVERY
def test_perfect_output_is_best(metric: Metric) -> None:
    """An output equal to the reference and true to the source scores the best end of the range."""
    text = "The refund of 20 euro reached Ana on Monday."
    best = metric.range[1] if metric.direction == "higher" else metric.range[0]
    assert score_one(metric, text, text, ["something else", text]) == pytest.approx(best)


@EVERY
def test_missing_reference(metric: Metric) -> None:
    """A metric that needs a reference refuses to score without one; the others do not care."""
    if metric.needs_reference:
        with pytest.raises(EvidenceError, match="needs a reference"):
            score_one(metric, "source", "output", [" "])
    else:
        assert math.isfinite(score_one(metric, "source", "output", []))
