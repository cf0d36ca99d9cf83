"""lm-eval tasks before and after tuning: lm-eval's numbers, example by example, and a sound
comparison.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

pytest.importorskip("lm_eval", reason="needs the extra benchmarks")
sys.path.insert(0, str(Path(__file__).parents[1]))
from sluicegate.adapters import BASE_PREFIX
from sluicegate.cli import sluice
from sluicegate.config import ModelSpec
from sluicegate.errors import ConfigError, EvidenceError
from sluicegate.evaluation import read_evidence
from sluicegate.evaluation.benchmark_runs import BenchmarkRun, compare_runs
from sluicegate.evaluation.public_benchmarks import run_tasks
from sluicegate.hashing import write_json
from sluicegate.models import LoadedBase, resolve_base
from tiny_model import build_tiny_model

CHOICE = """
task: pick
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "Request: {{{{question}}}}\\nAnswer:"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: answer
metric_list:
  - {{metric: acc, aggregation: mean, higher_is_better: true}}
  - {{metric: acc_norm, aggregation: mean, higher_is_better: true}}
"""
WRITE = """
task: write
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
output_type: generate_until
doc_to_text: "{{{{question}}}}"
doc_to_target: "{{{{wanted}}}}"
generation_kwargs: {{until: ["\\n"], max_gen_toks: 3, do_sample: false}}
metric_list:
  - {{metric: exact_match, aggregation: mean, higher_is_better: true}}
"""
READ = """
task: read
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{{{question}}}}"
metric_list:
  - {{metric: word_perplexity, aggregation: weighted_perplexity, higher_is_better: false}}
  - {{metric: bits_per_byte, aggregation: bits_per_byte, higher_is_better: false}}
"""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> LoadedBase:
    """A tiny model."""
    return LoadedBase(
        "tiny", build_tiny_model(tmp_path_factory.mktemp("model") / "tiny"), "b" * 64, 256
    )


@pytest.fixture(scope="module")
def adapter(base: LoadedBase, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter that leaves nothing of what the model does."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(1)
    modules = ["q_proj", "v_proj", "o_proj"]
    config = LoraConfig(
        r=8, lora_alpha=64, target_modules=modules, init_lora_weights=False, task_type="CAUSAL_LM"
    )
    folder = tmp_path_factory.mktemp("adapter")
    get_peft_model(AutoModelForCausalLM.from_pretrained(base.path), config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def tasks(base: LoadedBase, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with three tasks, whose right answers are those that the bare model gives."""
    folder = tmp_path_factory.mktemp("tasks")
    data = folder / "rows.jsonl"
    rows: list[dict[str, Any]] = [
        {
            "question": f"order {n}?",
            "choices": [f"{n}", f"{99 - n}", f"{n + 40}"],
            "answer": 0,
            "wanted": "?",
        }
        for n in range(10, 34)
    ]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for name, text in (("pick", CHOICE), ("write", WRITE), ("read", READ)):
        (folder / f"{name}.yaml").write_text(text.format(data=data))
    (folder / "notes.yaml").write_text("about: no task")
    first = run_tasks(
        base,
        None,
        [str(folder / "pick.yaml"), str(folder / "write.yaml")],
        digest="x",
        dtype="float32",
    )
    picked = {row.id: row.output.strip() for row in first.evidence["pick"].rows}
    wrote = {row.id: row.output for row in first.evidence["write"].rows}
    for number, row in enumerate(rows):
        row["answer"] = row["choices"].index(picked[str(number)])
        row["wanted"] = wrote[str(number)] or "?"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture(scope="module")
def before(base: LoadedBase, tasks: Path) -> BenchmarkRun:
    """The bare model on all three tasks."""
    return run_tasks(base, None, [str(tasks)], digest="a" * 64, dtype="float32")


def test_numbers_are_those_of_lm_eval(base: LoadedBase, tasks: Path, before: BenchmarkRun) -> None:
    """The mean of our rows is what lm-eval reports for the same folder and model, opened by itself."""
    import lm_eval
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=str(tasks), include_defaults=False)
    model = HFLM(
        pretrained=str(base.path), device="cpu", dtype="float32", batch_size=1, max_length=256
    )
    found = lm_eval.simple_evaluate(
        model=model, tasks=["pick", "write"], task_manager=manager, bootstrap_iters=0, limit=6
    )["results"]
    for task, metric in (("pick", "acc"), ("pick", "acc_norm"), ("write", "exact_match")):
        rows = sorted(before.evidence[task].rows, key=lambda row: int(row.id))[:6]
        assert sum(row.scores[metric] for row in rows) / 6 == pytest.approx(
            found[task][f"{metric},none"], abs=1e-9
        )
    assert {
        task: len(evidence.rows) for task, evidence in before.evidence.items()
    } == dict.fromkeys(before.evidence, 24)


def test_metrics_that_are_no_mean_of_examples_are_named(before: BenchmarkRun) -> None:
    """Perplexity is left out by name; bits per byte is kept for each example and knows that lower
    is better.
    """
    assert before.left_out["read"] == ("word_perplexity",)
    assert before.directions["read"] == {"bits_per_byte": "lower"}
    assert all(0 < row.scores["bits_per_byte"] < 16 for row in before.evidence["read"].rows)


def test_what_tuning_broke_is_shown(
    base: LoadedBase, adapter: Path, tasks: Path, before: BenchmarkRun
) -> None:
    """A model that lost what it could is shown to be worse; the same model is not, and its
    difference is exactly none.
    """
    after = run_tasks(base, adapter, [str(tasks)], digest="c" * 64, dtype="float32")
    found = {(one.task, one.metric): one for one in compare_runs(before, after)}
    assert found["pick", "acc"].base.mean == 1.0
    assert found["pick", "acc"].decision == "worse"
    assert found["pick", "acc"].difference.high < 0
    assert found["write", "exact_match"].decision == "worse"
    assert found["pick", "acc"].worse > 0 == found["pick", "acc"].better
    same = compare_runs(before, before)
    assert {one.decision for one in same} == {"no difference shown"}
    assert {one.difference.mean for one in same} == {0.0}


def test_only_equal_questions_are_compared(
    base: LoadedBase, tasks: Path, before: BenchmarkRun
) -> None:
    """Runs on other examples, tasks or settings are not set against each other."""
    fewer = run_tasks(
        base, None, [str(tasks / "pick.yaml")], digest="c" * 64, dtype="float32", limit=3
    )
    chat = run_tasks(
        base, None, [str(tasks / "pick.yaml")], digest="c" * 64, dtype="float32", limit=3, chat=True
    )
    for other in (before, chat):
        with pytest.raises(EvidenceError):
            compare_runs(fewer, other)


def test_wrong_tasks_are_refused(base: LoadedBase, tmp_path: Path) -> None:
    """No task, a folder without one, a file that is none and data that is absent are refused, with
    the reason.
    """
    (tmp_path / "none.yaml").write_text("about: no task")
    (tmp_path / "gone.yaml").write_text(CHOICE.format(data=tmp_path / "gone.jsonl"))
    for tasks in ([], [str(tmp_path / "none.yaml")], [str(tmp_path / "absent.yaml")]):
        with pytest.raises(ConfigError):
            run_tasks(base, None, tasks, digest="x")
    with pytest.raises(EvidenceError, match="gone"):
        run_tasks(base, None, [str(tmp_path / "gone.yaml")], digest="x", dtype="float32")


def test_the_command_compares_the_candidate_with_its_base(
    base: LoadedBase, adapter: Path, tasks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`sluice benchmark` runs base and candidate of a project, keeps both as evidence, and exits
    with 1 where one broke.
    """
    monkeypatch.setenv("SLUICE_CACHE", str(tmp_path / "cache"))
    project = tmp_path / "project"
    for folder in ("prompts", "registry"):
        shutil.copytree(Path(__file__).parents[2] / folder, project / folder)
    (project / "params.yaml").write_text(
        f"release: {{name: tiny, base: {base.path}, prompt: summarize, dtype: "
        "float32}\nevaluate: {metrics: [rouge1]}\n"
    )
    shutil.copytree(
        adapter, project / "build" / "adapter", ignore=shutil.ignore_patterns("README.md")
    )
    digest = resolve_base(ModelSpec(path=str(base.path)), "tiny", tmp_path / "cache").digest
    config = project / "build" / "adapter" / "adapter_config.json"
    named = json.loads(config.read_text()) | {"base_model_name_or_path": f"{BASE_PREFIX}{digest}"}
    config.write_text(json.dumps(named))
    write_json(project / "build" / "tune.json", {"method": "lora"})
    monkeypatch.chdir(project)
    done = CliRunner().invoke(
        sluice, ["benchmark", str(tasks / "write.yaml"), "--json"], standalone_mode=False
    )
    assert done.exception is None, done.exception
    assert done.return_value == 1
    found = json.loads(done.stdout)
    assert found["worse"]
    assert [one["decision"] for one in found["comparisons"]] == ["worse"]
    kept = read_evidence(project / "build" / "benchmarks" / "write.candidate.json")
    assert kept.release == found["release"]
    assert len(kept.rows) == 24
    write_json(project / "build" / "tune.json", {"method": "none"})
    refused = CliRunner().invoke(
        sluice, ["benchmark", str(tasks / "write.yaml")], standalone_mode=False
    )
    assert "tuning changed nothing" in str(refused.exception)
