"""What every row of STAGES promises."""

from __future__ import annotations

import inspect
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from sluicegate.config import Params, read_yaml
from sluicegate.errors import SluiceError, UsageError
from sluicegate.line.pipeline import STAGES, run_stage
from sluicegate.line.pipeline.fingerprint import stage_hash

ROOT = Path(__file__).parents[2]
PIPELINE: dict[str, Any] = read_yaml(ROOT / "dvc.yaml")["stages"]  # type: ignore[index]
FIRST = next(iter(STAGES))
every = pytest.mark.parametrize("name", STAGES)
watched = pytest.mark.parametrize("name", [name for name in STAGES if name != FIRST])


@every
def test_a_stage_is_a_module_that_runs(name: str) -> None:
    """It has a documented `run` that takes one thing, and is identified by all code that it uses."""
    module = import_module(f"sluicegate.line.pipeline.{name}")
    assert len(inspect.signature(module.run).parameters) == 1
    assert module.run.__doc__
    assert len(stage_hash(module.__name__)) == 64


def test_dvc_runs_them_in_this_order() -> None:
    """The pipeline of the template has exactly these stages, first to last."""
    assert list(PIPELINE) == list(STAGES)


@every
def test_dvc_calls_the_stage(name: str) -> None:
    """DVC runs `sluice stage NAME` and knows what comes out of it."""
    assert PIPELINE[name]["cmd"].split()[-2:] == ["stage", name]
    assert PIPELINE[name]["outs"]


@watched
def test_a_stage_runs_again_for_its_code_and_its_section(name: str) -> None:
    """DVC watches the stage's code and its section of params.yaml, which has the stage's name."""
    given = PIPELINE[name]["params"]
    assert {"build/code.json": [name]} in given
    assert name in given
    assert name in Params.model_fields


@every
def test_outside_a_project_a_stage_is_an_error(name: str, tmp_path: Path) -> None:
    """Without params.yaml nothing runs, and the error has a hint."""
    with pytest.raises(SluiceError) as caught:
        run_stage(name, tmp_path)
    assert caught.value.hint
    assert not list(tmp_path.iterdir())


def test_an_unknown_stage_is_named() -> None:
    """The error lists the stages."""
    with pytest.raises(UsageError) as caught:
        run_stage("magic")
    assert all(name in caught.value.hint for name in STAGES)
