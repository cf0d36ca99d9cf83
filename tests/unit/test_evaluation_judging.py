"""Judged metrics: scores where every row was judged, a counted failure otherwise, and never beyond
a budget.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from judge_server import criterion as criterion_text
from judge_server import judge_server, model
from sluicegate.budget import Budget
from sluicegate.errors import BudgetError, ConfigError, EvidenceError
from sluicegate.evaluation import evaluate, read_evidence, write_evidence
from sluicegate.evaluation.judgement import Judgement
from sluicegate.evaluation.judging import judge_answers, judge_row, measures
from sluicegate.gates import Policy, decide
from sluicegate.generating import Failure, Reply, Request
from sluicegate.judges import Criterion
from sluicegate.line.judge.clients import count_failure, open_judges
from sluicegate.line.pipeline import fingerprint
from sluicegate.line.pipeline.fingerprint import inputs, stage_hash
from sluicegate.line.run import open_run
from sluicegate.models.scripted import ScriptedModel
from sluicegate.project import Project
from sluicegate.records import Decision, Evidence, Example, Generation
from sluicegate.scaffold import init

CLEAR = Criterion(
    "clear", "direct", "How clear is the answer?", ("fake",), (1, 5), repeats="judged"
)
PAIR = replace(CLEAR, name="pair", form="pairwise", scale=(0, 1))
GOLDEN = [
    Example(
        f"e{n:02}",
        f"g{n}",
        {"conversation": f"Order {n} is late.", "tone": "calm"},
        (f"Late order {n}",),
        "t",
    )
    for n in range(12)
]


def said(text: str = "Order {} was late") -> list[Generation]:
    """An answer to each golden example."""
    return [Generation(text.format(n), 10, 4, 0.5, True) for n in range(len(GOLDEN))]


def scores(question: Request) -> str:
    """3 of 5, with a reason."""
    return json.dumps({"reason": "It says so.", "score": 3})


def judged(
    model: ScriptedModel, criterion: Criterion = CLEAR, outputs: Sequence[Generation] | None = None
) -> Judgement:
    """What `model` makes of the candidate's answers."""
    return judge_answers(
        criterion, [model], GOLDEN, said() if outputs is None else outputs, said("Late: {}")
    )


def evidence(*judgements: Judgement, release: str = "c" * 64) -> Evidence:
    return evaluate(release, GOLDEN, "g", said(), ["rouge1"], judgements=judgements)


def held(candidate: Evidence, champion: Evidence, **facts: str) -> str:
    """The reason of a rule on the judge; empty where it passes."""
    rule = {
        "name": "clear",
        "kind": "at_least",
        "metric": "judge:clear",
        "threshold": 0.4,
        "compare": "mean",
    }
    policy = Policy.model_validate({"rules": [rule], "minimum_examples": 5})
    found = decide(
        candidate,
        champion,
        policy,
        facts={name.replace("_", ":"): said for name, said in facts.items()},
    )
    return "" if found.decision is Decision.PROMOTE else found.rules[0].reason


def test_scores_and_reasons_of_a_judge_are_in_the_evidence(tmp_path: Path) -> None:
    """A judge that answered for every row is a metric like any other, its words are kept, and the
    gate believes it.
    """
    made = evidence(judged(ScriptedModel(scores)))
    assert made.summaries["judge:clear"].mean == pytest.approx(0.5)
    assert {row.reasons["judge:clear"] for row in made.rows} == {"It says so."}
    assert (made.judges["clear"].scored, made.judges["clear"].failed) == (12, 0)
    write_evidence(tmp_path / "e.parquet", made)
    assert read_evidence(tmp_path / "e.parquet") == made
    assert held(made, made, judge_clear="ok") == ""
    assert "not calibrated" in held(made, made)


@pytest.mark.parametrize("direction", ["higher", "lower"])
def test_a_failed_row_counts_at_its_worst_for_the_candidate(
    tmp_path: Path, direction: Literal["higher", "lower"]
) -> None:
    """One unreadable answer of twelve is the worst score of the candidate's, the best of the
    champion's, and told; a candidate whose answers make the judge fail loses by it.
    """

    def once(question: Request) -> str | Failure:
        return (
            Failure("the connection failed")
            if "Order 7 was" in question.messages[-1]["content"]
            else scores(question)
        )

    criterion = replace(CLEAR, direction=direction)
    mine = judged(ScriptedModel(once), criterion)
    theirs = judge_answers(
        criterion,
        [ScriptedModel(once)],
        GOLDEN,
        said(),
        said("Late: {}"),
        candidate=said("Other: {}"),
    )
    assert (mine.scores[7], theirs.scores[7]) == (criterion.worst, 1.0 - criterion.worst)
    assert mine.scores[:7] == theirs.scores[:7] == (0.5,) * 7
    made = evidence(mine)
    use = made.judges["clear"]
    assert (use.scored, use.failed, use.reasons) == (11, 1, ("the connection failed",))
    assert "no usable answer" in made.rows[7].reasons["judge:clear"]
    write_evidence(tmp_path / "e.parquet", made)
    assert read_evidence(tmp_path / "e.parquet") == made
    rule = {"name": "r", "kind": "not_worse_than_champion", "metric": "judge:clear", "margin": 0.9}
    rule["direction"] = direction
    policy = Policy.model_validate({"rules": [rule], "minimum_examples": 5})
    facts = {"judge:clear": "comparative"}
    found = decide(made, evidence(theirs, release="d" * 64), policy, facts=facts).rules[0]
    assert found.difference == pytest.approx((-1 if direction == "higher" else 1) / 12)
    assert "1 of 12 answers had no usable score of judge:clear and count at their" in found.reason
    assert "1 of 12 answers of the champion had no usable score" in found.reason


def test_many_failed_rows_are_no_score_at_all(tmp_path: Path) -> None:
    """Two unreadable answers of twelve: no score, no mean, the failures counted with their reason,
    and the rule holds.
    """

    def once(question: Request) -> str | Failure:
        return (
            Failure("the connection failed")
            if re.search("Order [67] was", question.messages[-1]["content"])
            else scores(question)
        )

    made = evidence(judged(ScriptedModel(once)))
    assert "judge:clear" not in made.summaries
    assert all(set(row.scores) == {"rouge1"} and not row.reasons for row in made.rows)
    use = made.judges["clear"]
    assert (use.scored, use.failed, use.reasons) == (10, 2, ("the connection failed",))
    write_evidence(tmp_path / "e.parquet", made)
    assert read_evidence(tmp_path / "e.parquet") == made
    whole = evidence(judged(ScriptedModel(scores)))
    assert "failed on 2 of 12 rows (the connection failed)" in held(made, whole, judge_clear="ok")
    assert "of the champion" in held(whole, made, judge_clear="ok")


def test_the_digest_says_which_judge(tmp_path: Path) -> None:
    """Without a judge the digests are as before; another judge or wording is another configuration,
    refused beside it.
    """
    plain = evaluate("c" * 64, GOLDEN, "g", said(), ["rouge1"])
    one, other = (evidence(judged(ScriptedModel(scores, name))) for name in ("one", "other"))
    reworded = evidence(judged(ScriptedModel(scores, "one"), replace(CLEAR, text="Is it clear?")))
    assert evidence().metrics == plain.metrics
    assert len({plain.metrics, one.metrics, other.metrics, reworded.metrics}) == 4
    rule = {"name": "kept", "kind": "not_worse_than_champion", "metric": "rouge1", "margin": 0.9}
    found = decide(
        one, other, Policy.model_validate({"rules": [rule], "minimum_examples": 5}), facts={}
    )
    assert found.decision is Decision.HOLD


def test_pairwise_compares_with_the_champion() -> None:
    """The candidate's answers are shown beside the champion's; the champion itself is level and
    costs no call.
    """

    def shorter(question: Request) -> str:
        text = question.messages[-1]["content"]
        first, second = (
            text.split(f"[BEGIN {name} ANSWER")[1].split("[END")[0] for name in ("FIRST", "SECOND")
        )
        return json.dumps(
            {"reason": "Shorter.", "better": "first" if len(first) < len(second) else "second"}
        )

    model, champion = ScriptedModel(shorter), said("Late: {}")
    better = judge_answers(PAIR, [model], GOLDEN, said("{} late"), champion)
    assert set(better.scores) == {1.0}
    asked = len(model.asked)
    level = judge_answers(PAIR, [model], GOLDEN, champion, champion)
    assert set(level.scores) == {0.5}
    assert len(model.asked) == asked
    assert level.digest == better.digest
    other = judge_answers(PAIR, [model], GOLDEN, said("{} late"), said("It is late: {}"))
    assert other.digest != better.digest
    assert other.use.digest == better.use.digest


def test_equal_pairs_are_not_asked_about_and_never_differ() -> None:
    """Half of the pairs are equal: half of the questions, 0.5 there, and the saving is told."""
    model = ScriptedModel(lambda question: json.dumps({"reason": "Best.", "better": "first"}))
    champion = said("Late: {}")
    half = [
        one if n % 2 else other for n, (one, other) in enumerate(zip(said(), champion, strict=True))
    ]
    whole, mixed = (
        judge_answers(PAIR, [ScriptedModel(model.answer)], GOLDEN, outputs, champion)
        for outputs in (said(), half)
    )
    assert mixed.calls < whole.calls
    assert [mixed.scores[n] for n in range(0, len(GOLDEN), 2)] == [0.5] * 6
    assert "6 of 12 pairs are equal: not asked about" in mixed.use.reasons
    same = judge_answers(PAIR, [model], GOLDEN, list(champion), champion)
    assert set(same.scores) == {0.5}
    assert not model.asked


def test_equal_answers_never_differ_where_the_judge_fails() -> None:
    """An answer without a usable score counts the same on both sides if both gave it."""
    model = ScriptedModel(
        lambda question: (
            Failure("down")
            if "Order 7 was" in question.messages[-1]["content"]
            else scores(question)
        )
    )
    mine = judge_answers(CLEAR, [model], GOLDEN, said(), said())
    theirs = judge_answers(CLEAR, [model], GOLDEN, said(), said(), candidate=said())
    assert mine.scores == theirs.scores
    assert mine.scores[7] == CLEAR.worst


def test_inputs_and_references_are_shown() -> None:
    """A criterion may show any input by name, and a right answer; without one the evaluation stops."""
    model = ScriptedModel(scores)
    shown = replace(CLEAR, shows=("tone", "output", "reference"), needs_reference=True)
    judged(model, shown)
    assert all(
        "calm" in one.messages[-1]["content"] and "Late order" in one.messages[-1]["content"]
        for one in model.asked
    )
    bare = [replace(GOLDEN[0], reference=("",))]
    with pytest.raises(EvidenceError, match="needs a reference"):
        judge_answers(shown, [model], bare, said()[:1], said()[:1])


def test_unweighted_scores_say_so() -> None:
    """Where token probabilities were asked for and did not come, the evidence says that nothing was
    weighted.
    """
    token = replace(CLEAR, answer="token")
    use = judged(ScriptedModel(lambda _: Reply("4", 5, 1, 0.1)), token).use
    assert (use.failed, len(use.reasons)) == (0, 1)
    assert "no token probabilities" in use.reasons[0]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project from the template with two criteria, of which params.yaml names `clear`."""
    root = tmp_path / "project"
    init(root)
    for name, form in (("clear", "direct"), ("pair", "pairwise")):
        (root / "prompts" / f"judge_{name}.yaml").write_text(criterion_text(name, form))
    return Project(root)


def use(project: Project, url: str = "http://127.0.0.1:9/v1", *, named: bool = True) -> None:
    """Name the judge in params.yaml, and its model in models.yaml."""
    text = project.params.read_text()
    if named and "judge:clear" not in text:
        project.params.write_text(text.replace("copied_names]", "copied_names, 'judge:clear']"))
    models = (project.registry / "models.yaml").read_text().split("\n  fake:")[0]
    (project.registry / "models.yaml").write_text(models + model(url))


def test_evaluate_watches_a_judge_only_where_it_is_used(project: Project) -> None:
    """Its wording, model and failed rows change what the stage watches, limits and other judges do
    not.
    """
    use(project, named=False)
    unused = inputs(open_run(project))["judges"]
    path = project.prompts / "judge_clear.yaml"
    path.write_text(path.read_text().replace("5 is clear", "5 is very clear"))
    assert inputs(open_run(project))["judges"] == unused
    use(project)
    first = inputs(open_run(project))["judges"]
    assert first != unused
    models = project.registry / "models.yaml"
    models.write_text(models.read_text().replace("timeout: 10", "timeout: 20"))
    pair = project.prompts / "judge_pair.yaml"
    pair.write_text(pair.read_text().replace("5 is clear", "5 is very clear"))
    assert inputs(open_run(project))["judges"] == first
    seen = {first}
    for change in (
        lambda: path.write_text(path.read_text().replace("very clear", "clear")),
        lambda: use(project, "http://127.0.0.1:10/v1"),
        lambda: count_failure(project),
    ):
        change()
        found = inputs(open_run(project))["judges"]
        assert found not in seen
        seen.add(found)


def test_code_of_judges_is_none_of_evaluate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Changed code of judges changes the hash of judging, not that of the stage, which runs without
    judges as well.
    """
    names = ("sluicegate.line.pipeline.evaluate", "sluicegate.evaluation.judging")
    before = [stage_hash(name) for name in names]
    true = fingerprint.digest_file
    monkeypatch.setattr(
        fingerprint, "digest_file", lambda path: "x" if path.parent.name == "judges" else true(path)
    )
    after = [stage_hash(name) for name in names]
    assert [old == new for old, new in zip(before, after, strict=True)] == [True, False]


def test_measures_of_computed_and_judged_metrics(project: Project) -> None:
    """Direction and range come from the metric or the criterion; an unknown judge names its file."""
    path = project.prompts / "judge_clear.yaml"
    path.write_text(path.read_text() + "direction: lower\n")
    found = measures(["judge:clear", "refusal"], project.prompts)
    assert [(name, one.direction, one.range) for name, one in found.items()] == [
        ("judge:clear", "lower", (0.0, 1.0)), ("refusal", "lower", (0.0, 1.0)),
    ]  # fmt: skip
    with pytest.raises(ConfigError, match=r"judge_nobody\.yaml"):
        measures(["judge:nobody"], project.prompts)


def test_a_model_that_is_not_listed(project: Project) -> None:
    """A judge whose model is not in models.yaml is a configuration error that names the known ones."""
    with pytest.raises(ConfigError, match="no model 'fake'") as caught:
        open_judges(project, CLEAR)
    assert "smollm2-135m-instruct" in caught.value.hint


def test_answers_are_kept_and_counted(project: Project, tmp_path: Path) -> None:
    """Judge calls count in the run's budget at their tokens; a second run asks nothing and counts
    nothing.
    """
    with judge_server() as judge:
        use(project, judge.url)
        budget = Budget(tokens=100_000, path=tmp_path / "budget.json")
        first = judge_answers(
            CLEAR, open_judges(project, CLEAR, budget=budget), GOLDEN, said(), said()
        )
        assert first.use.failed == 0
        assert budget.spent.judge_calls == len(judge.asked) == 12
        assert (
            budget.spent.tokens
            == budget.spent.judge_tokens
            == first.prompt_tokens + first.completion_tokens
        )
        assert Budget.open(tmp_path / "budget.json").spent == budget.spent
        again = Budget(tokens=1)
        second = judge_answers(
            CLEAR, open_judges(project, CLEAR, budget=again), GOLDEN, said(), said()
        )
        assert (len(judge.asked), again.spent.judge_calls) == (12, 0)
        assert second.scores == first.scores


@pytest.mark.parametrize(
    "budget", [Budget(tokens=900), Budget(seconds=1.0, started=0.0), Budget(tokens=0)]
)
def test_a_spent_budget_stops_the_judge(project: Project, budget: Budget) -> None:
    """Tokens or time that are used up end the run before more is asked; what was answered is kept."""
    with judge_server() as judge:
        use(project, judge.url)
        with pytest.raises(BudgetError):
            judge_answers(
                CLEAR,
                open_judges(project, CLEAR, budget=budget),
                GOLDEN,
                said(),
                said(),
            )
        asked = len(judge.asked)
        assert asked < 12
        judge_answers(CLEAR, open_judges(project, CLEAR), GOLDEN, said(), said())
        assert len(judge.asked) == 12


def test_money_needs_a_price(project: Project) -> None:
    """A cost budget with a judge that has no price is refused; with one the budget counts it."""
    budget = Budget(seconds=60, cost=1.0)
    with judge_server() as judge:
        use(project, judge.url)
        with pytest.raises(ConfigError, match="fake: a limit on money needs a price"):
            judge_answers(CLEAR, open_judges(project, CLEAR, budget=budget), GOLDEN, said(), said())
        assert not judge.asked
        models = project.registry / "models.yaml"
        models.write_text(
            models.read_text().replace(
                "model: fake,", "model: fake, price: {input: 1.0, output: 2.0},"
            )
        )
        found = judge_answers(
            CLEAR, open_judges(project, CLEAR, budget=budget), GOLDEN, said(), said()
        )
    assert budget.spent.cost == pytest.approx(
        (found.prompt_tokens + 2 * found.completion_tokens) / 1e6
    )


def test_the_contexts_that_were_used_are_what_an_answer_is_held_against() -> None:
    """They are the input `context`, whatever the row had under that name, and part of the source."""
    criterion = replace(CLEAR, shows=("context", "output"))
    seen: list[str] = []

    def look(question: Request) -> str:
        seen.append(question.messages[-1]["content"])
        return scores(question)

    used = {"contexts": '[{"id": "kb-1", "text": "Refunds take 5 days."}]'}
    outputs = [replace(one, fields=used) for one in said()]
    golden = [replace(one, inputs={**one.inputs, "context": "old text"}) for one in GOLDEN]
    judge_answers(criterion, [ScriptedModel(look)], golden, outputs, said())
    assert len(seen) == len(GOLDEN)
    assert all("Refunds take 5 days." in one and "old text" not in one for one in seen)
    source = judge_row(golden[0], outputs[0]).source
    assert source == "Order 0 is late.\ncalm\n\nRefunds take 5 days."
    assert judge_row(golden[0], replace(outputs[0], failure="KeyError")).output == ""
    assert judge_row(golden[0], said()[0]).inputs["context"] == "old text"


def test_repeats_are_judged_one_by_one() -> None:
    """Every answer has a score, the row has their mean, and a calibrated judge of them decides."""
    outputs = [*said(), *said("Late was order {}, twice over")]
    model = ScriptedModel(
        lambda question: json.dumps(
            {"reason": "So.", "score": 1 if "twice" in question.messages[-1]["content"] else 5}
        )
    )
    judgement = judge_answers(CLEAR, [model], GOLDEN * 2, outputs, outputs)
    found = evaluate("c", GOLDEN, "g", outputs, ["rouge1"], judgements=[judgement])
    assert found.judges["clear"].scored == 2 * len(GOLDEN)
    assert found.rows[0].each("judge:clear") == [1.0, 0.0]
    assert found.rows[0].scores["judge:clear"] == 0.5
    rule = {"name": "r", "kind": "at_least", "metric": "judge:clear", "threshold": 0.1}
    policy = Policy.model_validate({"rules": [rule], "minimum_examples": 2})
    verdict = decide(found, None, policy, facts={"judge:clear": "ok"})
    assert "failed on" not in verdict.rules[0].reason
    assert verdict.rules[0].value == pytest.approx(0.5)
