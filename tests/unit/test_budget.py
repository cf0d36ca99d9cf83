"""Budgets of a run: never exceeded, and what was generated before is kept."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from sluicegate.errors import BudgetError, UsageError
from sluicegate.evaluation import METER, Limits, Meter, answer
from sluicegate.models.echo import EchoBackend
from sluicegate.records import GenerationSettings

SETTINGS = GenerationSettings(max_new_tokens=5)


def rendered(count: int) -> list[tuple[str, list[dict[str, str]]]]:
    """Prompts of ten words each; the echo answers with all ten, cut to five."""
    return [(str(n), [{"role": "user", "content": f"{n} " + "word " * 9}]) for n in range(count)]


def run(meter: Meter, cache: Path, count: int = 20) -> int:
    """Answers that one call gave."""
    return len(answer(EchoBackend(), rendered(count), SETTINGS, cache, "k", meter=meter))


@pytest.mark.parametrize("tokens", [15, 100, 299])
def test_tokens(tmp_path: Path, tokens: int) -> None:
    """A token budget is never exceeded, as much as fits is generated and kept, and the error says how far it got."""
    meter = Meter(tmp_path / "meter.json", Limits(tokens=tokens))
    with pytest.raises(BudgetError, match=f"token budget of {tokens}") as caught:
        run(meter, tmp_path)
    assert meter.spent.made == tokens // 15
    assert meter.spent.tokens <= tokens
    assert f"{20 - meter.spent.made} are missing" in str(caught.value)
    again = Meter()
    assert run(again, tmp_path) == 20
    assert (again.spent.made, again.spent.cached) == (20 - meter.spent.made, meter.spent.made)


def test_too_small_for_one(tmp_path: Path) -> None:
    """A budget below one answer generates none."""
    meter = Meter(None, Limits(tokens=14))
    with pytest.raises(BudgetError):
        run(meter, tmp_path)
    assert meter.spent.made == 0


def test_enough_is_no_limit(tmp_path: Path) -> None:
    """A budget that is just enough stops nothing, and answers from the cache cost nothing."""
    assert run(Meter(None, Limits(tokens=300)), tmp_path) == 20
    assert run(Meter(None, Limits(tokens=1)), tmp_path) == 20


def test_cost(tmp_path: Path) -> None:
    """Money is counted by the prices of prompts and answers, per million tokens."""
    meter = Meter(None, Limits(cost=0.0021, price_input=10.0, price_output=20.0))
    with pytest.raises(BudgetError, match=r"cost budget of 0\.0021"):
        run(meter, tmp_path)
    assert meter.spent.made == 10
    assert meter.cost() == pytest.approx(0.002)


def test_time(tmp_path: Path) -> None:
    """After the time limit no batch starts."""
    with pytest.raises(BudgetError, match="time budget of 3 s"):
        run(Meter(None, Limits(until=time.time() - 1, seconds=3)), tmp_path)
    assert run(Meter(None, Limits(until=time.time() + 60, seconds=60)), tmp_path) == 20


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["seconds", "cost", "until"])
def test_a_limit_is_a_number(name: str, value: float) -> None:
    """A limit that no comparison could ever exceed is refused, not taken for no limit."""
    with pytest.raises(UsageError, match="no finite number"):
        Limits(**{name: value})


def test_shared_with_other_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits and counts travel by a file named in the environment; without one nothing is limited."""
    monkeypatch.delenv(METER, raising=False)
    assert Meter.of_this_run().limits == Limits()
    path = tmp_path / "meter.json"
    Meter(path, Limits(tokens=300)).save()
    monkeypatch.setenv(METER, str(path))
    assert run(Meter.of_this_run(), tmp_path / "a", 12) == 12
    with pytest.raises(BudgetError):
        run(Meter.of_this_run(), tmp_path / "b", 12)
    assert Meter.open(path).spent.made == 20
