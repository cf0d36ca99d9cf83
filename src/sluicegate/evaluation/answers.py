"""Answers of one release, kept in a cache by content: nothing is generated twice, and a killed run
goes on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sluicegate.budget import Budget
from sluicegate.errors import EvidenceError
from sluicegate.generating import Failure, Messages, Model, Progress, Reply, all_replies, request_of
from sluicegate.hashing import digest_value
from sluicegate.models.cache import Cache, open_cache
from sluicegate.records import Generation, GenerationSettings

FILE = "answers.db"


def answer(
    model: Model,
    rendered: Sequence[tuple[str, Messages]],
    settings: GenerationSettings,
    cache: Path,
    key: str,
    progress: Progress | None = None,
    *,
    budget: Budget | None = None,
) -> list[Generation]:
    """Generate one answer per (example id, messages) pair, in the order given.

    Answers are looked up first in `cache` (a folder; one SQLite file) by `key` (the release digest,
    plus whatever else changes the text, such as the dtype), settings and messages; equal messages
    are generated once. A new one is written as it arrives, so a killed run loses what was in work
    at most. `progress(done, total)` counts cached answers as done. With `temperature` above 0 a
    resumed run may sample other texts than an uninterrupted one. `budget` counts what is made and
    what was found.

    Raises:
        BudgetError: the budget allows no further answer; those made so far are in the cache.
        DataError: a prompt is longer than the model's context.
        EnvironmentFailure: a prompt got no answer; or the cache cannot be read or written.
        EvidenceError: an example id occurs twice, or the model returned another number of answers
            than asked.
    """
    if len({example for example, _ in rendered}) != len(rendered):
        raise EvidenceError("an example id occurs twice among the prompts.")
    keys = [
        digest_value({"key": key, "settings": asdict(settings), "messages": messages})
        for _, messages in rendered
    ]
    wanted = dict(zip(keys, (messages for _, messages in rendered), strict=True))
    budget = budget or Budget()
    with budget.working(), open_cache(cache / FILE, "answers") as stored:
        found = _restored(stored.load(list(wanted)))
        budget.found(len(found))
        missing = [digest for digest in wanted if digest not in found]
        if progress:
            progress(len(found), len(wanted))

        def took(place: int, reply: Reply | Failure) -> None:
            if isinstance(reply, Reply):
                found[missing[place]] = _kept(stored, missing[place], reply)
            if progress:
                progress(len(found), len(wanted))

        if missing:
            requests = [request_of(wanted[digest], settings) for digest in missing]
            replies = model.generate(requests, budget=budget, took=took)
            if len(replies) != len(missing):
                raise EvidenceError(
                    f"the model returned {len(replies)} answers to {len(missing)} prompts."
                )
            all_replies(replies, "evaluation")
    return [found[digest] for digest in keys]


def _kept(cache: Cache, key: str, reply: Reply) -> Generation:
    """The answer of a release in a reply, written."""
    if not all(map(math.isfinite, (reply.seconds, reply.first_token or 0.0))):
        raise EvidenceError("the model reported a time that is not a finite number.")
    generation = Generation(
        reply.text.strip(),
        reply.prompt_tokens,
        reply.completion_tokens,
        reply.seconds,
        reply.finished,
        reply.first_token,
    )
    cache.store(key, asdict(generation))
    return generation


def _restored(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, Generation]:
    """Stored answers, without those of a version that kept other fields: they are generated
    again.
    """
    found = {}
    for key, row in rows.items():
        with suppress(TypeError):
            found[key] = Generation(**row)
    return found
