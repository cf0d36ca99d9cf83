"""What a run may spend on answers and judges, and has spent: in a file, because stages are processes of their own."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from sluicegate.environment import read_variable
from sluicegate.errors import BudgetError, UsageError
from sluicegate.hashing import read_json, write_json
from sluicegate.records import Generation

METER = "SLUICE_METER"
"""Environment variable that tells a stage where its run's meter is."""
CAREFUL = 8
"""Answers in one batch while a time limit runs: what is still in work when time is up is lost."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Most that a run may spend; None is no limit. Prices are money for a million tokens.

    Attributes:
        until: time (seconds since 1970) after which no batch starts.
        seconds: the same limit as the person gave it, for messages.
        tokens: of prompts and answers together.
        cost: in the currency of the prices.

    Raises:
        UsageError: a limit is not finite. No comparison with NaN is ever true, so that it would stop nothing.

    Example:
        >>> Limits(cost=float("nan"))
        Traceback (most recent call last):
        sluicegate.errors.UsageError: the limit on cost is nan, which is no finite number.
    """

    until: float | None = None
    seconds: float | None = None
    tokens: int | None = None
    cost: float | None = None
    price_input: float = 0.0
    price_output: float = 0.0

    def __post_init__(self) -> None:
        for name, value in (("seconds", self.seconds), ("cost", self.cost), ("time", self.until)):
            if value is not None and not math.isfinite(value):
                raise UsageError(
                    f"the limit on {name} is {value}, which is no finite number.",
                    hint="For no limit, leave it out.",
                )


@dataclass(frozen=True, slots=True)
class Spent:
    """What was generated in this run; answers found in the cache cost nothing and are only counted.

    `judge_calls`, `judge_tokens` and `judge_cost` are of questions to judges that were not in their cache.
    """

    made: int = 0
    cached: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0
    judge_calls: int = 0
    judge_tokens: int = 0
    judge_cost: float = 0.0

    @property
    def tokens(self) -> int:
        """Of prompts and answers together, the judges' among them."""
        return self.prompt_tokens + self.completion_tokens + self.judge_tokens


class Meter:
    """Counts answers against `Limits`; every count is written to `path` at once, so that a killed stage has counted."""

    def __init__(
        self, path: Path | None = None, limits: Limits | None = None, spent: Spent | None = None
    ) -> None:
        self._path, self.limits, self.spent = path, limits or Limits(), spent or Spent()

    @classmethod
    def open(cls, path: Path) -> Meter:
        """The meter that another process keeps at `path`.

        Raises:
            IntegrityError: there is none, or it is damaged.
        """
        found = read_json(path)
        return cls(path, Limits(**found["limits"]), Spent(**found["spent"]))

    @classmethod
    def of_this_run(cls) -> Meter:
        """The meter named in the environment; without one, a meter that limits nothing."""
        place = read_variable(METER)
        return cls.open(Path(place)) if place else cls()

    def save(self) -> None:
        """Write limits and counts."""
        if self._path is not None:
            write_json(self._path, {"limits": asdict(self.limits), "spent": asdict(self.spent)})

    def cost(self, prompt_tokens: int | None = None, completion_tokens: int | None = None) -> float:
        """Money for so many tokens; by default for all that was spent, judges among it."""
        asked = self.spent.prompt_tokens if prompt_tokens is None else prompt_tokens
        told = self.spent.completion_tokens if completion_tokens is None else completion_tokens
        judges = (
            self.spent.judge_cost if prompt_tokens is None and completion_tokens is None else 0.0
        )
        return (asked * self.limits.price_input + told * self.limits.price_output) / 1e6 + judges

    def found(self, answers: int) -> None:
        """Count answers that were in the cache."""
        self.spent = replace(self.spent, cached=self.spent.cached + answers)
        self.save()

    def made(self, answers: Sequence[Generation], seconds: float) -> None:
        """Count answers that were generated, in `seconds` of wall time."""
        before = self.spent
        self.spent = replace(
            before,
            made=before.made + len(answers),
            prompt_tokens=before.prompt_tokens + sum(answer.prompt_tokens for answer in answers),
            completion_tokens=before.completion_tokens
            + sum(answer.completion_tokens for answer in answers),
            seconds=before.seconds + seconds,
        )
        self.save()

    def judged(self, calls: int, tokens: int, cost: float) -> None:
        """Count questions that a judge answered, at its own price."""
        before = self.spent
        self.spent = replace(
            before,
            judge_calls=before.judge_calls + calls,
            judge_tokens=before.judge_tokens + tokens,
            judge_cost=before.judge_cost + cost,
        )
        self.save()

    @property
    def left(self) -> tuple[float | None, int | None, float | None]:
        """Seconds, tokens and money that remain, 0 at least; None where there is no limit."""
        limits = self.limits
        return (
            None if limits.until is None else max(0.0, limits.until - time.time()),
            None if limits.tokens is None else max(0, limits.tokens - self.spent.tokens),
            None if limits.cost is None else max(0.0, limits.cost - self.cost()),
        )

    @property
    def counts_tokens(self) -> bool:
        """Whether `fitting` looks at the length of prompts."""
        return self.limits.tokens is not None or self.limits.cost is not None

    def fitting(
        self, most: int, prompt_tokens: Sequence[int], answer_tokens: int, waiting: int
    ) -> int:
        """How many of the next prompts (1 to `most`) certainly stay within the limits.

        Args:
            most: size of a batch.
            prompt_tokens: length of the next prompts, where `counts_tokens`.
            answer_tokens: longest answer.
            waiting: answers that are still missing, for the message.

        Raises:
            BudgetError: not even one; says which limit, and how far the run got.
        """
        count = min(most, waiting)
        if self.limits.until is not None:
            left = self.limits.until - time.time()
            if left <= 0:
                raise self.exceeded(f"time budget of {self.limits.seconds:g} s", waiting)
            pace = self.spent.seconds / self.spent.made if self.spent.made else 0.0
            count = min(count, CAREFUL, max(1, int(left / pace)) if pace else CAREFUL)
        if not self.counts_tokens:
            return count
        asked = 0
        for number, tokens in enumerate(prompt_tokens[:count], start=1):
            asked += tokens
            over = self._over(asked, number * answer_tokens)
            if over and number == 1:
                raise self.exceeded(over, waiting)
            if over:
                return number - 1
        return count

    def _over(self, asked: int, told: int) -> str:
        """Name of the limit that so many more tokens could exceed, or nothing."""
        limits = self.limits
        if limits.tokens is not None and self.spent.tokens + asked + told > limits.tokens:
            return f"token budget of {limits.tokens:,}"
        if limits.cost is not None and self.cost() + self.cost(asked, told) > limits.cost:
            return f"cost budget of {limits.cost:g}"
        return ""

    def exceeded(self, name: str, waiting: int) -> BudgetError:
        """The error that stops the run."""
        spent = self.spent
        money = (
            f", costing {self.cost():.4g}"
            if self.limits.price_input or self.limits.price_output
            else ""
        )
        return BudgetError(
            f"the {name} is spent: {spent.made} answers were generated ({spent.tokens:,} tokens{money}), "
            f"{spent.cached} were in the cache, {waiting} are missing.",
            hint="Run again with a larger budget; what was generated is kept and costs nothing then.",
        )
