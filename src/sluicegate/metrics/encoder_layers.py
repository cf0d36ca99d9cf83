"""The layers of a BERT-like encoder one at a time: none above the one that is read, and from a kept one on.

Nothing is padded: tokens of many texts lie one after another, only attention looks at texts, those of one length
together. The products run in oneDNN, which takes the widest instructions of the processor; PyTorch's own linear
layer asks MKL, which takes half as wide ones on AMD.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

LAYERED = frozenset({"bert", "roberta", "xlm-roberta", "camembert"})
BATCH_TOKENS = 2048  # more fall out of the processor's caches

Vectors = npt.NDArray[np.float32]
Linear = tuple[Any, Any]  # weight and bias


class Begun(NamedTuple):
    """A text in tokens and how far it has come: `vectors` are the states after `layer`, none at 0."""

    ids: tuple[int, ...]
    layer: int = 0
    vectors: Vectors | None = None


@dataclass(frozen=True, slots=True)
class Layer:
    """What one layer computes with; queries, keys and values come of one product. No activation stands for exact GELU."""

    heads: int
    mixed: Linear
    out: Linear
    wide: Linear
    narrow: Linear
    activation: Any
    norms: tuple[Any, Any]


def layers_of(model: Any) -> list[Layer]:
    """The layers of a BERT-like `model` of transformers, the lowest first; none of a model of another kind."""
    import torch

    config = model.config
    if config.model_type not in LAYERED or config.is_decoder:
        return []

    reorder = torch.ops.mkldnn._reorder_linear_weight if _onednn() else None

    def linear(*parts: Any) -> Linear:
        weight, bias = (
            torch.cat([getattr(part, name).detach() for part in parts])
            for name in ("weight", "bias")
        )
        return (reorder(weight, BATCH_TOKENS) if reorder else weight), bias

    return [
        Layer(
            config.num_attention_heads,
            linear(
                layer.attention.self.query, layer.attention.self.key, layer.attention.self.value
            ),
            linear(layer.attention.output.dense),
            linear(layer.intermediate.dense),
            linear(layer.output.dense),
            None if config.hidden_act == "gelu" else layer.intermediate.intermediate_act_fn,
            (layer.attention.output.LayerNorm, layer.output.LayerNorm),
        )
        for layer in model.encoder.layer
    ]


def run(
    embeddings: Callable[..., Any], layers: Sequence[Layer], texts: Mapping[int, Begun]
) -> Iterator[tuple[int, Vectors]]:
    """Place and states after the last of `layers` of each text, in an order of its own; none has come that far yet."""
    import torch

    def layer_of(place: int) -> int:
        return texts[place].layer

    for begun, group in groupby(sorted(texts, key=layer_of), key=layer_of):
        for batch in _batches(sorted(group, key=lambda place: len(texts[place].ids)), texts):
            lengths = [
                (size, len(list(same)))
                for size, same in groupby(len(texts[place].ids) for place in batch)
            ]
            with torch.inference_mode():
                states = _first(embeddings, batch, texts)
                for layer in layers[begun:]:
                    states = _through(layer, states, lengths)
            flat, start = states.numpy(), 0
            for place in batch:
                stop = start + len(texts[place].ids)
                yield place, flat[start:stop].copy()
                start = stop


def _batches(order: Sequence[int], texts: Mapping[int, Begun]) -> Iterator[list[int]]:
    batch: list[int] = []
    tokens = 0
    for place in order:
        size = len(texts[place].ids)
        if batch and tokens + size > BATCH_TOKENS:
            yield batch
            batch, tokens = [], 0
        batch.append(place)
        tokens += size
    if batch:
        yield batch


def _first(embeddings: Callable[..., Any], batch: Sequence[int], texts: Mapping[int, Begun]) -> Any:
    """States that the texts of a batch, sorted by length, have come to: (tokens, width)."""
    import torch

    kept = [vectors for place in batch if (vectors := texts[place].vectors) is not None]
    if kept:
        return torch.from_numpy(np.concatenate(kept))
    made = [
        embeddings(input_ids=torch.tensor(list(same))).flatten(0, 1)
        for _, same in groupby((texts[place].ids for place in batch), key=len)
    ]
    return torch.cat(made)


def _through(layer: Layer, states: Any, lengths: Sequence[tuple[int, int]]) -> Any:
    import torch

    mixed = _product(states, layer.mixed)
    seen = torch.empty_like(states)
    start = 0
    for size, count in lengths:
        stop = start + size * count
        queries, keys, values = (
            mixed[start:stop].view(count, size, 3, layer.heads, -1).permute(2, 0, 3, 1, 4)
        )
        found = torch.nn.functional.scaled_dot_product_attention(queries, keys, values)
        seen[start:stop].view(count, size, layer.heads, -1).copy_(found.transpose(1, 2))
        start = stop
    states = layer.norms[0](_product(seen, layer.out).add_(states))
    if layer.activation is None:
        inner = _product(states, layer.wide, gelu=True)
    else:
        inner = layer.activation(_product(states, layer.wide))
    return layer.norms[1](_product(inner, layer.narrow).add_(states))


def _onednn() -> bool:
    import torch

    built = bool(torch._C._has_mkldnn)
    return built and all(
        hasattr(torch.ops.mkldnn, name) for name in ("_linear_pointwise", "_reorder_linear_weight")
    )


def _product(states: Any, linear: Linear, gelu: bool = False) -> Any:
    """The linear layer, with exact GELU behind it: one pass of oneDNN, or PyTorch where its build has none."""
    import torch

    weight, bias = linear
    if weight.is_mkldnn:
        after: tuple[str, list[float], str] = ("gelu", [], "none") if gelu else ("none", [], "")
        return torch.ops.mkldnn._linear_pointwise(states, weight, bias, *after)
    product = torch.nn.functional.linear(states, weight, bias)
    return torch.nn.functional.gelu(product) if gelu else product
