"""Adapters of many shapes, sound and damaged: the sound ones are accepted, the damaged ones never."""

from __future__ import annotations

import json
import pickle
import random
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from sluicegate.adapters import (
    BASE_PREFIX,
    CONFIG,
    WEIGHTS,
    adapter_digest,
    publish_adapter,
    verify_adapter,
)
from sluicegate.errors import AdapterError
from soak_scale import scaled

BASES = ("b" * 64, "c" * 64)
MODULES = ("q_proj", "k_proj", "v_proj", "o_proj", "up_proj", "down_proj")
LAYERS, HIDDEN = 4, 16
WIDTHS = {"q_proj": 16, "k_proj": 8, "v_proj": 8, "o_proj": 16, "up_proj": 24, "down_proj": 12}


def base_model(folder: Path) -> Path:
    """Weights of a base with every module in every layer."""
    folder.mkdir()
    weights = {
        f"model.layers.{layer}.{name}.weight": torch.zeros(WIDTHS[name], HIDDEN)
        for layer in range(LAYERS)
        for name in MODULES
    }
    save_file(weights, folder / "model.safetensors")
    return folder


def good_adapter(folder: Path, chance: random.Random) -> Path:
    """An adapter that tuning could have written: any rank, alpha, modules, layers, number type,
    DoRA or not.
    """
    folder.mkdir()
    rank, modules = chance.randint(1, 8), chance.sample(MODULES, chance.randint(1, 4))
    layers = (
        None
        if chance.random() < 0.5
        else sorted(chance.sample(range(LAYERS), chance.randint(1, LAYERS)))
    )
    dora, kind = (
        chance.random() < 0.3,
        chance.choice([torch.float32, torch.float16, torch.bfloat16]),
    )
    tensors = {}
    for layer in layers if layers is not None else range(LAYERS):
        for name in modules:
            stem = f"base_model.model.model.layers.{layer}.{name}"
            tensors[f"{stem}.lora_A.weight"] = torch.randn(rank, HIDDEN).to(kind)
            tensors[f"{stem}.lora_B.weight"] = torch.randn(WIDTHS[name], rank).to(kind)
            if dora:
                tensors[f"{stem}.lora_magnitude_vector"] = torch.rand(WIDTHS[name]).to(kind)
    save_file(tensors, folder / WEIGHTS)
    config: dict[str, Any] = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": rank,
        "lora_alpha": rank * chance.choice([0.5, 1, 2, 16]),
        "target_modules": modules,
        "base_model_name_or_path": BASE_PREFIX + BASES[0],
        "layers_to_transform": layers,
        "use_dora": dora,
        "use_rslora": chance.random() < 0.3,
        "lora_dropout": chance.choice([0, 0.05]),
    }
    (folder / CONFIG).write_text(json.dumps(config))
    return folder


def _set(folder: Path, **fields: Any) -> None:
    config = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps({**config, **fields}))


def _tensors(folder: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    tensors = load_file(folder / WEIGHTS)
    change(tensors)
    save_file(tensors, folder / WEIGHTS)


def bit_flip(folder: Path, chance: random.Random) -> None:
    path = folder / chance.choice([CONFIG, WEIGHTS])
    data = bytearray(path.read_bytes())
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    path.write_bytes(data)


def extra_file(folder: Path, chance: random.Random) -> None:
    name = chance.choice(
        ["README.md", ".hidden", "adapter_model.bin", "tokenizer.json", "x.py", "more/file"]
    )
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(bytes(chance.randrange(256) for _ in range(chance.randrange(20))))


def missing_file(folder: Path, chance: random.Random) -> None:
    (folder / chance.choice([CONFIG, WEIGHTS])).unlink()


def symlink(folder: Path, chance: random.Random) -> None:
    path = folder / chance.choice([CONFIG, WEIGHTS])
    target = folder.parent / f"{folder.name}-{path.name}"
    path.rename(target)
    path.symlink_to(target)


def renamed_key(folder: Path, chance: random.Random) -> None:
    def change(tensors: dict[str, torch.Tensor]) -> None:
        key = chance.choice(sorted(tensors))
        new = chance.choice(
            [
                key.replace("_proj", "_prj"),
                key.replace(".layers.", ".layer."),
                key + "x",
                key.replace("lora_", "Lora_"),
            ]
        )
        tensors[new] = tensors.pop(key)

    _tensors(folder, change)


def missing_key(folder: Path, chance: random.Random) -> None:
    _tensors(folder, lambda tensors: tensors.pop(chance.choice(sorted(tensors))))


def swapped_config(folder: Path, chance: random.Random) -> None:
    """The configuration of another adapter, itself sound."""
    ours = json.loads((folder / CONFIG).read_text())
    while True:
        other = folder.parent / f"{folder.name}-other"
        good_adapter(other, chance)
        theirs = (other / CONFIG).read_text()
        shutil.rmtree(other)
        found = json.loads(theirs)
        if any(found[key] != ours[key] for key in ("r", "use_dora")) or {
            *found["target_modules"]
        } != {*ours["target_modules"]}:
            (folder / CONFIG).write_text(theirs)
            return


def not_finite(folder: Path, chance: random.Random) -> None:
    def change(tensors: dict[str, torch.Tensor]) -> None:
        tensor = tensors[chance.choice(sorted(tensors))].view(-1)
        tensor[chance.randrange(len(tensor))] = chance.choice(
            [float("nan"), float("inf"), float("-inf")]
        )

    _tensors(folder, change)


def wrong_base(folder: Path, chance: random.Random) -> None:
    _set(
        folder,
        base_model_name_or_path=chance.choice([BASE_PREFIX + BASES[1], "gpt2", "", None, BASES[0]]),
    )


def wild_alpha(folder: Path, chance: random.Random) -> None:
    _set(
        folder,
        lora_alpha=chance.choice(
            [1e6, -8, 0, 1e308, "8", None, True, float("nan"), float("inf"), 10**400]
        ),
    )


def pickled(folder: Path, chance: random.Random) -> None:
    """A pickle in the place of the weights, or beside them."""
    name = chance.choice([WEIGHTS, "adapter_model.bin", "adapter_model.pt"])
    (folder / name).write_bytes(pickle.dumps({"a": [1.0]}, protocol=chance.randint(0, 5)))


DAMAGES = {
    name.__name__: name
    for name in (
        bit_flip, extra_file, missing_file, symlink, renamed_key, missing_key, swapped_config,
        not_finite, wrong_base,
        wild_alpha, pickled,
    )
}  # fmt: skip


@pytest.mark.timeout(3600)
def test_damaged_adapters_are_refused_and_sound_ones_are_not(quick_path: Path) -> None:
    """Each damage is an AdapterError: without a recorded digest, but for a flipped bit, which only
    the digest shows.
    """
    chance, told = random.Random(9), Counter[str]()
    torch.manual_seed(1)
    base = base_model(quick_path / "base")
    for number in range(scaled(110, 1000)):
        folder = good_adapter(quick_path / f"adapter{number}", chance)
        name = sorted(DAMAGES)[number % len(DAMAGES)]
        recorded = adapter_digest(folder) if name == "bit_flip" else None
        DAMAGES[name](folder, chance)
        with pytest.raises(AdapterError) as caught:
            verify_adapter(
                folder,
                expected=recorded,
                base_digest=BASES[0],
                base_path=chance.choice([base, None]),
            )
        assert caught.value.hint, name
        told[name] += 1
        shutil.rmtree(folder)
    print(f"damaged adapters refused: {dict(told)}")


@pytest.mark.timeout(3600)
def test_sound_adapters_are_accepted_and_stored(quick_path: Path) -> None:
    """Whatever tuning can write passes, with and without the base's weights, and is stored under
    its digest.
    """
    chance, total = random.Random(10), scaled(30, 200)
    torch.manual_seed(2)
    base = base_model(quick_path / "base")
    for number in range(total):
        folder = good_adapter(quick_path / f"adapter{number}", chance)
        digest = adapter_digest(folder)
        for path in (base, None):
            verify_adapter(folder, expected=digest, base_digest=BASES[0], base_path=path)
        assert publish_adapter(folder, quick_path / "store") == (
            digest,
            quick_path / "store" / "adapters" / digest,
        )
        shutil.rmtree(folder)
    print(f"sound adapters accepted: {total}")
