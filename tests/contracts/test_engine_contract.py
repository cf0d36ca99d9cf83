"""What every row of ENGINES promises: evaluation, judging and serving go one way through it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from sluicegate.budget import Budget
from sluicegate.engines import ENGINES, open_engine
from sluicegate.generating import Failure, Reply, Request
from tiny_model import build_tiny_model


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_model(tmp_path_factory.mktemp("model") / "tiny")


@pytest.mark.parametrize("name", ENGINES)
def test_requests_of_all_kinds_share_a_call(name: str, weights: Path) -> None:
    """Greedy, sampled and judging requests are answered side by side, each told once and counted."""
    engine = open_engine(weights, None, context=256, dtype="float32", name=name)
    message = {"role": "user", "content": "Where is my parcel?"}
    asked = [
        Request((message,), 5),
        Request((message,), 5, temperature=0.9, seed=3),
        Request((message,), 1, alternatives=4),
        Request(({**message, "content": "word " * 400},), 5),
    ]
    budget, told = Budget(), dict[int, Reply | Failure]()
    engine.generate(asked, budget=budget, took=told.__setitem__)
    assert sorted(told) == [0, 1, 2, 3]
    replies = [answer for _, answer in sorted(told.items()) if isinstance(answer, Reply)]
    assert len(replies) == budget.spent.made == 3
    assert budget.spent.prompt_tokens == 3 * engine.count_tokens([message])
    assert len(replies[2].alternatives[0]) >= 1
    assert isinstance(told[3], Failure)
    assert told[3].too_long
