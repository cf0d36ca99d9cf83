"""Attention without padding: sequences side by side in one row, or one new token for each.

transformers looks attention up by name; `use_planned_attention` registers ours, which reads what
the caller planned. It suits decoders whose layers all attend to everything before them; `plannable`
says which those are.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, PreTrainedModel

NAME = "sluicegate_planned"
FAMILIES = frozenset({"llama", "mistral", "qwen2", "qwen3", "smollm3", "granite", "olmo2"})


@dataclass(frozen=True, slots=True)
class Plan:
    """What new tokens look at.

    Attributes:
        lengths: causal sequences end to end in a row.
        mask: (batch, 1, 1, span), True where the one new token of each sequence looks.
        shared: the keys begin with so many tokens that every sequence goes on from; where the
            queries begin with them too, they are read in this pass.
    """

    lengths: tuple[int, ...] = ()
    mask: torch.Tensor | None = None
    shared: int = 0


_PLAN: ContextVar[Plan | None] = ContextVar("plan", default=None)


def plannable(config: Any) -> bool:
    """Whether a model of this configuration runs under a plan: a known family, full attention."""
    kinds = getattr(config, "layer_types", None) or []
    windowed = getattr(config, "sliding_window", None) and getattr(
        config, "use_sliding_window", True
    )
    return (
        config.model_type in FAMILIES
        and set(kinds) <= {"full_attention"}
        and (bool(kinds) or not windowed)
    )


def use_planned_attention(model: PreTrainedModel) -> None:
    """Switch `model` to planned attention: every forward pass must then run inside `planned`."""
    AttentionInterface.register(NAME, _attend)
    model.set_attn_implementation(NAME)


@contextlib.contextmanager
def planned(plan: Plan) -> Iterator[None]:
    """Forward passes inside the block attend as `plan` says."""
    token = _PLAN.set(plan)
    try:
        yield
    finally:
        _PLAN.reset(token)


def restarting_positions(
    lengths: Sequence[int], device: torch.device, first: int = 0
) -> torch.Tensor:
    """Positions (1, sum of lengths) that start at `first` in every sequence."""
    return torch.cat([torch.arange(first, first + length, device=device) for length in lengths])[
        None
    ]


def _attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **rest: Any,
) -> tuple[torch.Tensor, None]:
    """transformers' attention: query (batch, heads, new, size), key and value (..., span, size)."""
    del module, attention_mask, rest
    plan = _PLAN.get()
    if plan is None:
        raise RuntimeError("planned attention was called outside `planned`")
    grouped = query.shape[1] != key.shape[1]
    if plan.mask is not None:
        out = scaled_dot_product_attention(
            query, key, value, attn_mask=plan.mask, scale=scaling, enable_gqa=grouped
        )
        return out.transpose(1, 2).contiguous(), None
    if plan.shared:
        return _continue_shared(plan, query, key, value, scaling), None
    parts = [
        scaled_dot_product_attention(
            q, k, v, dropout_p=dropout, is_causal=True, scale=scaling, enable_gqa=grouped
        )
        for q, k, v in zip(
            *(torch.split(side, list(plan.lengths), dim=2) for side in (query, key, value)),
            strict=True,
        )
    ]
    out = parts[0] if len(parts) == 1 else torch.cat(parts, dim=2)
    return out.transpose(1, 2).contiguous(), None


def _continue_shared(
    plan: Plan, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float | None
) -> torch.Tensor:
    """Each sequence sees the shared tokens and its own before it; (batch, new, heads, size)."""
    grouped = query.shape[1] != key.shape[1]
    shared, lengths = plan.shared, list(plan.lengths)
    common, parts = (key[:, :, :shared], value[:, :, :shared]), []
    reading = query.shape[2] - sum(lengths)
    if reading:
        parts.append(
            scaled_dot_product_attention(
                query[:, :, :reading], *common, is_causal=True, scale=scaling, enable_gqa=grouped
            )
        )
    own = (query[:, :, reading:], key[:, :, shared:], value[:, :, shared:])
    for q, k, v in zip(*(torch.split(side, lengths, dim=2) for side in own), strict=True):
        sees = q.new_ones((q.shape[2], shared + q.shape[2]), dtype=torch.bool).tril(shared)
        k, v = torch.cat((common[0], k), dim=2), torch.cat((common[1], v), dim=2)
        parts.append(
            scaled_dot_product_attention(q, k, v, attn_mask=sees, scale=scaling, enable_gqa=grouped)
        )
    return torch.cat(parts, dim=2).transpose(1, 2).contiguous()
