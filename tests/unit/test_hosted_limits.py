"""Rates and budgets of hosted models: never faster and never dearer than allowed."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from hypothesis import given
from hypothesis import strategies as st

from chat_server import Asked, ChatServer, completion, says, sends
from sluicegate.budget import Budget
from sluicegate.config import EndpointSpec, ModelSpec, PriceParams
from sluicegate.errors import BudgetError, ConfigError
from sluicegate.generating import Failure, Reply, Request, least_tokens, most_tokens
from sluicegate.models import open_model
from sluicegate.models.rates import TokenBucket

PRICE = PriceParams(input=10.0, output=100.0)


def questions(count: int, start: int = 0) -> list[Request]:
    return [
        Request(({"role": "user", "content": f"question {n}"},), max_tokens=8)
        for n in range(start, start + count)
    ]


def opened(server: ChatServer, folder: Path, **more: Any) -> Any:
    fields = {
        "url": server.url,
        "model": "m",
        "allow_private": True,
        "timeout": 20,
        "tries": 1,
        **more,
    }
    spec = ModelSpec(endpoint=EndpointSpec(**fields))
    return open_model(spec, "judge", root=folder, cache=folder)


@given(st.integers(1, 5000), st.lists(st.floats(0, 30), min_size=1, max_size=60), st.integers(1, 9))
def test_no_minute_exceeds_the_limit(per_minute: int, waits: list[float], units: int) -> None:
    """However requests come, no 60 seconds hold more units than allowed, one request that fills the
    bucket aside.
    """
    now = 0.0
    bucket = TokenBucket(per_minute, clock=lambda: now)
    taken: list[tuple[float, int]] = []
    for wait in waits:
        now += wait
        while (pause := bucket.take(units)) == 0 and len(taken) < 500:
            taken.append((now, units))
        assert pause >= 0
    largest = max(units, 1)
    for begin, _ in taken:
        within = sum(one for when, one in taken if begin <= when < begin + 60)
        assert within <= max(per_minute, 2) + largest


def test_waiting_as_told_is_enough() -> None:
    """After the pause that `take` names, the units are there."""
    now = 0.0
    bucket = TokenBucket(30, clock=lambda: now)
    for _ in range(50):
        pause = bucket.take(1)
        if pause:
            now += pause
            assert bucket.take(1) == 0


@given(st.text(max_size=200))
def test_the_bound_of_a_question_is_one(text: str) -> None:
    """A question never counts fewer bytes than it has, whatever is in it."""
    size = most_tokens([{"role": "user", "content": text}])
    assert size > len(text.encode("utf-8", "surrogatepass"))


def test_requests_per_minute(tmp_path: Path) -> None:
    """Beyond the burst, requests leave at the rate allowed."""
    times: list[float] = []
    with ChatServer(says(lambda _: str(times.append(time.monotonic())))) as server:
        started = time.monotonic()
        answers = opened(server, tmp_path, requests_per_minute=600).generate(questions(69))
    assert all(isinstance(answer, Reply) for answer in answers)
    assert times[-1] - started >= 0.99  # 60 at once, then 9 a second


def test_tokens_per_minute(tmp_path: Path) -> None:
    """What an answer did not use is given back to the rate, what it used is not."""
    with ChatServer(says(lambda _: "one two three")) as server:
        model = opened(server, tmp_path, tokens_per_minute=6000, concurrency=1)
        started = time.monotonic()
        model.generate(
            questions(26)
        )  # 575 tokens are gone when the last one wants 162; 600 at once, then 90 a second
        assert time.monotonic() - started >= 1.45


@pytest.mark.parametrize(
    ("limits", "word"),
    [
        ({"tokens": 2000}, "token budget of 2,000"),
        ({"cost": 0.03}, "cost budget of 0.03"),
    ],
)
def test_tokens_and_money(tmp_path: Path, limits: dict[str, Any], word: str) -> None:
    """At the limit asking stops with what was answered kept; a second run with more budget pays
    only for the rest.
    """
    with ChatServer(says(lambda _: "one two three")) as server:
        with pytest.raises(BudgetError, match=word) as caught:
            opened(server, tmp_path, price=PRICE).generate(questions(200), budget=Budget(**limits))
        paid = len(server.asked)
        assert paid * 23 <= limits.get("tokens", 1e9)
        assert paid * (20 * 10 + 3 * 100) / 1e6 <= limits.get("cost", 1e9)
        assert paid >= 50  # most of it is used, though a request is reserved at ten times its size
        assert f"{paid} answers were generated" in str(caught.value)
        assert f"{200 - paid} are missing" in str(caught.value)
        opened(server, tmp_path, price=PRICE).generate(questions(200))
        assert len(server.asked) == 200


@pytest.mark.parametrize("limits", [{"tokens": 1000}, {"cost": 0.05}])
def test_a_server_that_reports_nothing_is_not_free(tmp_path: Path, limits: dict[str, Any]) -> None:
    """Answers cost at least a token for every 8 bytes, also where the server says 0, and the caller
    sees that count.
    """
    body = json.loads(completion("x" * 60))
    body["usage"] = {"prompt_tokens": 0, "completion_tokens": 0}
    with ChatServer(sends(json.dumps(body).encode())) as server:
        fields: dict[str, Any] = {"price": PRICE, "concurrency": 1}
        with pytest.raises(BudgetError):
            opened(server, tmp_path / "a", **fields).generate(
                questions(200), budget=Budget(**limits)
            )
        assert 20 <= len(server.asked) <= 100
        [answer] = opened(server, tmp_path / "b", **fields).generate(questions(1))
    assert isinstance(answer, Reply)
    assert (answer.prompt_tokens, answer.completion_tokens) == (2, 8)


@given(st.text(max_size=200))
def test_the_least_of_a_text_is_below_the_most(text: str) -> None:
    """The lower bound of a question is never above its upper one."""
    assert least_tokens(text) <= most_tokens([{"role": "user", "content": text}])


def test_time(tmp_path: Path) -> None:
    """When time is up requests in the air are dropped, and no later question is asked."""
    with ChatServer(says(lambda _: "yes", 0.2)) as server:
        model, budget = opened(server, tmp_path, concurrency=4), Budget(seconds=0.7)
        started = time.monotonic()
        with pytest.raises(BudgetError, match=r"time budget of 0\.7 s"):
            model.generate(questions(400), budget=budget)
        assert time.monotonic() - started < 5
        asked = len(server.asked)
        assert asked < 40
        with pytest.raises(BudgetError):
            model.generate(questions(1, start=500), budget=budget)
        assert len(server.asked) == asked


def test_time_ends_a_wait(tmp_path: Path) -> None:
    """A rate limit or Retry-After is not waited for past the end of the time budget."""
    with ChatServer(sends(b"{}", 429, Retry_After="50")) as server:
        started = time.monotonic()
        with pytest.raises(BudgetError, match="time budget"):
            opened(server, tmp_path, tries=3).generate(questions(2), budget=Budget(seconds=3))
        assert time.monotonic() - started < 6


def test_failures_that_may_cost_are_counted(tmp_path: Path) -> None:
    """An answer that cannot be read was paid for all the same: it counts at its upper bound."""

    async def behave(asked: Asked, writer: Any) -> None:
        body = completion("fine") if asked.number % 2 else b"nonsense"
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    with ChatServer(behave) as server:
        model = opened(server, tmp_path, concurrency=1)
        with pytest.raises(BudgetError):
            model.generate(questions(100), budget=Budget(tokens=1000))
        assert (
            len(server.asked) == 10
        )  # 21 for an answer, 162 for a failure; the next might not have fitted


def test_money_needs_a_price(tmp_path: Path) -> None:
    """A limit on money without prices is refused before anything is asked."""
    with (
        ChatServer(says(lambda _: "x")) as server,
        pytest.raises(ConfigError, match="needs a price"),
    ):
        opened(server, tmp_path).generate(questions(1), budget=Budget(cost=1.0))


def test_a_failing_cache_stops_the_model(tmp_path: Path) -> None:
    """What cannot be kept is not asked on: the error reaches the caller as it is."""

    class DiskFull(Exception):
        pass

    def took(index: int, answer: Reply | Failure) -> None:
        raise DiskFull

    with ChatServer(says(lambda _: "x", 0.05)) as server:
        with pytest.raises(DiskFull):
            opened(server, tmp_path, concurrency=4).generate(questions(100), took=took)
        assert len(server.asked) <= 8
