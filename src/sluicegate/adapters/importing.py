"""An adapter that another tool trained, written as one that `verify_adapter` passes and every engine
loads, or refused by name.

What it computes stays the same: unequal ranks are padded with zeros, unequal scales are multiplied
into the second factor, layers that a pattern left out get a factor of zeros.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sluicegate.adapters import verify_adapter
from sluicegate.adapters.checks import BASE_PREFIX, CONFIG, INERT, WEIGHTS, base_shapes
from sluicegate.adapters.tensors import header
from sluicegate.errors import AdapterError
from sluicegate.hashing import digest_file, write_json

if TYPE_CHECKING:
    import torch

    Tensors = dict[str, torch.Tensor]

HINT = "docs/how-to/import-adapter.md says what can be brought in, and what to train instead."
HANDLED = {"rank_pattern", "alpha_pattern", "modules_to_save", "exclude_modules", "loftq_config"}
"""Fields that need not be empty: the first four are worked in, the fifth is of training only."""
REASONS = {
    "layer_replication": "it gives the base other layers",
    "trainable_token_indices": "it changes the embedding, which engines do not load",
    "target_parameters": "it adapts parameters of experts, which engines do not load",
    "lora_bias": "engines load no bias",
    "alora_invocation_tokens": "engines would apply it to the whole prompt",
}
_TOOLS = {
    "LLaMA-Factory": re.compile(r"llama-?factory", re.I),
    "axolotl": re.compile(r"axolotl", re.I),
    "Unsloth": re.compile(r"unsloth", re.I),
    "TRL": re.compile(r"\btrl\b", re.I),
}
_LORA = re.compile(
    r"(.+)\.(lora_A|lora_B|lora_magnitude_vector)(?:\.default)?(?:\.weight)?(?:\.default)?"
)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an adapter came from.

    Attributes:
        tool: what trained it, as far as the folder tells.
        base: the base model that its configuration names.
        files: the SHA-256 of what was brought in, by name.
        changed: what had to be written in another way, in words; it computes the same.
    """

    tool: str
    base: str
    files: Mapping[str, str]
    changed: tuple[str, ...] = ()


@dataclass(slots=True)
class _Lora:
    """The factors by module, and what was changed."""

    factors: dict[str, Tensors]
    changed: list[str] = field(default_factory=list)


def convert_adapter(folder: Path, out: Path, *, base_digest: str, base_path: Path) -> Origin:
    """Write the adapter in `folder` to the empty folder `out`, for the base in `base_path`.

    Only configuration and weights are read; whatever else lies beside them is left.

    Raises:
        AdapterError: it is damaged, does not fit the base, or changes what engines cannot load;
            names what.
    """
    from safetensors.torch import save_file

    config = _config(folder)
    header(folder / WEIGHTS)
    base = base_shapes(base_path)
    lora = _factors(folder, base, base_path)
    _check_ranks(lora, config)
    kept = _one_rank(lora, config)
    modules, layers = _one_set(lora, base, dora=bool(config.get("use_dora")))
    tensors = {
        f"base_model.model.{module}.{part}": tensor.contiguous()
        for module, parts in sorted(lora.factors.items())
        for part, tensor in parts.items()
    }
    save_file(tensors, out / WEIGHTS)
    whole = {
        "base_model_name_or_path": BASE_PREFIX + base_digest,
        "bias": "none",
        "inference_mode": True,
        "layers_to_transform": layers,
        "lora_dropout": 0.0,
        "peft_type": "LORA",
        "target_modules": modules,
        "task_type": "CAUSAL_LM",
        "use_dora": bool(config.get("use_dora")),
        **kept,
    }
    write_json(out / CONFIG, whole)
    verify_adapter(out, expected=None, base_digest=base_digest, base_path=base_path)
    named = str(config.get("base_model_name_or_path") or "")
    files = {name: digest_file(folder / name) for name in (CONFIG, WEIGHTS)}
    return Origin(_tool(folder, named), named, files, tuple(lora.changed))


def _config(folder: Path) -> dict[str, Any]:
    """The configuration, where it asks for nothing that cannot be kept."""
    if not (folder / WEIGHTS).is_file() and (folder / "adapter_model.bin").is_file():
        raise AdapterError(
            f"{folder}/adapter_model.bin is a pickle, which is never loaded.",
            hint="Save it as safetensors: model.save_pretrained(folder, safe_serialization=True).",
        )
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise AdapterError(f"{folder} has no {name}.", hint="Name the adapter's own folder.")
    try:
        config = json.loads((folder / CONFIG).read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise AdapterError(f"{folder / CONFIG} is not JSON: {error}") from error
    if not isinstance(config, dict):
        raise AdapterError(f"{folder / CONFIG} is not a JSON object.")
    where = folder / CONFIG
    for name in sorted(INERT - HANDLED):
        if config.get(name) not in (None, False, {}, [], ""):
            reason = REASONS.get(name, "it would change what the adapter computes")
            raise AdapterError(f"{where}: {name} is not supported: {reason}.", hint=HINT)
    for name, good in {
        "peft_type": config.get("peft_type") == "LORA",
        "task_type": config.get("task_type") in (None, "CAUSAL_LM"),
        "bias": config.get("bias", "none") == "none",
        "init_lora_weights": config.get("init_lora_weights", True) in (True, False, "gaussian"),
        "r": isinstance(config.get("r"), int) and config["r"] > 0,
        "lora_alpha": isinstance(config.get("lora_alpha"), int | float),
        **{name: isinstance(config.get(name) or {}, dict) for name in _PATTERNS},
    }.items():
        if not good:
            said = f"{where}: {name}: {str(config.get(name))[:60]} is not supported."
            raise AdapterError(said, hint=HINT)
    return config


_PATTERNS = ("rank_pattern", "alpha_pattern")


def _factors(folder: Path, base: Mapping[str, tuple[int, ...]], base_path: Path) -> _Lora:
    """The tensors by module; whole layers that were saved unchanged are left out."""
    from safetensors.torch import load_file

    lora = _Lora({})
    for key, tensor in load_file(folder / WEIGHTS).items():
        name = key.replace("_orig_mod.", "").removeprefix("base_model.model.")
        match = _LORA.fullmatch(name)
        if match is None:
            _check_unchanged(folder, name, tensor, base_path)
            lora.changed.append(f"{name}: as in the base, left out")
            continue
        if match[1] not in base:
            tied = match[1] == "lm_head"
            raise AdapterError(
                f"{folder}: {match[1]}: the base "
                + (
                    "ties it to its embedding: no engine adapts it."
                    if tied
                    else "has no such layer."
                ),
                hint=HINT,
            )
        part = match[2] if match[2].endswith("vector") else f"{match[2]}.weight"
        lora.factors.setdefault(match[1], {})[part] = tensor
    for module, parts in lora.factors.items():
        if not {"lora_A.weight", "lora_B.weight"} <= set(parts) or any(
            tensor.ndim != 2 for part, tensor in parts.items() if part.endswith("weight")
        ):
            raise AdapterError(f"{folder}: {module} lacks one of its factors.", hint=HINT)
    if not lora.factors:
        raise AdapterError(f"{folder} has no LoRA tensors.", hint=HINT)
    return lora


def _check_unchanged(folder: Path, name: str, tensor: torch.Tensor, base_path: Path) -> None:
    """A whole layer (modules_to_save) may be there, if it is the base's own."""
    import torch
    from safetensors import safe_open

    plain = name.replace(".modules_to_save", "").replace(".base_layer", "").replace(".default", "")
    names = [plain, "model.embed_tokens.weight"] if plain == "lm_head.weight" else [plain]
    for path in sorted(base_path.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            for found in names:
                if found in file.keys():  # noqa: SIM118  # it is no mapping
                    own = file.get_tensor(found)
                    if torch.equal(own.to(tensor.dtype), tensor):
                        return
                    names = [found]
    raise AdapterError(
        f"{folder}: {plain} was trained whole (modules_to_save), or is no LoRA tensor: engines load "
        "LoRA factors only.",
        hint=HINT,
    )


def _pattern(patterns: Mapping[str, Any] | None, module: str, otherwise: Any) -> Any:
    """What PEFT takes for `module`: the first pattern that its name ends with."""
    for pattern, value in (patterns or {}).items():
        if re.match(rf"(.*\.)?({pattern})$", module):
            return value
    return otherwise


def _check_ranks(lora: _Lora, config: Mapping[str, Any]) -> None:
    for module, parts in lora.factors.items():
        down, up = parts["lora_A.weight"].shape, parts["lora_B.weight"].shape
        wanted = _pattern(config.get("rank_pattern"), module, config["r"])
        if not down[0] == up[1] == wanted:
            raise AdapterError(
                f"{module}: its factors {tuple(down)}, {tuple(up)} are not of rank {wanted}, which "
                f"{CONFIG} gives.",
                hint=HINT,
            )


def _scale(config: Mapping[str, Any], module: str, rank: int) -> float:
    alpha = float(_pattern(config.get("alpha_pattern"), module, config["lora_alpha"]))
    return alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)


def _one_rank(lora: _Lora, config: Mapping[str, Any]) -> dict[str, Any]:
    """Rank, alpha and scaling of the whole adapter; modules that differ are made alike."""
    import torch

    ranks = {module: int(parts["lora_A.weight"].shape[0]) for module, parts in lora.factors.items()}
    scales = {module: _scale(config, module, rank) for module, rank in ranks.items()}
    rank = max(ranks.values())
    if len(set(ranks.values())) == len(set(scales.values())) == 1:
        alpha = _pattern(config.get("alpha_pattern"), next(iter(ranks)), config["lora_alpha"])
        return {"r": rank, "lora_alpha": alpha, "use_rslora": bool(config.get("use_rslora"))}
    for module, parts in lora.factors.items():
        down, up = parts["lora_A.weight"].float(), parts["lora_B.weight"].float()
        more = rank - ranks[module]
        parts["lora_A.weight"] = torch.nn.functional.pad(down, (0, 0, 0, more))
        parts["lora_B.weight"] = torch.nn.functional.pad(up * scales[module], (0, more))
    lora.changed.append(f"rank_pattern, alpha_pattern: every module has rank {rank} and scale 1")
    return {"r": rank, "lora_alpha": rank, "use_rslora": False}


def _one_set(
    lora: _Lora, base: Mapping[str, tuple[int, ...]], *, dora: bool
) -> tuple[list[str], list[int] | None]:
    """Names of modules and layers that say what is adapted; what they say too much gets zeros."""
    import torch

    endings = {module.rsplit(".", 1)[-1] for module in lora.factors}
    numbers = {module: re.search(r"\.(\d+)\.", module) for module in base}
    layer = {module: int(match[1]) for module, match in numbers.items() if match}
    able = [module for module in base if module.rsplit(".", 1)[-1] in endings]
    chosen = {layer.get(module) for module in lora.factors}
    everywhere = None in chosen or chosen == {layer.get(module) for module in able}
    wanted = [module for module in able if everywhere or layer.get(module) in chosen]
    missing = sorted(set(wanted) - set(lora.factors))
    if missing and dora:
        raise AdapterError(
            f"target_modules: DoRA on some layers of a kind only ({missing[0]} is left out) is not "
            "supported.",
            hint=HINT,
        )
    some = next(iter(lora.factors.values()))["lora_A.weight"]
    for module in missing:
        out, into = base[module]
        rank, kind = some.shape[0], some.dtype
        lora.factors[module] = {
            "lora_A.weight": torch.zeros(rank, into, dtype=kind),
            "lora_B.weight": torch.zeros(out, rank, dtype=kind),
        }
    if missing:
        lora.changed.append(
            f"target_modules: {len(missing)} modules that it leaves alone get zeros"
        )
    layers = None if everywhere else sorted(number for number in chosen if number is not None)
    return sorted(endings), layers


def _tool(folder: Path, base: str) -> str:
    """What trained it, by what it left in the folder."""
    page = folder / "README.md"
    traces = [path.name for path in folder.iterdir()] + [base]
    if page.is_file() and page.stat().st_size < 1 << 20:
        traces.append(page.read_text("utf-8", "replace"))
    text = "\n".join(traces)
    return next((tool for tool, sign in _TOOLS.items() if sign.search(text)), "PEFT")
