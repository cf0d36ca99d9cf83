"""Classification: labels as people and models write them, sets as scikit-learn scores them, and
intervals that hold.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score

from sluicegate.errors import EvidenceError
from sluicegate.evaluation import evaluate
from sluicegate.gates import Policy, decide
from sluicegate.metrics import METRICS, find_metric, metrics_digest, score_one
from sluicegate.metrics.labels import class_of, f1s, label, of_set, recalls
from sluicegate.records import Decision, Evidence, Example, Generation

CLASSES = ("refund", "delivery", "billing", "other")


def drawn(seed: int, rows: int) -> tuple[list[str], list[str]]:
    """Labels of four classes, one of them rare, and answers of which some are none of them."""
    chance = random.Random(seed)
    true = [*CLASSES, *chance.choices(CLASSES, (50, 30, 18, 2), k=rows - 4)]
    said = [
        one if chance.random() < 0.7 else chance.choice((*CLASSES, "what?", "")) for one in true
    ]
    return true, said


def evidence(
    true: Sequence[str], said: Sequence[str], metrics: Sequence[str], **more: object
) -> Evidence:
    golden = [
        Example(f"e{n:03}", f"g{n}", {"t": "x"}, (one,), "s", **more)  # type: ignore[arg-type]
        for n, one in enumerate(true)
    ]
    return evaluate("r", golden, "g", [Generation(one, 1, 1, 0.1, True) for one in said], metrics)


@pytest.mark.parametrize(
    ("output", "reference", "field", "right"),
    [
        (" Refund.\n", "refund", "", 1.0),
        ('"Refund"', "refund", "", 1.0),
        ("`refund`", "REFUND", "", 1.0),
        ("**refund**", "refund", "", 1.0),
        ('{"label": "refund", "why": "late"}', "refund", "", 1.0),
        ('{"intent": "refund"}', "refund", "", 1.0),
        ('{"intent": "refund", "why": "late"}', "refund", "", 0.0),
        ('{"intent": "refund", "why": "late"}', '{"intent": "Refund"}', "intent", 1.0),
        ('{"intent": 3}', "3", "intent", 1.0),
        ("3", "3", "", 1.0),
        ("3.5", "35", "", 0.0),
        ("It is a refund", "refund", "", 0.0),
        ("{refund", "{refund", "", 1.0),
        ("退款", "退款", "", 1.0),
        ("", "refund", "", 0.0),
    ],
)
def test_a_label_is_read(output: str, reference: str, field: str, right: float) -> None:
    """Quotes, case, space and one field of JSON do not matter; other words do."""
    metric = find_metric(f"accuracy:{field}" if field else "accuracy")
    assert score_one(metric, "", output, [reference]) == right


def test_any_reference_is_right_and_none_gives_no_score() -> None:
    """Several labels may be right; a reference without a label judges nothing."""
    assert score_one(METRICS["accuracy"], "", "billing", ["refund", "billing"]) == 1.0
    assert score_one(METRICS["accuracy"], "", "billing", ['{"a": 1, "b": 2}']) is None


@pytest.mark.parametrize("seed", range(20))
def test_sets_equal_scikit_learn(seed: int) -> None:
    """Balanced accuracy and macro-F1 of sets with a rare class, unknown and blank answers."""
    true, said = drawn(seed, 60)
    references = [[one] for one in true]
    groups = [str(n) for n in range(60)]
    value, low, high = of_set(recalls, said, references, groups)
    assert value == pytest.approx(recall(true, said), abs=1e-9)
    assert low <= value <= high
    value, low, high = of_set(f1s, said, references, groups)
    wanted = f1_score(true, said, labels=CLASSES, average="macro")
    assert value == pytest.approx(wanted, abs=1e-9)
    assert low <= value <= high


def recall(true: Sequence[str], said: Sequence[str]) -> float:
    known = [one if one in CLASSES else "none" for one in said]
    return float(balanced_accuracy_score(true, known))


def test_a_class_without_a_mistake_is_not_certain() -> None:
    """All right in few rows is no proof, and more rows prove more."""
    few = of_set(recalls, ["a", "b"] * 5, [["a"], ["b"]] * 5, [str(n) for n in range(10)])
    many = of_set(recalls, ["a", "b"] * 100, [["a"], ["b"]] * 100, [str(n) for n in range(200)])
    assert few[0] == many[0] == 1.0
    assert 0.6 < few[1] < 0.95 < many[1] < 1.0
    assert of_set(f1s, ["b"] * 3, [["a"]] * 3, ["1", "2", "3"])[0] == 0.0


def test_rows_of_one_group_prove_no_more_than_one() -> None:
    """The interval of ten groups of twenty equal rows is as wide as that of ten rows."""
    true, said = drawn(3, 24)
    alone = of_set(recalls, said, [[one] for one in true], [str(n) for n in range(24)])
    repeated = of_set(
        recalls, said * 20, [[one] for one in true] * 20, [str(n) for n in range(24)] * 20
    )
    assert repeated[0] == pytest.approx(alone[0])
    assert repeated[2] - repeated[1] > 0.6 * (alone[2] - alone[1])


@pytest.mark.parametrize("weighed", [recalls, f1s])
def test_intervals_hold_the_truth(weighed: Callable[..., object]) -> None:
    """In 95 % of 100 sets of 60 rows, within what so few can show."""
    rows, right = 60, 0.9
    chance = np.random.default_rng(1)
    shares = np.array([0.5, 0.3, 0.15, 0.05])
    names = list("abcd")

    def draw(count: int) -> tuple[list[str], list[str]]:
        true = chance.choice(4, count, p=shares)
        wrong = (true + chance.integers(1, 4, count)) % 4
        said = np.where(chance.random(count) < right, true, wrong)
        return [names[one] for one in true], [names[one] for one in said]

    true, said = draw(200_000)
    many = f1_score(true, said, average="macro") if weighed is f1s else recall_of(true, said)
    inside = 0
    for _ in range(100):
        true, said = draw(rows)
        _, low, high = of_set(
            weighed,
            said,
            [[one] for one in true],
            [str(n) for n in range(rows)],  # type: ignore[arg-type]
        )
        inside += low <= many <= high
    assert inside >= 89


def recall_of(true: Sequence[str], said: Sequence[str]) -> float:
    return float(balanced_accuracy_score(true, said))


def test_the_evidence_has_them_beside_the_rows() -> None:
    """No row has a score of the set; the classes are slices; a rule on it holds and says why."""
    true, said = drawn(5, 40)
    found = evidence(true, said, ["accuracy", "macro_f1"])
    assert set(found.summaries) == {"accuracy"}
    assert found.set_scores["macro_f1"].n == 40
    assert {row.slices["label"] for row in found.rows} == set(CLASSES)
    rule = {"name": "r", "kind": "at_least", "metric": "macro_f1", "threshold": 0.1}
    verdict = decide(found, found, Policy.model_validate({"rules": [rule]}), facts={})
    assert verdict.decision is Decision.HOLD
    assert "slice: label" in verdict.rules[0].reason
    with pytest.raises(EvidenceError, match="no metric scores the rows"):
        evidence(true, said, ["macro_f1", "balanced_accuracy"])


def test_a_class_that_is_lost_is_seen_by_a_rule_on_its_slice() -> None:
    """Recall of every class is a rule: 96 % right in all, none right in one class."""
    true = ["refund"] * 60 + ["billing"] * 60 + ["other"] * 12
    said = ["refund"] * 60 + ["billing"] * 60 + ["refund"] * 12
    found = evidence(true, said, ["accuracy"])
    rule = {"name": "r", "kind": "at_least", "metric": "accuracy", "threshold": 0.6}
    verdicts = [
        decide(found, found, Policy.model_validate({"rules": [{**rule, **more}]}), facts={})
        for more in ({}, {"slice": "label"})
    ]
    assert [one.decision for one in verdicts] == [Decision.PROMOTE, Decision.REJECT]
    assert verdicts[1].rules[0].slice == "label=other"


def test_classes_are_slices_only_where_there_are_few() -> None:
    """21 labels are no classes to look at one by one; a slice `label` of a row's own stays."""
    many = [f"c{n}" for n in range(21)]
    assert "label" not in evidence(many, many, ["accuracy"]).rows[0].slices
    own = evidence(["a", "b"], ["a", "b"], ["accuracy"], slices={"label": "mine"})
    assert {row.slices["label"] for row in own.rows} == {"mine"}
    assert evidence(["a", "b"], ["a", "b"], ["exact_match"]).rows[0].slices == {}


def test_the_field_is_part_of_the_name() -> None:
    """Two fields are two metrics, and a class is read by the same field."""
    assert metrics_digest(["accuracy:a"]) != metrics_digest(["accuracy:b"])
    assert class_of(['{"a": "X", "b": "y"}'], field="a") == "x"
    assert label("[1]") == "[1]"
