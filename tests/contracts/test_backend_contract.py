"""What every row of BACKENDS and of CODE promises."""

from __future__ import annotations

import inspect
from importlib import import_module

import pytest

from sluicegate.metrics import find_metric
from sluicegate.metrics.pass_at_k_metric import CODE
from sluicegate.models import BACKENDS, open_backend

OPENED = inspect.signature(open_backend).parameters


@pytest.mark.parametrize("name", BACKENDS)
def test_a_backend_opens_with_the_same_arguments(name: str) -> None:
    """The function that a row names takes what `open_backend` passes on, and is documented."""
    module, _, attribute = BACKENDS[name].partition(":")
    opener = getattr(import_module(module), attribute)
    given = inspect.signature(opener).parameters
    assert len(given) == len(OPENED) - 1
    assert {"dtype", "batch_tokens"} <= given.keys()
    assert opener.__doc__


@pytest.mark.parametrize("name", CODE)
def test_a_code_metric_is_a_share_of_programs(name: str) -> None:
    """It is found by its name, lies in [0, 1], and its configuration has an identity."""
    metric = find_metric(name)
    assert metric is CODE[name]
    assert (metric.name, metric.range, metric.direction) == (name, (0.0, 1.0), "higher")
    assert metric.identity() if callable(metric.identity) else metric.identity
