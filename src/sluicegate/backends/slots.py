"""A key-value cache with one slot per sequence in work: rows of different length side by side, no padding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import Cache, PreTrainedModel

from sluicegate.backends.attention import Plan, planned, restarting_positions


class SlotCache(Cache):  # type: ignore[misc]  # transformers is not typed
    """Keys and values as (slot, head, position, size) per layer; the slots in use are always the first ones.

    `admit` runs prompts through the model and fills slots; `step` adds one token to every slot in use;
    `release` frees a slot by moving the last one into its place.
    """

    def __init__(self, model: PreTrainedModel, slots: int, span: int) -> None:
        super().__init__(layers=[])
        self.model = model
        self.slots = slots
        self.span = span
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
        self, key_states: torch.Tensor, value_states: torch.Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Called by each attention layer: stores what is new and returns what the query may look at."""
        if layer_idx == len(self.keys):
            _, heads, _, size = key_states.shape
            shape = (self.slots, heads, self.span, size)
            self.keys.append(key_states.new_zeros(shape))
            self.values.append(value_states.new_zeros((*shape[:3], value_states.shape[-1])))
        keys, values = self.keys[layer_idx], self.values[layer_idx]
        if self._incoming:
            start = 0
            for slot, length in enumerate(self._incoming, start=self.used):
                keys[slot, :, :length] = key_states[0, :, start : start + length]
                values[slot, :, :length] = value_states[0, :, start : start + length]
                start += length
            return key_states, value_states
        keys[self._rows, :, self._positions] = key_states[:, :, 0]
        values[self._rows, :, self._positions] = value_states[:, :, 0]
        return keys[: self.used, :, : self._seen], values[: self.used, :, : self._seen]

    def admit(self, prompts: Sequence[Sequence[int]]) -> torch.Tensor:
        """Run `prompts` side by side into free slots; returns next-token logits (prompts, vocabulary), float32."""
        place = self.model.device
        self._incoming = [len(prompt) for prompt in prompts]
        ids = torch.tensor([[token for prompt in prompts for token in prompt]], device=place)
        ends = torch.tensor(self._incoming, device=place).cumsum(0) - 1
        with planned(Plan(lengths=tuple(self._incoming))):
            positions = restarting_positions(self._incoming, place)
            out = self.model(
                input_ids=ids, position_ids=positions, past_key_values=self, use_cache=True, logits_to_keep=ends
            )
        self.lengths.extend(self._incoming)
        self._incoming = ()
        return out.logits[0].float()  # type: ignore[no-any-return]  # model outputs are untyped

    def step(self, tokens: Sequence[int]) -> torch.Tensor:
        """Append one token to each slot in use; returns the logits after it (used, vocabulary), float32."""
        place = self.model.device
        self._rows = torch.arange(self.used, device=place)
        self._positions = torch.tensor(self.lengths, device=place)
        self._seen = max(self.lengths) + 1
        mask = torch.arange(self._seen, device=place) <= self._positions[:, None]
        ids = torch.tensor(tokens, device=place)[:, None]
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
        """Free `slot`; the last slot in use takes its place (the caller moves its own row the same way)."""
        last = self.used - 1
        if slot != last:
            length = self.lengths[last]
            for store in (*self.keys, *self.values):
                store[slot, :, :length] = store[last, :, :length]
            self.lengths[slot] = length
        self.lengths.pop()
