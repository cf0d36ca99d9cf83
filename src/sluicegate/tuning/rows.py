"""Rows for tuning: tokens of prompt and answer, laid end to end into batches without padding."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sluicegate.config import TuneParams
from sluicegate.engines.loading import encode_chat

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from sluicegate.models import Messages


@dataclass(frozen=True, slots=True)
class Row:
    """Tokens of one conversation; the last `answer` of them are learnt."""

    tokens: tuple[int, ...]
    answer: int


def tokenise(
    tokenizer: PreTrainedTokenizerBase, pairs: Sequence[tuple[Messages, str]], longest: int
) -> tuple[list[Row], int]:
    """Tokens of each (messages, answer) pair, and how many exceed `longest` and are left out.

    The answer ends with the first end-of-turn token: what a template writes after it is never
    generated.
    """
    rows, skipped = [], 0
    for messages, answer in pairs:
        prompt = encode_chat(tokenizer, messages)
        whole = encode_chat(
            tokenizer, [*messages, {"role": "assistant", "content": answer}], answer=False
        )
        if whole[: len(prompt)] == prompt and len(whole) > len(prompt):
            said = whole[len(prompt) :]
        # templates that rewrite the turn before: open it as in generation, then the plain text
        else:
            said = [int(token) for token in tokenizer.encode(answer, add_special_tokens=False)]
        end = tokenizer.eos_token_id
        said = said[: said.index(end) + 1] if end in said else [*said, int(end)]
        if len(prompt) + len(said) > longest:
            skipped += 1
            continue
        rows.append(Row((*prompt, *said), len(said)))
    return rows, skipped


def fill(rows: Sequence[Row], batch_tokens: int) -> list[list[Row]]:
    """Cut `rows`, in order, into batches of at most `batch_tokens`; a longer row is one alone.

    Example:
        >>> [len(batch) for batch in fill([Row((1, 2, 3), 1), Row((4, 5), 1), Row((6,) * 9, 1)], 5)]
        [2, 1]
    """
    batches: list[list[Row]] = []
    room = 0
    for row in rows:
        if not batches or len(row.tokens) > room:
            batches.append([])
            room = batch_tokens
        batches[-1].append(row)
        room -= len(row.tokens)
    return batches


def schedule(rows: Sequence[Row], params: TuneParams) -> list[list[Row]]:
    """All batches of a run, in order: every epoch shuffled by the seed, the last cut short.

    `max_steps` over 0 ends the run there.
    """
    order: list[Row] = []
    for epoch in range(math.ceil(params.epochs)):
        shuffled = list(rows)
        random.Random(f"{params.seed}/{epoch}").shuffle(shuffled)
        share = min(1.0, params.epochs - epoch)
        order += shuffled[: max(1, round(share * len(shuffled)))]
    batches = fill(order, params.batch_tokens)
    return batches[: params.max_steps] if params.max_steps else batches
