"""What an application asks its models: from the cache, or asked, counted and kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sluicegate.budget import Budget, Price
from sluicegate.generating import Call, Failure, Model, Reply, Request, request_of
from sluicegate.hashing import digest_value
from sluicegate.models.cache import Cache, request_key
from sluicegate.models.hosted import Ask
from sluicegate.records import GenerationSettings

MOST_CALLS = 100
"""Questions of one row: an agent that never ends would spend the whole budget."""


Stale = frozenset[tuple[str, str]]
"""Models by name, each with what it said of itself (`Reply.answered_by`) while it was another."""


@dataclass(frozen=True, slots=True)
class Role:
    """A model in its role. `name`: in registry/models.yaml; `price`: per million tokens."""

    name: str
    model: Model
    price: Price = (0.0, 0.0)


@dataclass(slots=True)
class Asked:
    """What one row has asked so far. Equal questions of a row are told apart by their number."""

    row: str
    repeat: int
    calls: list[Call] = field(default_factory=list)
    numbers: Counter[str] = field(default_factory=Counter)


class Calls:
    """The way of every question of an application to its models.

    A question is kept by model, messages, settings, row, repeat and how often the row has asked the
    same: rows and repeats never share an answer, and an application run again is told the same.

    Attributes:
        failed: reasons of the questions that brought no answer, whatever the application made of
            it.
    """

    def __init__(
        self,
        roles: Mapping[str, Role],
        asks: Mapping[str, Ask],
        settings: GenerationSettings,
        cache: Cache,
        budget: Budget,
        stale: Stale = frozenset(),
    ) -> None:
        self._roles, self._asks, self._settings = roles, asks, settings
        self._cache, self._budget, self._stale = cache, budget, stale
        self.failed: list[str] = []

    async def answer(self, asked: Asked, question: Mapping[str, Any]) -> Reply | Failure:
        """The reply to one question of a row.

        Raises:
            BudgetError: the budget is spent.
            ConfigError, ModelError: see `Model.generate`.
        """
        role = self._roles[question["role"]]
        request = self._request(question, asked.repeat)
        same = request_key(role.model.identity, request)
        asked.numbers[same] += 1
        if asked.numbers.total() > MOST_CALLS:
            return Failure(f"one row may ask {MOST_CALLS} times", too_long=True)
        key = digest_value([same, asked.row, asked.repeat, asked.numbers[same]])
        reply = self._known(key, role) or await self._asks[role.name](request)
        if isinstance(reply, Failure):
            if not reply.too_long:
                self.failed.append(reply.reason)
            return reply
        if not reply.cached:
            self._cache.store(key, {name: getattr(reply, name) for name in reply.__slots__})
        asked.calls.append(_call(question, role, reply))
        return reply

    def _known(self, key: str, role: Role) -> Reply | None:
        """The reply that is kept; none of somebody who does not answer any more."""
        known = self._cache.load([key]).get(key)
        if known is None or (role.name, known["answered_by"]) in self._stale:
            return None
        self._budget.found(1)
        return Reply(**(known | {"cached": True, "alternatives": tuple(known["alternatives"])}))

    def _request(self, question: Mapping[str, Any], repeat: int) -> Request:
        """As asked; each repeat samples with a seed of its own."""
        overrides = dict(question["overrides"])
        if "stop" in overrides:
            overrides["stop"] = tuple(overrides["stop"])
        settings = replace(self._settings, seed=self._settings.seed + repeat)
        return replace(request_of(question["messages"], settings), **overrides)


def _call(question: Mapping[str, Any], role: Role, reply: Reply) -> Call:
    return Call(
        question["role"],
        role.name,
        question["prompt"],
        tuple(question["messages"]),
        reply.text,
        reply.prompt_tokens,
        reply.completion_tokens,
        reply.seconds,
        reply.finished,
        (reply.prompt_tokens * role.price[0] + reply.completion_tokens * role.price[1]) / 1e6,
        reply.answered_by,
        reply.cached,
    )
