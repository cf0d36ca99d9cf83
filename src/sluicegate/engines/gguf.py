"""GGUF to safetensors, once: dequantised by transformers, published by rename."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

from sluicegate.errors import EnvironmentFailure, ModelError
from sluicegate.hashing import sync_folder

SPACE_FACTOR = 10
"""Free space asked for, in sizes of the GGUF file: a 4-bit file grows about eightfold as
float32.
"""


def convert(gguf: Path, target: Path, say: Callable[[str], None]) -> None:
    """Write the float32 safetensors folder `target` from a GGUF file; the caller locks `target`.

    The folder appears complete or not at all; what an earlier, killed conversion left is removed.

    Raises:
        ModelError: the file is not a GGUF model that transformers knows.
        EnvironmentFailure: too little disk space.
    """
    for left in target.parent.glob(f".{target.name}.*"):
        shutil.rmtree(left, ignore_errors=True)
    free, needed = shutil.disk_usage(target.parent).free, SPACE_FACTOR * gguf.stat().st_size
    if free < needed:
        raise EnvironmentFailure(
            f"converting {gguf.name} needs {needed / 1e9:.1f} GB in {target.parent}, "
            f"{free / 1e9:.1f} GB is free.",
            hint="Free disk space, or set SLUICE_CACHE to another folder.",
        )
    started = time.monotonic()
    say(f"Converting {gguf.name} to safetensors (once, about 30 s)")
    temporary = target.parent / f".{target.name}.{os.getpid()}"
    try:
        temporary.mkdir()
        _write(gguf, temporary)
        for path in temporary.iterdir():
            path.chmod(0o644)
            with path.open("rb") as stream:
                os.fsync(stream.fileno())
        sync_folder(temporary)
        if target.exists():
            shutil.rmtree(target)
        temporary.rename(target)
        sync_folder(target.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    say(f"Converted {gguf.name} in {time.monotonic() - started:.0f} s")


def _write(gguf: Path, folder: Path) -> None:
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    from sluicegate.engines.loading import quiet_transformers

    with quiet_transformers(bars=sys.stderr.isatty()):
        try:
            tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
            model = AutoModelForCausalLM.from_pretrained(
                gguf.parent,
                gguf_file=gguf.name,
                quantization_config=GgufConfig(dequantize=True),
                dtype=torch.float32,
            )
            model.config._name_or_path = gguf.stem
            model.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
        except SafetensorError as error:
            raise EnvironmentFailure(
                f"cannot write {folder}: {error}", hint="Free disk space, then run again."
            ) from error
        except (ValueError, KeyError, RuntimeError, EOFError) as error:
            raise ModelError(
                f"{gguf} cannot be converted: {error}",
                hint="Check that the file is complete and of a kind that transformers reads.",
            ) from error
