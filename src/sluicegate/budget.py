"""What a run may spend on models: seconds, tokens, money; reserved before a request, settled after
it.

The stages of a run are processes of their own, so limits and counts travel in a file that the
environment names.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from sluicegate.environment import read_variable, variable
from sluicegate.errors import BudgetError, UsageError
from sluicegate.hashing import read_json, write_json

BUDGET_FILE = "SLUICE_BUDGET"
"""Environment variable that tells a stage where its run's budget is."""
SAVE_SECONDS = 0.5
"""At most so often counts are written while requests are answered: what a killed stage may not have
counted.
"""

Size = tuple[int, int]
"""Tokens of a prompt and of its answer."""
Price = tuple[float, float]
"""Money per million tokens of prompts and of answers."""


@dataclass(slots=True)
class Counts:
    """What was spent. Answers found in a cache cost nothing and are only counted.

    `judge_calls` and `judge_tokens` are of the answers of judges; `cost` is of everything.
    """

    made: int = 0
    cached: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    judge_calls: int = 0
    judge_tokens: int = 0
    cost: float = 0.0

    @property
    def tokens(self) -> int:
        """Of prompts and answers together, the judges' among them."""
        return self.prompt_tokens + self.completion_tokens + self.judge_tokens


@dataclass(slots=True)
class _Held:
    """What is reserved for requests in the air."""

    requests: int = 0
    tokens: int = 0
    cost: float = 0.0
    saved: float = -math.inf


@dataclass(frozen=True, slots=True)
class Budget:
    """Most that a run may spend, and what it has spent; None is no limit. One thread at a time uses
    it.

    Attributes:
        seconds: of wall time, from `started` on.
        tokens: of prompts and answers together.
        cost: in the currency of the prices.
        price: of the answers of a release.
        own_price: of the tokens that are counted by this view; see `priced`.
        judging: whether these are a judge's.
        started: seconds since 1970.
        path: where limits and counts are kept; None for nowhere.
        spent: the counts.

    Raises:
        UsageError: a limit is not finite. No comparison with NaN is ever true, so that it would
            stop nothing.

    Example:
        >>> Budget(cost=float("nan"))
        Traceback (most recent call last):
        sluicegate.errors.UsageError: the limit on cost is nan, which is not a finite number.
    """

    seconds: float | None = None
    tokens: int | None = None
    cost: float | None = None
    price: Price = (0.0, 0.0)
    own_price: Price | None = None
    judging: bool = False
    started: float = field(default_factory=time.time)
    path: Path | None = None
    spent: Counts = field(default_factory=Counts)
    _held: _Held = field(default_factory=_Held, repr=False)

    def __post_init__(self) -> None:
        for name, value in (("seconds", self.seconds), ("cost", self.cost)):
            if value is not None and not math.isfinite(value):
                raise UsageError(
                    f"the limit on {name} is {value}, which is not a finite number.",
                    hint="Leave it out for no limit.",
                )

    @classmethod
    def open(cls, path: Path) -> Budget:
        """The budget that another process keeps at `path`.

        Raises:
            IntegrityError: there is none, or it is damaged.
        """
        found = read_json(path)
        price = (float(found["price"][0]), float(found["price"][1]))
        limits = {name: found[name] for name in ("seconds", "tokens", "cost", "started")}
        return cls(**limits, price=price, path=path, spent=Counts(**found["spent"]))

    @classmethod
    def of_this_run(cls) -> Budget:
        """The budget named in the environment; without one, a budget that limits nothing."""
        place = read_variable(BUDGET_FILE)
        return cls.open(Path(place)) if place else cls()

    @contextmanager
    def shared(self, path: Path) -> Iterator[Budget]:
        """Within it `of_this_run` finds this budget, kept at `path`; yields it with that place."""
        mine = replace(self, path=path)
        mine.save()
        with variable(BUDGET_FILE, str(path)):
            yield mine

    def save(self) -> None:
        """Write limits and counts."""
        if self.path is None:
            return
        limits = {name: getattr(self, name) for name in ("seconds", "tokens", "cost", "started")}
        write_json(self.path, {**limits, "price": self.price, "spent": asdict(self.spent)})
        self._held.saved = time.monotonic()

    def priced(self, price: Price, *, judging: bool = False) -> Budget:
        """The same budget, counting at another price: what one spends, the other has no longer."""
        return replace(self, own_price=price, judging=judging)

    @property
    def until(self) -> float | None:
        """When time is up, in seconds since 1970."""
        return None if self.seconds is None else self.started + self.seconds

    @property
    def seconds_left(self) -> float | None:
        """Seconds until time is up, 0 at least; None without a limit."""
        return None if self.until is None else max(0.0, self.until - time.time())

    @property
    def in_the_air(self) -> int:
        """How many requests have a reservation."""
        return self._held.requests

    def fits(self, size: Size) -> bool:
        """Whether a request of at most `size` certainly stays within the limits beside those in the
        air.
        """
        return not self._over(size)

    def reserve(self, size: Size) -> None:
        """Set aside what a request may need."""
        self._hold(size, 1)

    def settle(self, size: Size, used: Size, *, answers: int = 0) -> None:
        """Give a reservation back and count what was `used` instead, for so many `answers`."""
        self._hold(size, -1)
        spent = self.spent
        if self.judging:
            spent.judge_calls += answers
            spent.judge_tokens += sum(used)
        else:
            spent.made += answers
            spent.prompt_tokens += used[0]
            spent.completion_tokens += used[1]
        spent.cost += self._money(used)
        if time.monotonic() - self._held.saved > SAVE_SECONDS:
            self.save()

    def found(self, answers: int) -> None:
        """Count answers that were in a cache."""
        if not self.judging:
            self.spent.cached += answers

    @contextmanager
    def working(self) -> Iterator[None]:
        """Counts are written when the block ends, however it ends."""
        try:
            yield
        finally:
            self.save()

    def exceeded(self, missing: int, size: Size | None = None) -> BudgetError:
        """The error that stops a run: time is up, or the next request, of at most `size`, does not
        fit.

        Args:
            missing: how many answers are still missing.
            size: of that request; None for time.
        """
        name = self._over(size) if size else f"time budget of {self.seconds:g} s"
        spent = self.spent
        made = spent.judge_calls if self.judging else spent.made
        money = f", costing {spent.cost:.4g}" if spent.cost else ""
        return BudgetError(
            f"the {name} is spent: {made} answers were generated ({spent.tokens:,} tokens{money}), "
            f"{spent.cached} were in the cache, {missing} are missing.",
            hint="Run again with a larger budget; what was generated is kept.",
        )

    def _money(self, size: Size) -> float:
        price = self.price if self.own_price is None else self.own_price
        return (size[0] * price[0] + size[1] * price[1]) / 1e6

    def _hold(self, size: Size, sign: int) -> None:
        held = self._held
        held.requests += sign
        held.tokens += sign * sum(size)
        held.cost = held.cost + sign * self._money(size) if held.requests else 0.0

    def _over(self, size: Size) -> str:
        """Name of the limit that so many more tokens could exceed, or nothing."""
        tokens = self.spent.tokens + self._held.tokens + sum(size)
        if self.tokens is not None and tokens > self.tokens:
            return f"token budget of {self.tokens:,}"
        cost = self.spent.cost + self._held.cost + self._money(size)
        if self.cost is not None and cost > self.cost * (1 + 1e-9):  # sums of floats
            return f"cost budget of {self.cost:g}"
        return ""
