"""What every row of WITH_MODEL promises: metrics that are named with the folder of a model."""

from __future__ import annotations

from pathlib import Path

import pytest

from sluicegate.errors import SluiceError
from sluicegate.metrics import find_metric, score_one
from sluicegate.metrics.with_model import OF_FIELD, WITH_MODEL

FILES = {"json_schema": None}
"""Named with a file that is no model's."""


@pytest.mark.parametrize("name", WITH_MODEL)
def test_a_metric_keeps_the_name_it_was_asked_for(name: str) -> None:
    """Whatever stands behind the colon (a folder, a field, a file) is part of the name."""
    assert find_metric(f"{name}:label").name == f"{name}:label"


@pytest.mark.parametrize("name", [name for name in WITH_MODEL if name not in OF_FIELD | FILES])
def test_a_metric_of_a_folder(name: str, tmp_path: Path) -> None:
    """Named with a folder it is a metric like the others: direction, range, docstring; what opens
    nothing until it scores, then says which folder holds no model."""
    metric = find_metric(f"{name}:{tmp_path}")
    assert metric.name == f"{name}:{tmp_path}"
    assert metric.direction in ("higher", "lower")
    assert metric.range[0] < metric.range[1]
    with pytest.raises(SluiceError, match=tmp_path.name):
        score_one(metric, "source", "an output of some words", ["a reference of some words"])
