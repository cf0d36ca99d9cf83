"""Batched generation with transformers: no padding, finished answers make room at once.

Prompts run sorted by length. Each gets a slot of the key-value cache; several are read in one pass,
then every slot in use grows by a token a step, and a finished one is refilled. What all prompts
begin with is read once. Greedy answers equal those of one-by-one generation in float32 but for
ties: company moves log probabilities by 5e-5 at most (SmolLM2). In bfloat16 rounding now and then
changes a word.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from sluicegate.budget import Budget, Size
from sluicegate.engines.attention import plannable, use_planned_attention
from sluicegate.engines.loading import encode_chat, load_tuned
from sluicegate.engines.sampling import Picker, pick_all
from sluicegate.engines.slots import SlotCache, shared_start
from sluicegate.errors import DataError
from sluicegate.generating import Failure, Messages, Reply, Request, Took, likely_tokens

PREFILL_TOKENS = 2048
"""Most prompt tokens read in one pass (one prompt at least)."""
SIMILAR = 0.6
"""Prompts share a cache while the shortest needs at least this share of the longest's room."""
SHARING = 8
"""The common beginning of prompts is read once where that saves so many tokens: there it was faster
already.
"""


class _TimeIsUp(Exception):
    """Raised between two steps of the model."""


@dataclass(slots=True)
class Row:
    """One prompt in work: `room` tokens for its answer; `likely[place]`: ids and log probabilities.

    `seconds` is its share of the passes so far, `first` what that was when its first token was
    there.
    """

    index: int
    prompt: list[int]
    room: int
    request: Request
    picker: Picker
    answer: list[int] = field(default_factory=list)
    seconds: float = 0.0
    first: float | None = None
    likely: list[list[tuple[int, float]]] = field(default_factory=list)

    @property
    def need(self) -> int:
        return len(self.prompt) + self.room

    @property
    def size(self) -> Size:
        return len(self.prompt), self.room


class BatchingEngine:
    """A causal language model that answers many prompts at once; see `engines.Engine`."""

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
        self._late: Callable[[], bool] = lambda: False

    def count_tokens(self, messages: Messages) -> int:
        """See `Engine.count_tokens`."""
        return len(encode_chat(self.tokenizer, messages))

    def generate(self, requests: Sequence[Request], *, budget: Budget, took: Took) -> None:
        """See `Engine.generate`. Texts have no special tokens, no space around, no stop string.

        A request that leaves no room for an answer is a failure. `seconds` of the replies add up to
        the time spent in the model; `first_token` is the part of it for the prompt.

        Raises:
            BudgetError: the next request does not fit, or time is up, which is seen between two
                tokens.
        """
        rows = []
        for index, request in enumerate(requests):
            row = self._row(index, request)
            if isinstance(row, Failure):
                took(index, row)
            else:
                rows.append(row)
        self._late = lambda: budget.seconds_left == 0
        with torch.inference_mode(), budget.working():
            while rows:
                part, rows = _fitting(rows, budget)
                left = len(part) + len(rows)
                try:
                    for row in self._settled(part, budget):
                        took(row.index, self._reply(row))
                        left -= 1
                except _TimeIsUp:
                    raise budget.exceeded(left) from None

    def _row(self, index: int, request: Request) -> Row | Failure:
        try:
            ids = encode_chat(self.tokenizer, [dict(message) for message in request.messages])
        except DataError as error:
            return Failure(str(error))
        room = min(request.max_tokens, self.context - len(ids))
        if room < 1:
            return Failure(
                f"the prompt has {len(ids)} tokens; with an answer it exceeds the model's context, "
                f"{self.context}",
                too_long=True,
            )
        return Row(index, ids, room, request, Picker(ids, request))

    def _settled(self, rows: list[Row], budget: Budget) -> Iterator[Row]:
        """Complete rows whose size is reserved; what they used is counted as each ends."""
        waiting = {row.index: row for row in rows}
        try:
            for row in self._run(rows):
                del waiting[row.index]
                budget.settle(row.size, (len(row.prompt), len(row.answer)), answers=1)
                yield row
        finally:
            for row in waiting.values():
                budget.settle(row.size, (0, 0))

    def _run(self, rows: Sequence[Row]) -> Iterator[Row]:
        return self._planned(rows) if self.planned else self._one_by_one(rows)

    def _pick(self, rows: Sequence[Row], logits: torch.Tensor) -> None:
        """Add a token to the answer of each row, from its next-token `logits` (rows, vocabulary).

        The log probabilities that are kept for rows that ask for `alternatives` are those at
        temperature 1.
        """
        if self._late():
            raise _TimeIsUp
        for row, token in zip(rows, pick_all([row.picker for row in rows], logits), strict=True):
            row.answer.append(token)
        if not any(row.request.alternatives for row in rows):
            return
        for row, scores in zip(rows, logits, strict=True):
            if row.request.alternatives:
                chances = scores.log_softmax(-1)
                top = chances.topk(min(row.request.alternatives, chances.shape[-1]))
                likely = dict(zip(top.indices.tolist(), top.values.tolist(), strict=True))
                likely.setdefault(row.answer[-1], float(chances[row.answer[-1]]))
                row.likely.append(list(likely.items()))

    def _planned(self, rows: Sequence[Row]) -> Iterator[Row]:
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
            yield from self._run_pool(pool, cache)

    def _run_pool(self, waiting: deque[Row], cache: SlotCache) -> Iterator[Row]:
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
            self._pick(fresh, logits)
            seconds, weight = (
                time.perf_counter() - started,
                sum(len(row.prompt) - cache.shared for row in fresh),
            )
            for row in fresh:
                own = len(row.prompt) - cache.shared
                row.seconds += seconds / len(fresh) if fresh is working else seconds * own / weight
                row.first = row.seconds if row.first is None else row.first
            for slot in range(len(working) - 1, -1, -1):
                if self._ended(working[slot]):
                    cache.release(slot)
                    row, working[slot] = working[slot], working[-1]
                    working.pop()
                    yield row

    def _one_by_one(self, rows: Sequence[Row]) -> Iterator[Row]:
        """For families that cannot be planned: transformers' own cache, one prompt at a time."""
        for row in rows:
            started = time.perf_counter()
            past, ids = None, torch.tensor([row.prompt], device=self.model.device)
            while True:
                out = self.model(input_ids=ids, past_key_values=past, use_cache=True)
                past = out.past_key_values
                self._pick([row], out.logits[:, -1].float())
                row.first = time.perf_counter() - started if row.first is None else row.first
                if self._ended(row):
                    break
                ids = torch.tensor([row.answer[-1:]], device=self.model.device)
            row.seconds = time.perf_counter() - started
            yield row

    def _ended(self, row: Row) -> bool:
        if row.answer[-1] in self.ends or len(row.answer) >= row.room:
            return True
        stops = [stop for stop in row.request.stop if stop]
        return bool(stops) and any(stop in self._text(row.answer) for stop in stops)

    def _text(self, tokens: list[int], *, special: bool = False) -> str:
        text = self.tokenizer.decode(tokens, skip_special_tokens=not special)
        return text if isinstance(text, str) else text[0]

    def _reply(self, row: Row) -> Reply:
        ended = row.answer[-1] in self.ends
        text = self._text(row.answer[:-1] if ended else row.answer)
        for stop in filter(None, row.request.stop):
            if stop in text:
                text, ended = text.split(stop)[0], True
        places = row.likely[:-1] if row.likely and ended else row.likely
        return Reply(
            text=text.strip(),
            prompt_tokens=len(row.prompt),
            completion_tokens=len(row.answer),
            seconds=row.seconds,
            finished=ended,
            alternatives=tuple(
                likely_tokens(
                    (self._text([token], special=True), chance) for token, chance in place
                )
                for place in places
            ),
            first_token=row.first,
        )


def _fitting(rows: list[Row], budget: Budget) -> tuple[list[Row], list[Row]]:
    """The first rows that certainly stay within the budget, reserved; and the others."""
    count = 0
    for row in rows:
        if not budget.fits(row.size):
            break
        budget.reserve(row.size)
        count += 1
    if not count:
        raise budget.exceeded(len(rows), rows[0].size)
    return rows[:count], rows[count:]


def open_engine(
    weights: Path, adapter: Path | None, *, context: int, dtype: str, batch_tokens: int
) -> BatchingEngine:
    """Row of `ENGINES`: see `loading.load_tuned`.

    Raises:
        ModelError: base or adapter cannot be loaded.
    """
    model, tokenizer = load_tuned(weights, adapter, dtype)
    return BatchingEngine(model, tokenizer, context=context, batch_tokens=batch_tokens)
