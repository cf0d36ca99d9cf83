"""The table of metrics: write a file and a row here; nothing else knows a metric's name."""

from __future__ import annotations

from functools import partial

from sluicegate.metrics.base import Metric, Score
from sluicegate.metrics.bleu import bleu, corpus_bleu
from sluicegate.metrics.chrf import chrf, corpus_chrf
from sluicegate.metrics.copied_facts import copied_facts, copied_links, copied_names, copied_numbers
from sluicegate.metrics.json_answers import JSON_ANSWERS
from sluicegate.metrics.labels import OF_FIELD
from sluicegate.metrics.language import same_language
from sluicegate.metrics.length_ratio import length_ratio
from sluicegate.metrics.meteor import meteor
from sluicegate.metrics.pass_at_k_metric import PASS_AT_1
from sluicegate.metrics.pii import pii_found, pii_identity
from sluicegate.metrics.profanity import profanity
from sluicegate.metrics.readability import readability
from sluicegate.metrics.refusal import refusal
from sluicegate.metrics.repetition import repetition
from sluicegate.metrics.retrieval import RETRIEVAL
from sluicegate.metrics.rouge import (
    rouge1,
    rouge1_unicode,
    rouge2,
    rouge2_unicode,
    rouge_l,
    rouge_l_unicode,
    rouge_lsum,
    rouge_lsum_unicode,
)
from sluicegate.metrics.sentiment import sentiment
from sluicegate.metrics.squad import exact_match, token_f1
from sluicegate.metrics.text_length import (
    LONGEST,
    length_characters,
    length_sentences,
    length_words,
)
from sluicegate.metrics.tool_calls import TOOL_CALLS
from sluicegate.metrics.with_model import ENCODED

_SHARE = (0.0, 1.0)
_alone = partial(Metric, range=_SHARE, needs_reference=False)
"""A metric in [0, 1] that needs no reference."""


def _latin(name: str, unit: str, score: Score) -> Metric:
    """A ROUGE that sees a to z only, with its variant for every script."""
    return Metric(name, "higher", unit, _SHARE, score, instead=f"{name}_unicode, chrf")


def _rows() -> tuple[Metric, ...]:
    words, pairs, longest, lines = (
        *("unigram F1", "bigram F1", "longest-common-subsequence F1", "line-wise LCS F1"),
    )
    describing = partial(_alone, direction="higher", describes=True)
    return (
        _latin("rouge1", words, rouge1),
        _latin("rouge2", pairs, rouge2),
        _latin("rougeL", longest, rouge_l),
        _latin("rougeLsum", lines, rouge_lsum),
        Metric("rouge1_unicode", "higher", words, _SHARE, rouge1_unicode),
        Metric("rouge2_unicode", "higher", pairs, _SHARE, rouge2_unicode),
        Metric("rougeL_unicode", "higher", longest, _SHARE, rouge_l_unicode),
        Metric("rougeLsum_unicode", "higher", lines, _SHARE, rouge_lsum_unicode),
        *(made("") for made in OF_FIELD.values()),
        *JSON_ANSWERS,
        *RETRIEVAL,
        *TOOL_CALLS,
        Metric("exact_match", "higher", "share", _SHARE, exact_match, instead="chrf"),
        Metric("token_f1", "higher", "word F1", _SHARE, token_f1, instead="chrf"),
        Metric(
            "bleu", "higher", "n-gram precision", _SHARE, bleu, package="sacrebleu",
            whole=lambda scores, outputs, references: corpus_bleu(outputs, references),
        ),
        Metric(
            "chrf", "higher", "character n-gram F2", _SHARE, chrf, package="sacrebleu",
            whole=lambda scores, outputs, references: corpus_chrf(outputs, references),
        ),
        Metric("meteor", "higher", "aligned words", _SHARE, meteor, package="nltk"),
        *ENCODED.values(),
        PASS_AT_1,
        Metric("length_ratio", "higher", "shorter / longer, in words", _SHARE, length_ratio),
        _alone("copied_facts", "higher", "share of numbers and names", score=copied_facts),
        _alone("copied_numbers", "higher", "share of numbers", score=copied_numbers),
        _alone("copied_links", "higher", "0 or 1", score=copied_links),
        _alone("copied_names", "higher", "share of names", score=copied_names),
        _alone("repetition", "lower", "share of 4-grams", score=repetition),
        _alone("refusal", "lower", "0 or 1", score=refusal),
        _alone("profanity", "lower", "0 or 1", score=profanity),
        _alone(
            "pii_found", "lower", "0 or 1", score=pii_found, identity=pii_identity,
            package="detect-secrets phonenumbers python-stdnum",
        ),
        _alone("same_language", "higher", "0 or 1", score=same_language, package="py3langid"),
        describing(
            "readability", unit="Flesch reading ease", range=(0.0, 100.0), score=readability,
            package="syllapy",
        ),
        describing(
            "sentiment", unit="VADER compound", range=(-1.0, 1.0), score=sentiment,
            package="vaderSentiment",
        ),
        describing("length_words", unit="words", range=(0.0, LONGEST), score=length_words),
        describing(
            "length_characters", unit="code points", range=(0.0, LONGEST), score=length_characters
        ),
        describing(
            "length_sentences", unit="sentences", range=(0.0, LONGEST), score=length_sentences
        ),
    )  # fmt: skip


METRICS: dict[str, Metric] = {metric.name: metric for metric in _rows()}
