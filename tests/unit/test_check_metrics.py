"""`sluice check` on metrics of sets, classes, critical rows and repeats."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sluicegate.line.check import check_configuration
from sluicegate.line.check_notes import notes
from sluicegate.project import Project
from sluicegate.scaffold import HOSTED, Endpoint, init
from sluicegate.yaml_file import read_yaml


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A hosted project that is sound."""
    init(tmp_path / "p", HOSTED, Endpoint("http://127.0.0.1:9/v1", "fake-2026-01-01"))
    return Project(tmp_path / "p")


def edit(project: Project, file: str, **sections: Any) -> None:
    path = project.root / file
    path.write_text(json.dumps({**read_yaml(path), **sections}), "utf-8")


def told(project: Project, rule: dict[str, Any], **evaluate: Any) -> list[str]:
    """The problems with one rule, beside a sound one."""
    known = read_yaml(project.root / "params.yaml")["evaluate"]
    edit(project, "params.yaml", evaluate={**known, **evaluate})
    sound = {"name": "length", "kind": "at_most", "metric": "words_mean", "threshold": 90}
    edit(project, "registry/gates.yaml", rules=[sound, {"name": "mine", **rule}])
    return check_configuration(project)


def test_a_metric_of_the_whole_set_decides_nothing(project: Project) -> None:
    """The reason says what to ask for instead."""
    rule = {"kind": "at_least", "metric": "macro_f1", "threshold": 0.8}
    (problem,) = told(project, rule, metrics=["accuracy", "macro_f1"])
    assert "macro_f1 is one number for the whole set" in problem
    assert "slice: label" in problem


@pytest.mark.parametrize(("metrics", "problems"), [(["accuracy"], 0), (["exact_match"], 1)])
def test_classes_are_a_slice_where_they_are_told_apart(
    project: Project, metrics: list[str], problems: int
) -> None:
    """`label` need not be listed under fields.slices where accuracy is evaluated."""
    rule = {"kind": "at_least", "metric": metrics[0], "threshold": 0.5, "slice": "label"}
    assert len(told(project, rule, metrics=metrics)) == problems


def test_critical_rows_are_marked_and_repeated(project: Project) -> None:
    """A rule on critical rows needs a source that marks them, and repeats enough."""
    rule = {"kind": "every_case", "metric": "accuracy", "threshold": 1, "at_least": 2}
    problems = told(project, rule, metrics=["accuracy"])
    assert any("fields.critical" in one for one in problems)
    assert any("at_least: 2 of evaluate.repeats: 1 can never be right" in one for one in problems)
    problems = told(project, rule, metrics=["accuracy"], repeats=3)
    assert not any("repeats" in one for one in problems)


def test_repeats_are_recommended_where_answers_are_drawn(project: Project) -> None:
    """With a temperature and one answer a row; not where it is greedy, nor with repeats."""
    assert not any("repeats" in one for one in notes(project))
    release = read_yaml(project.root / "params.yaml")["release"]
    edit(project, "params.yaml", release={**release, "generation": {"temperature": 0.7}})
    assert any("evaluate.repeats: 3" in one for one in notes(project))
    known = read_yaml(project.root / "params.yaml")["evaluate"]
    edit(project, "params.yaml", evaluate={**known, "repeats": 3})
    assert not any("repeats" in one for one in notes(project))
