"""Adapters: every kind of damage is refused before anything loads them."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from sluicegate.adapters import (
    BASE_PREFIX,
    CONFIG,
    WEIGHTS,
    adapter_digest,
    publish_adapter,
    stored_adapter,
    verify_adapter,
)
from sluicegate.errors import AdapterError

BASE_DIGEST = "b" * 64
RANK, HIDDEN, NARROW = 4, 16, 8
MODULES = {"q_proj": HIDDEN, "v_proj": NARROW}


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A base with two layers of two projections, weights only."""
    folder = tmp_path / "base"
    folder.mkdir()
    weights = {
        f"model.layers.{layer}.self_attn.{name}.weight": torch.zeros(out, HIDDEN)
        for layer in (0, 1)
        for name, out in MODULES.items()
    }
    save_file({**weights, "model.norm.weight": torch.ones(HIDDEN)}, folder / "model.safetensors")
    return folder


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    folder = tmp_path / "adapter"
    folder.mkdir()
    tensors = {}
    for layer in (0, 1):
        for name, out in MODULES.items():
            stem = f"base_model.model.model.layers.{layer}.self_attn.{name}"
            tensors[f"{stem}.lora_A.weight"] = torch.randn(RANK, HIDDEN)
            tensors[f"{stem}.lora_B.weight"] = torch.randn(out, RANK)
    save_file(tensors, folder / WEIGHTS)
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": RANK,
        "lora_alpha": 8,
        "target_modules": sorted(MODULES),
        "base_model_name_or_path": BASE_PREFIX + BASE_DIGEST,
        "layers_to_transform": None,
    }
    (folder / CONFIG).write_text(json.dumps(config))
    return folder


def set_config(**fields: object) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        path = folder / CONFIG
        path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))

    return damage


def drop_config(field: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        config = json.loads((folder / CONFIG).read_text())
        del config[field]
        (folder / CONFIG).write_text(json.dumps(config))

    return damage


def set_tensors(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        tensors = load_file(folder / WEIGHTS)
        change(tensors)
        save_file(tensors, folder / WEIGHTS)

    return damage


def rename_tensor(tensors: dict[str, torch.Tensor]) -> None:
    key = sorted(tensors)[0]
    tensors[key.replace("q_proj", "k_proj")] = tensors.pop(key)


def drop_layer(tensors: dict[str, torch.Tensor]) -> None:
    for key in [key for key in tensors if ".1." in key]:
        del tensors[key]


def poison(value: float) -> Callable[[dict[str, torch.Tensor]], None]:
    def change(tensors: dict[str, torch.Tensor]) -> None:
        tensors[sorted(tensors)[-1]][0, 0] = value

    return change


DAMAGES: dict[str, Callable[[Path], object]] = {
    "no config": lambda folder: (folder / CONFIG).unlink(),
    "no weights": lambda folder: (folder / WEIGHTS).unlink(),
    "a third file": lambda folder: (folder / "README.md").write_text("hello"),
    "a pickle beside it": lambda folder: (folder / "adapter_model.bin").write_bytes(b"\x80\x04."),
    "a hidden file": lambda folder: (folder / ".note").write_text(""),
    "a folder inside": lambda folder: (folder / "more").mkdir(),
    "weights are a link": lambda folder: (folder / WEIGHTS).symlink_to((folder / WEIGHTS).rename(folder.parent / "w")),
    "weights cut short": lambda folder: (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-40]),
    "weights are noise": lambda folder: (folder / WEIGHTS).write_bytes(b"\xff" * 500),
    "weights are empty": lambda folder: (folder / WEIGHTS).write_bytes(b""),
    "config is not JSON": lambda folder: (folder / CONFIG).write_text("{"),
    "config is a list": lambda folder: (folder / CONFIG).write_text("[]"),
    "config is not text": lambda folder: (folder / CONFIG).write_bytes(b"\xff\xfe{"),
    "config is huge": lambda folder: (folder / CONFIG).write_text('{"x": "' + "y" * 70_000 + '"}'),
    "config is nested deep": lambda folder: (folder / CONFIG).write_text("[" * 30_000),
    "unknown field": set_config(surprise=1),
    "missing field": drop_config("lora_alpha"),
    "remote code": set_config(auto_mapping={"base_model_class": "X", "parent_library": "os"}),
    "saved modules": set_config(modules_to_save=["lm_head"]),
    "rank pattern": set_config(rank_pattern={"q_proj": 2}),
    "alpha 1e6": set_config(lora_alpha=1e6),
    "alpha 0": set_config(lora_alpha=0),
    "alpha negative": set_config(lora_alpha=-8),
    "alpha text": set_config(lora_alpha="8"),
    "alpha NaN": set_config(lora_alpha=float("nan")),
    "rank true": set_config(r=True),
    "rank other": set_config(r=RANK * 2),
    "rank huge": set_config(r=10**9),
    "other method": set_config(peft_type="IA3"),
    "bias trained": set_config(bias="all"),
    "modules as pattern": set_config(target_modules=".*"),
    "modules empty": set_config(target_modules=[]),
    "modules not there": set_config(target_modules=["q_proj", "v_proj", "up_proj"]),
    "modules fewer": set_config(target_modules=["q_proj"]),
    "layers other": set_config(layers_to_transform=[0]),
    "layers missing": set_config(layers_to_transform=[0, 1, 2]),
    "layers nonsense": set_config(layers_to_transform=[-1]),
    "dora without magnitudes": set_config(use_dora=True),
    "flag as text": set_config(use_rslora="yes"),
    "NaN": set_tensors(poison(float("nan"))),
    "infinite": set_tensors(poison(float("inf"))),
    "renamed tensor": set_tensors(rename_tensor),
    "missing tensor": set_tensors(lambda tensors: tensors.pop(sorted(tensors)[1])),
    "missing layer": set_tensors(drop_layer),
    "extra tensor": set_tensors(lambda tensors: tensors.update({"base_model.model.lm_head.weight": torch.zeros(2, 2)})),
    "braces in a name": set_tensors(
        lambda tensors: tensors.update({"base_model.model.{0.__class__}.0.q_proj.lora_A.weight": torch.zeros(4, 16)})
    ),
    "no tensors": set_tensors(lambda tensors: tensors.clear()),
    "pissa": set_config(init_lora_weights="pissa"),
    "pissa in steps": set_config(init_lora_weights="pissa_niter_16"),
    "olora": set_config(init_lora_weights="olora"),
    "eva": set_config(init_lora_weights="eva"),
    "start as a number": set_config(init_lora_weights=1),
    "start unknown": set_config(init_lora_weights=None),
    "3e38": set_tensors(poison(3e38)),
    "a million": set_tensors(poison(-1e6)),
    "all zero": set_tensors(lambda tensors: tensors.update({k: v * 0 for k, v in tensors.items()})),
    "no effect": set_tensors(lambda tensors: tensors.update({k: v * 0 for k,
    v in tensors.items() if "lora_B" in k})),
    "a header of gigabytes": lambda folder: (folder / WEIGHTS).write_bytes((10**12).to_bytes(8,
    "little") + b"{}" * 9),
    "a header nested deep": lambda folder: (folder / WEIGHTS).write_bytes((60_000).to_bytes(8,
    "little") + b"[" * 60_000),
    "whole numbers": set_tensors(
        lambda tensors: tensors.update({key: value.to(torch.int32) for key, value in tensors.items()})
    ),
    "wrong width": set_tensors(
        lambda tensors: tensors.update({k: v[:, :-1].contiguous() for k, v in tensors.items() if "lora_A" in k})
    ),
}  # fmt: skip


def test_a_sound_adapter_passes(adapter: Path, base: Path) -> None:
    """An adapter as tuning writes it is accepted, with digest, base digest and base weights."""
    verify_adapter(
        adapter, expected=adapter_digest(adapter), base_digest=BASE_DIGEST, base_path=base
    )


def test_a_full_peft_configuration_passes(adapter: Path, base: Path) -> None:
    """All fields that PEFT writes by itself are known, as long as they are inert."""
    from peft import LoraConfig

    full = LoraConfig(
        r=RANK, lora_alpha=8, target_modules=sorted(MODULES), task_type="CAUSAL_LM"
    ).to_dict()
    full["target_modules"] = sorted(MODULES)
    full["base_model_name_or_path"] = BASE_PREFIX + BASE_DIGEST
    (adapter / CONFIG).write_text(json.dumps(full))
    verify_adapter(adapter, expected=None, base_digest=BASE_DIGEST, base_path=base)


def test_verification_does_not_load_pytorch(adapter: Path) -> None:
    """A rollback verifies before it moves the pointer, and must not wait seconds for an import
    that it can do without.
    """
    code = (
        "import sys; from pathlib import Path; from sluicegate.adapters import verify_adapter\n"
        "verify_adapter(Path(sys.argv[1]), expected=None); print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(adapter)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_values_that_are_not_finite_are_found_in_every_kind_of_number(
    adapter: Path, dtype: torch.dtype
) -> None:
    """Values up to 10,000 pass; larger ones, infinities and NaN of either sign do not."""
    limits = torch.finfo(dtype)
    for value in (
        limits.max,
        limits.min,
        -3e4,
        9e3,
        limits.tiny,
        -0.0,
        float("inf"),
        float("-inf"),
        float("nan"),
        -float("nan"),
    ):

        def change(tensors: dict[str, torch.Tensor], value: float = value) -> None:
            tensors.update({key: tensor.to(dtype) for key, tensor in tensors.items()})
            poison(value)(tensors)

        set_tensors(change)(adapter)
        if abs(value) <= 1e4:
            verify_adapter(adapter, expected=None)
        else:
            reason = "is damage" if math.isfinite(value) else "not finite"
            with pytest.raises(AdapterError, match=reason):
                verify_adapter(adapter, expected=None)


@pytest.mark.parametrize("start", [True, False, "gaussian"])
def test_starts_that_leave_the_base_alone_pass(adapter: Path, start: object) -> None:
    """Only how the adapter's own weights began: the base is the one that was recorded."""
    set_config(init_lora_weights=start)(adapter)
    verify_adapter(adapter, expected=None)


def test_what_is_no_adapter_is_refused_before_it_is_read_through(adapter: Path) -> None:
    """A terabyte of nothing (a sparse file) is refused by its size, and 15 GiB behind a bad header
    by that.
    """
    for size, reason in ((1 << 40, "larger than"), (15 << 30, "not a safetensors file")):
        with (adapter / WEIGHTS).open("r+b") as stream:
            stream.truncate(size)
        for look in (adapter_digest, lambda folder: verify_adapter(folder, expected="a" * 64)):
            started = time.monotonic()
            with pytest.raises(AdapterError, match=reason):
                look(adapter)
            assert time.monotonic() - started < 2


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_refused(name: str, adapter: Path, base: Path) -> None:
    """Each kind of damage is an AdapterError with a hint, even where no digest is recorded yet."""
    DAMAGES[name](adapter)
    with pytest.raises(AdapterError) as caught:
        verify_adapter(adapter, expected=None, base_digest=BASE_DIGEST, base_path=base)
    assert caught.value.hint


@pytest.mark.parametrize(
    "name",
    ["modules fewer", "modules not there", "layers other", "layers missing", "renamed tensor"],
)
def test_configuration_and_tensors_agree_without_the_base(name: str, adapter: Path) -> None:
    """Modules and layers that only one of the two files names are refused where the base is not at
    hand, too.
    """
    DAMAGES[name](adapter)
    with pytest.raises(AdapterError):
        verify_adapter(adapter, expected=None)


def test_one_changed_bit_is_refused(adapter: Path) -> None:
    """A value that still looks sound but is not the recorded one fails on the digest."""
    recorded = adapter_digest(adapter)
    data = bytearray((adapter / WEIGHTS).read_bytes())
    data[-3] ^= 1
    (adapter / WEIGHTS).write_bytes(bytes(data))
    with pytest.raises(AdapterError, match="is recorded"):
        verify_adapter(adapter, expected=recorded)


def test_another_base_is_refused(adapter: Path, base: Path) -> None:
    """An adapter made for another base is refused by digest, and by shape."""
    with pytest.raises(AdapterError, match="not for the base"):
        verify_adapter(adapter, expected=None, base_digest="c" * 64)
    tensors = load_file(base / "model.safetensors")
    save_file(
        {key: value[..., :8].contiguous() for key, value in tensors.items()},
        base / "model.safetensors",
    )
    with pytest.raises(AdapterError, match="do not fit"):
        verify_adapter(adapter, expected=None, base_path=base)


def test_publishing_is_idempotent_and_seals(adapter: Path, tmp_path: Path) -> None:
    """The same bytes go to the same place twice; nothing half-made stays; the stored bytes are
    checked when fetched.
    """
    store = tmp_path / "store"
    digest, stored = publish_adapter(adapter, store)
    assert publish_adapter(adapter, store) == (digest, stored)
    assert stored_adapter(store, digest) == stored
    assert [path.name for path in (store / "adapters").iterdir()] == [digest]
    (stored / WEIGHTS).write_bytes(b"damaged")
    with pytest.raises(AdapterError, match="changed on disk"):
        stored_adapter(store, digest)


def test_publishing_again_repairs_a_damaged_copy(adapter: Path, tmp_path: Path) -> None:
    """A stored copy that was damaged is replaced when the good bytes are published again."""
    digest, stored = publish_adapter(adapter, tmp_path)
    (stored / WEIGHTS).write_bytes(b"damaged")
    publish_adapter(adapter, tmp_path)
    assert stored_adapter(tmp_path, digest) == stored
    assert [path.name for path in (tmp_path / "adapters").iterdir()] == [digest]


def test_a_damaged_adapter_is_not_stored(adapter: Path, tmp_path: Path) -> None:
    """What fails verification never reaches the store."""
    set_tensors(poison(float("nan")))(adapter)
    with pytest.raises(AdapterError):
        publish_adapter(adapter, tmp_path / "store")
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("digest", ["", "../../etc", "a" * 63, "g" * 64, "a" * 64])
def test_unknown_digests_are_refused(tmp_path: Path, digest: str) -> None:
    """A digest that is malformed or absent is an error, never a path."""
    with pytest.raises(AdapterError):
        stored_adapter(tmp_path, digest)


def test_a_linked_folder_is_refused(adapter: Path, tmp_path: Path) -> None:
    """A symbolic link to an adapter is not an adapter."""
    (tmp_path / "link").symlink_to(adapter)
    with pytest.raises(AdapterError):
        adapter_digest(tmp_path / "link")
    shutil.rmtree(adapter)
    with pytest.raises(AdapterError):
        adapter_digest(adapter)
