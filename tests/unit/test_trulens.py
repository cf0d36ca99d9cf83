"""TruLens through our door: its prompts, our reading, and metrics of a project's own."""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
pytest.importorskip("trulens.feedback", reason="needs the extra trulens")

from trulens.core import Metric, Selector
from trulens.core.feedback.endpoint import Endpoint
from trulens.feedback.llm_provider import LLMProvider

from judge_server import judge_server, model
from sluicegate.budget import BUDGET_FILE, Budget
from sluicegate.errors import BudgetError, ConfigError, EvidenceError
from sluicegate.evaluation import evaluate, read_evidence, write_evidence
from sluicegate.evaluation.trulens import trulens_provider
from sluicegate.gates import Policy, decide
from sluicegate.generating import Failure, Reply, Request
from sluicegate.judges.parsing import Unreadable
from sluicegate.judges.trulens_door import open_provider, read_feedback
from sluicegate.metrics import find_metric, metrics_digest, score_many
from sluicegate.metrics.scorers import scorer_metric
from sluicegate.models.scripted import ScriptedModel
from sluicegate.records import Decision, Example, Generation
from tiny_model import build_tiny_model

REASONED = '{"criteria": "on topic", "supporting_evidence": "the order", "score": 2}'
CALLS: dict[str, dict[str, Any]] = {
    "relevance": {"prompt": "Where is my order?", "response": "On its way."},
    "context_relevance": {"question": "Where?", "context": "In Kiel."},
    "coherence": {"text": "First this, then that."},
    "conciseness": {"text": "Short.", "min_score_val": 0, "max_score_val": 10},
    "sentiment": {"text": "Good!"},
    "relevance_with_cot_reasons": {"prompt": "Where is it?", "response": "Here."},
    "context_relevance_with_cot_reasons": {"question": "Where?", "context": "In Kiel."},
    "helpfulness_with_cot_reasons": {"text": "Try again."},
}


class Theirs(LLMProvider):  # type: ignore[misc]
    """TruLens' own reading of the same answers, with what it was asked."""

    def __init__(self, said: str) -> None:
        super().__init__(model_engine="theirs", endpoint=Endpoint(name="theirs", rpm=10**9))
        object.__setattr__(self, "said", said)
        object.__setattr__(self, "asked", [])

    def _create_chat_completion(
        self, prompt: Any = None, messages: Any = None, **kwargs: Any
    ) -> str:
        self.asked.append(messages)
        return str(self.said)


@pytest.mark.parametrize("name", CALLS)
def test_prompts_and_scores_equal_trulens(name: str) -> None:
    """Each feedback function asks what TruLens 2.16 asks and, of a well-formed answer, makes the
    same score.
    """
    said = REASONED if name.endswith("reasons") else "2"
    model, theirs = ScriptedModel(lambda question: said), Theirs(said)
    found = getattr(open_provider(model), name)(**CALLS[name])
    wanted = getattr(theirs, name)(**CALLS[name])
    assert [list(question.messages) for question in model.asked] == theirs.asked
    assert len(model.asked) == 1
    if isinstance(wanted, tuple):
        assert found[1] == wanted[1]
        found, wanted = found[0], wanted[0]
    assert found == pytest.approx(wanted)


@pytest.mark.parametrize(
    "said", ["-1", "4", "2.5", "2 or 3", "I rate this 3 out of 3", "", "<think>3", '{"score": 9}',
    '{"score": true}',
             '{"score": 2, "note": "x"}', '[{"score": 2}]', "Criteria: a\nSupporting Evidence: "
                 "b\nScore: 2 or 3", "٣"],
)  # fmt: skip
def test_unclear_answers_are_no_score(said: str) -> None:
    """What is not exactly one score of the scale is an error, where TruLens often takes the
    smallest number it sees.
    """
    provider = open_provider(ScriptedModel(lambda question: said))
    with pytest.raises(EvidenceError, match="cannot be read"):
        provider.relevance(prompt="a", response="b")
    with pytest.raises(EvidenceError, match="cannot be read"):
        provider.relevance_with_cot_reasons(prompt="a", response="b")


def test_clear_answers_in_every_form() -> None:
    """A bare number, JSON with or without a fence or a thought, and TruLens' template are read."""
    template = "Criteria: short\nSupporting Evidence: three\nwords\nScore: 3"
    assert read_feedback(template, 0, 3) == (3, "Criteria: short\nSupporting Evidence: three words")
    assert read_feedback(f"```json\n{REASONED}\n```", 0, 3)[0] == 2
    assert read_feedback('<think>{"score": 0}</think>{"score": 3}', 0, 3) == (3, "")
    assert read_feedback(f"TEMPLATE:\n{template.replace(' 3', chr(10) + '3')}", 0, 3)[0] == 3
    for wrong in (
        template + "\nor 2",
        template.replace("Criteria", "It"),
        template.replace("\nScore", " Score"),
    ):
        with pytest.raises(Unreadable):
            read_feedback(wrong, 0, 3)


def test_reading_takes_no_longer_than_the_answer_is_long() -> None:
    """Many lines, and many that begin like TruLens' template, are read in a moment."""
    start = time.process_time()
    for text in (
        "Criteria:" + "\n" * 40_000 + "x",
        "Criteria:" + "\nSupporting Evidence:" * 40 + "\n" * 40_000 + "x",
    ):
        with pytest.raises(Unreadable):
            read_feedback(text, 0, 3)
    assert time.process_time() - start < 2


def test_failures_and_cut_answers_are_errors() -> None:
    """A model that does not answer, or not to the end, gives no score."""
    for reply in (Failure("connection refused"), Reply("2", 1, 1, 0.0, finished=False)):
        with pytest.raises(EvidenceError, match="answer"):
            open_provider(ScriptedModel(lambda question, reply=reply: reply)).relevance(
                prompt="a", response="b"
            )


def test_groundedness_downloads_nothing() -> None:
    """Groundedness splits by the model; NLTK's splitter, a download at every call, is refused."""
    from trulens.core.metric.metric import GroundednessConfigs

    def answer(question: Request) -> str:
        return (
            REASONED
            if len(question.messages) > 1 and "STATEMENT" in question.messages[1]["content"].upper()
            else "A."
        )

    provider = open_provider(ScriptedModel(answer))
    score, reasons = provider.groundedness_measure_with_cot_reasons(
        source="A is so.", statement="A."
    )
    assert score == pytest.approx(2 / 3)
    assert len(reasons["reasons"]) == 1
    config = GroundednessConfigs(use_sent_tokenize=True, filter_trivial_statements=False)
    with pytest.raises(EvidenceError, match="NLTK"):
        provider.groundedness_measure_with_cot_reasons(
            source="A", statement="A", groundedness_configs=config
        )


MODULE = """
from trulens.core import Metric
from mlflow.entities import AssessmentError, Feedback
from mlflow.genai.scorers import Guidelines, ResponseLength, make_scorer_ensemble, scorer
from sluicegate.models.scripted import ScriptedModel
from sluicegate.judges.trulens_door import open_provider

relevance = Metric(implementation=open_provider(ScriptedModel(lambda question: "2")).relevance).on_input_output()
rude = Metric(implementation=lambda text: 0.25, higher_is_better=False)
traced = Metric(implementation=lambda trace: 1.0)

@scorer
def same(outputs, expectations):
    return outputs == expectations["expected_response"]

@scorer
def polite(inputs, outputs):
    return Feedback(value="yes" if "please" in outputs else "no", rationale="please")

@scorer
def steps(trace):
    return 1

provider = open_provider(ScriptedModel(lambda question: "2"))
judge = Guidelines(name="kind", guidelines="Be kind.", model="openai:/none")
hidden = Metric(implementation=lambda text: provider.coherence(text))
rule = ResponseLength(max_length=10)
both = make_scorer_ensemble(name="both", scorers=[rule, judge], ensemble_fn="agg_all")

broken = Feedback(error=AssessmentError("X", "down"))
RETURNS = [None, "unknown", "5", 7, float("nan"), [1, 1], {"a": 1}, broken, Feedback(value="maybe")]

def returning(number):
    @scorer
    def one(outputs):
        if number == len(RETURNS):
            raise KeyError("gone")
        return RETURNS[number]
    return one

returns = [returning(number) for number in range(len(RETURNS) + 1)]
for number, one in enumerate(returns):
    globals()[f"returns_{number}"] = one
"""


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A project's module with metrics and scorers of its own."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "own_metrics.py").write_text(MODULE)
    sys.path.insert(0, str(folder))
    yield "own_metrics"
    sys.path.remove(str(folder))
    sys.modules.pop("own_metrics", None)


def test_own_metrics_and_scorers_score(module: str) -> None:
    """A TruLens Metric and an MLflow Scorer named `module:attribute` score every row as numbers,
    and have a digest.
    """
    rows = (["Where?", "When?"], ["Here, please.", "Now."], [["x", "Now."], ["Now."]])
    assert score_many(find_metric(f"{module}:relevance"), *rows) == pytest.approx([2 / 3, 2 / 3])
    assert score_many(find_metric(f"{module}:polite"), *rows) == [1.0, 0.0]
    assert score_many(find_metric(f"{module}:same"), *rows) == [0.0, 1.0]
    rude = find_metric(f"{module}:rude")
    assert rude.direction == "lower"
    assert score_many(rude, *rows) == [0.25, 0.25]
    assert find_metric(f"{module}:same").needs_reference
    assert not find_metric(f"{module}:polite").needs_reference
    digests = {
        metrics_digest([f"{module}:{name}"]) for name in ("relevance", "polite", "same", "rude")
    }
    assert len(digests) == 4


@pytest.mark.parametrize("name", ["relevance", "hidden", "judge", "both", "rude", "polite", "rule"])
def test_scorers_have_to_be_declared(module: str, name: str) -> None:
    """Whether a scorer asks a model is not guessed: without a word in params.yaml it is refused
    before it runs.
    """
    golden = [Example("e", "g", {"q": "Where?"}, ("Here.",), "t")]
    said = [Generation("Here, please.", 5, 3, 0.1, True)]
    with pytest.raises(ConfigError, match="does not say whether") as caught:
        evaluate("c" * 64, golden, "g", said, [f"{module}:{name}"])
    assert "own_metrics: {'own_metrics:" in caught.value.hint
    assert "asks_model: true" in caught.value.hint


def test_its_scores_decide_nothing(module: str, tmp_path: Path) -> None:
    """Evidence names a metric that asks a model among its judges, and a rule on it is HOLD; others
    are no judges.
    """
    golden = [Example(f"e{n}", f"g{n}", {"q": "Where?"}, ("Here.",), "t") for n in range(12)]
    outputs = [Generation("Here, please.", 5, 3, 0.1, True)] * 12
    name = f"{module}:hidden"
    asking = {name: True, f"{module}:polite": False}
    made = evaluate("c" * 64, golden, "g", outputs, list(asking), asking=asking)
    assert set(made.judges) == {name}
    assert (made.judges[name].scored, made.judges[name].failed) == (12, 0)
    write_evidence(tmp_path / "e.parquet", made)
    assert read_evidence(tmp_path / "e.parquet") == made
    rule = {"name": "r", "kind": "at_least", "metric": name, "threshold": 0.1, "compare": "mean"}
    rules = Policy.model_validate({"rules": [rule], "minimum_examples": 5})
    found = decide(made, None, rules, facts={f"judge:{name}": "ok"})
    assert found.decision is Decision.HOLD
    assert "not calibrated" in found.rules[0].reason


@pytest.mark.parametrize("number", range(10))
def test_what_is_no_number_stops_the_evaluation(module: str, number: int) -> None:
    """An error, nothing, several values, an unknown word or a number out of range is an
    EvidenceError that says whose.
    """
    with pytest.raises(EvidenceError, match=f"returns_{number}"):
        score_many(find_metric(f"{module}:returns_{number}"), ["s"], ["o"], [[]])


@pytest.mark.parametrize("name", ["traced", "steps"])
def test_what_a_row_does_not_have_is_refused(module: str, name: str) -> None:
    """A metric that asks for a trace is refused before anything is scored, with what a row does
    have.
    """
    with pytest.raises(ConfigError, match="trace") as caught:
        find_metric(f"{module}:{name}")
    assert "output" in caught.value.hint


def test_columns_are_selected_by_name() -> None:
    """Arguments of other names are filled by `Selector.from_column`, and another range can be
    declared.
    """

    def longer(one: str, two: str) -> float:
        return len(one) - len(two)

    columns = {"one": Selector.from_column("output"), "two": Selector.from_column("reference")}
    build: Callable[..., Any] = Metric
    metric = scorer_metric(
        build(implementation=longer, selectors=columns), "m:longer", bounds=(-100.0, 100.0)
    )
    assert metric.needs_reference
    assert score_many(metric, ["s"], ["four"], [["seven"]]) == [-1.0]


def test_provider_by_the_name_of_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A project's own metric opens a model of registry/models.yaml by name; what a tiny model says
    is no score.
    """
    monkeypatch.setenv("SLUICE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "params.yaml").write_text("")
    (tmp_path / "registry").mkdir()
    model = build_tiny_model(tmp_path / "tiny")
    (tmp_path / "registry" / "models.yaml").write_text(
        f"models: {{tiny: {{path: {model}, context: 2048}}}}\n"
    )
    provider = trulens_provider("tiny", tmp_path, max_tokens=8)
    assert len(provider.identity) == 64
    with pytest.raises(EvidenceError, match="answer"):
        provider.coherence(text="First this, then that.")
    with pytest.raises(ConfigError, match="no model 'large'") as caught:
        trulens_provider("large", tmp_path)
    assert "tiny" in caught.value.hint


def test_a_provider_by_name_keeps_to_the_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a metric asks through it counts in the run's budget and stops at its limits; it is
    named.
    """
    (tmp_path / "params.yaml").write_text("")
    (tmp_path / "registry").mkdir()
    with judge_server(lambda messages: "2") as judge:
        (tmp_path / "registry" / "models.yaml").write_text(f"models:{model(judge.url)}")
        provider = trulens_provider("fake", tmp_path, max_tokens=8)
        (tmp_path / "plain_module.py").write_text(
            "def score(source, output, references):\n    return ASK(output)\n"
        )
        monkeypatch.syspath_prepend(str(tmp_path))
        importlib.import_module("plain_module").ASK = lambda text: provider.coherence(text=text)
        golden = [
            Example(f"e{n}", f"g{n}", {"q": f"Where is {n}?"}, ("Here.",), "t") for n in range(3)
        ]
        outputs = [Generation(f"Here, {n}.", 5, 3, 0.1, True) for n in range(3)]
        Budget(tokens=20_000, path=tmp_path / "budget.json").save()
        monkeypatch.setenv(BUDGET_FILE, str(tmp_path / "budget.json"))
        names = ["plain_module:score", "rouge1"]
        with pytest.raises(ConfigError, match="asked a model while it scored"):
            evaluate("c" * 64, golden, "g", outputs, names)
        declared = {"plain_module:score": True}
        made = evaluate("c" * 64, golden, "g", outputs, names, asking=declared)
        assert set(made.judges) == {"plain_module:score"}
        spent = Budget.of_this_run().spent
        assert (spent.judge_calls, spent.judge_tokens > 0) == (3, True)
        budget = Budget.of_this_run()
        budget.spent.judge_tokens += 20_000 - budget.spent.tokens - 50  # by others
        budget.save()
        with pytest.raises(BudgetError, match="token budget"):
            provider.coherence(text="Something new.")
        assert len(judge.asked) == 3
        assert provider.coherence(text="Here, 1.") == pytest.approx(
            2 / 3
        )  # was answered before: costs nothing
