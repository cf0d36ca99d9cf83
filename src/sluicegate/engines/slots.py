"""A key-value cache with one slot per sequence in work: rows of any length, no padding."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import torch
from transformers import Cache, PreTrainedModel

from sluicegate.engines.attention import Plan, planned, restarting_positions


class SlotCache(Cache):  # type: ignore[misc]  # transformers is not typed
    """Keys and values as (slot, head, position, size) per layer; slots in use come first.

    `admit` runs prompts and fills slots; `step` adds one token to every slot in use; `release`
    moves the last one into the freed place. Tokens in `shared`, with which every prompt begins, are
    read once, by the first `admit`.
    """

    def __init__(
        self, model: PreTrainedModel, slots: int, span: int, shared: Sequence[int] = ()
    ) -> None:
        super().__init__(layers=[])
        self.model = model
        self.slots = slots
        self.span = span
        self.shared = len(shared)
        self._unread = list(shared)
        self.keys: list[torch.Tensor] = []
        self.values: list[torch.Tensor] = []
        self.lengths: list[int] = []
        self._incoming: Sequence[int] = ()
        self._rows = torch.empty(0, dtype=torch.long)
        self._positions = torch.empty(0, dtype=torch.long)
        self._seen = 0

    @property
    def used(self) -> int:
        """Slots in use."""
        return len(self.lengths)

    def update(
        self,
        key_states: torch.Tensor,
        value_states: torch.Tensor,
        layer_idx: int,
        *args: Any,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """For each attention layer: stores what is new, returns what the query may look at."""
        if layer_idx == len(self.keys):
            _, heads, _, size = key_states.shape
            shape = (self.slots, heads, self.span, size)
            self.keys.append(key_states.new_zeros(shape))
            self.values.append(value_states.new_zeros((*shape[:3], value_states.shape[-1])))
        keys, values = self.keys[layer_idx], self.values[layer_idx]
        if self._incoming:
            first, start = self.shared, len(self._unread)
            if start:
                keys[:, :, :first], values[:, :, :first] = (
                    key_states[:, :, :first],
                    value_states[:, :, :first],
                )
            for slot, length in enumerate(self._incoming, start=self.used):
                keys[slot, :, first : first + length] = key_states[0, :, start : start + length]
                values[slot, :, first : first + length] = value_states[0, :, start : start + length]
                start += length
            if first and not self._unread:
                return torch.cat((keys[:1, :, :first], key_states), 2), torch.cat(
                    (values[:1, :, :first], value_states), 2
                )
            return key_states, value_states
        keys[self._rows, :, self._positions] = key_states[:, :, 0]
        values[self._rows, :, self._positions] = value_states[:, :, 0]
        return keys[: self.used, :, : self._seen], values[: self.used, :, : self._seen]

    def admit(self, prompts: Sequence[Sequence[int]]) -> torch.Tensor:
        """Run `prompts` into free slots; returns next-token logits (prompts, vocabulary)."""
        device, first = self.model.device, self.shared
        self._incoming = [len(prompt) - first for prompt in prompts]
        ids = torch.tensor(
            [self._unread + [token for prompt in prompts for token in prompt[first:]]],
            device=device,
        )
        ends = torch.tensor(self._incoming, device=device).cumsum(0) - 1 + len(self._unread)
        positions = restarting_positions(self._incoming, device, first)
        if self._unread:
            positions = torch.cat((torch.arange(first, device=device)[None], positions), dim=1)
        with planned(Plan(lengths=tuple(self._incoming), shared=first)):
            out = self.model(
                input_ids=ids,
                position_ids=positions,
                past_key_values=self,
                use_cache=True,
                logits_to_keep=ends,
            )
        self.lengths.extend(first + length for length in self._incoming)
        self._incoming, self._unread = (), []
        return out.logits[0].float()  # type: ignore[no-any-return]  # model outputs are untyped

    def step(self, tokens: Sequence[int]) -> torch.Tensor:
        """Append one token to each slot in use; returns the logits after it, float32."""
        device = self.model.device
        self._rows = torch.arange(self.used, device=device)
        self._positions = torch.tensor(self.lengths, device=device)
        self._seen = max(self.lengths) + 1
        mask = torch.arange(self._seen, device=device) <= self._positions[:, None]
        ids = torch.tensor(tokens, device=device)[:, None]
        with planned(Plan(mask=mask[:, None, None, :])):
            out = self.model(
                input_ids=ids,
                position_ids=self._positions[:, None],
                past_key_values=self,
                use_cache=True,
                logits_to_keep=1,
            )
        self.lengths = [length + 1 for length in self.lengths]
        return out.logits[:, -1].float()  # type: ignore[no-any-return]  # model outputs are untyped

    def release(self, slot: int) -> None:
        """Free `slot`; the last slot in use takes its place (the caller moves its own row too)."""
        last = self.used - 1
        if slot != last:
            length = self.lengths[last]
            for store in (*self.keys, *self.values):
                store[slot, :, self.shared : length] = store[last, :, self.shared : length]
            self.lengths[slot] = length
        self.lengths.pop()


def shared_start(prompts: Sequence[list[int]]) -> list[int]:
    """Tokens with which all `prompts` begin; one token at least stays each prompt's own.

    Example:
        >>> shared_start([[1, 2, 3], [1, 2, 4, 5], [1, 2]])
        [1]
    """
    first, last = min(prompts), max(prompts)  # what these two share, all between them share
    most = min(len(prompt) for prompt in prompts) - 1
    pairs = zip(first[:most], last, strict=False)
    return [token for token, other in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs)]
