"""Weights as a model: batching changes no reply, probabilities are the model's, limits hold."""

from __future__ import annotations

import math
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from sluicegate.budget import Budget
from sluicegate.config import ModelSpec
from sluicegate.engines.loading import encode_chat, load_model, load_tokenizer
from sluicegate.errors import BudgetError, ModelError
from sluicegate.generating import Failure, Reply, Request
from sluicegate.models import open_model
from tiny_model import build_tiny_model

WORDS = (
    "parcel",
    "order",
    "refund",
    "late",
    "agent",
    "customer",
    "please",
    "check",
    "number",
    "hours",
    "sorry",
    "1",
)


def question(length: int, start: int = 0, **more: Any) -> Request:
    text = " ".join(WORDS[(start + place * place) % len(WORDS)] for place in range(length))
    return Request(({"role": "user", "content": text},), **{"max_tokens": 12, **more})


QUESTIONS = [question(length, start) for start, length in enumerate([3, 60, 12, 1, 33, 90, 7, 25])]


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> ModelSpec:
    return ModelSpec(
        path=str(build_tiny_model(tmp_path_factory.mktemp("model") / "tiny")), context=256
    )


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICE_CACHE", str(tmp_path_factory.getbasetemp() / "models"))


def opened(spec: ModelSpec, cache: Path, **more: Any) -> Any:
    return open_model(spec, "tiny", root=Path(), cache=cache, **{"dtype": "float32", **more})


def replies(answers: list[Reply | Failure]) -> list[Reply]:
    assert all(isinstance(answer, Reply) for answer in answers), answers
    return [answer for answer in answers if isinstance(answer, Reply)]


@pytest.mark.parametrize("planned", [True, False])
def test_alternatives_are_the_models_probabilities(
    spec: ModelSpec, tmp_path: Path, planned: bool
) -> None:
    """At each place the likely tokens have the log probabilities of a plain forward pass, batched
    or one by one.
    """
    asked_of = opened(spec, tmp_path)
    count = torch.iinfo(torch.int16).max if planned else 5
    if not planned:
        asked_of.generate([question(2)])
        asked_of.model._opened = _one_by_one(spec)
    asked = [question(length, alternatives=min(count, 500)) for length in (4, 30, 9)]
    tokenizer, model = load_tokenizer(Path(spec.path)), load_model(Path(spec.path), "float32")
    for one, reply in zip(asked, replies(asked_of.generate(asked)), strict=True):
        ids = encode_chat(tokenizer, [dict(message) for message in one.messages])
        for place, likely in enumerate(reply.alternatives):
            with torch.inference_mode():
                exact = model(torch.tensor([ids])).logits[0, -1].log_softmax(-1)
            best = int(exact.argmax())
            wanted: dict[str, float] = {}
            for token in exact.topk(min(count, 500, len(exact))).indices.tolist():
                text = str(tokenizer.decode([token]))
                wanted[text] = wanted.get(text, 0.0) + math.exp(exact[token])
            for text, chance in wanted.items():
                assert math.isclose(math.exp(likely[text]), chance, rel_tol=1e-3, abs_tol=1e-6), (
                    place,
                    text,
                )
            if planned:
                assert math.isclose(sum(map(math.exp, likely.values())), 1, abs_tol=1e-3)
            ids.append(best)
        assert len(reply.alternatives) == reply.completion_tokens - reply.finished


def test_a_common_beginning_leaves_the_probabilities(
    spec: ModelSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading the criterion once for all questions moves no token's probability by 1e-5, also where
    slots are refilled.
    """
    rules = {
        "role": "system",
        "content": "Say whether the customer got the parcel in time or not. " * 6,
    }
    asked = [
        replace(one, messages=(rules, *one.messages), max_tokens=3, alternatives=99)
        for one in QUESTIONS * 2
    ]
    asked = [replace(one, seed=seed) for seed, one in enumerate(asked)]
    found = []
    for sharing in (8, 10**9):
        monkeypatch.setattr("sluicegate.engines.batching.SHARING", sharing)
        found.append(
            replies(opened(spec, tmp_path / str(sharing), batch_tokens=700).generate(asked))
        )
    for one, two in zip(*found, strict=True):
        assert (one.text, one.completion_tokens) == (two.text, two.completion_tokens)
        for place, other in zip(one.alternatives, two.alternatives, strict=True):
            assert place.keys() == other.keys()
            assert all(
                math.isclose(math.exp(place[text]), math.exp(other[text]), abs_tol=1e-5)
                for text in place
            )


def _one_by_one(spec: ModelSpec) -> Any:
    from sluicegate.engines.batching import BatchingEngine

    model = load_model(Path(spec.path), "float32")
    model.config.model_type = "unheard-of"
    backend = BatchingEngine(model, load_tokenizer(Path(spec.path)), context=256, batch_tokens=100)
    assert not backend.planned
    return backend


def test_settings_of_questions_may_differ(spec: ModelSpec, tmp_path: Path) -> None:
    """Greedy and sampled questions, seeds and lengths share a batch; each answer is the one it gets
    alone.
    """
    asked = [
        question(5), question(5, temperature=0.9), question(5, temperature=0.9, seed=1),
        question(5, max_tokens=3),
        question(5, temperature=0.9, seed=2, alternatives=2), question(40),
    ]  # fmt: skip
    together = replies(opened(spec, tmp_path / "one").generate(asked))
    alone = [replies(opened(spec, tmp_path / "two").generate([one]))[0] for one in asked]
    assert [answer.text for answer in together] == [answer.text for answer in alone]
    assert len({answer.text for answer in together}) >= 4
    assert together[3].completion_tokens <= 3
    for one, two in zip(together[4].alternatives, alone[4].alternatives, strict=True):
        assert one.keys() == two.keys()
        assert all(math.isclose(one[text], two[text], abs_tol=1e-3) for text in one)


def test_nothing_is_computed_twice(spec: ModelSpec, tmp_path: Path) -> None:
    """Cached replies come back equal, alternatives too, and no weights are loaded for them."""
    asked = [question(length, alternatives=3) for length in (2, 8)]
    first = replies(opened(spec, tmp_path).generate(asked))
    model = opened(spec, tmp_path)
    again = replies(model.generate(asked))
    assert model.model._opened is None
    assert [(one.text, one.alternatives) for one in first] == [
        (one.text, one.alternatives) for one in again
    ]
    assert all(answer.cached for answer in again)


def test_too_long_is_a_failure(spec: ModelSpec, tmp_path: Path) -> None:
    """A question that leaves no room for an answer fails alone; the others are answered."""
    answers = opened(spec, tmp_path).generate([question(3), question(400), question(4)])
    assert [isinstance(answer, Failure) for answer in answers] == [False, True, False]
    assert "the model's context, 256" in answers[1].reason


def test_identity_says_what_answers(spec: ModelSpec, tmp_path: Path) -> None:
    """Other weights, another adapter or number format is another identity; another name or cache
    folder is not.
    """
    other = ModelSpec(path=str(build_tiny_model(tmp_path / "tiny", seed=1)), context=256)
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text("{}")
    models = [
        opened(spec, tmp_path), opened(other, tmp_path), opened(spec, tmp_path, dtype="bfloat16"),
        opened(spec, tmp_path, adapter=adapter),
    ]  # fmt: skip
    assert len({model.identity for model in models}) == 4
    relative = spec.model_copy(update={"path": Path(spec.path).name})
    same = open_model(
        relative, "x", root=Path(spec.path).parent, cache=tmp_path / "else", dtype="float32"
    )
    assert same.identity == models[0].identity


def test_tokens_are_limited(spec: ModelSpec, tmp_path: Path) -> None:
    """No question starts that might exceed the budget; what was answered stays, and the rest
    follows with more budget.
    """
    asked = [question(8, start) for start in range(12)]
    with pytest.raises(BudgetError, match="token budget of 300") as caught:
        opened(spec, tmp_path).generate(asked, budget=Budget(tokens=300))
    assert "costing" not in str(caught.value)
    answers = replies(opened(spec, tmp_path).generate(asked))
    kept = [answer for answer in answers if answer.cached]
    assert 3 <= len(kept) < 12
    assert sum(answer.prompt_tokens + answer.completion_tokens for answer in kept) <= 300


def test_time_is_limited(spec: ModelSpec, tmp_path: Path) -> None:
    """When time is up the model stops between two tokens."""
    model = opened(spec, tmp_path)
    model.generate([])
    started = time.monotonic()
    with pytest.raises(BudgetError, match="time budget"):
        model.generate(
            [
                question(3, start, max_tokens=200, temperature=2.0, seed=start)
                for start in range(3000)
            ],
            budget=Budget(seconds=0.5),
        )
    assert time.monotonic() - started < 20


def test_missing_weights(tmp_path: Path) -> None:
    """A model that is not there is an error when the model is opened."""
    with pytest.raises(ModelError, match="is not a folder"):
        opened(ModelSpec(path="nowhere"), tmp_path)
