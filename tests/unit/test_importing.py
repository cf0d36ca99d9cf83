"""Adapters trained elsewhere compute the same once they are brought in, or are refused by name."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import LlamaForCausalLM

from sluicegate.adapters import CONFIG, WEIGHTS, verify_adapter
from sluicegate.adapters.importing import convert_adapter
from sluicegate.cli import sluice
from sluicegate.errors import AdapterError, ConfigError
from sluicegate.hashing import read_json
from sluicegate.line.check import check_configuration
from sluicegate.line.pipeline import run_stage
from sluicegate.line.run import open_run
from sluicegate.project import Project
from sluicegate.scaffold import init

sys.path.insert(0, str(Path(__file__).parents[1]))

from tiny_model import build_tiny_model

DIGEST = "b" * 64
TOKENS = torch.tensor([[5, 9, 17, 40, 3, 77]])


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_model(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture(scope="module")
def untied(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with an output layer of its own."""
    folder = tmp_path_factory.mktemp("untied") / "tiny"
    shutil.copytree(base, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "tie_word_embeddings": False}))
    tensors = load_file(folder / "model.safetensors")
    tensors["lm_head.weight"] = torch.randn_like(tensors["model.embed_tokens.weight"]) * 0.2
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def train(base: Path, folder: Path, **settings: Any) -> Path:
    """What a tool of PEFT's family writes: here with random factors in place of trained ones."""
    model = get_peft_model(
        LlamaForCausalLM.from_pretrained(base),
        LoraConfig(**{"task_type": "CAUSAL_LM", "r": 4, "lora_alpha": 8, **settings}),
    )
    torch.manual_seed(1)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_A" in name or "lora_B" in name:
                weight.copy_(torch.randn_like(weight) * 0.2)
    model.save_pretrained(folder)
    return folder


def logits(base: Path, adapter: Path) -> torch.Tensor:
    """What PEFT computes with an adapter."""
    model = PeftModel.from_pretrained(LlamaForCausalLM.from_pretrained(base), adapter).eval()
    with torch.no_grad():
        found = model(TOKENS).logits
    assert isinstance(found, torch.Tensor)
    return found


REGEX = r"model\.layers\.(0\.self_attn\.(q|v)_proj|1\.mlp\.down_proj)"
KINDS: dict[str, dict[str, Any]] = {
    "plain": {"target_modules": ["q_proj", "v_proj"]},
    "all linear layers": {"target_modules": "all-linear"},
    "a regex that is no product": {"target_modules": REGEX},
    "some layers": {"target_modules": ["q_proj"], "layers_to_transform": [1]},
    "rank pattern": {"target_modules": ["q_proj", "v_proj"], "rank_pattern": {"v_proj": 9}},
    "alpha pattern": {"target_modules": ["q_proj", "v_proj"], "alpha_pattern": {"q_proj": 3}},
    "both, rank-stabilised": {
        "target_modules": ["q_proj", "down_proj"],
        "rank_pattern": {r"layers\.1\.self_attn\.q_proj": 2},
        "alpha_pattern": {"down_proj": 5},
        "use_rslora": True,
    },
    "regex and patterns": {"target_modules": REGEX, "rank_pattern": {"down_proj": 7}},
    "rank-stabilised": {"target_modules": ["q_proj"], "use_rslora": True},
    "DoRA": {"target_modules": ["q_proj", "o_proj"], "use_dora": True},
    "DoRA, rank pattern": {
        "target_modules": ["q_proj", "o_proj"], "use_dora": True, "rank_pattern": {"o_proj": 6},
    },
    "left-out module": {"target_modules": ["q_proj", "v_proj"], "exclude_modules": r".*1.*v_proj"},
    "embedding saved as it was": {"target_modules": ["q_proj"], "modules_to_save": ["embed_tokens"]},
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_brought_in_computes_the_same(kind: str, base: Path, tmp_path: Path) -> None:
    """PEFT with the adapter as it was, and as it is kept: the same logits; and it verifies."""
    folder, out = train(base, tmp_path / "theirs", **KINDS[kind]), tmp_path / "ours"
    out.mkdir()
    convert_adapter(folder, out, base_digest=DIGEST, base_path=base)
    assert {path.name for path in out.iterdir()} == {CONFIG, WEIGHTS}
    verify_adapter(out, expected=None, base_digest=DIGEST, base_path=base)
    wanted, plain = logits(base, folder), LlamaForCausalLM.from_pretrained(base)(TOKENS).logits
    assert (wanted - plain).abs().max() > 1e-2
    torch.testing.assert_close(logits(base, out), wanted, atol=1e-4, rtol=1e-4)


def test_an_adapted_output_layer_of_its_own_is_kept(untied: Path, tmp_path: Path) -> None:
    """LoRA on lm_head, where the base has one of its own."""
    folder = train(untied, tmp_path / "theirs", target_modules=["q_proj", "lm_head"])
    (tmp_path / "ours").mkdir()
    convert_adapter(folder, tmp_path / "ours", base_digest=DIGEST, base_path=untied)
    torch.testing.assert_close(
        logits(untied, tmp_path / "ours"), logits(untied, folder), atol=1e-4, rtol=1e-4
    )


def set_field(**fields: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        config = json.loads((folder / CONFIG).read_text())
        (folder / CONFIG).write_text(json.dumps({**config, **fields}))

    return change


def set_tensors(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], None]:
    def rewrite(folder: Path) -> None:
        tensors = load_file(folder / WEIGHTS)
        change(tensors)
        save_file(tensors, folder / WEIGHTS)

    return rewrite


def pickled(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder / "adapter_model.bin")


def poisoned(tensors: dict[str, torch.Tensor]) -> None:
    next(iter(tensors.values()))[0, 0] = float("nan")


NAME = "base_model.model.model.layers.0.self_attn.q_proj"
REFUSED: dict[str, tuple[Callable[[Path], None], str]] = {
    "a pickle": (pickled, "pickle"),
    "another method": (set_field(peft_type="IA3"), "peft_type"),
    "a classifier": (set_field(task_type="SEQ_CLS"), "task_type"),
    "biases": (set_field(bias="all"), "bias"),
    "a start that changes the base": (set_field(init_lora_weights="pissa"), "init_lora_weights"),
    "other layers": (set_field(layer_replication=[[0, 2]]), "layer_replication.*other layers"),
    "tokens": (set_field(trainable_token_indices=[3]), "trainable_token_indices.*embedding"),
    "experts": (set_field(target_parameters=["experts"]), "target_parameters"),
    "a rank that is not the tensors'": (set_field(r=8), "not of rank 8"),
    "a layer trained whole": (
        set_tensors(lambda t: t.update({"base_model.model.model.norm.weight": torch.zeros(64)})),
        "model.norm.weight was trained whole",
    ),
    "the tied output layer": (
        set_tensors(
            lambda t: t.update({
                "base_model.model.lm_head.lora_A.weight": torch.ones(4, 64),
                "base_model.model.lm_head.lora_B.weight": torch.ones(64, 4),
            })
        ),
        "lm_head: the base ties it",
    ),
    "a layer that the base lacks": (
        set_tensors(
            lambda t: t.update({
                NAME.replace("0", "9") + ".lora_A.weight": torch.ones(4, 64),
                NAME.replace("0", "9") + ".lora_B.weight": torch.ones(64, 4),
            })
        ),
        r"layers\.9\..*no such layer",
    ),
    "half a module": (set_tensors(lambda t: t.pop(f"{NAME}.lora_B.weight")), "lacks one"),
    "numbers that are none": (set_tensors(poisoned), "finite"),
    "no change at all": (
        set_tensors(lambda t: [tensor.zero_() for name, tensor in t.items() if "lora_B" in name]),
        "changes nothing",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_kept_is_refused_by_name(name: str, base: Path, tmp_path: Path) -> None:
    """Nothing is dropped without a word."""
    spoil, told = REFUSED[name]
    folder = train(base, tmp_path / "theirs", target_modules=["q_proj"])
    spoil(folder)
    (tmp_path / "ours").mkdir()
    with pytest.raises(AdapterError, match=f"(?s){told}"):
        convert_adapter(folder, tmp_path / "ours", base_digest=DIGEST, base_path=base)


def test_dora_on_some_layers_of_a_kind_is_refused(base: Path, tmp_path: Path) -> None:
    """Zeros do not stand for a layer without DoRA."""
    folder = train(base, tmp_path / "theirs", target_modules=REGEX, use_dora=True)
    (tmp_path / "ours").mkdir()
    with pytest.raises(AdapterError, match="DoRA on some layers"):
        convert_adapter(folder, tmp_path / "ours", base_digest=DIGEST, base_path=base)


@pytest.mark.parametrize(
    ("trace", "tool"),
    [
        ("tags: [axolotl, generated_from_trainer]", "axolotl"),
        ("tags: [llama-factory, lora]", "LLaMA-Factory"),
        ("tags: [unsloth, trl]", "Unsloth"),
        ("tags: [trl, sft]", "TRL"),
        ("A page.", "PEFT"),
    ],
)
def test_the_tool_is_known_by_its_traces(trace: str, tool: str, base: Path, tmp_path: Path) -> None:
    """The page beside an adapter tells what trained it."""
    folder = train(base, tmp_path / "theirs", target_modules=["q_proj"])
    (folder / "README.md").write_text(trace)
    (tmp_path / "ours").mkdir()
    found = convert_adapter(folder, tmp_path / "ours", base_digest=DIGEST, base_path=base)
    assert found.tool == tool
    assert set(found.files) == {CONFIG, WEIGHTS}


@pytest.fixture
def project(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A new project on the tiny base."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("SLUICE_CACHE", str(tmp_path / "cache"))
    found = Project(tmp_path / "project")
    init(found.root)
    text = found.params.read_text("utf-8")
    found.params.write_text(text.replace("model: smollm2-135m-instruct", f"model: {base}"))
    monkeypatch.chdir(found.root)
    return found


def test_it_enters_the_line_in_tunings_place(project: Project, base: Path, tmp_path: Path) -> None:
    """Imported, named in params.yaml, versioned by DVC, put into build/adapter by the stage; the
    second import changes nothing, and lost or changed bytes stop the line.
    """
    folder = train(
        base, tmp_path / "theirs", target_modules=["q_proj"], rank_pattern={"1.*q_proj": 8}
    )
    before = project.params.read_text("utf-8").splitlines()
    call = ["adapter", "import", str(folder), "--reason", "the 2026 tickets", "--tool", "ours"]
    done = CliRunner().invoke(sluice, call, catch_exceptions=False)
    assert done.exit_code == 0
    after = project.params.read_text("utf-8").splitlines()
    assert len(after) == len(before) + 1
    assert len(set(after) - set(before)) == 2
    run = open_run(project)
    digest = run.params.tune.adapter
    kept = project.root / "data" / "adapters" / digest
    assert kept.with_name(f"{digest}.dvc").is_file()
    record = read_json(kept.with_name(f"{digest}.json"))
    assert record["reason"] == "the 2026 tickets"
    assert record["tool"] == "ours"
    assert record["base"] == str(base)
    again = CliRunner().invoke(sluice, call, catch_exceptions=False)
    assert "as before" in again.output
    assert project.params.read_text("utf-8").splitlines() == after
    assert check_configuration(project) == []
    run_stage(run, "tune")
    made = read_json(project.build / "tune.json")
    assert made == {"method": "imported", "adapter": digest, "origin": record}
    torch.testing.assert_close(logits(base, project.adapter), logits(base, folder))
    status = subprocess.run(
        [sys.executable, "-m", "dvc", "status", f"data/adapters/{digest}.dvc"],
        cwd=project.root, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "up to date" in status.stdout
    (kept / CONFIG).write_text((kept / CONFIG).read_text() + " ")
    with pytest.raises(AdapterError, match="is recorded"):
        run_stage(run, "tune")
    shutil.rmtree(kept)
    assert any("dvc pull" in problem for problem in check_configuration(project))
    with pytest.raises(ConfigError, match=r"tune\.adapter"):
        run_stage(run, "tune")
