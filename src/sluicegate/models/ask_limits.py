"""What an asker may spend: seconds, tokens, money. Reserved before a request, settled after it: never overdrawn."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from sluicegate.errors import BudgetError
from sluicegate.records import Question

PER_MESSAGE = 16
PER_REQUEST = 128
"""Tokens that chat templates put around each message, and ahead of all of them (a default system prompt)."""

LONGEST_TOKEN = 8
"""Bytes of text that a token stands for at the most, on the mean of a text; prose has 3 to 5."""

Size = tuple[int, int]
"""Tokens of a question and of its answer."""


@dataclass(frozen=True, slots=True)
class AskLimits:
    """Most that one asker may spend in its life; 0 is no limit.

    Attributes:
        max_seconds: of wall time, from its first question that was not in the cache.
        max_tokens: of questions and answers together.
        max_cost: money, in the currency of the endpoint's `price`.
    """

    max_seconds: float = 0.0
    max_tokens: int = 0
    max_cost: float = 0.0


NO_LIMITS = AskLimits()


def most_prompt_tokens(question: Question) -> int:
    """More tokens than `question` can have: a token is a byte at least, and templates add their own.

    Example:
        >>> most_prompt_tokens(Question(({"role": "user", "content": "Good?"},)))
        149
    """
    return PER_REQUEST + sum(
        PER_MESSAGE + len(message["content"].encode("utf-8", "surrogatepass"))
        for message in question.messages
    )


def least_tokens(text: str) -> int:
    """Tokens that count for `text`, should a server report fewer: one for every 8 bytes of UTF-8, rounded up.

    Example:
        >>> [least_tokens(text) for text in ("", "Yes", "A rather longer answer.")]
        [0, 1, 3]
    """
    return -(-len(text.encode("utf-8", "surrogatepass")) // LONGEST_TOKEN)


@dataclass(slots=True)
class Purse:
    """What was spent and what is reserved for requests in the air.

    Attributes:
        limits: the most.
        price_input, price_output: money per million tokens.
        clock: seconds; monotonic.
        answered, prompt_tokens, completion_tokens: what came in so far.
        held: how many requests have a reservation.
    """

    limits: AskLimits = NO_LIMITS
    price_input: float = 0.0
    price_output: float = 0.0
    clock: Callable[[], float] = time.monotonic
    answered: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    held: int = 0
    _held: Size = (0, 0)
    started: float | None = None

    def start(self) -> None:
        """Time runs from the first call on."""
        if self.started is None:
            self.started = self.clock()

    @property
    def seconds_left(self) -> float | None:
        """Seconds until time is up (0 at least); None without a limit."""
        if not self.limits.max_seconds:
            return None
        since = 0.0 if self.started is None else self.clock() - self.started
        return max(0.0, self.limits.max_seconds - since)

    def fits(self, size: Size) -> bool:
        """Whether a request of at most `size` certainly stays within the limits beside those in the air."""
        return not self._over(size[0] + self._held[0], size[1] + self._held[1])

    def reserve(self, size: Size) -> None:
        """Set tokens aside for a request."""
        self.held += 1
        self._held = (self._held[0] + size[0], self._held[1] + size[1])

    def settle(self, size: Size, used: Size) -> None:
        """Give a reservation back and count the tokens `used` instead."""
        self.held -= 1
        self._held = (self._held[0] - size[0], self._held[1] - size[1])
        self.prompt_tokens += used[0]
        self.completion_tokens += used[1]

    def cost(self, asked: int, told: int) -> float:
        """Money for so many tokens."""
        return (asked * self.price_input + told * self.price_output) / 1e6

    def _over(self, asked: int, told: int) -> str:
        asked, told = asked + self.prompt_tokens, told + self.completion_tokens
        if self.limits.max_tokens and asked + told > self.limits.max_tokens:
            return f"token budget of {self.limits.max_tokens:,}"
        if self.limits.max_cost and self.cost(asked, told) > self.limits.max_cost:
            return f"cost budget of {self.limits.max_cost:g}"
        return ""

    def spent(self, missing: int, size: Size | None) -> BudgetError:
        """The error that says which limit stopped the asker: time, or that of the request of `size` that did not fit."""
        name = self._over(*size) if size else f"time budget of {self.limits.max_seconds:g} s"
        money = self.cost(self.prompt_tokens, self.completion_tokens)
        return BudgetError(
            f"the {name} is spent: {self.answered} answers came in "
            f"({self.prompt_tokens + self.completion_tokens:,} tokens{f', costing {money:.4g}' if money else ''}), "
            f"{missing} are missing.",
            hint="Run again with a larger budget; what was answered is kept and costs nothing then.",
        )
