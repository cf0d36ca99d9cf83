"""What every row of CODE promises."""

from __future__ import annotations

import pytest

from sluicegate.metrics import find_metric
from sluicegate.metrics.pass_at_k_metric import CODE


@pytest.mark.parametrize("name", CODE)
def test_a_code_metric_is_a_share_of_programs(name: str) -> None:
    """It is found by its name, lies in [0, 1], and its configuration has an identity."""
    metric = find_metric(name)
    assert metric is CODE[name]
    assert (metric.name, metric.range, metric.direction) == (name, (0.0, 1.0), "higher")
    assert metric.identity() if callable(metric.identity) else metric.identity
