"""This project's own files: every one loads, and fits the others."""

from __future__ import annotations

from pathlib import Path

import pytest

from sluicegate.config import ModelsFile, Params, SourcesFile
from sluicegate.data import read_source
from sluicegate.gates import load_policy
from sluicegate.metrics import METRICS
from sluicegate.prompts import list_prompts, load_prompt, render
from sluicegate.yaml_file import load

ROOT = Path(__file__).parents[2]
PARAMS = load(ROOT / "params.yaml", Params)
SOURCES = load(ROOT / "registry" / "sources.yaml", SourcesFile).sources


def test_policy_loads() -> None:
    """The release policy is valid, and its rules ask for metrics that are computed."""
    policy = load_policy(ROOT / "registry" / "gates.yaml")
    operations = {
        "latency_p50",
        "latency_p95",
        "tokens_per_second",
        "output_tokens_mean",
        "words_mean",
        "cut_share",
        "empty_share",
    }
    asked = {rule.metric for rule in policy.rules if rule.metric} - operations
    assert asked <= set(PARAMS.evaluate.metrics)


def test_prompts_load() -> None:
    """Every prompt file is valid, and the release's is among them."""
    assert PARAMS.release.prompt in {prompt.name for prompt in list_prompts(ROOT / "prompts")}


def test_metrics_are_known() -> None:
    """Every metric in params.yaml is built in or named module:function."""
    assert all(name in METRICS or ":" in name for name in PARAMS.evaluate.metrics)


def test_models_load() -> None:
    """registry/models.yaml is valid."""
    assert load(ROOT / "registry" / "models.yaml", ModelsFile).models


@pytest.mark.parametrize("name", SOURCES)
def test_prompt_fits_the_data(name: str) -> None:
    """Every row of every source fills the release's prompt; where code answers, that does it."""
    prompt = load_prompt(ROOT / "prompts" / f"{PARAMS.release.prompt}.yaml")
    rows = read_source(name, SOURCES[name], ROOT).rows
    assert rows or SOURCES[name].optional
    if PARAMS.release.is_code:
        return
    for row in rows:
        assert row.inputs[prompt.variables[0]] in render(prompt, row.inputs)[-1]["content"]
