"""Tuning: it learns, it resumes exactly, it cuts nothing, it leaves a sealed adapter or nothing."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

sys.path.insert(0, str(Path(__file__).parents[1]))
from sluicegate.adapters import CONFIG, WEIGHTS, adapter_digest, verify_adapter
from sluicegate.config import ModelSpec, TuneParams
from sluicegate.engines.attention import use_planned_attention
from sluicegate.engines.loading import encode_chat, load_model, load_tokenizer
from sluicegate.errors import ConfigError, DataError, ModelError
from sluicegate.models import (
    LoadedBase,
    Messages,
    WeightsModel,
    all_replies,
    request_of,
    resolve_base,
)
from sluicegate.prompts import Prompt, render
from sluicegate.records import GenerationSettings, TuneSummary
from sluicegate.tuning import tune
from sluicegate.tuning.rows import Row, fill, schedule, tokenise
from tiny_model import build_tiny_model

TOPICS = ("parcel", "refund", "order", "number", "tracking page", "summary", "agent", "customer")


def pair(number: int) -> tuple[Messages, str]:
    """A conversation of varying length whose right answer is always of one form."""
    topic = TOPICS[number % len(TOPICS)]
    text = f"hello, my {topic} has not arrived. " * (1 + number % 3)
    return [{"role": "user", "content": text}], f"The customer asks for a {topic}."


TRAIN = [pair(number) for number in range(24)]
HELD = [pair(number) for number in range(100, 106)]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> LoadedBase:
    folder = build_tiny_model(tmp_path_factory.mktemp("model") / "tiny", layers=4, context=512)
    return resolve_base(
        ModelSpec(path=str(folder), context=400), "tiny", tmp_path_factory.mktemp("cache")
    )


def run(base: LoadedBase, folder: Path, **changes: Any) -> TuneSummary:
    arguments: dict[str, Any] = {
        "train": TRAIN,
        "validation": HELD,
        "on_step": None,
        "run_key": "k" * 64,
    }
    arguments |= {key: changes.pop(key) for key in list(changes) if key in arguments}
    fields: dict[str, Any] = {
        "epochs": 2,
        "batch_tokens": 300,
        "checkpoint_steps": 3,
        "validation_steps": 4,
        "rank": 4,
        "alpha": 8,
    }
    return tune(
        arguments["train"],
        arguments["validation"],
        base=base,
        params=TuneParams(**{**fields, "learning_rate": 1e-2, **changes}),
        dtype="float32",
        out=folder / "adapter",
        checkpoints=folder / "checkpoints",
        run_key=arguments["run_key"],
        on_step=arguments["on_step"],
    )


def test_it_learns_and_seals(base: LoadedBase, tmp_path: Path) -> None:
    """The loss falls on held-out rows, the adapter verifies against the base, and it changes what
    is generated.
    """
    points: list[Mapping[str, float]] = []
    summary = run(base, tmp_path, on_step=points.append, epochs=4)
    first = points[0]["loss"]
    assert summary.validation_loss < 0.7 * first
    assert [point["step"] for point in points] == list(range(1, summary.steps + 1))
    assert all(
        {"loss", "learning_rate", "tokens_per_second", "steps"} <= set(point) for point in points
    )
    assert "seconds_left" not in points[0], "the first step says nothing about the others"
    assert all("seconds_left" in point for point in points[1:])
    assert points[3]["validation_loss"] > points[-1]["validation_loss"]
    assert len(summary.curve) == summary.steps
    assert {path.name for path in (tmp_path / "adapter").iterdir()} == {CONFIG, WEIGHTS}
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "checkpoints") == [
        "adapter"
    ]
    verify_adapter(
        tmp_path / "adapter", expected=None, base_digest=base.digest, base_path=base.path
    )
    settings = GenerationSettings(max_new_tokens=16)
    request = request_of(HELD[0][0], settings)
    texts = [
        all_replies(WeightsModel(base, adapter, dtype="float32").generate([request]), "tuned")[0]
        for adapter in (None, tmp_path / "adapter")
    ]
    assert texts[0].text != texts[1].text


@pytest.mark.parametrize("at", [1, 4, 7])
def test_a_killed_run_resumes_to_the_same_weights(
    base: LoadedBase, tmp_path: Path, at: int
) -> None:
    """Stopped at any step, a run goes on from its last checkpoint and ends in the same bytes as an
    unbroken one.
    """

    def stop(point: Mapping[str, float]) -> None:
        if point["step"] == at:
            raise KeyboardInterrupt

    whole = run(base, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(base, tmp_path / "killed", on_step=stop)
    assert not (tmp_path / "killed" / "adapter").exists()
    steps: list[float] = []
    resumed = run(base, tmp_path / "killed", on_step=lambda point: steps.append(point["step"]))
    assert steps[0] == at - at % 3 + 1
    assert adapter_digest(tmp_path / "whole" / "adapter") == adapter_digest(
        tmp_path / "killed" / "adapter"
    )
    assert [point["loss"] for point in resumed.curve] == [point["loss"] for point in whole.curve]
    assert list((tmp_path / "killed" / "checkpoints").iterdir()) == []


def test_a_damaged_checkpoint_is_passed_over(base: LoadedBase, tmp_path: Path) -> None:
    """A checkpoint whose bytes changed is not used; the one before it is."""

    def stop(point: Mapping[str, float]) -> None:
        if point["step"] == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(base, tmp_path, on_step=stop)
    newest = max((tmp_path / "checkpoints").rglob("tensors.safetensors"))
    data = bytearray(newest.read_bytes())
    data[-1] ^= 1
    newest.write_bytes(bytes(data))
    steps: list[float] = []
    run(base, tmp_path, on_step=lambda point: steps.append(point["step"]))
    assert steps[0] == 4


def test_another_run_key_starts_anew(base: LoadedBase, tmp_path: Path) -> None:
    """Checkpoints of another configuration are never continued."""

    def stop(point: Mapping[str, float]) -> None:
        if point["step"] == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(base, tmp_path, on_step=stop)
    steps: list[float] = []
    run(base, tmp_path, run_key="other", on_step=lambda point: steps.append(point["step"]))
    assert steps[0] == 1


def test_long_rows_are_counted_not_cut(base: LoadedBase, tmp_path: Path) -> None:
    """A row over the context is left out and counted; with nothing left there is an error."""
    long = ([{"role": "user", "content": "zq " * 500}], "x")
    summary = run(base, tmp_path, train=[*TRAIN[:6], long], max_steps=1)
    assert (summary.examples, summary.skipped_over_length) == (6, 1)
    with pytest.raises(DataError, match="1 with more than 400 tokens"):
        run(base, tmp_path / "none", train=[long])
    assert not (tmp_path / "none" / "adapter").exists()


def test_packed_loss_equals_row_by_row(base: LoadedBase) -> None:
    """Laying sequences end to end gives the loss and gradients of running each alone."""
    from sluicegate.tuning.lora import attach
    from sluicegate.tuning.training import _backward, _Run

    rows, _ = tokenise(load_tokenizer(base.path), TRAIN[:5], 400)
    results = []
    for packed in (True, False):
        model = load_model(base.path, "float32")
        tuned = attach(model, TuneParams(rank=4, dropout=0.0))
        if packed:
            use_planned_attention(model)
        weights = [weight for weight in tuned.parameters() if weight.requires_grad]
        loss = _backward(_Run(tuned, torch.optim.AdamW(weights), packed), rows)
        results.append(
            (
                loss,
                torch.cat([weight.grad.flatten() for weight in weights if weight.grad is not None]),
            )
        )
    assert results[0][0] == pytest.approx(results[1][0], rel=1e-5)
    assert torch.allclose(results[0][1], results[1][1], rtol=1e-3, atol=1e-5)
    assert float(results[0][1].abs().max()) > 1e-3


def test_loss_is_on_the_answer_only(base: LoadedBase) -> None:
    """Learnt are exactly the tokens of the answer and its end-of-turn token."""
    tokenizer = load_tokenizer(base.path)
    rows, _ = tokenise(tokenizer, TRAIN[:4], 400)
    for row, (messages, answer) in zip(rows, TRAIN, strict=False):
        assert tokenizer.decode(row.tokens[-row.answer :]) == answer + "<|im_end|>"
        assert list(row.tokens[: -row.answer]) == encode_chat(tokenizer, messages)


def test_turns_of_a_chat_are_read_and_not_learnt(base: LoadedBase) -> None:
    """A prompt with a history is tuned on: each turn in its role, the last answer alone is learnt."""
    tokenizer = load_tokenizer(base.path)
    prompt = Prompt("p", "Help.", "", (), "", "", history="chat")
    turns = [("user", "my order"), ("assistant", "your number"), ("user", "a parcel")]
    chat = [{"role": role, "content": said} for role, said in turns]
    messages = render(prompt, {"chat": chat})
    (row,), skipped = tokenise(tokenizer, [(messages, "a refund")], 400)
    assert skipped == 0
    assert tokenizer.decode(row.tokens[-row.answer :]) == "a refund<|im_end|>"
    read = tokenizer.decode(row.tokens[: -row.answer])
    places = [read.index(f"<|im_start|>{role}\n{said}<|im_end|>") for role, said in turns]
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("changes", "layers"),
    [
        ({"layers": "upper_half"}, {"2", "3"}),
        ({"layers": (1,)}, {"1"}),
        ({"use_dora": True}, set("0123")),
        ({"use_rslora": True}, set("0123")),
    ],
)
def test_kinds_of_adapters(
    base: LoadedBase, tmp_path: Path, changes: dict[str, Any], layers: set[str]
) -> None:
    """Chosen layers, DoRA and rank-stabilised LoRA give adapters that verify and can be loaded."""
    run(base, tmp_path, max_steps=2, **changes)
    assert {
        key.split(".layers.")[1].split(".")[0] for key in load_file(tmp_path / "adapter" / WEIGHTS)
    } == layers
    verify_adapter(
        tmp_path / "adapter", expected=None, base_digest=base.digest, base_path=base.path
    )
    tuned = WeightsModel(base, tmp_path / "adapter", dtype="float32")
    request = request_of(HELD[0][0], GenerationSettings(max_new_tokens=3))
    assert all_replies(tuned.generate([request]), "tuned")[0].completion_tokens >= 1


def test_divergence_stops(base: LoadedBase, tmp_path: Path) -> None:
    """A loss that is not finite stops the run without an adapter."""
    with pytest.raises(ModelError, match="diverged"):
        run(base, tmp_path, learning_rate=1e30, gradient_clip=1e30, warmup_fraction=0.0)
    assert not (tmp_path / "adapter").exists()


@pytest.mark.parametrize(
    "changes", [{"target_modules": ("nowhere",)}, {"layers": (7,)}, {"method": "none"}]
)
def test_impossible_requests(base: LoadedBase, tmp_path: Path, changes: dict[str, Any]) -> None:
    """Modules or layers that the base lacks, or no method, are configuration errors."""
    with pytest.raises(ConfigError):
        run(base, tmp_path, **changes)


def test_quantization_needs_a_gpu(base: LoadedBase, tmp_path: Path) -> None:
    """Without a GPU a quantized base is refused with a hint."""
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(ModelError, match="GPU"):
        run(base, tmp_path, quantization="nf4")


def test_schedule_covers_each_epoch_once() -> None:
    """Every epoch sees every row once, in another order; a fraction sees that share; batches keep
    their bound.
    """
    rows = [Row((number,) * (1 + number % 7), 1) for number in range(30)]
    batches = schedule(rows, TuneParams(epochs=2.5, batch_tokens=16))
    flat = [row.tokens[0] for batch in batches for row in batch]
    assert sorted(flat[:30]) == sorted(flat[30:60]) == list(range(30))
    assert flat[:30] != flat[30:60]
    assert len(flat) == 75
    assert all(sum(len(row.tokens) for row in batch) <= 16 for batch in batches)
    assert len(schedule(rows, TuneParams(epochs=2.5, batch_tokens=16, max_steps=3))) == 3
    assert fill([], 5) == []
