"""A LoRA adapter on a frozen model: attached by PEFT, written as `adapters` verifies it."""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict
from safetensors import SafetensorError
from safetensors.torch import save_file
from transformers import PreTrainedModel

from sluicegate.adapters import BASE_PREFIX, CONFIG, WEIGHTS, verify_adapter
from sluicegate.config import TuneParams
from sluicegate.errors import ConfigError, EnvironmentFailure
from sluicegate.hashing import sync_folder, write_json
from sluicegate.models import LoadedBase


def chosen_layers(params: TuneParams, count: int) -> list[int] | None:
    """Indices of the layers to adapt in a model of `count` layers; None for all of them.

    Raises:
        ConfigError: an index is out of range.
    """
    if params.layers == "all":
        return None
    if params.layers == "upper_half":
        return list(range(count // 2, count))
    layers = sorted({int(layer) for layer in params.layers})
    if not layers or layers[0] < 0 or layers[-1] >= count:
        raise ConfigError(
            f"tune.layers: {list(params.layers)}: the base has layers 0 to {count - 1}."
        )
    return layers


def attach(model: PreTrainedModel, params: TuneParams) -> torch.nn.Module:
    """Put a fresh adapter on `model`, initialised from `params.seed`.

    Raises:
        ConfigError: the base has no such modules or layers.
    """
    endings = {
        name.rsplit(".", 1)[-1]
        for name, module in model.named_modules()
        if hasattr(module, "weight")
    }
    if missing := sorted(set(params.target_modules) - endings):
        raise ConfigError(
            f"tune.target_modules: the base has no {', '.join(missing)}.",
            hint=f"It has: {', '.join(sorted(endings))}.",
        )
    if params.quantization != "none":
        from peft import prepare_model_for_kbit_training

        model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=params.rank,
        lora_alpha=params.alpha,
        lora_dropout=params.dropout,
        target_modules=list(params.target_modules),
        layers_to_transform=chosen_layers(params, int(model.config.num_hidden_layers)),
        use_dora=params.use_dora,
        use_rslora=params.use_rslora,
    )
    torch.manual_seed(params.seed)
    with warnings.catch_warnings():
        # PEFT 0.21 reads a name that transformers 5 has renamed
        warnings.simplefilter("ignore", FutureWarning)
        tuned: torch.nn.Module = get_peft_model(model, config)
    return tuned


def adapter_tensors(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The adapter's tensors under the names of its file, on the CPU, float32."""
    state: Mapping[str, torch.Tensor] = get_peft_model_state_dict(model)
    return {
        name: tensor.detach().to("cpu", torch.float32).contiguous()
        for name, tensor in sorted(state.items())
    }


def publish(model: torch.nn.Module, params: TuneParams, base: LoadedBase, out: Path) -> None:
    """Write the adapter beside `out`, verify it against the base, and rename it into place.

    Raises:
        EnvironmentFailure: the disk is full.
        AdapterError: what was written does not pass verification.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary, aside = (out.parent / f".{out.name}.{word}.{os.getpid()}" for word in ("new", "old"))
    config: Any = model.config  # PeftModel's, untyped
    layers = chosen_layers(params, int(config.num_hidden_layers))
    try:
        temporary.mkdir()
        save_tensors(adapter_tensors(model), temporary / WEIGHTS)
        write_json(
            temporary / CONFIG,
            {
                "base_model_name_or_path": BASE_PREFIX + base.digest,
                "bias": "none",
                "inference_mode": True,
                "layers_to_transform": layers,
                "lora_alpha": params.alpha,
                "lora_dropout": params.dropout,
                "peft_type": "LORA",
                "r": params.rank,
                "target_modules": sorted(params.target_modules),
                "task_type": "CAUSAL_LM",
                "use_dora": params.use_dora,
                "use_rslora": params.use_rslora,
            },
        )
        verify_adapter(temporary, expected=None, base_digest=base.digest, base_path=base.path)
        sync_folder(temporary)
        if out.exists():
            out.rename(aside)
        temporary.rename(out)
        sync_folder(out.parent)
    except OSError as error:
        raise EnvironmentFailure(
            f"cannot write {out}: {error.strerror}", hint="Free disk space, then run again."
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(aside, ignore_errors=True)


def save_tensors(tensors: Mapping[str, torch.Tensor], path: Path) -> None:
    """Write a safetensors file and make it durable.

    Raises:
        EnvironmentFailure: the disk is full.
    """
    try:
        save_file(dict(tensors), path)
        path.chmod(0o644)
        with path.open("rb") as stream:
            os.fsync(stream.fileno())
    except (OSError, SafetensorError) as error:
        raise EnvironmentFailure(
            f"cannot write {path}: {error}", hint="Free disk space, then run again."
        ) from error
