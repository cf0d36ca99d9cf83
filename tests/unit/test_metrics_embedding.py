"""Metrics over an encoder: equal to their reference implementations to 1e-6."""

from __future__ import annotations

import math
import shutil
import string
from collections import Counter
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import torch
from metric_texts import blank, pairs, summaries

from sluicegate.errors import ModelError
from sluicegate.metrics import METRICS, find_metric, metrics_digest, score_many, score_one
from sluicegate.metrics.bertscore import bertscore_many, default_layer, precision_recall_f1
from sluicegate.metrics.embedding_cosine import embedding_cosine_many
from sluicegate.metrics.encoder import encoder_digest, encoder_folder, open_encoder
from sluicegate.metrics.moverscore import WHOLE, ngram_scores

Rows = list[tuple[str, tuple[str, ...]]]
KINDS = pytest.mark.parametrize("kind", ["generated", "tweetsumm"])


def rows_of(kind: str) -> Rows:
    """(output, references that are not blank) of the 500 generated texts or of the shared
    summaries.
    """
    rows = (
        pairs()
        if kind == "generated"
        else [(output, references) for _, output, references in summaries()]
    )
    return [
        (output, tuple(filter(str.strip, wanted)))
        for output, wanted in rows
        if not blank(output, wanted)
    ]


@KINDS
def test_cosine_equals_sentence_transformers(kind: str) -> None:
    """The cosine is that of sentence-transformers 6.2 for the same folder, the best of several
    references.
    """
    from sentence_transformers import SentenceTransformer

    assert int(version("sentence-transformers").partition(".")[0]) >= 5
    rows = rows_of(kind)
    reference = SentenceTransformer(str(encoder_folder()), device="cpu", local_files_only=True)
    texts = list(dict.fromkeys(text for output, wanted in rows for text in (output, *wanted)))
    vectors = dict(
        zip(texts, reference.encode(texts, batch_size=16, show_progress_bar=False), strict=True)
    )
    expected = [
        max(float(vectors[output] @ vectors[text]) for text in wanted) for output, wanted in rows
    ]
    found = embedding_cosine_many([""] * len(rows), *map(list, zip(*rows, strict=True)))
    assert len([value for value in found if value is None]) < len(rows) / 50
    for value, wanted_value in zip(found, expected, strict=True):
        assert value is None or value == pytest.approx(wanted_value, abs=1e-6)


@KINDS
def test_bertscore_equals_bert_score(kind: str) -> None:
    """Precision, recall and F1 equal bert-score 0.3.13 on the same encoder and layer; the best
    reference counts.
    """
    assert version("bert-score") == "0.3.13"
    from bert_score.utils import bert_cos_score_idf, get_model
    from transformers import AutoTokenizer

    rows = rows_of(kind)
    flat = [(output, text) for output, wanted in rows for text in wanted]
    tokenizer = AutoTokenizer.from_pretrained(str(encoder_folder()))
    layer = default_layer(open_encoder())
    weights = dict.fromkeys(range(len(tokenizer)), 1.0)
    weights[tokenizer.cls_token_id] = weights[tokenizer.sep_token_id] = 0.0
    model = get_model(str(encoder_folder()), layer)

    def reference(pairs: list[tuple[str, str]], batch: int) -> np.ndarray:
        mine, theirs = [output for output, _ in pairs], [text for _, text in pairs]
        return np.asarray(
            bert_cos_score_idf(
                model, theirs, mine, tokenizer, weights, device="cpu", batch_size=batch
            )
        )

    found, expected = np.array(precision_recall_f1(flat)), reference(flat, 32)
    # bert-score takes a padding token (similarity 0) for a match where every real one is below 0:
    # there, ask it again alone
    odd = np.flatnonzero(np.abs(found - expected).max(axis=1) >= 1e-6)
    assert len(odd) < len(flat) / 10
    for place in odd:
        expected[place] = reference([flat[place]], 1)[0]
    assert np.abs(found - expected).max() < 1e-6
    best = iter(expected[:, 2])
    scores = bertscore_many([""] * len(rows), *map(list, zip(*rows, strict=True)))
    assert len([value for value in scores if value is None]) < len(rows) / 50
    for value, (_, wanted) in zip(scores, rows, strict=True):
        highest = max(next(best) for _ in wanted)
        assert value is None or value == pytest.approx(highest, abs=1e-6)


def transcribed_moverscore(references: list[str], outputs: list[str], size: int) -> list[float]:
    """word_mover_score of moverscore_v2.py (package moverscore 1.0.3), with load_ngram of its
    moverscore.py.

    Each pair is solved alone by pyemd over both texts' tokens, as there. Changed: vectors from the
    packaged encoder, distances and flow in double precision, no small constant in the divisions.
    """
    from pyemd import emd

    encoder = open_encoder()
    marks = set(string.punctuation)

    def rarity(texts: list[str]) -> dict[int, float]:
        counts = Counter(
            one for text in encoder.tokens(texts, encoder.layers) for one in set(text.ids)
        )
        return {one: math.log((len(texts) + 1) / (count + 1)) for one, count in counts.items()}

    def grams(text: str, weigh: dict[int, float]) -> tuple[torch.Tensor, list[float]]:
        tokens = encoder.tokens([text], encoder.layers)[0]
        words = encoder.tokenizer.convert_ids_to_tokens(list(tokens.ids))
        kept = [place for place, word in enumerate(words) if word not in marks and "##" not in word]
        vectors = torch.tensor(tokens.vectors, dtype=torch.float64)
        vectors = vectors / vectors.norm(dim=-1, keepdim=True)
        idf = torch.tensor([weigh[one] for one in tokens.ids], dtype=torch.float64)
        width = min(size or len(kept), len(kept))
        windows = [kept[start : start + width] for start in range(len(kept) - width + 1)]
        scales = [idf[window] / max(float(idf[window].sum()), 1e-30) for window in windows]
        merged = [
            (scale.unsqueeze(-1) * vectors[window]).sum(0)
            for scale, window in zip(scales, windows, strict=True)
        ]
        return torch.stack(merged), [float(idf[window].sum()) for window in windows]

    ref_idf, hyp_idf = rarity(references), rarity(outputs)
    scores = []
    for reference, output in zip(references, outputs, strict=True):
        (left, left_idf), (right, right_idf) = grams(reference, ref_idf), grams(output, hyp_idf)
        raw = torch.cat([left, right], 0)
        raw = raw / (raw.norm(dim=-1, keepdim=True) + 1e-30)
        distances = (2 - 2 * raw @ raw.T).clamp_min(0).sqrt().numpy()
        c1, c2 = np.zeros(len(raw)), np.zeros(len(raw))
        c1[: len(left)], c2[len(left) :] = left_idf, right_idf
        scores.append(1 - emd(c1 / c1.sum(), c2 / c2.sum(), np.ascontiguousarray(distances)))
    return scores


def countable(text: str) -> bool:
    """Whether the text has a token that is no punctuation and no later piece of a word, and is not
    overlong.
    """
    words = open_encoder().tokenizer.tokenize(text)
    return (
        any(word not in set(string.punctuation) and "##" not in word for word in words)
        and len(words) < 400
    )


@KINDS
@pytest.mark.parametrize("size", [1, 2, WHOLE], ids=["unigrams", "bigrams", "sentence"])
def test_moverscore_equals_its_transcription(kind: str, size: int) -> None:
    """MoverScore and its sentence case equal the authors' code (moverscore 1.0.3, pyemd 1.1.0) on
    the same vectors.
    """
    assert version("pyemd").startswith("1.")
    rows = [
        (output, wanted[0])
        for output, wanted in rows_of(kind)
        if countable(output) and countable(wanted[0])
    ]
    outputs, references = [output for output, _ in rows], [wanted for _, wanted in rows]
    expected = transcribed_moverscore(references, outputs, size)
    found = ngram_scores(outputs, [[text] for text in references], size)
    assert len([value for value in found if value is None]) < len(rows) / 50
    for value, wanted in zip(found, expected, strict=True):
        assert value is None or value == pytest.approx(wanted, abs=1e-6)


def test_moverscore_where_the_package_fails() -> None:
    """Punctuation alone scores worst, and a set in which every text is the same scores by even
    weights.
    """
    assert score_one(METRICS["moverscore"], "", "?!.", ["the parcel is late"]) == -1.0
    assert score_one(METRICS["moverscore"], "", "the parcel is late", ["?!."]) is None
    found = score_many(
        METRICS["moverscore"], ["", ""], ["late", "late"], [["the parcel is late"]] * 2
    )
    assert found[0] == found[1]
    assert -1.0 < found[0] < 1.0


def test_best_reference_counts() -> None:
    """With several references each metric scores by the one that suits best."""
    for name in ("embedding_cosine", "bertscore", "moverscore_sentence"):
        metric = METRICS[name]
        alone = [
            score_one(metric, "", "the parcel is late", [text]) or 0.0
            for text in ("a blue whale", "my order is delayed")
        ]
        both = score_one(metric, "", "the parcel is late", ["a blue whale", "my order is delayed"])
        assert both == pytest.approx(max(alone), abs=1e-6)  # padding moves the last digit
        assert alone[1] > alone[0]


def test_encoder_by_folder(tmp_path: Path) -> None:
    """An encoder in another folder scores the same; its digest covers the files, and changes with
    one of them.
    """
    from sluicegate.metrics import encoder as module

    folder = tmp_path / "encoder"
    shutil.copytree(encoder_folder(), folder)
    name = f"bertscore:{folder}"
    metric = find_metric(name)
    assert metric.name == name
    texts = "", "the parcel is late", ["the delivery is delayed"]
    assert score_one(metric, *texts) == pytest.approx(
        score_one(METRICS["bertscore"], *texts), abs=1e-6
    )
    assert encoder_digest(str(folder)) == encoder_digest()
    before = metrics_digest([name])
    (folder / "tokenizer_config.json").write_text("{}")
    module._digest.cache_clear()
    assert metrics_digest([name]) != before


def test_no_encoder() -> None:
    """A folder without an encoder is an error that names it, when scoring and when identified."""
    metric = find_metric("embedding_cosine:no/such/folder")
    with pytest.raises(ModelError, match="no/such/folder"):
        score_one(metric, "", "a", ["b"])
    with pytest.raises(ModelError, match="no/such/folder"):
        metrics_digest(["embedding_cosine:no/such/folder"])


def test_vectors_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an encoder keeps of texts seen is bounded, and a text encoded again has the same
    vectors.
    """
    from sluicegate.metrics import encoder as module

    monkeypatch.setattr(module, "KEPT_NUMBERS", 10_000)
    encoder = open_encoder()
    first = encoder.tokens(["the parcel is late"], 3)[0].vectors
    encoder.tokens([f"text number {number} of many" for number in range(50)], 3)
    assert sum(tokens.vectors.size for tokens in encoder._kept.values()) <= 10_000
    assert encoder.tokens(["the parcel is late"], 3)[0].vectors == pytest.approx(first, abs=1e-5)


@pytest.mark.parametrize("name", ["bertscore", "embedding_cosine", "moverscore"])
def test_unknown_words_have_no_score(name: str) -> None:
    """Texts of which the encoder knows no word are all one token to it: no score, rather than a
    perfect one.
    """
    unseen = "\U0001d56a\U0001d56b \U00010330\U00010331", ["\U00010332\U00010333"]
    assert score_one(METRICS[name], "", *unseen) is None
    assert score_one(METRICS[name], "", unseen[0], ["the parcel is late"]) is None
    assert score_one(METRICS[name], "", "the parcel is late", unseen[1]) is None
    assert score_one(METRICS[name], "", "the parcel", [*unseen[1], "the parcel"]) is not None


def test_batches_and_padding_change_nothing() -> None:
    """A text among longer ones has the vectors that it has alone."""
    encoder = open_encoder()
    texts = ["late", "the parcel is late today", "a", " ".join(["refund"] * 60)]
    encoder._kept.clear()
    together = encoder.tokens(texts, 5)
    for text, found in zip(texts, together, strict=True):
        encoder._kept.clear()
        assert found.vectors == pytest.approx(encoder.tokens([text], 5)[0].vectors, abs=1e-5)
