"""What every row of STAGES promises."""

from __future__ import annotations

import inspect
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from sluicegate.config import Params
from sluicegate.errors import UsageError
from sluicegate.line.pipeline import STAGES, run_stage
from sluicegate.line.pipeline.fingerprint import stage_hash
from sluicegate.line.run import Run, open_run
from sluicegate.yaml_file import read_yaml

ROOT = Path(__file__).parents[2]
PIPELINE: dict[str, Any] = read_yaml(ROOT / "dvc.yaml")["stages"]  # type: ignore[index]
every = pytest.mark.parametrize("name", STAGES)
watched = pytest.mark.parametrize("name", [name for name, row in STAGES.items() if row.watched])


@every
def test_a_stage_is_a_module_that_runs(name: str) -> None:
    """It has a documented `stage` that takes a run, and is identified by all code that it uses."""
    module = import_module(STAGES[name].module)
    assert list(inspect.signature(module.stage).parameters) == ["run"]
    assert module.stage.__doc__
    assert len(stage_hash(module.__name__)) == 64


def test_what_a_release_is_made_of_comes_first() -> None:
    """The stages that make a release need none of the others, so that a base's release is cheap."""
    made = [row.makes for row in STAGES.values() if row.watched]
    assert any(made)
    assert made == sorted(made, reverse=True)


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
    """DVC watches its code and, where it has parameters, the section of params.yaml of its name."""
    given = PIPELINE[name]["params"]
    assert {"build/code.json": [name]} in given
    assert (name in given) == (name in Params.model_fields)


def test_an_unknown_stage_is_named() -> None:
    """The error lists the stages."""
    run: Run = open_run(ROOT)
    with pytest.raises(UsageError) as caught:
        run_stage(run, "magic")
    assert all(name in caught.value.hint for name in STAGES)
