"""Choosing a base model: what rules one out, who is as good as the best, what it costs, how it is
timed.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from sluicegate.config import PriceParams
from sluicegate.errors import EvidenceError
from sluicegate.evaluation import summarise
from sluicegate.generating import Failure, Reply, Request
from sluicegate.models.scripted import ScriptedModel, last_line
from sluicegate.records import Evidence, GenerationSettings, ScoredExample
from sluicegate.selecting import (
    Choice,
    Cost,
    Option,
    SelectionFile,
    Speed,
    choose,
    endpoint_cost,
    local_cost,
    pareto_front,
    throughput,
    timed,
)


def evidence(values: Sequence[float], name: str = "r") -> Evidence:
    rows = tuple(
        ScoredExample(f"e{i:03}", f"g{i:03}", "text", {"f1": v}, 0.1, 10, 5)
        for i, v in enumerate(values)
    )
    groups = [row.group for row in rows]
    return Evidence(
        name, "golden", "metrics", rows, {"f1": summarise(values, groups, (0.0, 1.0))}, {}
    )


def option(name: str, values: Sequence[float], cost: float | None = 100.0, **more: Any) -> Option:
    known: dict[str, Any] = {
        "local": True,
        "licence": "MIT",
        "commercial": True,
        "residency": "on-premises",
    }
    speed = Speed((), 0.01, 1.0, more.pop("p95", 2.0), 50.0, more.pop("memory", 1.0))
    priced = None if cost is None else Cost(cost, cost / 100, {"machines": cost})
    return Option(name, **(known | more), evidence=evidence(values, name), speed=speed, cost=priced)


def plan(**fields: Any) -> SelectionFile:
    return SelectionFile.model_validate(
        {"candidates": ["a", "b"], "metrics": ["f1"], "quality": "f1", **fields}
    )


def chosen(options: Sequence[Option], **fields: Any) -> Choice:
    return choose(options, plan(**fields), direction="higher", bounds=(0.0, 1.0))


def scores(mean: float, seed: int, n: int = 200) -> list[float]:
    chance = random.Random(seed)
    return [min(1.0, max(0.0, chance.gauss(mean, 0.1))) for _ in range(n)]


def test_the_cheaper_of_two_equals_is_chosen() -> None:
    """A candidate whose loss is shown to be small enough costs less: it is taken, and the sentence
    says so.
    """
    base = scores(0.6, 1)
    found = chosen([option("dear", base, 900.0), option("cheap", [v - 0.01 for v in base], 90.0)])
    assert found.chosen == "cheap"
    assert "cheap costs least" in found.because
    assert set(found.front) == {"dear", "cheap"}


def test_a_cheap_one_that_may_be_worse_is_not_chosen() -> None:
    """With few examples nothing rules out a loss: the better one stays, whatever the other costs."""
    found = chosen(
        [option("good", scores(0.6, 1, 12), 900.0), option("cheap", scores(0.55, 2, 12), 1.0)]
    )
    assert found.chosen == "good"
    assert found.steps[-2].out == ("cheap",)


@pytest.mark.parametrize(
    ("needs", "more", "answer"),
    [
        (
            {"commercial_use": True},
            {"commercial": None},
            "MIT: unknown: read it, then set `commercial` in models.yaml",
        ),
        ({"commercial_use": True}, {"commercial": False}, "MIT: no"),
        ({"residency": ["EU"]}, {"residency": ""}, "unknown"),
        ({"residency": ["EU"]}, {"residency": "US"}, "US"),
        ({"quality_limit": 0.9}, {}, None),
        ({"latency_p95_at_most": 1.0}, {}, "2"),
        ({"memory_gib_at_most": 0.5}, {}, "1"),
        ({"cost_per_month_at_most": 50}, {}, "100"),
        ({"cost_per_month_at_most": 50}, {"cost": None}, "unknown"),
    ],
)
def test_every_need_rules_out(
    needs: dict[str, Any], more: dict[str, Any], answer: str | None
) -> None:
    """A need that is not met, or of which nothing is known, rules a candidate out, with the reason."""
    found = chosen([option("a", scores(0.6, 1), **more)], needs=needs)
    assert found.chosen is None
    step = found.steps[-1]
    assert step.out == ("a",)
    assert answer is None or step.answers["a"] == answer
    assert chosen([option("a", scores(0.6, 1), **more)]).chosen == "a"


def test_an_endpoint_needs_no_memory_of_ours() -> None:
    """A limit on memory does not rule an endpoint out."""
    remote = option("a", scores(0.6, 1), local=False, memory=None)
    assert chosen([remote], needs={"memory_gib_at_most": 1}).chosen == "a"


def test_what_failed_is_out_first() -> None:
    """A candidate that could not be measured is ruled out with what stopped it; the others are
    still compared.
    """
    broken = Option("b", False, "", None, "", failed="the endpoint is down")
    found = chosen([broken, option("a", scores(0.6, 1))])
    assert (found.chosen, found.steps[0].out, found.steps[0].answers["b"]) == (
        "a",
        ("b",),
        "the endpoint is down",
    )
    assert found.because == "a is the only one that could be measured and meets every need."
    assert chosen([broken]).chosen is None


def test_no_price_is_no_bargain() -> None:
    """Where only one of two equals has a price that one is taken, and what is not known is said."""
    base = scores(0.6, 1)
    found = chosen([option("a", base), option("b", base, None)])
    assert found.chosen == "a"
    assert "nothing is known of what b costs" in found.because
    alone = chosen([option("a", base, None)])
    assert (alone.chosen, "no price is known" in alone.because) == ("a", True)


def test_lower_may_be_better() -> None:
    """For a metric where less is better the one with less is the best."""
    found = choose(
        [option("much", scores(0.6, 1)), option("little", scores(0.2, 2))],
        plan(),
        direction="lower",
        bounds=(0.0, 1.0),
    )
    assert found.chosen == "little"
    floor = plan(needs={"quality_limit": 0.3})
    both = [option("much", scores(0.6, 1)), option("little", scores(0.2, 2))]
    assert choose(both, floor, direction="lower", bounds=(0.0, 1.0)).steps[1].out == ("much",)
    assert pareto_front(
        [option("much", scores(0.6, 1)), option("little", scores(0.2, 2))], "f1", "lower"
    ) == ("little",)


def test_different_examples_are_never_compared() -> None:
    """Candidates that answered different rows are an error, not a comparison."""
    other = option("b", scores(0.5, 2))
    assert other.evidence is not None
    rows = tuple(replace(row, id=f"x{row.id}") for row in other.evidence.rows)
    with pytest.raises(EvidenceError, match="different examples"):
        chosen(
            [
                option("a", scores(0.6, 1)),
                replace(other, evidence=replace(other.evidence, rows=rows)),
            ]
        )


def test_the_same_loss_is_never_taken_for_none_too_often() -> None:
    """A candidate worse by exactly `close_enough` passes for as good in at most 5 % of draws."""
    passed = 0
    for seed in range(200):
        chance = random.Random(seed)
        best = [chance.uniform(0.4, 0.6) for _ in range(60)]
        worse = [value - 0.05 + chance.gauss(0, 0.08) for value in best]
        passed += not chosen([option("a", best, 2.0), option("b", worse, 1.0)]).steps[-2].out
    assert passed <= 18  # 5 % of 200, and three standard errors


def test_costs_are_the_sum_of_their_parts() -> None:
    """Tokens at list price or machine hours, set-up and upkeep; all of them add up to the month."""
    assumed = plan().assumptions
    for cost in (
        endpoint_cost(300, 60, PriceParams(input=1.0, output=5.0), assumed),
        local_cost(60, 100.0, assumed),
    ):
        assert cost.per_month == pytest.approx(sum(cost.parts.values()))
        assert cost.per_1000 == pytest.approx(cost.per_month / assumed.requests_per_month * 1000)
    with pytest.raises(ValueError, match="throughput"):
        local_cost(60, 0.0, assumed)


@dataclass
class Steady(ScriptedModel):
    """A model on a clock of its own: `first` seconds for the prompt, `step` for every token after
    the first.
    """

    answer: Callable[[Request], str | Reply | Failure] = last_line
    clock: list[float] = field(default_factory=list)
    first: float = 0.5
    step: float = 0.02

    def generate(self, requests: Sequence[Request], **rest: Any) -> list[Reply | Failure]:
        tokens = requests[0].max_tokens
        self.clock[0] += self.first + self.step * (tokens - 1)
        return [
            Reply("x", len(request.messages[0]["content"]), tokens, 0.1) for request in requests
        ]


def test_prompt_and_answer_are_timed_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first token's time is that of the prompt, the pace that of each token after it; all
    lengths are there.
    """
    clock = [0.0]
    monkeypatch.setattr("sluicegate.selecting.measuring.time.perf_counter", lambda: clock[0])
    prompts = [[{"role": "user", "content": "x" * size}] for size in range(10, 110)]
    timings, decode = timed(
        Steady(clock=clock), prompts, GenerationSettings(), new_tokens=11, repeats=4
    )
    assert [(t.answer_tokens, t.p50, t.n) for t in timings] == [(1, 0.5, 4), (11, 0.7, 4)] * 3
    assert timings[0].prompt_tokens < timings[2].prompt_tokens < timings[4].prompt_tokens
    assert decode == pytest.approx(0.02)
    assert (
        throughput(Steady(clock=clock), prompts[:10], GenerationSettings(max_new_tokens=26))
        == 260.0
    )


@pytest.mark.parametrize(
    "fields",
    [
        {"candidates": []},
        {"candidates": ["a", "a"]},
        {"quality": "rouge1"},
        {"metrics": ["judge:coherence"], "quality": "judge:coherence"},
        {"close_enough": 0},
        {"assumptions": {"utilisation": 0}},
        {"assumptions": {"coffee": 1}},
        {"latency": {"repeats": 1}},
    ],
)
def test_a_wrong_plan_is_refused(fields: dict[str, Any]) -> None:
    """Fields that mean nothing, or contradict each other, are errors of the file."""
    with pytest.raises(ValueError, match=r"."):
        plan(**fields)
