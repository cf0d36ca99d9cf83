"""The self-test of a policy: what the shipped one lets through, and what it says about others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sluicegate.cards.self_test import KindTested, Outcome, SelfTest, self_test_html, self_test_text
from sluicegate.errors import UsageError
from sluicegate.evaluation.damage import DAMAGES, damaged, labels_of
from sluicegate.hashing import read_json
from sluicegate.line.gate import self_test as module
from sluicegate.line.gate.self_test import self_test
from sluicegate.line.pipeline.prepare import stage as prepare
from sluicegate.line.release.decide import policy_tested
from sluicegate.line.run import Run, open_run
from sluicegate.records import Decision, Example, Generation
from sluicegate.scaffold import init

UNSEEN = {
    "insult in clean words", "negated", "roles swapped", "opposites", "outcome flipped",
    "promise invented",
}  # fmt: skip
"""What no rule on text sees: a judge or people have to."""


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The sample project as `sluice init` writes it, prepared; nothing was evaluated."""
    root = tmp_path_factory.mktemp("sample") / "p"
    init(root)
    run = open_run(root)
    prepare(run)
    return run


@pytest.fixture(scope="module")
def found(sample: Run) -> SelfTest:
    return self_test(sample)


def test_every_kind_that_a_text_shows_is_stopped(found: SelfTest) -> None:
    """At least 30 kinds apply to the sample, and the shipped rules miss six, which say why."""
    assert len(found.kinds) >= 30
    assert {one.kind for one in found.passed} == UNSEEN
    assert all(one.meaning and "judge" in one.advice for one in found.passed)


def test_every_stopped_kind_is_rejected(found: SelfTest) -> None:
    """Not only held: the numbers show it."""
    stopped = [one.outcomes[1.0].decision for one in found.kinds if one.caught]
    assert set(stopped) == {Decision.REJECT}


def test_honest_answers_pass(found: SelfTest) -> None:
    """The policy refuses nothing wrongly."""
    assert {one.decision for one in found.honest.values()} == {Decision.PROMOTE}


def test_a_kind_is_caught_from_a_share_on(found: SelfTest) -> None:
    """Links from the first row on; a cut answer only where there are many."""
    known = {one.kind: one.caught_from for one in found.kinds}
    assert known["phishing link"] == 0.05
    assert known["cut"] == 0.3
    assert known["negated"] is None


def test_the_page_and_the_text_say_what_passes(found: SelfTest, sample: Run) -> None:
    """Each kind has a line; the page is written."""
    text, page = self_test_text(found), (sample.project.reports / "self_test.html").read_text()
    assert page == self_test_html(found)
    assert all(one.kind in text and one.kind in page for one in found.kinds)
    assert "6 of " in text
    assert "meaning is checked" in text


def test_the_fact_is_about_this_policy_and_this_golden_set(found: SelfTest, sample: Run) -> None:
    """What passes is named; another policy or golden set was not tested."""
    golden = str(read_json(sample.project.self_test)["golden"])
    assert found.kinds
    said = policy_tested(sample, golden, understood=False)
    assert said.startswith("lets through: ")
    assert "negated" in said
    assert policy_tested(sample, golden, understood=True) == "ok"
    assert policy_tested(sample, "0" * 64, understood=True).startswith("stale")
    other = sample.policy.model_copy(update={"submissions": 3})
    changed = Run(sample.project, sample.params, sample.prompt)
    changed.__dict__["policy"] = other
    assert policy_tested(changed, golden, understood=True).startswith("stale")


def test_a_policy_without_a_rule_on_scores_cannot_be_tested(
    sample: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would pass everything, and the error says so."""
    rules = tuple(rule for rule in sample.policy.rules if rule.fact or rule.severity == "warn")
    bare = sample.policy.model_copy(update={"rules": rules})
    run = Run(sample.project, sample.params, sample.prompt)
    run.__dict__["policy"] = bare
    with pytest.raises(UsageError, match="everything passes"):
        self_test(run)


def test_nothing_is_tested_before_there_is_a_golden_set(tmp_path: Path) -> None:
    """The error names the command that makes one."""
    init(tmp_path / "p")
    with pytest.raises(UsageError, match="no golden set") as refused:
        self_test(open_run(tmp_path / "p"))
    assert "prepare" in refused.value.hint


def test_a_metric_that_no_damage_moves_is_blind(
    sample: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cutting every answer moves chrF, and not who swears."""
    monkeypatch.setattr(module, "DAMAGES", {"cut": DAMAGES["cut"]})
    blind = self_test(sample).blind
    assert "profanity" in blind
    assert "chrf" not in blind


ROWS = [Example(str(n), f"g{n}", {"t": "hi"}, (("spam", "ham")[n % 2],), "s") for n in range(8)]


def test_labels_flip_and_formats_break_where_there_are_any() -> None:
    """A label becomes another of the set; a JSON answer loses its end or its first field."""
    answers = [Generation(row.reference[0], 1, 1, 0.1, True) for row in ROWS]
    flipped = damaged("label flipped", ROWS, answers)
    assert flipped is not None
    assert [one.text for one in flipped] == ["ham", "spam"] * 4
    assert damaged("format broken", ROWS, answers) is None
    structured = [replace(one, text='{"label": "ham", "why": "x"}') for one in answers]
    missing = damaged("field missing", ROWS, structured)
    assert missing is not None
    assert missing[0].text == '{"why": "x"}'


def test_texts_are_no_labels() -> None:
    """As many right answers as rows, or long ones, are not a classification."""
    texts = [replace(row, reference=(f"text {row.id}",)) for row in ROWS]
    assert labels_of(texts) == ()
    assert damaged("label flipped", texts, [Generation("a", 1, 1, 0.1, True)] * 8) is None


def test_contexts_are_ignored_where_there_are_any() -> None:
    """The answer of another row, without the contexts; nothing where no answer has contexts."""
    plain = [Generation(f"answer {row.id}", 1, 1, 0.1, True) for row in ROWS]
    assert damaged("contexts ignored", ROWS, plain) is None
    with_contexts = [replace(one, fields={"contexts": '["a"]'}) for one in plain]
    ignored = damaged("contexts ignored", ROWS, with_contexts)
    assert ignored is not None
    assert (ignored[0].text, dict(ignored[0].fields)) == ("answer 1", {})


def test_a_kind_without_outcomes_counts_for_nothing() -> None:
    """One that applies to no answer is neither caught nor passed."""
    nothing = KindTested("label flipped", False, {})
    assert nothing.caught
    missed = KindTested("cut", False, {1.0: Outcome(Decision.PROMOTE, ())}, ("chrf",))
    assert not missed.caught
    assert missed.advice == "a rule on chrf"
