"""The training loop: packed batches, loss on answers, AdamW, checkpoints, exact resume."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from torch.nn.functional import cross_entropy

from sluicegate.config import TuneParams
from sluicegate.engines.attention import (
    Plan,
    plannable,
    planned,
    restarting_positions,
    use_planned_attention,
)
from sluicegate.engines.loading import choose_dtype, load_model, load_tokenizer
from sluicegate.errors import ConfigError, DataError, ModelError
from sluicegate.hashing import digest_value
from sluicegate.models import LoadedBase, Messages
from sluicegate.pace import Pace
from sluicegate.records import TuneSummary
from sluicegate.tuning import checkpoints as saved
from sluicegate.tuning.lora import attach, publish
from sluicegate.tuning.rows import Row, fill, schedule, tokenise

OnStep = Callable[[Mapping[str, float]], None]


@dataclass(slots=True)
class _Run:
    """What changes while training; `seconds` and `tokens` cover training steps only."""

    model: torch.nn.Module
    optimizer: torch.optim.Optimizer
    packed: bool
    step: int = 0
    seconds: float = 0.0
    tokens: int = 0
    curve: list[dict[str, float]] = field(default_factory=list)


def run(
    train: Sequence[tuple[Messages, str]],
    validation: Sequence[tuple[Messages, str]],
    *,
    base: LoadedBase,
    params: TuneParams,
    dtype: str,
    out: Path,
    checkpoints: Path,
    run_key: str,
    on_step: OnStep | None,
) -> TuneSummary:
    """See `sluicegate.tuning.tune`."""
    if params.method != "lora":
        raise ConfigError(
            f"tune.method {params.method!r} trains nothing.",
            hint="Skip the tune stage, or set it to lora.",
        )
    kind = choose_dtype(dtype)
    tokenizer = load_tokenizer(base.path)
    longest = min(base.context, params.max_tokens)
    rows, skipped = tokenise(tokenizer, train, longest)
    held, _ = tokenise(tokenizer, validation, longest)
    if not rows:
        raise DataError(
            f"no row to train on: {len(train)} given, {skipped} with more than {longest} tokens.",
            hint="The bound is the smaller of tune.max_tokens and the base's context.",
        )
    with torch.random.fork_rng():
        model = load_model(base.path, kind, quantization=params.quantization)
        state = _started(model, params)
        folder = saved.run_folder(checkpoints, run_key)
        _restore(state, saved.latest(folder))
        batches = schedule(rows, params)
        _steps(state, batches, held, params, folder, on_step)
        if not state.curve or "validation_loss" not in state.curve[-1]:
            state.curve[-1]["validation_loss"] = _mean_loss(
                state, held, params.batch_tokens, state.curve[-1]["loss"]
            )
        publish(state.model, params, base, out)
    shutil.rmtree(folder, ignore_errors=True)
    weights = list(state.model.parameters())
    return TuneSummary(
        steps=len(batches),
        epochs=sum(len(batch) for batch in batches) / len(rows),
        train_loss=state.curve[-1]["loss"],
        validation_loss=state.curve[-1]["validation_loss"],
        useful_tokens_per_second=state.tokens / max(state.seconds, 1e-9),
        seconds=state.seconds,
        trainable_parameters=sum(weight.numel() for weight in weights if weight.requires_grad),
        total_parameters=sum(weight.numel() for weight in weights),
        examples=len(rows),
        skipped_over_length=skipped,
        dtype=kind,
        curve=tuple(state.curve),
    )


def _started(model: Any, params: TuneParams) -> _Run:
    """The model with its fresh adapter, before the first step."""
    packed = plannable(model.config)
    tuned = attach(model, params)
    if packed:
        use_planned_attention(model)
    trainable = [weight for weight in tuned.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(
        trainable, lr=params.learning_rate, weight_decay=params.weight_decay
    )
    return _Run(tuned, optimizer, packed)


def learning_rate(step: int, steps: int, params: TuneParams) -> float:
    """Rate of steps 1 to `steps`: linear warmup over `warmup_fraction`, then half a cosine to 0.

    Example:
        >>> from sluicegate.config import TuneParams
        >>> [round(learning_rate(s, 4, TuneParams(learning_rate=1, warmup_fraction=0.25)), 2)
        ...     for s in (1, 2, 3, 4)]
        [1.0, 1.0, 0.75, 0.25]
    """
    warmup = math.ceil(params.warmup_fraction * steps)
    if step <= warmup:
        return params.learning_rate * step / warmup
    share = (step - 1 - warmup) / max(1, steps - warmup)
    return params.learning_rate * 0.5 * (1 + math.cos(math.pi * share))


def _steps(
    state: _Run,
    batches: list[list[Row]],
    held: list[Row],
    params: TuneParams,
    folder: Path,
    on_step: OnStep | None,
) -> None:
    trainable = [weight for group in state.optimizer.param_groups for weight in group["params"]]
    timed = Pace()
    while state.step < len(batches):
        batch, started = batches[state.step], time.perf_counter()
        state.step += 1
        rate = learning_rate(state.step, len(batches), params)
        for group in state.optimizer.param_groups:
            group["lr"] = rate
        # Dropout is seeded by step, so that a resumed run draws what the uninterrupted one drew.
        torch.manual_seed(int(digest_value([params.seed, state.step])[:15], 16))
        state.model.train()
        loss = _backward(state, batch)
        if not math.isfinite(loss):
            raise ModelError(
                f"the loss of step {state.step} is {loss}: tuning diverged.",
                hint="Lower tune.learning_rate.",
            )
        torch.nn.utils.clip_grad_norm_(trainable, params.gradient_clip)
        state.optimizer.step()
        state.optimizer.zero_grad(set_to_none=True)
        state.seconds += time.perf_counter() - started
        state.tokens += sum(len(row.tokens) for row in batch)
        point = {"step": float(state.step), "loss": loss, "learning_rate": rate}
        if state.step % params.validation_steps == 0 or state.step == len(batches):
            point["validation_loss"] = _mean_loss(state, held, params.batch_tokens, loss)
        state.curve.append(point)
        if state.step % params.checkpoint_steps == 0 and state.step < len(batches):
            saved.save(folder, _snapshot(state))
        if on_step is not None:
            pace = {
                "steps": float(len(batches)),
                "tokens_per_second": state.tokens / state.seconds,
            }
            left = timed.left(state.step, len(batches))
            if left is not None:
                pace["seconds_left"] = left
            on_step({**point, **pace})


def _backward(state: _Run, batch: Sequence[Row]) -> float:
    """Gradients of the mean loss over the batch's answer tokens; returns that loss."""
    count = sum(row.answer for row in batch)
    total = 0.0
    for group in [batch] if state.packed else [[row] for row in batch]:
        loss = _summed_loss(state, group) / count
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        total += loss.item()
    return total


def _summed_loss(state: _Run, rows: Sequence[Row]) -> torch.Tensor:
    """Summed negative log-likelihood of the answers; only they are projected to the vocabulary."""
    device = next(state.model.parameters()).device
    lengths = tuple(len(row.tokens) for row in rows)
    tokens = torch.tensor([token for row in rows for token in row.tokens], device=device)
    ends = torch.tensor(lengths).cumsum(0).tolist()
    targets = torch.cat(
        [torch.arange(end - row.answer, end) for row, end in zip(rows, ends, strict=True)]
    ).to(device)
    with planned(Plan(lengths=lengths)):
        out = state.model(
            input_ids=tokens[None],
            position_ids=restarting_positions(lengths, device),
            use_cache=False,
            logits_to_keep=targets - 1,
        )
    return cross_entropy(out.logits[0].float(), tokens[targets], reduction="sum")


def _mean_loss(state: _Run, rows: Sequence[Row], batch_tokens: int, otherwise: float) -> float:
    """Mean loss per answer token over `rows` without dropout; `otherwise` where there are none."""
    if not rows:
        return otherwise
    state.model.eval()
    total = 0.0
    with torch.no_grad():
        for batch in fill(rows, batch_tokens):
            for group in [batch] if state.packed else [[row] for row in batch]:
                total += _summed_loss(state, group).item()
    return total / sum(row.answer for row in rows)


def _named(state: _Run) -> dict[str, torch.nn.Parameter]:
    return {name: weight for name, weight in state.model.named_parameters() if weight.requires_grad}


def _snapshot(state: _Run) -> saved.Checkpoint:
    tensors = {}
    for name, weight in _named(state).items():
        tensors[f"weight/{name}"] = weight.detach().cpu().contiguous()
        for key, value in state.optimizer.state[weight].items():
            tensors[f"{key}/{name}"] = torch.as_tensor(value).detach().cpu().contiguous()
    progress = {"seconds": state.seconds, "tokens": state.tokens, "curve": state.curve}
    return saved.Checkpoint(state.step, tensors, progress)


def _restore(state: _Run, checkpoint: saved.Checkpoint | None) -> None:
    if checkpoint is None:
        return
    fresh = state.optimizer.state_dict()
    for number, (name, weight) in enumerate(_named(state).items()):
        with torch.no_grad():
            weight.copy_(checkpoint.tensors[f"weight/{name}"])
        fresh["state"][number] = {
            key: checkpoint.tensors[f"{key}/{name}"] for key in ("step", "exp_avg", "exp_avg_sq")
        }
    state.optimizer.load_state_dict(fresh)
    state.step = checkpoint.step
    progress = cast(dict[str, Any], checkpoint.state)
    state.seconds, state.tokens = float(progress["seconds"]), int(progress["tokens"])
    state.curve = [dict(point) for point in progress["curve"]]
