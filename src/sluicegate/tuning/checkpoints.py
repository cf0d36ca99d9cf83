"""State of an interrupted run: safetensors and JSON; whole or absent, checked before use."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from sluicegate.errors import EnvironmentFailure, IntegrityError
from sluicegate.hashing import digest_file, read_json, sync_folder, write_json
from sluicegate.tuning.lora import save_tensors

KEEP = 2


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Everything the next step needs: `tensors` of adapter and optimiser, `state` as JSON."""

    step: int
    tensors: Mapping[str, torch.Tensor]
    state: Mapping[str, Any]


def run_folder(checkpoints: Path, run_key: str) -> Path:
    """Folder of one run's checkpoints."""
    return checkpoints / re.sub(r"[^0-9A-Za-z_-]", "_", run_key)[:64]


def save(folder: Path, checkpoint: Checkpoint) -> None:
    """Write `folder/step-<n>` by rename and keep the last two.

    Raises:
        EnvironmentFailure: the disk is full; older checkpoints stay.
    """
    target = folder / f"step-{checkpoint.step:07d}"
    temporary = folder / f".new.{os.getpid()}"
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        save_tensors(checkpoint.tensors, temporary / "tensors.safetensors")
        digest = digest_file(temporary / "tensors.safetensors")
        write_json(
            temporary / "state.json",
            {"step": checkpoint.step, "tensors": digest, "state": checkpoint.state},
        )
        shutil.rmtree(target, ignore_errors=True)
        temporary.rename(target)
        sync_folder(folder)
    except OSError as error:
        raise EnvironmentFailure(
            f"cannot write a checkpoint in {folder}: {error.strerror}",
            hint="Free disk space, then run again.",
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    for old in sorted(folder.glob("step-*"))[:-KEEP]:
        shutil.rmtree(old, ignore_errors=True)


def latest(folder: Path) -> Checkpoint | None:
    """The last intact checkpoint, or None; a damaged one is passed over."""
    for path in sorted(folder.glob("step-*"), reverse=True):
        try:
            record = read_json(path / "state.json")
            if digest_file(path / "tensors.safetensors") == record["tensors"]:
                return Checkpoint(
                    int(record["step"]), load_file(path / "tensors.safetensors"), record["state"]
                )
        except (IntegrityError, OSError, SafetensorError, KeyError, TypeError, ValueError):
            continue
    return None
