"""LoRA tuning: examples and a base model in, a sealed adapter and a summary out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sluicegate.config import TuneParams
from sluicegate.errors import local_packages
from sluicegate.records import TuneSummary

if TYPE_CHECKING:
    from sluicegate.models import LoadedBase, Messages

__all__ = ["tune"]


def tune(
    train: Sequence[tuple[Messages, str]],
    validation: Sequence[tuple[Messages, str]],
    *,
    base: LoadedBase,
    params: TuneParams,
    dtype: str,
    out: Path,
    checkpoints: Path,
    run_key: str,
    on_step: Callable[[Mapping[str, float]], None] | None = None,
) -> TuneSummary:
    """Tune a LoRA adapter on (messages, answer) pairs in the chat template; loss on answers only.

    Rows longer than `params.max_tokens` or the base's context are left out and counted, never cut.
    Every `params.checkpoint_steps` the state is written below `checkpoints/<run_key>`; after a kill
    a call with the same `run_key` goes on and ends with the same weights. The checkpoints are
    removed when `out` is in place.

    Args:
        validation: rows for the validation loss; where there are none the training loss stands in
            for it.
        base: the resolved base model; it stays frozen.
        dtype: number format of the frozen base: `float32`, `bfloat16` or `auto` (measured); the
            adapter is float32.
        out: folder to publish; it appears, or replaces an older one, complete: adapter_config.json
            and adapter_model.safetensors.
        run_key: digest of everything that decides the result; names the folder of this run's
            checkpoints.
        on_step: called after each step with `step`, `steps`, `loss` (nats per answer token),
            `learning_rate`, `tokens_per_second` (no padding counted), from the second step on
            `seconds_left` and, every `params.validation_steps`, `validation_loss`.

    Raises:
        DataError: no row is left to train on.
        ConfigError: the base has no such modules or layers.
        ModelError: the base cannot be loaded, or the loss is no longer a finite number.
        EnvironmentFailure: the disk is full.
        MissingExtraError: the extra `local` is not installed.
    """
    with local_packages():
        from sluicegate.tuning.training import run

    return run(
        train,
        validation,
        base=base,
        params=params,
        dtype=dtype,
        out=out,
        checkpoints=checkpoints,
        run_key=run_key,
        on_step=on_step,
    )
