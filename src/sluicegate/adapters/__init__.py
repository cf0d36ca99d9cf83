"""LoRA adapters as sealed folders: verified before they are loaded, stored under the digest of their bytes.

PEFT loads damaged adapters without a word (NaN, renamed or missing tensors, another base, any alpha), so
nothing reaches it that `verify_adapter` has not passed. An adapter is exactly two files, `adapter_config.json` and
`adapter_model.safetensors`.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sluicegate.adapters.tensors import HINT, Tensor, finite, header
from sluicegate.errors import AdapterError, EnvironmentFailure, IntegrityError
from sluicegate.hashing import digest_folder, sync_folder

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
BASE_PREFIX = "sluicegate:"
"""`base_model_name_or_path` of our adapters is this prefix and the digest of the base."""
MAX_SCALE = 16.0
"""Largest `lora_alpha / r` accepted (for rank-stabilised LoRA as well); 1 to 4 is usual, 1e6 is damage."""
MAX_RANK = 1024
MAX_CONFIG_BYTES = 64 * 1024

_REQUIRED = {"peft_type", "r", "lora_alpha", "target_modules", "base_model_name_or_path"}
_FREE = {
    "peft_version",
    "revision",
    "inference_mode",
    "lora_dropout",
    "init_lora_weights",
    "megatron_core",
    "qalora_group_size",
}
_CHECKED = {"task_type", "bias", "use_rslora", "use_dora", "layers_to_transform", "layers_pattern"}
_INERT = {
    "alora_invocation_tokens", "alpha_pattern", "arrow_config", "auto_mapping", "corda_config", "ensure_weight_tying",
    "eva_config", "exclude_modules", "fan_in_fan_out", "kasa_config", "layer_replication", "loftq_config",
    "lora_bias", "lora_ga_config", "megatron_config", "modules_to_save", "monteclora_config", "rank_pattern",
    "target_parameters", "trainable_token_indices", "use_bdlora", "use_qalora", "velora_config",
}  # fmt: skip
"""Fields that PEFT writes and that must be empty: each of them would change what the adapter computes."""


@dataclass(frozen=True, slots=True)
class _Shape:
    """What the configuration promises: rank, modules, layers (None: all), DoRA."""

    rank: int
    modules: frozenset[str]
    layers: frozenset[int] | None
    dora: bool


def adapter_digest(folder: Path) -> str:
    """Digest of an adapter folder (`hashing.digest_folder`): the name under which it is stored.

    Raises:
        AdapterError: the folder is absent or does not hold exactly the two files.
    """
    _check_files(folder)
    try:
        return digest_folder(folder)
    except (IntegrityError, OSError) as error:
        raise AdapterError(f"{folder}: {error}", hint=HINT) from error


def verify_adapter(
    folder: Path,
    *,
    expected: str | None,
    base_digest: str | None = None,
    base_path: Path | None = None,
) -> None:
    """Check an adapter before anything loads it.

    Looks at: files and digest; fields of the configuration and their values; alpha against rank; names, shapes and
    ranks of the tensors; whether they are complete and finite; the base they were made for.

    Args:
        folder: the adapter.
        expected: digest it must have, or None where none is recorded yet.
        base_digest: digest of the base it must have been made for, or None to leave that open.
        base_path: folder of the base; with it the tensors must fit that model's layers exactly.

    Raises:
        AdapterError: the first thing found wrong.
    """
    found = adapter_digest(folder)
    if expected is not None and found != expected:
        raise AdapterError(
            f"{folder} has digest {found[:12]}, {expected[:12]} is recorded.", hint=HINT
        )
    shape = _check_config(folder / CONFIG, base_digest)
    _check_weights(
        folder / WEIGHTS, shape, _base_shapes(base_path) if base_path is not None else None
    )


def publish_adapter(folder: Path, store: Path) -> tuple[str, Path]:
    """Copy a verified adapter into `store/adapters/<digest>`; a second call with the same bytes changes nothing.

    Returns:
        The digest and the stored folder.

    Raises:
        AdapterError: the adapter fails verification.
        EnvironmentFailure: the store cannot be written; nothing half-made stays.
    """
    verify_adapter(folder, expected=None)
    digest = adapter_digest(folder)
    target = store / "adapters" / digest
    if _holds(target, digest):
        return digest, target
    temporary: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{digest[:12]}."))
        for name in (CONFIG, WEIGHTS):
            shutil.copyfile(folder / name, temporary / name)
            with (temporary / name).open("rb") as stream:
                os.fsync(stream.fileno())
        sync_folder(temporary)
        temporary.chmod(0o755)
        if adapter_digest(temporary) != digest:
            raise AdapterError(f"{folder} changed while it was copied.", hint="Run again.")
        _replace(temporary, target, digest)
        sync_folder(target.parent)
    except OSError as error:
        raise EnvironmentFailure(
            f"cannot store an adapter in {store}: {error.strerror}",
            hint="Free disk space, then run again.",
        ) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
    return digest, target


def stored_adapter(store: Path, digest: str) -> Path:
    """Folder of a stored adapter, its bytes re-hashed.

    Raises:
        AdapterError: there is none of that digest, or its bytes are no longer those.
    """
    if not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise AdapterError(f"{digest!r} is not an adapter digest.")
    folder = store / "adapters" / digest
    if not folder.is_dir():
        raise AdapterError(
            f"the store has no adapter {digest[:12]}.", hint=f"Looked in {folder.parent}."
        )
    if adapter_digest(folder) != digest:
        raise AdapterError(f"the stored adapter {digest[:12]} was changed on disk.", hint=HINT)
    return folder


def _holds(target: Path, digest: str) -> bool:
    try:
        return adapter_digest(target) == digest
    except AdapterError:
        return False


def _replace(temporary: Path, target: Path, digest: str) -> None:
    """Rename into place; a damaged folder there gives way, one that another process just published stays."""
    try:
        temporary.rename(target)
    except OSError:
        if _holds(target, digest):
            return
        aside = Path(tempfile.mkdtemp(dir=target.parent, prefix=".damaged."))
        target.rename(aside / "old")
        temporary.rename(target)
        shutil.rmtree(aside, ignore_errors=True)


def _check_files(folder: Path) -> None:
    if folder.is_symlink() or not folder.is_dir():
        raise AdapterError(f"{folder} is not an adapter folder.", hint=HINT)
    names = {path.name for path in folder.iterdir()}
    for path in folder.iterdir():
        if path.is_symlink() or not path.is_file():
            raise AdapterError(f"{path}: not a plain file.", hint=HINT)
    if names != {CONFIG, WEIGHTS}:
        wrong = ", ".join(sorted(names ^ {CONFIG, WEIGHTS}))
        raise AdapterError(
            f"{folder}: missing or unexpected: {wrong}.",
            hint=f"An adapter is {CONFIG} and {WEIGHTS}, nothing else.",
        )


def _check_config(path: Path, base_digest: str | None) -> _Shape:
    if path.stat().st_size > MAX_CONFIG_BYTES:
        raise AdapterError(f"{path} is larger than {MAX_CONFIG_BYTES} bytes.", hint=HINT)
    try:
        config = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise AdapterError(f"{path} is not JSON: {error}", hint=HINT) from error
    if not isinstance(config, dict):
        raise AdapterError(f"{path} is not a JSON object.", hint=HINT)
    if unknown := sorted(set(config) - _REQUIRED - _FREE - _CHECKED - _INERT):
        raise AdapterError(f"{path}: unknown fields: {', '.join(unknown[:5])}.", hint=HINT)
    if missing := sorted(_REQUIRED - set(config)):
        raise AdapterError(f"{path}: missing fields: {', '.join(missing)}.", hint=HINT)
    if used := sorted(key for key in _INERT if config.get(key) not in (None, False, {}, [])):
        raise AdapterError(f"{path}: {used[0]} is not supported and must be empty.", hint=HINT)
    _check_values(path, config)
    base = config["base_model_name_or_path"]
    if base_digest is not None and base != BASE_PREFIX + base_digest:
        raise AdapterError(
            f"{path}: made for {str(base)[:40]!r}, not for the base {base_digest[:12]}.", hint=HINT
        )
    layers = config.get("layers_to_transform")
    return _Shape(
        config["r"],
        frozenset(config["target_modules"]),
        frozenset(layers) if layers is not None else None,
        bool(config.get("use_dora")),
    )


def _check_values(path: Path, config: Mapping[str, Any]) -> None:
    rank, alpha = config["r"], config["lora_alpha"]
    modules, layers = config["target_modules"], config.get("layers_to_transform")
    whole = isinstance(rank, int) and not isinstance(rank, bool) and 0 < rank <= MAX_RANK
    number = isinstance(alpha, int | float) and not isinstance(alpha, bool)
    flags = all(isinstance(config.get(key, False), bool) for key in ("use_rslora", "use_dora"))
    checks = {
        "peft_type": config["peft_type"] == "LORA",
        "task_type": config.get("task_type", "CAUSAL_LM") == "CAUSAL_LM",
        "bias": config.get("bias", "none") == "none",
        "layers_pattern": config.get("layers_pattern") in (None, [], ""),
        "use_rslora or use_dora": flags,
        f"r (1 to {MAX_RANK})": whole,
        f"lora_alpha (over 0, at most {MAX_SCALE:g} times r)": number and whole and 0 < alpha <= MAX_SCALE * rank,
        "target_modules (a list of module names)": isinstance(modules, list) and bool(modules)
        and all(isinstance(name, str) and re.fullmatch(r"\w{1,100}", name) for name in modules),
        "layers_to_transform": layers is None or (isinstance(layers, list) and bool(layers)
        and all(isinstance(layer, int) and not isinstance(layer, bool) and layer >= 0 for layer in layers)),
    }  # fmt: skip
    for field, good in checks.items():
        if not good:
            raise AdapterError(
                f"{path}: {field}: value not allowed: {str(config.get(field.split(' ')[0]))[:60]}.",
                hint=HINT,
            )


def _base_shapes(base: Path) -> dict[str, tuple[int, ...]]:
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


def _check_weights(path: Path, shape: _Shape, base: Mapping[str, tuple[int, ...]] | None) -> None:
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
    for module in sorted(found):
        named = {part: tensors[f"base_model.model.{module}.{part}"] for part in parts}
        _check_shapes(path, module, named, shape, base)
        for part, tensor in named.items():
            if not finite(path, start, tensor):
                raise AdapterError(
                    f"{path}: {module}.{part} holds values that are not finite numbers.", hint=HINT
                )


def _check_complete(
    path: Path,
    shape: _Shape,
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
    shape: _Shape,
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
            f"{path}: {module}: shapes {down}, {up} do not fit rank {shape.rank} and base.",
            hint=HINT,
        )
