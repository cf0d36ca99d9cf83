"""From logits to the next token: greedy, or sampled with a random stream per prompt."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from sluicegate.generating import Request
from sluicegate.hashing import digest_value


class Picker:
    """Next tokens of one prompt. The random stream depends on `settings.seed` and the prompt alone.

    The order is that of transformers: repetition penalty over prompt and answer, temperature,
        top-p.
    """

    def __init__(self, prompt: Sequence[int], settings: Request) -> None:
        self.settings = settings
        self.seen = (
            torch.tensor(sorted(set(prompt))) if settings.repetition_penalty != 1.0 else None
        )
        self.stream = torch.Generator()
        if settings.temperature > 0:
            self.stream.manual_seed(int(digest_value([settings.seed, list(prompt)])[:15], 16))
        self.plain = settings.temperature == 0 and settings.repetition_penalty == 1.0

    def pick(self, logits: torch.Tensor) -> int:
        """Choose from `logits` (vocabulary), float32 on the CPU."""
        settings = self.settings
        if self.seen is not None:
            chosen = logits[self.seen]
            penalty = settings.repetition_penalty
            logits = logits.index_copy(
                0, self.seen, torch.where(chosen < 0, chosen * penalty, chosen / penalty)
            )
        sampled = settings.temperature > 0
        token = self._sample(logits / settings.temperature) if sampled else int(logits.argmax())
        if self.seen is not None:
            self.seen = torch.unique(torch.cat([self.seen, torch.tensor([token])]))
        return token

    def _sample(self, logits: torch.Tensor) -> int:
        probabilities, order = logits.softmax(-1).sort(descending=True)
        if self.settings.top_p < 1.0:
            before = probabilities.cumsum(-1) - probabilities
            probabilities = probabilities.masked_fill(before >= self.settings.top_p, 0.0)
        return int(order[torch.multinomial(probabilities, 1, generator=self.stream)])


def pick_all(pickers: Sequence[Picker], logits: torch.Tensor) -> list[int]:
    """Next token for each row of `logits` (rows, vocabulary); one argmax where that is all."""
    if all(picker.plain for picker in pickers):
        return [int(token) for token in logits.argmax(-1).tolist()]
    rows = logits.cpu()
    return [picker.pick(row) for picker, row in zip(pickers, rows, strict=True)]
