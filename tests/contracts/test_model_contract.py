"""What every row of MODELS keeps, whatever stands behind it: order, failures as values, budget, an
identity.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from chat_server import Asked, ChatServer, completion, send
from sluicegate.budget import Budget
from sluicegate.config import ModelSpec
from sluicegate.errors import BudgetError
from sluicegate.generating import Failure, Reply, Request
from sluicegate.models import MODELS, Model, open_model
from tiny_model import build_tiny_model

KEY = "sk-contract-0123456789abcdef"
CONTEXT = 256


def request(text: str, **more: Any) -> Request:
    return Request(({"role": "user", "content": text},), **{"max_tokens": 6, **more})


pytestmark = pytest.mark.parametrize("kind", MODELS)
LONG = request("word " * 400)
"""More than the context of the models here."""


async def behave(asked: Asked, writer: asyncio.StreamWriter) -> None:
    """A server that repeats the last message, slower ones first, and refuses what is too long."""
    if len(asked.text) > 1000:
        return send(writer, b'{"error": {"message": "maximum context length is 256"}}', 400)
    await asyncio.sleep(0.02 if asked.number % 2 else 0.0)
    send(writer, completion(asked.text))


class FakeLiteLLM(SimpleNamespace):
    """LiteLLM's documented `acompletion`, answering as the server above."""

    async def acompletion(self, messages: list[dict[str, str]], **fields: Any) -> Any:
        text = messages[-1]["content"]
        if len(text) > 1000:
            import httpx2
            import openai

            there = httpx2.Request("POST", "https://vendor.example")
            response = httpx2.Response(400, request=there)
            message = "maximum context length is 256"
            raise openai.BadRequestError(message, response=response, body=None)
        return SimpleNamespace(model_dump_json=lambda: completion(text).decode())


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_model(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="module")
def server() -> Iterator[ChatServer]:
    with ChatServer(behave) as running:
        yield running


@pytest.fixture
def entries(
    server: ChatServer, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, dict[str, Any]]:
    """An entry of models.yaml for each row of the table."""
    package = tmp_path / "packaged_weights"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "tiny.gguf").write_bytes(b"not converted: see below")
    monkeypatch.syspath_prepend(str(tmp_path))
    # converting and downloading are tested where they live (test_base_models); here both lead to
    # the tiny model
    monkeypatch.setattr("sluicegate.models.base_models._converted", lambda *_: weights)
    monkeypatch.setattr("sluicegate.models.base_models._hub_snapshot", lambda *_: weights)
    monkeypatch.setenv("SLUICE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("CONTRACT_KEY", KEY)
    monkeypatch.setitem(sys.modules, "litellm", FakeLiteLLM())
    hosted = {"model": "m", "key_env": "CONTRACT_KEY", "allow_private": True, "tries": 1}
    return {
        "package": {"package": "packaged_weights"},
        "path": {"path": str(weights)},
        "hub": {"hub": "somebody/tiny"},
        "endpoint": {"endpoint": {**hosted, "url": server.url}},
        "azure": {"azure": {**hosted, "url": server.url, "api_version": "2024-10-21"}},
        "litellm": {"litellm": {**hosted, "model": "vendor/m"}},
        "echo": {"echo": {}},
    }


Opened = Callable[[], Model]


@pytest.fixture
def opened(kind: str, entries: dict[str, dict[str, Any]]) -> Opened:
    """Opens the model of one row; a row without an entry above fails here."""
    spec = ModelSpec.model_validate({**entries[kind], "context": CONTEXT})
    return lambda: open_model(spec, kind, root=Path(), dtype="float32")


def texts(answers: list[Reply | Failure]) -> list[str]:
    assert all(isinstance(answer, Reply) for answer in answers), answers
    return [answer.text for answer in answers if isinstance(answer, Reply)]


def test_order_is_kept(opened: Opened) -> None:
    """Answers stand in the order of the requests, each as it is alone; each is told once."""
    model, told = opened(), list[int]()
    asked = [request(f"say {'please ' * (n % 3)}{n}") for n in range(6)]
    together = texts(model.generate(asked, took=lambda place, _: told.append(place)))
    assert together == [texts(model.generate([one]))[0] for one in asked]
    assert sorted(told) == list(range(6))


def test_failures_are_values(opened: Opened) -> None:
    """A request that is too long fails alone, in its place, with its reason; the others are
    answered.
    """
    answers = opened().generate([request("one"), LONG, request("two")])
    assert [isinstance(answer, Failure) for answer in answers] == [False, True, False]
    assert isinstance(answers[1], Failure)
    assert answers[1].too_long
    assert "context" in answers[1].reason


def test_nothing_gives_nothing(opened: Opened) -> None:
    """No request, no answer."""
    assert opened().generate([]) == []


def test_the_budget_holds(opened: Opened) -> None:
    """Tokens are never overdrawn, what was answered is told and counted; without time nothing
    starts.
    """
    model, budget, told = opened(), Budget(tokens=700), list[Reply | Failure]()
    asked = [request(f"say {n}") for n in range(300)]
    with pytest.raises(BudgetError, match="token budget of 700"):
        model.generate(asked, budget=budget, took=lambda _, answer: told.append(answer))
    assert 0 < budget.spent.tokens <= 700
    assert budget.spent.made == len(texts(told)) > 0
    assert not budget.in_the_air
    with pytest.raises(BudgetError, match="time budget"):
        opened().generate(asked, budget=Budget(seconds=1.0, started=0.0))


def test_identity(opened: Opened) -> None:
    """Two openings of one entry are one model; no secret is in the name."""
    one, two = opened(), opened()
    assert one.identity == two.identity
    assert len(one.identity) == 64
    assert KEY not in one.identity + repr(one) + repr(vars(one) if hasattr(one, "__dict__") else "")


def test_tokens_are_counted(opened: Opened) -> None:
    """Longer messages have more tokens; none has fewer than what the model reports for them."""
    model = opened()
    short, long = ([{"role": "user", "content": "word " * count}] for count in (3, 30))
    (reply,) = model.generate([Request(tuple(short), max_tokens=6)])
    assert isinstance(reply, Reply)
    assert model.count_tokens(short) < model.count_tokens(long)
    assert reply.prompt_tokens <= model.count_tokens(short)
    assert model.context == CONTEXT
