"""Metrics of the answer by itself, and METEOR: equal to their reference implementations to 1e-6, or
to known cases.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version

import pytest
from metric_texts import blank, generated, pairs, shared, summaries
from nltk.tokenize import wordpunct_tokenize
from nltk.translate.meteor_score import meteor_score

from sluicegate.data.redaction import redact
from sluicegate.errors import MissingExtraError
from sluicegate.metrics import METRICS, metrics_digest
from sluicegate.metrics.base import optional
from sluicegate.metrics.language import language_of, same_language
from sluicegate.metrics.meteor import meteor
from sluicegate.metrics.pii import GIVEN_AWAY, pii_found
from sluicegate.metrics.profanity import profanity
from sluicegate.metrics.readability import flesch_reading_ease
from sluicegate.metrics.refusal import refusal
from sluicegate.metrics.repetition import repeated_share, repetition
from sluicegate.metrics.sentiment import sentiment
from sluicegate.metrics.text_length import length_characters, length_sentences, length_words


class NoSynonyms:
    """A WordNet in which no word has a synonym: the real one has to be downloaded."""

    def synsets(self, word: str) -> list[object]:
        return []


def texts(kind: str) -> list[str]:
    """The 500 generated texts, or every summary and dialogue of the shared data."""
    if kind == "generated":
        return list(generated())
    return [
        text
        for dialogue, output, references in summaries()
        for text in (dialogue, output, *references)
    ]


KINDS = pytest.mark.parametrize("kind", ["generated", "tweetsumm"])


@KINDS
def test_meteor_equals_nltk(kind: str) -> None:
    """METEOR equals nltk 3.10's meteor_score on the same tokens, given a WordNet without synonyms."""
    assert version("nltk").startswith("3.")
    rows = (
        pairs()
        if kind == "generated"
        else [(output, references) for _, output, references in summaries()]
    )
    for output, references in rows:
        if not blank(output, references):
            tokens = [wordpunct_tokenize(reference) for reference in references]
            expected = meteor_score(tokens, wordpunct_tokenize(output), wordnet=NoSynonyms())
            assert meteor("", output, references) == pytest.approx(expected, abs=1e-6), output[:80]


@KINDS
def test_readability_equals_textstat(kind: str) -> None:
    """Flesch reading ease equals textstat (fork whylabs-textstat 0.7.4) with its rounding off."""
    textstat = pytest.importorskip(
        "textstat.textstat", reason="whylabs-textstat comes with the extra langkit"
    )
    assert version("whylabs-textstat") == "0.7.4"
    reference = textstat.textstatistics()
    reference.set_rounding(False)
    for text in texts(kind):
        if text.strip():
            assert flesch_reading_ease(text) == pytest.approx(
                reference.flesch_reading_ease(text), abs=1e-6
            ), text[:80]


@KINDS
def test_sentiment_equals_vader(kind: str) -> None:
    """Sentiment is the compound score of vaderSentiment 3.3.2."""
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    assert version("vaderSentiment") == "3.3.2"
    reference = SentimentIntensityAnalyzer()
    for text in texts(kind):
        if text.strip():
            assert sentiment("", text) == pytest.approx(
                reference.polarity_scores(text)["compound"], abs=1e-6
            )


@KINDS
def test_lengths_equal_textstat(kind: str) -> None:
    """Words and characters equal textstat's lexicon_count and char_count (fork whylabs-textstat
    0.7.4).
    """
    textstat = pytest.importorskip(
        "textstat.textstat", reason="whylabs-textstat comes with the extra langkit"
    )
    reference = textstat.textstatistics()
    for text in texts(kind):
        if text.strip():
            assert length_words("", text) == reference.lexicon_count(text, removepunct=False)
            assert length_characters("", text) == reference.char_count(text, ignore_spaces=False)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("One. Two! Three?", 3),
        ("It costs 3.14 at 14.30", 1),
        ("He said \u201cno.\u201d Then he left", 2),
        ("Wait... what?!", 2),
        ("注文は遅い。返金してほしい！", 2),
        ("line one\nline two\n\n", 2),
        ("😀", 1),
        ("...", 1),
    ],
)
def test_sentences(text: str, count: int) -> None:
    """A sentence ends at its mark, at a line's end, and not at the point of a number."""
    assert length_sentences("", text) == count


def test_repetition() -> None:
    """Repetition is 1 minus distinct 4-grams over 4-grams (seq-rep-4), whatever the text."""
    for text in generated():
        words = text.lower().split()
        grams = [tuple(words[start : start + 4]) for start in range(len(words) - 3)]
        expected = 1 - len(set(grams)) / len(grams) if grams else 0.0
        assert repeated_share(text, 4) == pytest.approx(expected, abs=1e-9)
    assert repetition("", "a b c d a b c d a b c d") == pytest.approx(5 / 9)


def test_language() -> None:
    """The language of a whole sentence is told, and one language on both sides agrees."""
    samples = {
        "en": "The customer asks where the parcel is and wants a refund.",
        "de": "Der Kunde fragt, wo das Paket geblieben ist, und will sein Geld zurück.",
        "fr": "Le client demande où se trouve son colis et souhaite un remboursement.",
        "es": "El cliente pregunta dónde está su paquete y quiere un reembolso.",
        "ar": "يسأل العميل عن مكان الطرد ويريد استرداد أمواله.",
        "ja": "お客様は荷物の場所を尋ね、返金を希望しています。担当者は確認すると答えました。",
    }
    for code, text in samples.items():
        assert language_of(text) == code
        assert [same_language(text, other) for other in samples.values()] == [
            float(code == key) for key in samples
        ]
    assert same_language("Where is it?", "Hier.") == 1.0
    assert same_language("Where is it?", "أين") == 0.0
    assert same_language("Where is it?", "42!") == 1.0


def test_language_of_real_summaries() -> None:
    """At least 98 of 100 English summaries of English dialogues agree with them in language."""
    scores = [
        same_language(dialogue, text)
        for dialogue, output, others in summaries()
        for text in (output, *others)
    ]
    assert sum(scores) / len(scores) >= 0.98


REFUSALS = (
    "I'm sorry, but I can't assist with that request.",
    "I\u2019m sorry, I cannot help with this.",
    "As an AI language model, I do not have opinions.",
    "Unfortunately, I am unable to provide medical advice.",
    "I can not comply with that.",
    "I must decline to answer.",
    "I won't generate that content.",
    "This request violates my guidelines.",
    "I'm just an AI, so no.",
)
ANSWERS = (
    "The agent says that he can't help with the refund.",
    "I'm sorry for the delay; your parcel arrives on Monday.",
    "The customer cannot log in. The agent asks for a DM.",
    "I can help with that.",
    "We can't provide refunds after 30 days.",
)


def test_refusal() -> None:
    """Each known refusal is one; an account of somebody's refusal and an apology are none."""
    assert [refusal("", text) for text in REFUSALS] == [1.0] * len(REFUSALS)
    assert [refusal("", text) for text in ANSWERS] == [0.0] * len(ANSWERS)


def test_people_do_not_refuse() -> None:
    """No summary that a person wrote counts as a refusal or as profane."""
    found = [text for _, output, references in summaries() for text in (output, *references)]
    assert [text for text in found if refusal("", text)] == []
    assert [text for text in found if profanity("", text)] == []


def test_profanity() -> None:
    """A swear word counts in any case and thinly disguised; a word that only holds one inside does
    not.
    """
    for text in ("Oh SHIT.", "what a b1tch", "f*ck this", "fuuuck", "a$$hole", "Damn it!", "wtf"):
        assert profanity("", text) == 1.0, text
    for text in (
        "Scunthorpe class assessment",
        "Order 455 by A55",
        "cocktails in Essex",
        "Dick Turpin",
        "shitake@x.org",
    ):
        assert profanity("", text) == 0.0, text


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("write to lin@example.org", 1.0),
        ("card 4111 1111 1111 1111", 1.0),
        ("card 4111 1111 1111 1112", 0.0),
        ("ref 12 4111 1111 1111 1111 30", 1.0),
        ("IBAN GB82 WEST 1234 5698 7654 32 thanks", 1.0),
        ("IBAN GB83 WEST 1234 5698 7654 32", 0.0),
        ("call +44 20 7946 0318", 1.0),
        ("call 202-555-0147", 1.0),
        ("on 03.11.1951 or 2024-05-01 at 14:20", 0.0),
        ("order 61-4482, 1,299.00 euro", 0.0),
        ("reach [EMAIL] or [PHONE]", 0.0),
    ],
)
def test_pii(text: str, found: float) -> None:
    """Personal data with a pattern is found; amounts, dates, order numbers, labels and wrong check
    digits are not.
    """
    assert pii_found("", text) == found


def test_pii_is_what_redaction_takes_out() -> None:
    """On 1,500 texts full of invented identities the metric says 1 exactly where redaction finds
    something.
    """
    rows = json.loads(shared("pii/synth_dataset_v2.json").read_text("utf-8"))
    found = [row["full_text"] for row in rows]
    assert len(found) >= 1000
    assert [bool(redact(text, GIVEN_AWAY)[1]) for text in found] == [
        bool(pii_found("", text)) for text in found
    ]


def test_the_notion_of_personal_data_identifies_the_metric(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scores under another notion of personal data are never compared with these."""
    before = metrics_digest(["pii_found"])
    monkeypatch.setattr("sluicegate.personal_data.__file__", __file__)
    assert metrics_digest(["pii_found"]) != before


def test_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """A metric whose package is absent says which line installs it, when it scores and when it is
    identified.
    """
    with pytest.raises(MissingExtraError) as caught:
        optional("surely_not_there.part", "surely-not-there")
    assert caught.value.hint == "pip install 'sluicegate[metrics]'"
    monkeypatch.setitem(sys.modules, "surely_broken", None)
    with pytest.raises(MissingExtraError):
        optional("surely_broken", "surely-broken")
    from dataclasses import replace

    monkeypatch.setitem(METRICS, "meteor", replace(METRICS["meteor"], package="surely-not-there"))
    with pytest.raises(MissingExtraError, match="surely-not-there"):
        metrics_digest(["meteor"])
