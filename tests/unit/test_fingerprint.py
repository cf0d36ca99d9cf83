"""What DVC watches beside the engine's code, and the check before a verdict that an evaluation is
of today.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from judge_server import criterion, model
from sluicegate import releasing
from sluicegate.data.examples import write_examples
from sluicegate.errors import ConfigError, EvidenceError
from sluicegate.evaluation import evaluate
from sluicegate.evaluation.judging import judge_answers
from sluicegate.hashing import digest_file
from sluicegate.judges import load_criterion
from sluicegate.line.gate import base_release
from sluicegate.line.pipeline.current import check_current
from sluicegate.line.pipeline.fingerprint import inputs
from sluicegate.line.run import Run, open_run
from sluicegate.models.scripted import ScriptedModel
from sluicegate.project import Project
from sluicegate.records import Evidence, Example, Generation, GenerationSettings, Lineage
from sluicegate.scaffold import init
from sluicegate.yaml_file import read_yaml

METRIC = "def polite(source, output, references):\n    return float('please' in output)\n"
GOLDEN = [Example(f"e{n}", f"g{n}", {"conversation": f"Order {n}"}, ("late",), "t") for n in (1, 2)]
MADE = "c" * 64


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project with a metric and a reader of its own, its base model in a folder, in a module path
    of its own.
    """
    root = tmp_path / "project"
    init(root)
    monkeypatch.syspath_prepend(str(root))
    monkeypatch.setenv("SLUICE_CACHE", str(tmp_path / "cache"))
    for name in ("team_metrics", "team_rows"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    (root / "team_metrics.py").write_text(METRIC)
    (root / "team_rows.py").write_text("def read(name, spec, root): ...\n")
    (root / "base").mkdir()
    (root / "base" / "config.json").write_text("{}")
    (root / "base" / "model.safetensors").write_text("weights")
    write_examples(root / "data" / "golden" / "golden.jsonl", GOLDEN)
    edit(root / "params.yaml", "metrics: [chrf,", 'metrics: ["team_metrics:polite", chrf,')
    edit(root / "params.yaml", "model: smollm2-135m-instruct", "model: base")
    edit(root / "registry" / "sources.yaml", "kind: jsonl\n    path: "
        "data/sample/support_train.jsonl",
         "kind: team_rows:read\n    path: data/sample/support_train.jsonl")  # fmt: skip
    return Project(root)


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), "utf-8")


@pytest.mark.parametrize(
    ("file", "key"),
    [
        ("team_metrics.py", "metrics"),
        ("team_rows.py", "sources"),
        ("base/model.safetensors", "base"),
        ("notes.py", ""),
    ],
)
def test_a_teams_own_files_are_watched(project: Project, file: str, key: str) -> None:
    """An edited metric, reader or base model changes what its stage watches and nothing else; other
    code changes nothing.
    """
    before = inputs(open_run(project))
    assert inputs(open_run(project)) == before
    path = project.root / file
    path.write_text((path.read_text() if path.is_file() else "") + "# edited\n")
    after = inputs(open_run(project))
    assert [name for name in before if before[name] != after[name]] == ([key] if key else [])
    if key == "sources":
        changed = [
            name for name in before["sources"] if before["sources"][name] != after["sources"][name]
        ]
        assert changed == ["support_train"]


def test_a_missing_reader_is_named(project: Project) -> None:
    """A reader that cannot be found is a configuration error before anything runs."""
    (project.root / "team_rows.py").unlink()
    with pytest.raises(ConfigError, match="team_rows:read"):
        inputs(open_run(project))


def test_all_that_is_written_is_watched(project: Project) -> None:
    """Each digest in build/inputs.json is named by a stage of dvc.yaml: what is not, changes
    nothing.
    """
    watched = set()
    for stage in read_yaml(project.root / "dvc.yaml")["stages"].values():
        for entry in stage.get("params", ()):
            watched |= set(entry.get("build/inputs.json", ())) if isinstance(entry, dict) else set()
    assert watched == set(inputs(open_run(project)))


def test_the_fingerprint_loads_no_model_library() -> None:
    """It runs on every release, also where nothing changed: torch and its kind would be most of
    that time.
    """
    heavy = "{'torch', 'transformers', 'scipy', 'mlflow'}"
    code = f"import sys, sluicegate.line.pipeline.fingerprint; print({heavy} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def said(text: str) -> list[Generation]:
    """An answer to each golden example."""
    return [Generation(f"{text} {example.id}", 10, 4, 0.5, True) for example in GOLDEN]


def evaluated(project: Project, text: str, **more: Any) -> Evidence:
    """Evidence by the computed metrics of params.yaml."""
    metrics = [
        name for name in open_run(project).params.evaluate.metrics if not name.startswith("judge:")
    ]
    return evaluate(MADE, GOLDEN, digest_file(project.golden), said(text), metrics, **more)


def test_an_evaluation_by_other_metrics_is_refused(project: Project) -> None:
    """An edited metric, another list of metrics and another release each make an evaluation
    useless, with a way out.
    """
    made, context = evaluated(project, "please"), open_run(project)
    check_current(context, MADE, made, made)
    with pytest.raises(
        EvidenceError, match=r"is of release cccccccccccc, but dddddddddddd is registered"
    ):
        check_current(context, "d" * 64, made, made)
    (project.root / "team_metrics.py").write_text(METRIC.replace("please", "thanks"))
    with pytest.raises(EvidenceError, match="current metrics") as caught:
        check_current(context, MADE, made, made)
    assert "dvc.yaml" in caught.value.hint
    (project.root / "team_metrics.py").write_text(METRIC)
    edit(project.params, '"team_metrics:polite", ', "")
    with pytest.raises(EvidenceError, match="current metrics"):
        check_current(open_run(project), MADE, made, made)


@pytest.mark.parametrize("form", ["direct", "pairwise"])
def test_an_evaluation_with_a_judge_is_of_today(project: Project, form: str) -> None:
    """Judged evidence passes as it was made; without its judge, or a pairwise one beside another
    champion, it does not.
    """
    (project.prompts / "judge_clear.yaml").write_text(criterion("clear", form=form))
    (project.registry / "models.yaml").write_text(model("http://127.0.0.1:9/v1"))
    edit(project.params, '"team_metrics:polite", ', '"judge:clear", ')
    one = load_criterion(project.prompts / "judge_clear.yaml")
    judged_as = '"better": "equal"' if form == "pairwise" else '"score": 3'
    judge = ScriptedModel(lambda question: f'{{"reason": "It is.", {judged_as}}}')
    judged = judge_answers(one, [judge], GOLDEN, said("mine"), said("theirs"))
    assert judged.use.failed == 0
    made, champion = evaluated(project, "mine", judgements=[judged]), evaluated(project, "theirs")
    context = open_run(project)
    check_current(context, MADE, made, champion)
    with pytest.raises(EvidenceError, match="current metrics"):
        check_current(context, MADE, replace(made, judges={}), champion)
    if form == "pairwise":
        with pytest.raises(EvidenceError, match="current metrics"):
            check_current(context, MADE, made, evaluated(project, "others"))


def test_the_merge_base_is_made_again_of_other_data(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The merge base's release is read from the store until data that no commit holds changes,
    appears or goes.
    """
    rows = project.root.parent / "rows.jsonl"
    rows.write_text("one\n")
    edit(
        project.root / "registry" / "sources.yaml",
        "data/sample/support_train.jsonl",
        "../rows.jsonl",
    )
    made: list[str] = []

    def checked_out(root: Path, sha: str, folder: Path) -> Path:
        for name in (
            "params.yaml",
            "registry/sources.yaml",
            "registry/models.yaml",
            "prompts/summarize.yaml",
        ):
            (folder / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / "tree" / name).write_text((root / name).read_text())
        return folder / "tree"

    def make(here: Run, run: Run, sha: str, **_: object) -> str:
        made.append((run.project.root.parent / "rows.jsonl").read_text())
        return releasing.store_release(
            here.project,
            base_digest="b" * 64,
            base_name="tiny",
            adapter=None,
            prompt=run.prompt,
            generation=GenerationSettings(max_new_tokens=len(made)),
            lineage=Lineage("1" * 64, "2" * 64, {}, "4" * 64, sha, False),
        ).digest

    monkeypatch.setattr(base_release, "open_worktree", checked_out)
    monkeypatch.setattr(base_release, "_make", make)
    first = base_release.base_release(open_run(project), "5" * 40)
    assert base_release.base_release(open_run(project), "5" * 40) == first
    assert made == ["one\n"]
    rows.write_text("two\n")
    assert base_release.base_release(open_run(project), "5" * 40) != first
    (project.root / "base" / "model.safetensors").write_text("other weights")
    base_release.base_release(open_run(project), "5" * 40)
    feedback = project.root / "data" / "raw" / "feedback.jsonl"
    feedback.parent.mkdir()
    feedback.write_text("{}\n")
    base_release.base_release(open_run(project), "5" * 40)
    base_release.base_release(open_run(project), "5" * 40)
    assert made == ["one\n", "two\n", "two\n", "two\n"]
