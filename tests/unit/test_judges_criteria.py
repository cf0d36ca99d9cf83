"""Criteria are read strictly, and are no prompts."""

from __future__ import annotations

from pathlib import Path

import pytest

from sluicegate.errors import ConfigError, PromptError
from sluicegate.judges import FORMS, criterion_path, list_criteria, load_criterion
from sluicegate.prompts import list_prompts, load_prompt, prompt_names

SHIPPED = Path(__file__).parents[2] / "prompts"
DIRECT = "name: x\nform: direct\njudges: [a]\nscale: [1, 5]\ncriterion: Be good.\n"


def write(folder: Path, text: str, name: str = "judge_x.yaml") -> Path:
    (folder / name).write_text(text, "utf-8")
    return folder / name


def test_a_criterion_is_read(tmp_path: Path) -> None:
    """Fields and defaults arrive as documented."""
    found = load_criterion(write(tmp_path, DIRECT + "direction: lower\nowner: me\n"))
    assert (found.name, found.metric, found.form, found.scale) == ("x", "judge:x", "direct", (1, 5))
    assert (found.text, found.judges, found.worst, found.owner) == ("Be good.", ("a",), 1.0, "me")
    assert (found.shows, found.answer, found.repeats) == (("source", "output"), "json", "worst")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (DIRECT.replace("name: x", "name: y"), "must be the file's name"),
        (DIRECT + "scal: 1\n", "scal"),
        (DIRECT.replace("direct", "magic"), "form"),
        (DIRECT.replace("judges: [a]", "judges: []"), "judges"),
        (DIRECT.replace("judges: [a]", "judges: [a, a]"), "named twice"),
        (DIRECT.replace("scale: [1, 5]\n", ""), "needs one"),
        (DIRECT.replace("[1, 5]", "[5, 1]"), "lower first"),
        (DIRECT.replace("Be good.", "' '"), "say something"),
        (DIRECT + "steps: [a]\n", "only a geval"),
        (DIRECT + "levels: {1: a, 2: b}\n", "levels"),
        (DIRECT + "shows: [source, output, reference]\n", "needs_reference"),
        (DIRECT + "needs_reference: true\n", "needs_reference"),
        (DIRECT + "shows: [output, 'a b']\n", "shows"),
        (DIRECT + "sentinels: [{output: bad}]\n", "number 1 has no source"),
        (DIRECT + "sentinels: [{output: bad, source: s, other: o}]\n", "other"),
        (DIRECT.replace("[1, 5]", "[0, 100]") + "answer: token\n", "between 0 and 9"),
        (DIRECT.replace("direct", "geval").replace("[1, 5]", "[1, 10]"), "between 0 and 9"),
        (DIRECT.replace("direct", "geval") + "answer: token\n", "needs json"),
        (DIRECT.replace("direct", "pairwise"), "has none"),
        (
            DIRECT.replace("direct", "rubric").replace("scale: [1, 5]\n", "levels: {1: a, 3: b}\n"),
            "without a gap",
        ),
        (
            DIRECT.replace("direct", "claims").replace("scale: [1, 5]\n", "shows: [output]\n"),
            "held against",
        ),
        (
            DIRECT.replace("direct", "claims").replace("scale: [1, 5]\n", "direction: lower\n"),
            "direction",
        ),
    ],
)
def test_a_wrong_criterion_is_refused(tmp_path: Path, text: str, message: str) -> None:
    """What a form does not take, or cannot do without, is named."""
    with pytest.raises(ConfigError, match=message):
        load_criterion(write(tmp_path, text))


def test_shipped_criteria() -> None:
    """All shipped criteria load, have sentinels of their own, and every form is among them."""
    found = {criterion.name: criterion for criterion in list_criteria(SHIPPED)}
    assert {
        "coherence", "conciseness", "relevance", "groundedness", "harmfulness", "helpfulness", "summary_quality",
        "context_relevance", "answer_relevance",
    } <= found.keys()  # fmt: skip
    assert all(len(criterion.sentinels) >= 2 and criterion.owner for criterion in found.values())
    assert {criterion.form for criterion in found.values()} == FORMS.keys()


def test_comments_owner_and_notes_do_not_change_the_digest(tmp_path: Path) -> None:
    """Only what the judge is asked makes another judge."""
    first = load_criterion(write(tmp_path, DIRECT)).digest
    assert load_criterion(write(tmp_path, f"# hi\n{DIRECT}owner: me\nnotes: n\n")).digest == first
    assert load_criterion(write(tmp_path, DIRECT.replace("good", "kind"))).digest != first


def test_criteria_are_no_prompts(tmp_path: Path) -> None:
    """Lists of prompts leave criteria out, and one is never taken for a prompt."""
    assert (
        [prompt.name for prompt in list_prompts(SHIPPED)] == ["summarize"] == prompt_names(SHIPPED)
    )
    with pytest.raises(PromptError, match="a criterion for a judge") as caught:
        load_prompt(write(tmp_path, DIRECT))
    assert "judge:x" in caught.value.hint


@pytest.mark.parametrize("name", ["judge:../x", "judge:", "A", "judge:x/y", "judge:x.yaml"])
def test_names_stay_in_the_folder(name: str) -> None:
    """A metric's name cannot lead out of prompts/."""
    with pytest.raises(ConfigError, match="not the metric of a criterion"):
        criterion_path(Path("prompts"), name)
