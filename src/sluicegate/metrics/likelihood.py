"""Log-likelihoods of texts under a causal language model in a folder of the transformers form."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from sluicegate.errors import ModelError
from sluicegate.metrics.base import batches

BATCH_TOKENS = 2048


@dataclass(frozen=True, slots=True)
class CausalLikelihood:
    """A model in memory; `context`: longest input in tokens; `start`: the id before the first."""

    tokenizer: Any
    model: Any
    context: int
    start: int | None

    def log_likelihoods(self, texts: Sequence[str], /) -> list[tuple[float, int]]:
        """Sum of log-probabilities (nats) and number of tokens predicted, for each text.

        A text longer than the context is read in windows that overlap by half; each token is
        predicted once. Without a start token the first token of a text is not predicted.
        """
        totals = [(0.0, 0)] * len(texts)
        windows = [
            (place, *window) for place, text in enumerate(texts) for window in self._windows(text)
        ]
        windows.sort(key=lambda window: len(window[1]))
        for batch in batches(windows, lambda window: len(window[1]), BATCH_TOKENS):
            for (place, _, _), value, count in zip(
                batch, *self._run([(ids, new) for _, ids, new in batch]), strict=True
            ):
                totals[place] = totals[place][0] + value, totals[place][1] + count
        return totals

    def token_counts(self, texts: Sequence[str], /) -> list[int]:
        """How many tokens of each text `log_likelihoods` predicts, without running the model."""
        return [sum(new for _, new in self._windows(text)) for text in texts]

    def _windows(self, text: str) -> Iterator[tuple[list[int], int]]:
        """Inputs of at most `context` ids, each with the number of ids at its end that it predicts."""
        ids = list(self.tokenizer(text, add_special_tokens=False)["input_ids"])
        ids = ids if self.start is None else [self.start, *ids]
        done, end = 1, min(len(ids), self.context)
        while done < end:
            yield ids[max(0, end - self.context) : end], end - done
            done, end = end, min(len(ids), end + max(1, self.context // 2))

    def _run(self, batch: Sequence[tuple[list[int], int]]) -> tuple[list[float], list[int]]:
        import torch

        width = max(len(ids) for ids, _ in batch)
        padded = torch.zeros((len(batch), width), dtype=torch.long)
        mask = torch.zeros_like(padded)
        for row, (ids, _) in enumerate(batch):
            padded[row, : len(ids)] = torch.tensor(ids)
            mask[row, : len(ids)] = 1
        with torch.inference_mode():
            logits = self.model(padded, attention_mask=mask).logits
        values = []
        for row, (ids, new) in enumerate(batch):
            wanted = logits[row, len(ids) - new - 1 : len(ids) - 1].double().log_softmax(-1)
            values.append(
                float(wanted.gather(1, padded[row, len(ids) - new : len(ids), None]).sum())
            )
        return values, [new for _, new in batch]


@lru_cache(maxsize=2)
def open_likelihood(path: str) -> CausalLikelihood:
    """Load the causal language model in the folder `path`, in float32, from safetensors.

    Raises:
        ModelError: the folder holds no such model, or one that cannot be loaded.

    Example:
        >>> open_likelihood("no/such/folder")
        Traceback (most recent call last):
        sluicegate.errors.ModelError: no/such/folder contains no language model.
    """
    folder = Path(path)
    if not (folder / "config.json").is_file() or not any(folder.glob("*.safetensors")):
        raise ModelError(
            f"{folder} contains no language model.",
            hint="It needs config.json, a tokenizer, *.safetensors.",
        )
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True)
        model = (
            AutoModelForCausalLM.from_pretrained(path, local_files_only=True, use_safetensors=True)
            .float()
            .eval()
        )
    except (OSError, ValueError) as error:
        raise ModelError(f"{folder} cannot be loaded as a language model: {error}") from error
    context = int(getattr(model.config, "max_position_embeddings", 1024))
    start = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    return CausalLikelihood(tokenizer, model, context, start)
