"""What every row of BASELINES promises, and every score of a whole set."""

from __future__ import annotations

import math

import pytest

from sluicegate.errors import ConfigError
from sluicegate.evaluation.baselines import BASELINES, find_baseline
from sluicegate.evaluation.corpus import corpus_scores
from sluicegate.metrics import METRICS
from sluicegate.records import Example

TEXT = "The order came two days late. The shop paid five euros back. The customer was content."
ROWS = [
    Example("1", "g", {"text": TEXT}, ("A late order.",), "s"),
    Example("2", "g", {"text": ""}, ("Nothing.",), "s"),
    Example("3", "h", {"b": "Agent: hi\n", "a": "ü" * 5000}, ("Hi.",), "s"),
]

OF_SETS = [name for name, metric in METRICS.items() if metric.whole]


@pytest.mark.parametrize("name", BASELINES)
def test_a_baseline_answers_every_row_for_nothing(name: str) -> None:
    """One answer a row, in order, the same each time; no tokens, no seconds; no rows, no answers."""
    found = find_baseline(name)(ROWS)
    assert len(found) == len(ROWS)
    assert found == find_baseline(name)(ROWS)
    assert found[::-1] == find_baseline(name)(ROWS[::-1])
    assert all(
        (one.prompt_tokens, one.completion_tokens, one.seconds) == (0, 0, 0) for one in found
    )
    assert found[0].text
    assert find_baseline(name)([]) == []


@pytest.mark.parametrize("name", BASELINES)
def test_a_baseline_does_not_read_the_reference(name: str) -> None:
    """What is compared with must not know the right answer."""
    blind = [Example(row.id, row.group, row.inputs, ("?",), row.source) for row in ROWS]
    assert find_baseline(name)(blind) == find_baseline(name)(ROWS)


def test_an_unknown_baseline_is_named() -> None:
    """The error says which there are."""
    with pytest.raises(ConfigError, match="magic") as caught:
        find_baseline("magic")
    assert all(name in caught.value.hint for name in BASELINES)


@pytest.mark.parametrize("name", OF_SETS)
def test_a_score_of_the_whole_set(name: str) -> None:
    """It belongs to a metric, is best for equal texts, worst for blank ones and finite between."""
    low, high = METRICS[name].range
    references = [[TEXT], ["Another text about it."]]
    best = corpus_scores({name: [1.0, 1.0]}, [row[0] for row in references], references)
    assert best == {f"corpus_{name}": pytest.approx(high)}
    whole = METRICS[name].whole
    assert whole is not None
    assert whole([0.0, 0.0], ["", ""], references) == pytest.approx(low)
    between = whole([0.5, 0.0], ["The order came late.", "\U0001f600"], references)
    assert math.isfinite(between)
    assert low <= between < high
