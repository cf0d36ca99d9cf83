"""What an adapter must be like before anything loads it: configuration, structure, values."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sluicegate.adapters.tensors import HINT, Tensor, header, largest
from sluicegate.errors import AdapterError

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
BASE_PREFIX = "sluicegate:"
"""`base_model_name_or_path` of our adapters is this prefix and the digest of the base."""
MAX_SCALE = 16.0
"""Largest `lora_alpha / r` accepted (for rank-stabilised LoRA as well); 1 to 4 is usual, 1e6 is
damage.
"""
MAX_RANK = 1024
MAX_CONFIG_BYTES = 64 * 1024
MAX_WEIGHTS_BYTES = 16 * 1024**3
MAX_WEIGHT = 1e4
"""Largest value accepted; trained ones are around 1, a DoRA magnitude may be a few hundred."""

_REQUIRED = {"peft_type", "r", "lora_alpha", "target_modules", "base_model_name_or_path"}
_FREE = {
    "peft_version",
    "revision",
    "inference_mode",
    "lora_dropout",
    "megatron_core",
    "qalora_group_size",
}
_CHECKED = {
    "task_type",
    "bias",
    "use_rslora",
    "use_dora",
    "layers_to_transform",
    "layers_pattern",
    "init_lora_weights",
}
INERT = {
    "alora_invocation_tokens", "alpha_pattern", "arrow_config", "auto_mapping", "corda_config",
    "ensure_weight_tying",
    "eva_config", "exclude_modules", "fan_in_fan_out", "kasa_config", "layer_replication", "loftq_config",
    "lora_bias", "lora_ga_config", "megatron_config", "modules_to_save", "monteclora_config",
    "rank_pattern",
    "target_parameters", "trainable_token_indices", "use_bdlora", "use_qalora", "velora_config",
}  # fmt: skip
"""Fields that PEFT writes and that must be empty: each of them would change what the adapter
computes.
"""


@dataclass(frozen=True, slots=True)
class Shape:
    """What the configuration promises: rank, modules, layers (None: all), DoRA."""

    rank: int
    modules: frozenset[str]
    layers: frozenset[int] | None
    dora: bool


def check_config(path: Path, base_digest: str | None) -> Shape:
    try:
        config = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise AdapterError(f"{path} is not JSON: {error}", hint=HINT) from error
    if not isinstance(config, dict):
        raise AdapterError(f"{path} is not a JSON object.", hint=HINT)
    if unknown := sorted(set(config) - _REQUIRED - _FREE - _CHECKED - INERT):
        raise AdapterError(f"{path}: unknown fields: {', '.join(unknown[:5])}.", hint=HINT)
    if missing := sorted(_REQUIRED - set(config)):
        raise AdapterError(f"{path}: missing fields: {', '.join(missing)}.", hint=HINT)
    if used := sorted(key for key in INERT if config.get(key) not in (None, False, {}, [])):
        raise AdapterError(f"{path}: {used[0]} is not supported and must be empty.", hint=HINT)
    _check_fields(path, config)
    base = config["base_model_name_or_path"]
    if base_digest is not None and base != BASE_PREFIX + base_digest:
        raise AdapterError(
            f"{path}: made for {str(base)[:40]!r}, not for the base {base_digest[:12]}.", hint=HINT
        )
    layers = config.get("layers_to_transform")
    return Shape(
        config["r"],
        frozenset(config["target_modules"]),
        frozenset(layers) if layers is not None else None,
        bool(config.get("use_dora")),
    )


def _check_fields(path: Path, config: Mapping[str, Any]) -> None:
    rank, alpha = config["r"], config["lora_alpha"]
    modules, layers = config["target_modules"], config.get("layers_to_transform")
    whole = isinstance(rank, int) and not isinstance(rank, bool) and 0 < rank <= MAX_RANK
    number = isinstance(alpha, int | float) and not isinstance(alpha, bool)
    start = config.get("init_lora_weights", True)
    flags = all(isinstance(config.get(key, False), bool) for key in ("use_rslora", "use_dora"))
    checks = {
        "peft_type": config["peft_type"] == "LORA",
        "task_type": config.get("task_type", "CAUSAL_LM") == "CAUSAL_LM",
        "bias": config.get("bias", "none") == "none",
        "layers_pattern": config.get("layers_pattern") in (None, [], ""),
        "use_rslora or use_dora": flags,
        "init_lora_weights (true, false or gaussian; others change the base)": start is True or start is False
        or start == "gaussian",
        f"r (1 to {MAX_RANK})": whole,
        f"lora_alpha (over 0, at most {MAX_SCALE:g} times r)": number and whole and 0 < alpha <= MAX_SCALE * rank,
        "target_modules (a list of module names)": isinstance(modules, list) and bool(modules)
        and all(isinstance(name, str) and re.fullmatch(r"\w{1,100}", name) for name in modules),
        "layers_to_transform": layers is None or (isinstance(layers, list) and bool(layers)
        and all(isinstance(layer, int) and not isinstance(layer,
        bool) and layer >= 0 for layer in layers)),
    }  # fmt: skip
    for field, good in checks.items():
        if not good:
            raise AdapterError(
                f"{path}: {field}: value not allowed: {str(config.get(field.split(' ')[0]))[:60]}.",
                hint=HINT,
            )


def base_shapes(base: Path) -> dict[str, tuple[int, ...]]:
    """Module name to weight shape (out, in), from the headers of the base's safetensors files."""
    return {
        name.removesuffix(".weight"): tensor.shape
        for path in sorted(base.glob("*.safetensors"))
        for name, tensor in header(path)[0].items()
        if name.endswith(".weight")
    }


def _layer(module: str) -> int | None:
    numbers = re.findall(r"\.(\d+)\.", module)
    return int(numbers[0]) if numbers else None


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the tensors are: module to part to tensor; `start` is where the header ends."""

    start: int
    modules: Mapping[str, Mapping[str, Tensor]]


def check_sizes(folder: Path) -> None:
    """Both files are of a size that an adapter may have, and the weights begin with a sound header.

    Raises:
        AdapterError: they are not.
    """
    for name, most in ((CONFIG, MAX_CONFIG_BYTES), (WEIGHTS, MAX_WEIGHTS_BYTES)):
        if (folder / name).stat().st_size > most:
            raise AdapterError(f"{folder / name} is larger than {most:,} bytes.", hint=HINT)
    header(folder / WEIGHTS)


def check_structure(path: Path, shape: Shape, base: Mapping[str, tuple[int, ...]] | None) -> Layout:
    """Names, completeness and shapes of all tensors, from the header alone.

    Raises:
        AdapterError: the first thing found wrong.
    """
    parts = ("lora_A.weight", "lora_B.weight", *(("lora_magnitude_vector",) if shape.dora else ()))
    tensors, start = header(path)
    found: dict[str, set[str]] = {}
    for key in tensors:
        match = re.fullmatch(
            r"base_model\.model\.(.+)\.(lora_A\.weight|lora_B\.weight|lora_magnitude_vector)", key
        )
        if match is None or match[2] not in parts:
            raise AdapterError(f"{path}: unexpected tensor {key[:120]}.", hint=HINT)
        found.setdefault(match[1], set()).add(match[2])
    _check_complete(path, shape, found, parts, base)
    modules = {}
    for module in sorted(found):
        named = {part: tensors[f"base_model.model.{module}.{part}"] for part in parts}
        _check_shapes(path, module, named, shape, base)
        modules[module] = named
    return Layout(start, modules)


def check_values(path: Path, layout: Layout, *, dora: bool) -> None:
    """All values are finite and of a plausible size, and the adapter changes something.

    Raises:
        AdapterError: the first tensor that is not, or all of them are zero.
    """
    effect = False
    for module, named in layout.modules.items():
        sizes = {part: largest(path, layout.start, tensor) for part, tensor in named.items()}
        for part, size in sizes.items():
            if not math.isfinite(size):
                raise AdapterError(
                    f"{path}: {module}.{part} holds values that are not finite numbers.", hint=HINT
                )
            if size > MAX_WEIGHT:
                raise AdapterError(
                    f"{path}: {module}.{part} holds {size:.3g}; over {MAX_WEIGHT:g} is damage.",
                    hint=HINT,
                )
        if sizes.get("lora_magnitude_vector") == 0:
            raise AdapterError(f"{path}: {module}: the magnitudes are all zero.", hint=HINT)
        effect = effect or dora or all(sizes.values())
    if not effect:
        raise AdapterError(
            f"{path} changes nothing: in every module one factor is all zero.",
            hint="It was never trained, or was emptied. " + HINT,
        )


def _check_complete(
    path: Path,
    shape: Shape,
    found: Mapping[str, set[str]],
    parts: tuple[str, ...],
    base: Mapping[str, tuple[int, ...]] | None,
) -> None:
    """Every module named, in every layer named, has every part; nothing else is there."""
    for module, present in sorted(found.items()):
        if present != set(parts):
            raise AdapterError(
                f"{path}: {module} lacks {', '.join(sorted(set(parts) - present))}.", hint=HINT
            )
    if base is not None:
        wanted = {
            name for name in base
            if name.rsplit(".", 1)[-1] in shape.modules and (shape.layers is None or _layer(name) in shape.layers)
        }  # fmt: skip
    else:
        layers = shape.layers if shape.layers is not None else {_layer(module) for module in found}
        stems = {re.match(r"(.*?\.)\d+(\..*)", module) for module in found}
        wanted = {
            f"{stem[1]}{layer}{stem[2]}"
            for stem in stems
            if stem is not None
            for layer in layers
            if layer is not None
        }
        wanted |= {module for module in found if _layer(module) is None}
    absent = {*shape.modules} ^ {module.rsplit(".", 1)[-1] for module in found}
    absent |= {
        f"layer {layer}"
        for layer in (shape.layers or frozenset()) - {_layer(module) for module in found}
    }
    if absent:
        raise AdapterError(
            f"{path}: {CONFIG} and tensors differ on {', '.join(sorted(absent))}.", hint=HINT
        )
    if not wanted or wanted != set(found):
        wrong = sorted(wanted ^ set(found))
        raise AdapterError(
            f"{path}: missing or unexpected: {', '.join(wrong[:3]) or 'no tensors at all'}.",
            hint=HINT,
        )


def _check_shapes(
    path: Path,
    module: str,
    tensors: Mapping[str, Tensor],
    shape: Shape,
    base: Mapping[str, tuple[int, ...]] | None,
) -> None:
    down, up = tensors["lora_A.weight"].shape, tensors["lora_B.weight"].shape
    flat = len(down) == len(up) == 2
    size = (up[0], down[1]) if flat else (0, 0)
    good = flat and down[0] == up[1] == shape.rank and (base is None or base[module] == size)
    if shape.dora and good:
        good = tensors["lora_magnitude_vector"].shape == (size[0],)
    if not good:
        raise AdapterError(
            f"{path}: {module}: shapes {down}, {up} do not fit rank {shape.rank} and the base "
            "model.",
            hint=HINT,
        )
