"""Batched generation with transformers: prompts side by side without padding, finished answers make room at once.

Prompts run sorted by length. Each gets a slot of the key-value cache; several prompts are read in one pass, then every
slot in use grows by a token a step, and a finished one is refilled. What all prompts of a cache begin with (a judge's
criterion, a system prompt) is read once. Greedy answers equal those of one-by-one generation in float32: company moves
log probabilities by 5e-5 at most (SmolLM2, all tokens of the vocabulary; as much with a shared beginning as without), so
only a tie that close could go the other way. In bfloat16 rounding now and then changes a word.
"""

from __future__ import annotations

import time
import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from sluicegate.errors import DataError, ModelError
from sluicegate.models.attention import plannable, use_planned_attention
from sluicegate.models.sampling import Picker, pick_all
from sluicegate.models.slots import SlotCache, shared_start
from sluicegate.models.weights import choose_dtype, encode_chat, load_model, load_tokenizer
from sluicegate.records import Generation, GenerationSettings

if TYPE_CHECKING:
    from sluicegate.models import Messages, Progress
    from sluicegate.models.base_models import LoadedBase

PREFILL_TOKENS = 2048
"""Most prompt tokens read in one pass (one prompt at least)."""
SIMILAR = 0.6
"""Prompts share a cache while the shortest needs at least this share of the longest's room."""
SHARING = 8
"""The common beginning of prompts is read once where that saves so many tokens: there it was faster already."""


@dataclass(slots=True)
class Row:
    """One prompt in work: `room` tokens for its answer; `likely[place]`: token ids and log probabilities, if asked.

    `seconds` is its share of the passes so far, `first` what that was when its first token was there.
    """

    index: int
    prompt: list[int]
    room: int
    picker: Picker
    answer: list[int] = field(default_factory=list)
    seconds: float = 0.0
    first: float | None = None
    alternatives: int = 0
    likely: list[list[tuple[int, float]]] = field(default_factory=list)

    @property
    def need(self) -> int:
        return len(self.prompt) + self.room


class TransformersBackend:
    """A causal language model that answers many prompts at once; see `Backend`."""

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        context: int,
        batch_tokens: int,
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.context = context
        self.batch_tokens = batch_tokens
        self.planned = plannable(model.config)
        if self.planned:
            use_planned_attention(model)
        configured = getattr(model.generation_config, "eos_token_id", None)
        ends = configured if isinstance(configured, list) else [configured]
        self.ends = {token for token in (*ends, tokenizer.eos_token_id) if token is not None}

    def count_tokens(self, messages: Messages) -> int:
        """See `Backend.count_tokens`."""
        return len(encode_chat(self.tokenizer, messages))

    def generate(
        self,
        prompts: Sequence[Messages],
        settings: GenerationSettings,
        progress: Progress | None = None,
    ) -> list[Generation]:
        """See `Backend.generate`. Texts have no special tokens, no space around, no stop string or what follows.

        `seconds` of the answers add up to the time spent in the model; `first_token` is the part of it for the prompt.
        """
        rows = []
        for index, messages in enumerate(prompts):
            ids = encode_chat(self.tokenizer, messages)
            room = min(settings.max_new_tokens, self.context - len(ids))
            if room < 1:
                raise DataError(
                    f"prompt {index + 1} has {len(ids)} tokens; with an answer it exceeds the context, {self.context}.",
                    hint="Shorten the input, or choose a base with a longer context.",
                )
            rows.append(Row(index, ids, room, Picker(ids, settings)))
        done: list[Generation | None] = [None] * len(rows)
        with torch.inference_mode():
            for count, row in enumerate(self.run(rows, settings), start=1):
                done[row.index] = self.generation(row, settings)
                if progress is not None:
                    progress(count, len(rows))
        return [generation for generation in done if generation is not None]

    def run(self, rows: Sequence[Row], settings: GenerationSettings) -> Iterator[Row]:
        """Complete `rows`, each as it ends; to be used inside `torch.inference_mode`."""
        return self._planned(rows, settings) if self.planned else self._one_by_one(rows, settings)

    def pick(self, rows: Sequence[Row], logits: torch.Tensor) -> None:
        """Add a token to the answer of each row, from its next-token `logits` (rows, vocabulary)."""
        for row, token in zip(rows, pick_all([row.picker for row in rows], logits), strict=True):
            row.answer.append(token)

    def _planned(self, rows: Sequence[Row], settings: GenerationSettings) -> Iterator[Row]:
        waiting = deque(sorted(rows, key=lambda row: (-row.need, row.index)))
        while waiting:
            longest = waiting[0].need
            slots = max(1, self.batch_tokens // longest)
            pool = deque([waiting.popleft()])
            while waiting and (len(pool) < slots or waiting[0].need >= SIMILAR * longest):
                pool.append(waiting.popleft())
            shared = shared_start([row.prompt for row in pool])
            saved = len(shared) * (len(pool) - 1)
            cache = SlotCache(
                self.model, min(slots, len(pool)), longest, shared if saved >= SHARING else ()
            )
            yield from self._run_pool(pool, cache, settings)

    def _run_pool(
        self, waiting: deque[Row], cache: SlotCache, settings: GenerationSettings
    ) -> Iterator[Row]:
        working: list[Row] = []
        while waiting or working:
            free = cache.slots - len(working)
            started = time.perf_counter()
            if waiting and (not working or free >= max(1, cache.slots // 8)):
                fresh = [waiting.popleft()]
                while (
                    waiting
                    and len(fresh) < free
                    and sum(len(row.prompt) - cache.shared for row in (*fresh, waiting[0]))
                    <= PREFILL_TOKENS
                ):
                    fresh.append(waiting.popleft())
                logits = cache.admit([row.prompt for row in fresh])
                working.extend(fresh)
            else:
                fresh = working
                logits = cache.step([row.answer[-1] for row in working])
            self.pick(fresh, logits)
            seconds, weight = (
                time.perf_counter() - started,
                sum(len(row.prompt) - cache.shared for row in fresh),
            )
            for row in fresh:
                own = len(row.prompt) - cache.shared
                row.seconds += seconds / len(fresh) if fresh is working else seconds * own / weight
                row.first = row.seconds if row.first is None else row.first
            for slot in range(len(working) - 1, -1, -1):
                if self._ended(working[slot], settings):
                    cache.release(slot)
                    row, working[slot] = working[slot], working[-1]
                    working.pop()
                    yield row

    def _one_by_one(self, rows: Sequence[Row], settings: GenerationSettings) -> Iterator[Row]:
        """For model families that cannot be planned: transformers' own cache, one prompt at a time."""
        for row in rows:
            started = time.perf_counter()
            past, ids = None, torch.tensor([row.prompt], device=self.model.device)
            while True:
                out = self.model(input_ids=ids, past_key_values=past, use_cache=True)
                past = out.past_key_values
                self.pick([row], out.logits[:, -1].float())
                row.first = time.perf_counter() - started if row.first is None else row.first
                if self._ended(row, settings):
                    break
                ids = torch.tensor([row.answer[-1:]], device=self.model.device)
            row.seconds = time.perf_counter() - started
            yield row

    def _ended(self, row: Row, settings: GenerationSettings) -> bool:
        if row.answer[-1] in self.ends or len(row.answer) >= row.room:
            return True
        return bool(settings.stop) and any(
            stop in self._text(row.answer) for stop in settings.stop if stop
        )

    def _text(self, tokens: list[int]) -> str:
        text = self.tokenizer.decode(tokens, skip_special_tokens=True)
        return text if isinstance(text, str) else text[0]

    def generation(self, row: Row, settings: GenerationSettings) -> Generation:
        """The answer of a complete row."""
        ended = row.answer[-1] in self.ends
        text = self._text(row.answer[:-1] if ended else row.answer)
        for stop in settings.stop:
            if stop and stop in text:
                text, ended = text.split(stop)[0], True
        return Generation(
            text.strip(), len(row.prompt), len(row.answer), row.seconds, ended, row.first
        )


def load_tuned(
    model: LoadedBase, adapter: Path | None, number: str
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Model and tokenizer; the adapter is merged into the weights in float32, then all is cast to `number`.

    Raises:
        ModelError: base or adapter cannot be loaded.
    """
    tokenizer = load_tokenizer(model.path)
    if adapter is None:
        return load_model(model.path, number).eval(), tokenizer
    from peft import PeftModel

    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", FutureWarning
            )  # PEFT 0.21 reads a name that transformers 5 has renamed
            tuned = PeftModel.from_pretrained(load_model(model.path, "float32"), str(adapter))
        merged = tuned.merge_and_unload(safe_merge=True).to(getattr(torch, number))
    except (OSError, ValueError, KeyError, RuntimeError, TypeError) as error:
        raise ModelError(f"the adapter {adapter} cannot be loaded: {error}") from error
    return merged.eval(), tokenizer


def open_transformers(
    model: LoadedBase, adapter: Path | None, *, dtype: str, batch_tokens: int
) -> TransformersBackend:
    """Row of `BACKENDS`: see `load_tuned`.

    Raises:
        ModelError: base or adapter cannot be loaded.
    """
    loaded, tokenizer = load_tuned(model, adapter, choose_dtype(dtype, exact=True))
    return TransformersBackend(loaded, tokenizer, context=model.context, batch_tokens=batch_tokens)
