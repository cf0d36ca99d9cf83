"""What generates text, for all who ask for it: one protocol, whatever stands behind it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from sluicegate.budget import Budget
from sluicegate.errors import DataError, EnvironmentFailure
from sluicegate.records import GenerationSettings


@dataclass(frozen=True, slots=True)
class Request:
    """One request to a model.

    Attributes:
        messages: of a chat.
        max_tokens: of the answer.
        temperature: 0 is greedy.
        seed: of sampling.
        alternatives: how many likely tokens are wanted at each place; 0 for none.
        top_p, repetition_penalty, stop: as in `GenerationSettings`.
        response_format: a JSON schema for servers that take one; weights here cannot be held to it.
    """

    messages: tuple[Mapping[str, str], ...]
    max_tokens: int = 256
    temperature: float = 0.0
    seed: int = 0
    alternatives: int = 0
    top_p: float = 1.0
    repetition_penalty: float = 1.0
    stop: tuple[str, ...] = ()
    response_format: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """What a model answered.

    `alternatives[place]` maps likely tokens to log probabilities; empty if none were given.
    `answered_by` is what the server says answered, its `model` and `system_fingerprint`; empty
    where it does not.
    """

    text: str
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    finished: bool = True
    alternatives: tuple[Mapping[str, float], ...] = ()
    cached: bool = False
    first_token: float | None = None
    answered_by: str = ""


@dataclass(frozen=True, slots=True)
class Failure:
    """A request without an answer.

    `reason` says in a line why and what to do, without a secret; `too_long`: for the context.
    """

    reason: str
    too_long: bool = False


@dataclass(frozen=True, slots=True)
class Call:
    """One question of an application to a model, and the answer.

    Attributes:
        role: in which the application asked it; `model`: its name in registry/models.yaml.
        prompt: the name of the one that made `messages`; empty if the application did.
        seconds: the model's, whenever it answered.
        cost: in the currency of its price.
        answered_by: as in `Reply`; `cached`: not answered now.
    """

    role: str
    model: str
    prompt: str
    messages: tuple[Mapping[str, Any], ...]
    text: str
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    finished: bool
    cost: float = 0.0
    answered_by: str = ""
    cached: bool = field(default=False, compare=False)


Messages = list[dict[str, str]]
Progress = Callable[[int, int], None]
Took = Callable[[int, Reply | Failure], None]
"""Called with the place of a request and its answer, once for each, as answers arrive."""


class Model(Protocol):
    """What generates text: weights on this machine, a hosted model, or one of these behind a cache
    or a budget.
    """

    @property
    def identity(self) -> str:
        """SHA-256 of what answers: address and model, or digests of base, adapter and dtype. No
        secret.
        """
        ...

    @property
    def context(self) -> int:
        """Longest prompt plus answer in tokens."""
        ...

    def generate(
        self,
        requests: Sequence[Request],
        *,
        budget: Budget | None = None,
        took: Took | None = None,
    ) -> list[Reply | Failure]:
        """Answer every request, in the order given; an empty sequence gives an empty list.

        A request that brings no answer is a `Failure` in its place, never an exception.

        Args:
            requests: what is asked.
            budget: what may be spent; None limits nothing.
            took: is told of each answer as it arrives.

        Raises:
            BudgetError: the budget is spent; what `took` was told counts.
            ConfigError: the model is unsafe to ask, or its key is missing.
            ModelError: weights cannot be loaded.
        """
        ...

    def count_tokens(self, messages: Messages) -> int:
        """Tokens of `messages`, the opening of the answer included; more than there can be where
        nobody knows.
        """
        ...


class Wrapped:
    """The part of a model around another one that is the other's."""

    model: Model

    @property
    def identity(self) -> str:
        """Of the model."""
        return self.model.identity

    @property
    def context(self) -> int:
        """Of the model."""
        return self.model.context

    def count_tokens(self, messages: Messages) -> int:
        """Of the model."""
        return self.model.count_tokens(messages)


def request_of(
    messages: Messages,
    settings: GenerationSettings,
    response_format: Mapping[str, Any] | None = None,
) -> Request:
    """The request for an answer under the settings of a release."""
    return Request(
        tuple(messages),
        settings.max_new_tokens,
        settings.temperature,
        settings.seed,
        top_p=settings.top_p,
        repetition_penalty=settings.repetition_penalty,
        stop=settings.stop,
        response_format=response_format,
    )


def counting(progress: Progress | None, total: int) -> Took | None:
    """A `took` that calls `progress(done, total)` for each answer."""
    if progress is None:
        return None
    done = iter(range(1, total + 1))
    return lambda place, answer: progress(next(done, total), total)


def least_tokens(text: str) -> int:
    """Tokens that count for `text` where nobody tells: one for every 8 bytes of UTF-8, rounded up.

    Prose has 3 to 5 bytes a token; few texts have more than 8.

    Example:
        >>> [least_tokens(text) for text in ("", "Yes", "A rather longer answer.")]
        [0, 1, 3]
    """
    return -(-len(text.encode("utf-8", "surrogatepass")) // 8)


def most_tokens(messages: Iterable[Mapping[str, str]]) -> int:
    """More tokens than `messages` can have: a token is a byte at least, and chat templates add
    their own.

    128 of them for a default system prompt, 16 around each message.

    Example:
        >>> most_tokens([{"role": "user", "content": "Good?"}])
        149
    """
    texts = [message["content"].encode("utf-8", "surrogatepass") for message in messages]
    return 128 + sum(16 + len(text) for text in texts)


def all_replies(answers: Sequence[Reply | Failure], who: str) -> list[Reply]:
    """The replies, where every request got one.

    Args:
        answers: of a model.
        who: is named in the message.

    Raises:
        DataError: a request was longer than the model's context.
        EnvironmentFailure: another request got no answer.
    """
    failed = [answer for answer in answers if isinstance(answer, Failure)]
    if not failed:
        return [answer for answer in answers if isinstance(answer, Reply)]
    text = f"{who}: {len(failed)} of {len(answers)} prompts got no answer: {failed[0].reason}"
    if failed[0].too_long:
        raise DataError(text, hint="Shorten the input, or name a model with a longer context.")
    raise EnvironmentFailure(
        text, hint="Run again when the model works; the answers received so far are kept."
    )


def likely_tokens(pairs: Iterable[tuple[str, float]]) -> dict[str, float]:
    """Text to log probability; probabilities of tokens with equal text (half letters, say) are
    added.

    Example:
        >>> likely_tokens([("7", -0.5), ("8", -1.5), ("7", -0.5)]).keys()
        dict_keys(['7', '8'])
        >>> round(likely_tokens([("7", -1.0), ("7", -1.0)])["7"], 3)
        -0.307
    """
    likely: dict[str, float] = {}
    for text, chance in pairs:
        before = likely.get(text)
        if before is not None:
            high, low = max(before, chance), min(before, chance)
            chance = high + math.log1p(math.exp(low - high))
        likely[text] = chance
    return likely
