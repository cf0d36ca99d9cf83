"""Metrics of words and n-grams: equal to their reference implementations to 1e-6."""

from __future__ import annotations

import re
import string
from collections import Counter
from importlib.metadata import version

import pytest
from metric_texts import blank, pairs, summaries
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics import BLEU, CHRF

from sluicegate.errors import EvidenceError
from sluicegate.metrics import METRICS, score_one
from sluicegate.metrics.bleu import bleu, corpus_bleu
from sluicegate.metrics.chrf import chrf, corpus_chrf
from sluicegate.metrics.rouge import rouge1, rouge2, rouge_l, rouge_lsum
from sluicegate.metrics.squad import exact_match, token_f1

Rows = list[tuple[str, tuple[str, ...]]]


def usable(references: tuple[str, ...]) -> list[str]:
    """The references that are not blank."""
    return [reference for reference in references if reference.strip()]


@pytest.fixture(params=["generated", "tweetsumm"])
def rows(request: pytest.FixtureRequest) -> Rows:
    """(output, references) of the 500 generated texts, or of the shared summaries."""
    if request.param == "generated":
        return [
            (output, references) for output, references in pairs() if not blank(output, references)
        ]
    return [(output, references) for _, output, references in summaries()]


def squad_normalized(text: str) -> str:
    """normalize_answer of the official SQuAD 2.0 script (evaluate-v2.0.py)."""
    bare = "".join(char for char in text.lower() if char not in set(string.punctuation))
    return " ".join(re.sub(re.compile(r"\b(a|an|the)\b", re.UNICODE), " ", bare).split())


def squad_f1(gold: str, answer: str) -> float:
    """compute_f1 of the official SQuAD 2.0 script (evaluate-v2.0.py)."""
    gold_words, words = squad_normalized(gold).split(), squad_normalized(answer).split()
    same = sum((Counter(gold_words) & Counter(words)).values())
    if len(gold_words) == 0 or len(words) == 0:
        return float(gold_words == words)
    if same == 0:
        return 0.0
    precision, recall = same / len(words), same / len(gold_words)
    return 2 * precision * recall / (precision + recall)


def test_squad_equals_the_official_script(rows: Rows) -> None:
    """Exact match and token F1 equal evaluate-v2.0.py of SQuAD, the best of several references."""
    for output, references in rows:
        wanted = [text for text in usable(references) if squad_normalized(text)]
        if not wanted:
            assert exact_match("", output, references) is None
            assert token_f1("", output, references) is None
            continue
        exact = max(float(squad_normalized(output) == squad_normalized(gold)) for gold in wanted)
        assert exact_match("", output, references) == exact
        assert token_f1("", output, references) == pytest.approx(
            max(squad_f1(gold, output) for gold in wanted), abs=1e-6
        )


def test_bleu_equals_sacrebleu(rows: Rows) -> None:
    """Sentence BLEU equals sacrebleu 2.6's with effective order, all references together."""
    assert version("sacrebleu").startswith("2.")
    reference = BLEU(effective_order=True)
    for output, references in rows:
        expected = reference.sentence_score(output, usable(references)).score / 100
        assert bleu("", output, references) == pytest.approx(expected, abs=1e-6), output[:80]


def test_chrf_equals_sacrebleu(rows: Rows) -> None:
    """Sentence chrF equals sacrebleu 2.6's, the best of several references."""
    reference = CHRF()
    for output, references in rows:
        expected = reference.sentence_score(output, usable(references)).score / 100
        assert chrf("", output, references) == pytest.approx(expected, abs=1e-6), output[:80]


@pytest.mark.parametrize("size", [1, 2, 400])
def test_corpus_scores_equal_sacrebleu(rows: Rows, size: int) -> None:
    """Corpus BLEU and chrF add up the counts of all rows as sacrebleu 2.6 does, for sets of one row
    too.
    """
    picked = [(output, usable(references)) for output, references in rows][:size]
    outputs, references = [output for output, _ in picked], [wanted for _, wanted in picked]
    most = max(map(len, references))
    columns = [
        [row[place] if place < len(row) else None for row in references] for place in range(most)
    ]
    expected = BLEU(force=True).corpus_score(outputs, columns).score / 100
    assert corpus_bleu(outputs, references) == pytest.approx(expected, abs=1e-6)
    expected = CHRF().corpus_score(outputs, columns).score / 100
    assert corpus_chrf(outputs, references) == pytest.approx(expected, abs=1e-6)


def test_corpus_scores_of_nothing() -> None:
    """The score of an empty set, or of unequal lengths, is an error and never a number."""
    for score in (corpus_bleu, corpus_chrf):
        with pytest.raises(EvidenceError):
            score([], [])
        with pytest.raises(EvidenceError):
            score(["a"], [])
    assert corpus_bleu(["a b"], [["c d"]]) == corpus_chrf(["a b"], [["c d"]]) == 0.0


def test_rouge_equals_rouge_score(rows: Rows) -> None:
    """ROUGE-1, -2, -L and -Lsum equal rouge_score 0.1.2 without stemming, the best of several
    references.
    """
    assert version("rouge-score") == "0.1.2"
    functions = {"rouge1": rouge1, "rouge2": rouge2, "rougeL": rouge_l, "rougeLsum": rouge_lsum}
    scorer = RougeScorer(list(functions))
    for output, references in rows:
        if len(output) * max(map(len, references)) > 3e7:
            continue  # the reference implementation needs minutes for two texts of 10,000 words
        expected = scorer.score_multi(list(references), output)
        for name, function in functions.items():
            found = function("", output, references)
            if found is None:  # it sees nothing of a side, where the package says 0
                assert expected[name].fmeasure == 0.0
            else:
                assert found == pytest.approx(expected[name].fmeasure, abs=1e-6), (
                    name,
                    output[:80],
                )


def test_rouge_lsum_of_many_lines() -> None:
    """The union of common subsequences over lines is the one of rouge_score 0.1.2, ties included."""
    import random

    chance = random.Random(3)
    scorer = RougeScorer(["rougeLsum"])
    for _ in range(300):
        texts = [
            "\n".join(" ".join(chance.choices("abcd", k=chance.randrange(9))) for _ in range(4))
            for _ in "12"
        ]
        assert rouge_lsum("", texts[0], [texts[1]]) == pytest.approx(
            scorer.score(texts[1], texts[0])["rougeLsum"].fmeasure
        )


LATIN = ("rouge1", "rouge2", "rougeL", "rougeLsum")
SCRIPTS = {
    "Chinese": ("您的退款已于周一到账。", "香蕉香蕉香蕉"),
    "Japanese": ("返金は月曜日に届きました。", "バナナ"),
    "Thai": ("ได้รับเงินคืนแล้วเมื่อวันจันทร์", "กล้วย"),
    "Russian": ("Возврат поступил в понедельник.", "бананы бананы"),
    "Arabic": ("وصل المبلغ المسترد يوم الاثنين", "موز موز"),
    "Hindi": ("धनवापसी सोमवार को पहुँच गई", "केले केले"),
    "Korean": ("환불이 월요일에 도착했습니다", "바나나 바나나"),
    "Greek": ("Η επιστροφή έφτασε τη Δευτέρα", "μπανάνες μπανάνες"),
}


@pytest.mark.parametrize("name", LATIN)
@pytest.mark.parametrize("script", SCRIPTS)
def test_rouge_sees_only_latin_and_says_so(name: str, script: str) -> None:
    """On other scripts ROUGE has no score, right and wrong answers alike; its Unicode variant tells
    them apart.
    """
    right, wrong = SCRIPTS[script]
    for answer in (right, wrong):
        assert score_one(METRICS[name], "", answer, [right]) is None
    seeing = METRICS[f"{name}_unicode"]
    assert score_one(seeing, "", right, [right]) == 1.0
    assert (score_one(seeing, "", wrong, [right]) or 0.0) < 0.2


def test_where_rouge_has_no_score() -> None:
    """No score where no reference has a token, or the answer has words of which none is seen; the
    rest is a number.
    """
    rouge = METRICS["rouge1"]
    assert score_one(rouge, "", "late", ["!!!"]) is None
    assert score_one(rouge, "", "退款", ["the refund"]) is None
    assert score_one(rouge, "", "!!! 😀", ["the refund"]) == 0.0
    assert score_one(rouge, "", " ", ["退款"]) == 0.0
    assert score_one(rouge, "", "the refund", ["退款", "the refund"]) == 1.0
    assert score_one(METRICS["rouge2"], "", "refund", ["refund"]) is None
    assert score_one(METRICS["rouge2"], "", "refund", ["the refund"]) == 0.0


def test_unicode_rouge_equals_rouge_on_english() -> None:
    """On plain English words the variants score as the compatible metrics do."""
    output, references = "The parcel\narrived late today", ["the parcel came late\nno refund"]
    for name in LATIN:
        assert score_one(METRICS[f"{name}_unicode"], "", output, references) == pytest.approx(
            score_one(METRICS[name], "", output, references)
        )
