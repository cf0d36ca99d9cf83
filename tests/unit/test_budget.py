"""Budgets of a run: never exceeded, and what was generated before is kept."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.budget import BUDGET_FILE, Budget
from sluicegate.errors import BudgetError, UsageError
from sluicegate.evaluation import answer
from sluicegate.models.scripted import echo
from sluicegate.records import GenerationSettings

SETTINGS = GenerationSettings(max_new_tokens=5)


def rendered(count: int) -> list[tuple[str, list[dict[str, str]]]]:
    """Prompts of ten words each; the echo answers with all ten, cut to five."""
    return [(str(n), [{"role": "user", "content": f"{n} " + "word " * 9}]) for n in range(count)]


def run(budget: Budget, cache: Path, count: int = 20) -> int:
    """Answers that one call gave."""
    return len(answer(echo(), rendered(count), SETTINGS, cache, "k", budget=budget))


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 300), st.floats(0, 1)), max_size=50))
def test_a_budget_is_never_overdrawn(requests: list[tuple[int, int, float]]) -> None:
    """Whatever is reserved where it fits and settled at no more than that, the limits hold at every
    moment.
    """
    budget = Budget(tokens=1000, cost=0.05, price=(10, 100))
    held: list[tuple[int, int]] = []
    for prompt, answer_tokens, share in requests:
        if budget.fits((prompt, answer_tokens)):
            budget.reserve((prompt, answer_tokens))
            held.append((prompt, answer_tokens))
        elif held:
            size = held.pop(0)
            budget.settle(size, (int(size[0] * share), int(size[1] * share)), answers=1)
        assert budget.in_the_air == len(held)
        assert budget.spent.tokens + sum(map(sum, held)) <= 1000
        assert budget.spent.cost <= 0.05 * (1 + 1e-9)


@pytest.mark.parametrize("tokens", [15, 100, 299])
def test_tokens(tmp_path: Path, tokens: int) -> None:
    """A token budget is never exceeded, as much as fits is generated and kept, and the error says
    how far it got.
    """
    budget = Budget(tokens=tokens, path=tmp_path / "budget.json")
    with pytest.raises(BudgetError, match=f"token budget of {tokens}") as caught:
        run(budget, tmp_path)
    assert budget.spent.made == tokens // 15
    assert budget.spent.tokens <= tokens
    assert f"{20 - budget.spent.made} are missing" in str(caught.value)
    again = Budget()
    assert run(again, tmp_path) == 20
    assert (again.spent.made, again.spent.cached) == (20 - budget.spent.made, budget.spent.made)


def test_too_small_for_one(tmp_path: Path) -> None:
    """A budget below one answer generates none."""
    budget = Budget(tokens=14)
    with pytest.raises(BudgetError):
        run(budget, tmp_path)
    assert budget.spent.made == 0


def test_enough_is_no_limit(tmp_path: Path) -> None:
    """A budget that is just enough stops nothing, and answers from the cache cost nothing."""
    assert run(Budget(tokens=300), tmp_path) == 20
    assert run(Budget(tokens=1), tmp_path) == 20


def test_cost(tmp_path: Path) -> None:
    """Money is counted by the prices of prompts and answers, per million tokens."""
    budget = Budget(cost=0.0021, price=(10.0, 20.0))
    with pytest.raises(BudgetError, match=r"cost budget of 0\.0021"):
        run(budget, tmp_path)
    assert budget.spent.made == 10
    assert budget.spent.cost == pytest.approx(0.002)


def test_another_price_is_the_same_budget(tmp_path: Path) -> None:
    """What a judge spends at its own price is gone for the answers too, and is counted as the
    judge's.
    """
    budget = Budget(cost=1.0, price=(10.0, 20.0), path=tmp_path / "budget.json")
    judge = budget.priced((0.0, 0.5e6), judging=True)
    judge.reserve((1, 1))
    judge.settle((1, 1), (1, 1), answers=1)
    assert (budget.spent.judge_calls, budget.spent.judge_tokens, budget.spent.made) == (1, 2, 0)
    assert budget.spent.cost == pytest.approx(0.5)
    assert budget.fits((0, 24_000))
    assert not budget.fits((0, 26_000))
    judge.save()
    assert Budget.open(tmp_path / "budget.json").price == (10.0, 20.0)


def test_time(tmp_path: Path) -> None:
    """After the time limit nothing starts."""
    with pytest.raises(BudgetError, match="time budget of 3 s"):
        run(Budget(seconds=3, started=time.time() - 4), tmp_path)
    assert run(Budget(seconds=60), tmp_path) == 20


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["seconds", "cost"])
def test_a_limit_is_a_number(name: str, value: float) -> None:
    """A limit that no comparison could ever exceed is refused, not taken for no limit."""
    with pytest.raises(UsageError, match="not a finite number"):
        Budget(**{name: value})


def test_shared_with_other_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits and counts travel by a file named in the environment; without one nothing is
    limited.
    """
    monkeypatch.delenv(BUDGET_FILE, raising=False)
    assert Budget.of_this_run().tokens is None
    path = tmp_path / "budget.json"
    Budget(tokens=300, path=path).save()
    monkeypatch.setenv(BUDGET_FILE, str(path))
    assert run(Budget.of_this_run(), tmp_path / "a", 12) == 12
    with pytest.raises(BudgetError):
        run(Budget.of_this_run(), tmp_path / "b", 12)
    assert Budget.open(path).spent.made == 20
