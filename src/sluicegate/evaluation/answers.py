"""Answers of releases, kept in a cache by content: nothing is generated twice, and a killed run
goes on.

What a hosted model's name stands for may change silently. So the cache keeps who answered, and
answers of somebody who does not answer any more are asked again before they are compared.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from sluicegate.budget import Budget
from sluicegate.errors import EvidenceError, IncompleteError
from sluicegate.generating import (
    Failure,
    Messages,
    Model,
    Progress,
    Reply,
    Request,
    all_replies,
    request_of,
)
from sluicegate.hashing import digest_value
from sluicegate.models.cache import Cache, open_cache
from sluicegate.records import Generation, GenerationSettings

FILE = "answers.db"


@dataclass(frozen=True, slots=True)
class Questions:
    """What one release is asked.

    Attributes:
        open: opens what answers; called where an answer is missing.
        rendered: (example id, messages) pairs.
        settings: how it generates.
        response_format: what the answers are to be held to.
        key: whatever else changes the text: equal keys, settings and messages are one question.
        repeats: how often each is asked: the second answers come after all first ones, and so on.
            No repeat is served from another's answers, and each samples with a seed of its own.
    """

    open: Callable[[], Model]
    rendered: Sequence[tuple[str, Messages]]
    settings: GenerationSettings
    key: str
    response_format: Mapping[str, Any] | None = None
    repeats: int = 1

    def digests(self) -> list[str]:
        """The key of each question in the cache."""
        same: dict[str, Any] = {"key": self.key, "settings": asdict(self.settings)}
        if self.response_format is not None:
            same["response_format"] = self.response_format
        return [
            digest_value({**same, "messages": messages, **({"repeat": repeat} if repeat else {})})
            for repeat in range(self.repeats)
            for _, messages in self.rendered
        ]

    def requests(self) -> list[Request]:
        """What the model is asked, in the same order."""
        settings = [
            replace(self.settings, seed=self.settings.seed + repeat)
            for repeat in range(self.repeats)
        ]
        return [
            request_of(messages, one, self.response_format)
            for one in settings
            for _, messages in self.rendered
        ]


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
    """Generate one answer per (example id, messages) pair, in the order given; see `answer_all`."""
    asked = {"": Questions(lambda: model, rendered, settings, key)}
    found = answer_all(asked, cache, lambda _: progress, budget=budget)
    return found[""]


def answer_all(
    questions: Mapping[str, Questions],
    cache: Path,
    progress: Callable[[str], Progress | None] = lambda _: None,
    *,
    budget: Budget | None = None,
) -> dict[str, list[Generation]]:
    """Answer the questions of releases that are to be compared, by the names of the releases, in the
    order of the questions.

    Answers are looked up first in `cache` (a folder; one SQLite file); equal questions are asked
    once. A new answer is written as it arrives, so a killed run loses what was in work at most.
    With `temperature` above 0 a resumed run may sample other texts than an uninterrupted one.

    Answers under one key are compared only where they were given by who answers now: a cached one
    is asked again where somebody else answered in this call, or, where nothing was asked, where the
    releases do not share who answered.

    Args:
        progress: makes, for a release, a function of (done, total); cached ones count as done.
        budget: counts what is made and what was found.

    Raises:
        BudgetError: the budget allows no further answer; those made so far are in the cache.
        DataError: a prompt is longer than the model's context.
        EnvironmentFailure: nothing of a release was answered; or the cache cannot be read or
            written.
        EvidenceError: an example id occurs twice, or a model returned another number of answers
            than asked.
        IncompleteError: a part of a release's prompts got no answer.
    """
    for one in questions.values():
        if len({example for example, _ in one.rendered}) != len(one.rendered):
            raise EvidenceError("an example id occurs twice among the prompts.")
    budget = budget or Budget()
    with budget.working(), open_cache(cache / FILE, "answers") as stored:
        sides = {name: _Side(one, stored, budget) for name, one in questions.items()}
        known: dict[str, _Kept] = {}
        for name, side in sides.items():
            side.look_up(known)
            side.ask([key for key in side.keys if key not in known], known, progress(name))
        while stale := _stale(sides.values(), known):
            for name, side in sides.items():
                side.ask([key for key in side.keys if key in stale], known, progress(name))
                stale -= side.asked
        return {name: [known[key].generation for key in side.keys] for name, side in sides.items()}


@dataclass(slots=True)
class _Kept:
    """An answer; `fresh`: given in this call."""

    generation: Generation
    fresh: bool = False

    @property
    def by(self) -> str:
        return self.generation.answered_by


@dataclass(slots=True)
class _Side:
    """The questions of one release, while they are answered."""

    questions: Questions
    stored: Cache
    budget: Budget
    keys: list[str] = field(init=False)
    asked: set[str] = field(default_factory=set)
    _model: Model | None = None

    def __post_init__(self) -> None:
        self.keys = self.questions.digests()

    def look_up(self, known: dict[str, _Kept]) -> None:
        """Fill `known` from the cache; what a version kept in another form is asked again."""
        wanted = [key for key in dict.fromkeys(self.keys) if key not in known]
        found = 0
        for key, row in self.stored.load(wanted).items():
            with suppress(TypeError):
                known[key] = _Kept(Generation(**row))
                found += 1
        self.budget.found(found)

    def ask(self, keys: Iterable[str], known: dict[str, _Kept], progress: Progress | None) -> None:
        """Ask for `keys`, each once, and keep what comes."""
        requests = dict(zip(self.keys, self.questions.requests(), strict=True))
        missing = list(dict.fromkeys(keys))
        total = len(requests)
        done = total - len(missing)
        if progress and (missing or not self.asked):
            progress(done, total)

        def took(place: int, reply: Reply | Failure) -> None:
            nonlocal done
            if isinstance(reply, Reply):
                known[missing[place]] = _keep(self.stored, missing[place], reply)
                done += 1
            if progress:
                progress(done, total)

        if not missing:
            return
        self.asked |= set(missing)
        self._model = self._model or self.questions.open()
        replies = self._model.generate(
            [requests[key] for key in missing], budget=self.budget, took=took
        )
        if len(replies) != len(missing):
            raise EvidenceError(
                f"the model returned {len(replies)} answers to {len(missing)} prompts."
            )
        if any(isinstance(one, Failure) for one in replies):
            self._refuse(replies, total)

    def _refuse(self, replies: Sequence[Reply | Failure], total: int) -> None:
        """Say what got no answer: a part of the rows is no error, and no worse release either."""
        failed = [one for one in replies if isinstance(one, Failure)]
        if len(failed) == total or any(one.too_long for one in failed):
            all_replies(replies, "evaluation")
        reasons = Counter(one.reason for one in failed).most_common(1)[0]
        raise IncompleteError(
            f"{len(failed)} of {total} prompts got no answer, so nothing is compared: {reasons[0]}",
            hint="Run again when the model works; the answers received so far are kept.",
        )


def _stale(sides: Iterable[_Side], known: Mapping[str, _Kept]) -> set[str]:
    """The cached answers that were given by somebody who does not answer now, as far as it shows."""
    together: dict[str, list[_Side]] = {}
    for side in sides:
        together.setdefault(side.questions.key, []).append(side)
    stale: set[str] = set()
    for group in together.values():
        keys = {key for side in group for key in side.keys}
        now = {known[key].by for key in keys if known[key].fresh}
        if not now:
            now = set.intersection(*({known[key].by for key in side.keys} for side in group))
        stale |= {key for key in keys if not known[key].fresh and known[key].by not in now}
    return stale


def _keep(cache: Cache, key: str, reply: Reply) -> _Kept:
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
        answered_by=reply.answered_by,
    )
    cache.store(key, asdict(generation))
    return _Kept(generation, fresh=True)
