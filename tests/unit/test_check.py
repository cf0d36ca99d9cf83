"""A project's files are checked whole before anything runs, and every problem is told at once."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from sluicegate.cli import sluice
from sluicegate.errors import ConfigError
from sluicegate.line.check import check_configuration, refuse_problems
from sluicegate.line.run import open_run
from sluicegate.metrics import find_metric
from sluicegate.project import Project
from sluicegate.scaffold import init

sys.path.insert(0, str(Path(__file__).parents[1]))

from tiny_model import build_tiny_model

PARAMS, GATES = "params.yaml", "registry/gates.yaml"
SOURCES, MODELS = "registry/sources.yaml", "registry/models.yaml"
GOLDEN = "data/sample/support_golden.jsonl"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("check") / "made"
    init(folder)
    return folder


@pytest.fixture
def project(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A copy of a project as `sluice init` makes it, whose root leaves sys.path afterwards."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    shutil.copytree(made, tmp_path / "project", ignore=shutil.ignore_patterns(".git"))
    return Project(tmp_path / "project")


def edit(project: Project, name: str, old: str, new: str) -> None:
    path = project.root / name
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), "utf-8")


def add_models(project: Project, text: str) -> None:
    edit(project, MODELS, "models:\n", f"models:\n{text}")


def add_rule(project: Project, rule: str) -> None:
    edit(project, GATES, "rules:\n", f"rules:\n  - {{{rule}}}\n")


def test_a_new_project_has_no_problem(project: Project) -> None:
    """What `sluice init` makes is right."""
    assert check_configuration(project) == []


ONE = {
    "unknown metric": (
        (PARAMS, "metrics: [chrf,", "metrics: [chrf, rogueL,"),
        "params.yaml: evaluate.metrics: metric 'rogueL' is unknown (did you mean rougeL",
    ),
    "unknown field": ((PARAMS, "  rank: 16", "  rnk: 16"), "tune.rnk: unknown field (did you mean"),
    "unknown baseline": (
        (PARAMS, "baselines: [lead2]", "baselines: [lead3]"),
        "params.yaml: evaluate.baselines: 'lead3' is unknown",
    ),
    "detector": ((PARAMS, "detector: ks", "detector: kss"), "monitor.detector: 'kss' is unknown"),
    "prompt": (
        (PARAMS, "prompt: summarize", "prompt: sumarize"),
        "params.yaml: release.prompt: there is no prompts/sumarize.yaml (did you mean summarize",
    ),
    "base": (
        (PARAMS, "model: smollm2-135m-instruct", "model: smolm2-135m-instruct"),
        "release.model: registry/models.yaml has no 'smolm2-135m-instruct' (did you mean",
    ),
    "layers": (
        (PARAMS, "layers: upper_half", "layers: [0, 1000]"),
        "params.yaml: tune.layers: 1000",
    ),
    "metric that a rule names and nobody evaluates": (
        (PARAMS, "metrics: [chrf, ", "metrics: ["),
        "metric: chrf is not evaluated; add it to evaluate.metrics",
    ),
    "minimum that no golden set reaches": (
        (GATES, "minimum_examples: 50", "minimum_examples: 5000"),
        "registry/gates.yaml: minimum_examples: 5000, but the sources have at most",
    ),
    "approvals that nobody can give": (
        (
            GATES,
            "alpha: 0.05",
            "approvals: {required: 1, role: boss, people: {a: [b]}}\nalpha: 0.05",
        ),
        "1 with the role 'boss' required, but 0 of people have it",
    ),
    "kind of rule": ((GATES, "kind: requires", "kind: require"), "did you mean requires"),
    "fact": (
        (GATES, "fact: contamination_checked", "fact: contamination_cheked"),
        "did you mean contamination_checked",
    ),
    "source that is not there": (
        (SOURCES, GOLDEN, "data/sample/gone.jsonl"),
        "source support_golden: data/sample/gone.jsonl is missing.",
    ),
    "variable": (
        (SOURCES, "inputs: {conversation: turns}", "inputs: {conversatoin: turns}"),
        "nothing fills 'conversation' of prompts/summarize.yaml (did you mean conversatoin?)",
    ),
    "reader": ((SOURCES, "kind: jsonl", "kind: jsnl"), "'jsnl' is unknown (did you mean jsonl?)"),
    "name that a colon and a space break": (
        (PARAMS, "metrics: [chrf, ", "metrics: [own: score, chrf, "),
        "write and quote it: 'own:score'",
    ),
    "own metric": (
        (PARAMS, "metrics: [chrf,", "metrics: ['gone:score', chrf,"),
        "params.yaml: evaluate.metrics: metric 'gone:score' cannot be imported",
    ),
    "judge": (
        (PARAMS, "metrics: [chrf,", "metrics: ['judge:nobody', chrf,"),
        "evaluate.metrics: judge:nobody: there is no prompts/judge_nobody.yaml",
    ),
}


@pytest.mark.parametrize("name", ONE)
def test_one_slip_is_told_with_file_and_field(name: str, project: Project) -> None:
    """Each kind of slip is a problem that names file and field, and what may have been meant."""
    change, told = ONE[name]
    edit(project, *change)
    problems = check_configuration(project)
    assert any(told in problem for problem in problems), problems
    assert all("\n" not in problem for problem in problems)


def test_target_modules_that_the_base_lacks(project: Project, tmp_path: Path) -> None:
    """Modules are held against the names in the base's own files."""
    build_tiny_model(tmp_path / "tiny")
    edit(project, PARAMS, "model: smollm2-135m-instruct", f"model: {tmp_path / 'tiny'}")
    assert check_configuration(project) == []
    edit(project, PARAMS, "target_modules: [q_proj,", "target_modules: [q_prj,")
    edit(project, PARAMS, "layers: upper_half", "layers: [2]")
    problems = check_configuration(project)
    assert any("has no q_prj (did you mean" in problem for problem in problems)
    assert any("tune.layers: 2" in problem for problem in problems)


@pytest.mark.parametrize(
    ("rules", "told"),
    [
        (
            [
                "name: a, kind: at_least, metric: rouge1, threshold: 0.6",
                "name: b, kind: at_most, metric: rouge1, threshold: 0.4",
            ],
            "rules 'a' and 'b' contradict each other",
        ),
        (["name: a, kind: at_least, metric: rouge1, threshold: 1.5"], "can never be met"),
        (
            ["name: a, kind: not_worse_than_champion, metric: latency_p95, margin: 1"],
            "one number for all answers",
        ),
        (["name: a, kind: at_most, metric: cost_per_1000, threshold: 1"], "needs release.price"),
        (
            ["name: a, kind: at_least, metric: rouge1, threshold: 0.1, slice: industri"],
            "(did you mean industry?)",
        ),
    ],
)
def test_a_policy_that_can_never_pass_is_told(
    project: Project, rules: list[str], told: str
) -> None:
    """What no release could meet is a problem of the policy, not a verdict."""
    for rule in rules:
        add_rule(project, rule)
    problems = check_configuration(project)
    assert any(told in problem for problem in problems), problems


def test_every_bad_line_of_every_source_is_told(project: Project) -> None:
    """Three bad lines in two files are three problems."""
    for name, lines in ((GOLDEN, "{bad\n[1]\n"), (GOLDEN.replace("golden", "train"), "{bad\n")):
        with (project.root / name).open("a", encoding="utf-8") as stream:
            stream.write(lines)
    problems = check_configuration(project)
    assert len([problem for problem in problems if ", line " in problem]) == 3


def test_a_key_that_is_not_set_is_told_by_its_name(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only keys of models that are used: here a judge's."""
    monkeypatch.delenv("KEY_OF_THE_JUDGE", raising=False)
    spec = "{endpoint: {url: 'https://host.example/v1', model: m, key_env: KEY_OF_THE_JUDGE}}"
    add_models(project, f"  far: {spec}\n")
    assert check_configuration(project) == []
    (project.prompts / "judge_own.yaml").write_text(
        "name: own\nform: direct\ncriterion: Is it good?\nscale: [1, 5]\njudges: [far, fra]\n"
    )
    edit(project, PARAMS, "metrics: [chrf,", "metrics: ['judge:own', chrf,")
    problems = check_configuration(project)
    assert any("KEY_OF_THE_JUDGE is not set" in problem for problem in problems), problems
    assert any("has no 'fra' (did you mean far?)" in problem for problem in problems), problems


def test_own_code_beside_params_is_found_without_pythonpath(project: Project) -> None:
    """A metric in a file beside params.yaml is imported by every command that opens a project."""
    (project.root / "beside_params.py").write_text(
        "def score(source, output, references):\n    return 1.0\n"
    )
    edit(project, PARAMS, "metrics: [chrf,", "metrics: ['beside_params:score', chrf,")
    assert not any("beside_params" in problem for problem in check_configuration(project))
    open_run(project)
    assert find_metric("beside_params:score").name == "beside_params:score"
    assert sys.path[-1] == str(project.root), "behind what is installed"


@pytest.mark.parametrize(
    "text", ["def score(:\n", "oops\n", "import gone_for_good\n", "x = {}['a']\n"]
)
def test_own_code_that_fails_is_told(project: Project, text: str) -> None:
    """Whatever a module of the project's does when it is imported is told as the metric's problem."""
    name = f"broken_{abs(hash(text))}"
    (project.root / f"{name}.py").write_text(text)
    edit(project, PARAMS, "metrics: [chrf,", f"metrics: ['{name}:score', chrf,")
    problems = check_configuration(project)
    assert any(f"'{name}:score' cannot be imported" in problem for problem in problems), problems


def test_all_problems_are_told_at_once_and_nothing_is_run(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`check` prints each on a line and returns 2; release, gate and retrain stop with the same."""
    edit(project, PARAMS, "  rank: 16", "  rnk: 16")
    edit(project, GATES, "alpha: 0.05", "alfa: 0.05")
    edit(project, SOURCES, "kind: jsonl", "kind: jsnl")
    with pytest.raises(ConfigError) as caught:
        refuse_problems(project)
    monkeypatch.chdir(project.root)
    done = CliRunner().invoke(sluice, ["check", "--json"], standalone_mode=False)
    problems = json.loads(done.output)
    assert done.return_value == 2
    assert len(problems) == 3
    assert all(problem in str(caught.value) for problem in problems)
    for command in (["release"], ["release", "--no-server"], ["gate"], ["retrain"]):
        stopped = CliRunner().invoke(sluice, command)
        assert isinstance(stopped.exception, ConfigError)
        assert stopped.exception.exit_code == 2
        assert "3 problems" in str(stopped.exception)
    assert not os.path.exists(project.state / "ledger.db")


def test_weights_cannot_be_held_to_a_format(project: Project) -> None:
    """A response_format is for hosted models; that is told before anything runs."""
    with (project.prompts / "summarize.yaml").open("a", encoding="utf-8") as prompt:
        prompt.write("\nresponse_format: {type: json_object}\n")
    assert any("response_format" in problem for problem in check_configuration(project))
